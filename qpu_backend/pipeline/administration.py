"""Administration: tenants, their limits and keys, and devices, for whoever runs the service."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from qpu_backend.domain.keys import key_hmac, make_key
from qpu_backend.domain.tenancy import Role
from qpu_backend.stores import access, devices, quota

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qpu_backend.domain.quota import Resource, Window
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.stores.database import Database


class Administration:
    """Tenants, keys and devices, for whoever runs the service: the command line and the embedded service."""

    def __init__(self, database: Database, scope: SystemScope, pepper: bytes, clock: WallClock) -> None:
        self._database = database
        self._scope = scope
        self._pepper = pepper
        self._clock = clock

    def create_tenant(
        self,
        name: str,
        *,
        weight: int = 100,
        max_queued_jobs: int = 1000,
        limits: Mapping[tuple[Resource, Window], int] | None = None,
    ) -> access.TenantRow:
        """A new tenant with its share, queue length and quotas."""
        with self._database.write() as connection:
            tenant = access.create_tenant(
                connection,
                self._scope,
                name=name,
                now_us=self._clock.now_us(),
                weight=weight,
                max_queued_jobs=max_queued_jobs,
            )
            for (resource, window), amount in (limits or {}).items():
                quota.set_limit(
                    connection, self._scope, tenant_id=tenant.id, resource=resource, window=window, amount=amount
                )
        return tenant

    def tenants(self) -> list[access.TenantRow]:
        """Every tenant, oldest first."""
        with self._database.read() as connection:
            return access.list_tenants(connection, self._scope)

    def set_limit(self, name: str, resource: Resource, window: Window, amount: int | None) -> None:
        """Limit what a tenant may use in a window; ``None`` lifts the limit."""
        tenant = self._tenant(name)
        with self._database.write() as connection:
            quota.set_limit(
                connection, self._scope, tenant_id=tenant.id, resource=resource, window=window, amount=amount
            )

    def create_key(
        self,
        tenant_name: str,
        *,
        principal: str = "default",
        role: Role = Role.MEMBER,
        expires_at_us: int | None = None,
    ) -> str:
        """A new API key, shown this once; the principal is made if the tenant has none of that name."""
        tenant = self._tenant(tenant_name)
        now_us = self._clock.now_us()
        key = make_key(secrets.token_bytes(32))
        with self._database.write() as connection:
            found = [p for p in access.list_principals(connection, self._scope, tenant.id) if p.name == principal]
            owner = (
                found[0]
                if found
                else access.create_principal(
                    connection, self._scope, tenant_id=tenant.id, name=principal, role=role, now_us=now_us
                )
            )
            access.insert_key(
                connection,
                self._scope,
                tenant_id=tenant.id,
                principal_id=owner.id,
                key_hmac=key_hmac(key, self._pepper),
                now_us=now_us,
                expires_at_us=expires_at_us,
            )
        return key

    def keys(self, tenant_name: str) -> list[tuple[access.KeyRow, str]]:
        """A tenant's keys with the names of their principals, oldest first; never the keys themselves."""
        tenant = self._tenant(tenant_name)
        with self._database.read() as connection:
            names = {owner.id: owner.name for owner in access.list_principals(connection, self._scope, tenant.id)}
            return [(key, names[key.principal_id]) for key in access.list_keys(connection, self._scope, tenant.id)]

    def revoke_key(self, key_id: str) -> bool:
        """Close the door for a key, within a second. Whether this call did it."""
        with self._database.write() as connection:
            return access.revoke_key(connection, self._scope, key_id, self._clock.now_us())

    def devices(self) -> list[devices.DeviceRow]:
        """Every device, by name."""
        with self._database.read() as connection:
            return devices.list_devices(connection)

    def set_operational(self, device_id: str, *, operational: bool, status_msg: str) -> None:
        """Open or close a device for new batches. Running batches end, submissions go on."""
        with self._database.write() as connection:
            devices.set_status(connection, self._scope, device_id, operational=operational, status_msg=status_msg)

    def _tenant(self, name: str) -> access.TenantRow:
        with self._database.read() as connection:
            tenant = access.find_tenant(connection, self._scope, name)
        if tenant is None:
            raise access.MissingRow("tenant", name)
        return tenant
