"""Administration: tenants, their limits and keys, and devices, for whoever runs the service."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from qpu_backend.domain.audit import SERVICE
from qpu_backend.domain.keys import key_hmac, make_key
from qpu_backend.domain.policies import NOT_LIMITED
from qpu_backend.domain.tenancy import Role
from qpu_backend.pipeline.limiting import NO_LIMITS, NewLimits, NewQuota, put_limits
from qpu_backend.stores import access, audit, devices, policies, principals, quota, rates
from qpu_backend.stores.errors import NameTaken

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

    from qpu_backend.domain.policies import Policy
    from qpu_backend.domain.quota import Line, Resource, Window
    from qpu_backend.domain.rates import Rate
    from qpu_backend.domain.tenancy import SystemScope, TenantScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.stores.database import Database


class Administration:
    """Tenants, keys and devices, for whoever runs the service: the command line and the embedded service.

    Every method that changes something takes the ``actor`` who asked for it, and leaves a row in the audit log.
    """

    def __init__(
        self, database: Database, scope: SystemScope, pepper: bytes, clock: WallClock, *, key_rate: Rate | None = None
    ) -> None:
        self._key_rate = key_rate
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
        actor: str = SERVICE,
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
            facts = {
                "name": name,
                "weight": weight,
                "max_queued_jobs": max_queued_jobs,
                "limits": [[resource, window, amount] for (resource, window), amount in (limits or {}).items()],
            }
            self._note(connection, actor, "tenant.created", tenant.id, tenant.id, facts)
        return tenant

    def tenants(self) -> list[access.TenantRow]:
        """Every tenant, oldest first."""
        with self._database.read() as connection:
            return access.list_tenants(connection, self._scope)

    def page_of_tenants(self, *, cursor: str | None, limit: int) -> tuple[list[access.TenantRow], str | None]:
        """A page of the tenants, oldest first, and the cursor of the next page.

        Raises:
            InvalidCursor: the cursor is not one that a page before this gave out.
        """
        with self._database.read() as connection:
            return access.page_of_tenants(connection, self._scope, cursor=cursor, limit=limit)

    def tenant(self, name: str) -> access.TenantRow:
        """The tenant of that name.

        Raises:
            MissingRow: there is none.
        """
        return self._tenant(name)

    def change_tenant(
        self,
        name: str,
        *,
        weight: int | None = None,
        disabled: bool | None = None,
        limits: NewLimits = NO_LIMITS,
        actor: str = SERVICE,
    ) -> access.TenantRow:
        """Change a tenant's share, lock it out, let it in again, limit it; all of that or nothing, at once.

        Args:
            name: of the tenant.
            weight: its share of contended devices, for jobs admitted from now on.
            disabled: whether it is locked out, within a second; its jobs and keys stay.
            limits: its own, as a whole.
            actor: who asks for it.

        Returns:
            The tenant as it is now.

        Raises:
            InvalidRequest: a number that is no limit.
            MissingRow: there is no such tenant.
        """
        limits.check()
        with self._database.write() as connection:
            tenant = self._found(connection, name)
            if weight is not None:
                access.set_weight(connection, self._scope, tenant.id, weight)
                facts = {"before": tenant.weight, "weight": weight}
                self._note(connection, actor, "tenant.weighed", tenant.id, tenant.id, facts)
            put_limits(
                connection, self._scope, tenant.id, limits, principal_id="", actor=actor, now_us=self._clock.now_us()
            )
            if disabled is not None and disabled != tenant.disabled:
                access.set_disabled(connection, self._scope, tenant.id, disabled=disabled)
                action = "tenant.disabled" if disabled else "tenant.enabled"
                self._note(connection, actor, action, tenant.id, tenant.id, {})
            return self._found(connection, name)

    def set_tenant_disabled(self, name: str, *, disabled: bool, actor: str = SERVICE) -> bool:
        """Lock a tenant out within a second, or let it in again; its jobs and keys stay. Whether that is a change."""
        was = self._tenant(name).disabled
        return self.change_tenant(name, disabled=disabled, actor=actor).disabled != was

    def set_limit(
        self,
        name: str,
        resource: Resource,
        window: Window,
        amount: int | None,
        *,
        principal: str | None = None,
        burst: int = 0,
        actor: str = SERVICE,
    ) -> None:
        """Limit what a tenant, or one of its principals, may use in a window.

        Args:
            name: of the tenant.
            resource: what is limited.
            window: for how long.
            amount: of every window; ``None`` lifts the limit.
            principal: name of the tenant's principal whose own limit it is; the tenant as a whole without one.
            burst: what one window may take over from the one before.
            actor: who asks for it.

        Raises:
            InvalidRequest: a number that is no limit.
            MissingRow: there is no such tenant or principal.
        """
        limits = NewLimits((NewQuota(resource, window, amount, burst),))
        self._put_limits(name, principal, limits, actor)

    def limits(self, name: str) -> list[tuple[str | None, Line]]:
        """A tenant's quotas and those of its principals as they stand now, each with the principal's name.

        Raises:
            MissingRow: there is no such tenant.
        """
        tenant = self._tenant(name)
        with self._database.read() as connection:
            lines = quota.lines_of(connection, self._scope, tenant.id, self._clock.now_us())
            names = self._names(connection, tenant, (line.principal_id for line in lines))
        return [(names[line.principal_id], line) for line in lines]

    def set_policy(
        self,
        name: str,
        field: str,
        value: int | tuple[str, ...] | None,
        *,
        principal: str | None = None,
        actor: str = SERVICE,
    ) -> Policy:
        """Change one field of the policy of a tenant, or of one of its principals; ``None`` lifts that limit.

        Args:
            name: of the tenant.
            field: one of :data:`qpu_backend.domain.policies.POLICY_FIELDS`.
            value: a number, or for lanes, isolation and slices the names that are open. A tenant's queue is always
                limited: ``None`` gives it the length it has without a word.
            principal: name of the tenant's principal whose own policy it is; the tenant as a whole without one.
            actor: who asks for it.

        Returns:
            The policy as it stands now.

        Raises:
            InvalidRequest: there is no such field, or it is no value for it.
            MissingRow: there is no such tenant or principal.
        """
        changed = self._put_limits(name, principal, NewLimits(policy={field: value}), actor)
        return NOT_LIMITED if changed is None else changed

    def policies(self, name: str) -> dict[str | None, Policy]:
        """What limits a tenant, and those of its principals that have a policy of their own, by name.

        The tenant as a whole is ``None`` and always there.

        Raises:
            MissingRow: there is no such tenant.
        """
        tenant = self._tenant(name)
        with self._database.read() as connection:
            found = policies.read_policies(connection, self._scope, tenant.id)
            names = self._names(connection, tenant, found)
        whole = replace(found.pop("", NOT_LIMITED), max_queued_jobs=tenant.max_queued_jobs)
        return {None: whole} | {names[principal_id]: policy for principal_id, policy in found.items()}

    def create_key(
        self,
        tenant_name: str,
        *,
        principal: str = "default",
        role: Role | None = None,
        expires_at_us: int | None = None,
        label: str = "",
        actor: str = SERVICE,
    ) -> str:
        """The key of :meth:`create_key_of`."""
        key, _ = self.create_key_of(
            tenant_name, principal=principal, role=role, expires_at_us=expires_at_us, label=label, actor=actor
        )
        return key

    def create_key_of(
        self,
        tenant_name: str,
        *,
        principal: str,
        role: Role | None = None,
        expires_at_us: int | None = None,
        label: str = "",
        actor: str = SERVICE,
        author: TenantScope | None = None,
    ) -> tuple[str, access.PrincipalRow]:
        """A new API key, shown this once, and whose it is; the principal is made if the tenant has none of that name.

        Args:
            tenant_name: of the tenant.
            principal: its name.
            role: of a new principal; ``None``: a member. One that is there has this role already.
            expires_at_us: wall time; ``None``: it does not expire.
            label: what it is for.
            actor: who asks for it.
            author: who makes it, where that is a principal: it makes no more of them than its rate allows.

        Raises:
            MissingRow: there is no such tenant.
            RateLimited: its author makes keys faster than it may.
            NameTaken: the principal of that name has another role.
            TooLarge: the tenant has as many principals as it may.
        """
        tenant = self._tenant(tenant_name)
        now_us = self._clock.now_us()
        key = make_key(secrets.token_bytes(32))
        with self._database.write() as connection:
            owner = principals.find_principal(connection, self._scope, tenant.id, principal, lock=True)
            if owner is None:
                made_as = role or Role.MEMBER
                owner = access.create_principal(
                    connection, self._scope, tenant_id=tenant.id, name=principal, role=made_as, now_us=now_us
                )
                facts = {"name": principal, "role": made_as}
                self._note(connection, actor, "principal.created", owner.id, tenant.id, facts)
            elif role not in {None, owner.role}:
                raise NameTaken(f"principal of the role {owner.role}, called", principal)
            if author is not None and self._key_rate is not None:
                rates.count_key(connection, author, self._key_rate, now_us)
            made = access.insert_key(
                connection,
                self._scope,
                tenant_id=tenant.id,
                principal_id=owner.id,
                key_hmac=key_hmac(key, self._pepper),
                now_us=now_us,
                expires_at_us=expires_at_us,
                label=label,
            )
            facts = {"principal": owner.id, "label": label, "expires_at_us": expires_at_us}
            self._note(connection, actor, "key.created", made.id, tenant.id, facts)
        return key, owner

    def keys(self, tenant_name: str) -> list[tuple[access.KeyRow, str]]:
        """A tenant's keys with the names of their principals, oldest first; never the keys themselves."""
        tenant = self._tenant(tenant_name)
        with self._database.read() as connection:
            names = {owner.id: owner.name for owner in access.list_principals(connection, self._scope, tenant.id)}
            return [(key, names[key.principal_id]) for key in access.list_keys(connection, self._scope, tenant.id)]

    def devices(self) -> list[devices.DeviceRow]:
        """Every device, by name."""
        with self._database.read() as connection:
            return devices.list_devices(connection)

    def set_operational(self, device_id: str, *, operational: bool, status_msg: str, actor: str = SERVICE) -> None:
        """Open or close a device for new batches. Running batches end, submissions go on."""
        with self._database.write() as connection:
            devices.set_status(connection, self._scope, device_id, operational=operational, status_msg=status_msg)
            action = "device.resumed" if operational else "device.paused"
            self._note(connection, actor, action, device_id, None, {"status": status_msg})

    def _put_limits(self, name: str, principal: str | None, limits: NewLimits, actor: str) -> Policy | None:
        limits.check()
        with self._database.write() as connection:
            tenant = self._found(connection, name)
            return put_limits(
                connection,
                self._scope,
                tenant.id,
                limits,
                principal_id=self._principal_id(connection, tenant, principal),
                actor=actor,
                now_us=self._clock.now_us(),
            )

    def _note(
        self,
        connection: Connection,
        actor: str,
        action: str,
        subject: str,
        tenant_id: str | None,
        facts: Mapping[str, object],
    ) -> None:
        audit.append(
            connection,
            self._scope,
            actor=actor,
            action=action,
            subject=subject,
            tenant_id=tenant_id,
            facts=facts,
            now_us=self._clock.now_us(),
        )

    def _names(
        self, connection: Connection, tenant: access.TenantRow, principal_ids: Iterable[str]
    ) -> dict[str, str | None]:
        """Names of principals by their ids; '' is the tenant as a whole."""
        return {"": None} | principals.names_of(connection, self._scope, tenant.id, {*principal_ids} - {""})

    def _principal_id(self, connection: Connection, tenant: access.TenantRow, principal: str | None) -> str:
        if principal is None:
            return ""
        found = principals.find_principal(connection, self._scope, tenant.id, principal)
        if found is None:
            raise access.MissingRow("principal", principal)
        return found.id

    def _tenant(self, name: str) -> access.TenantRow:
        with self._database.read() as connection:
            return self._found(connection, name)

    def _found(self, connection: Connection, name: str) -> access.TenantRow:
        tenant = access.find_tenant(connection, self._scope, name)
        if tenant is None:
            raise access.MissingRow("tenant", name)
        return tenant
