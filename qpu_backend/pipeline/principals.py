"""A tenant's principals and their keys: made, changed, ended. Every change is in the audit log of its transaction.

The same methods serve whoever runs the service (a keeper by :meth:`Principals.keeper`) and the tenant's own
administrators (:func:`own_keeper`); the latter are bound by the rules of ``domain/principals.py``. A principal that
manages nobody keeps its own keys, and those of others do not exist for it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qpu_backend.domain.errors import NotFound
from qpu_backend.domain.keys import key_hmac, make_key
from qpu_backend.domain.principals import (
    KeyEnded,
    Standing,
    check_change,
    check_kept,
    check_live_keys,
    check_role,
    outgrows,
)
from qpu_backend.domain.tenancy import Permission, Role, SystemScope, TenantId, TenantScope
from qpu_backend.stores import access, audit, keys, principals

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy import Connection

    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.stores.access import KeyRow, PrincipalRow
    from qpu_backend.stores.database import Database

GRACE_US = 86_400_000_000
"""How long a key that was replaced goes on to work, where nothing else is said: a day."""


@dataclass(frozen=True, slots=True)
class Keeper:
    """Who keeps the principals of a tenant.

    Attributes:
        scope: by which right.
        tenant_id: of which tenant.
        actor: who is noted in the audit log.
    """

    scope: SystemScope | TenantScope
    tenant_id: TenantId
    actor: str

    @property
    def bound(self) -> TenantScope | None:
        """The scope of a principal of the tenant, who is bound by its rules; ``None``: who runs the service."""
        return self.scope if isinstance(self.scope, TenantScope) else None


def own_keeper(scope: TenantScope) -> Keeper:
    """A principal that keeps its own tenant's."""
    return Keeper(scope, scope.tenant_id, f"principal:{scope.principal_id}")


class Principals:
    """Principals and their keys, whoever keeps them."""

    def __init__(
        self,
        database: Database,
        scope: SystemScope,
        pepper: bytes,
        clock: WallClock,
        *,
        administrators_have_tokens: bool = False,
    ) -> None:
        self._administrators_have_tokens = administrators_have_tokens
        self._database = database
        self._scope = scope
        self._pepper = pepper
        self._clock = clock

    def keeper(self, tenant_name: str, *, actor: str) -> Keeper:
        """Whoever runs the service, for one tenant.

        Raises:
            NotFound: no tenant of that name.
        """
        with self._database.read() as connection:
            tenant = access.find_tenant(connection, self._scope, tenant_name)
        if tenant is None:
            raise NotFound("tenant", tenant_name)
        return Keeper(self._scope, tenant.id, actor)

    def keeper_of_key(self, key_id: str, *, actor: str) -> Keeper:
        """Whoever runs the service, for the tenant that has this key.

        Raises:
            NotFound: nobody has it.
        """
        with self._database.read() as connection:
            tenant_id = keys.find_tenant_of_key(connection, self._scope, key_id)
        if tenant_id is None:
            raise NotFound("key", key_id)
        return Keeper(self._scope, TenantId(tenant_id), actor)

    # --- principals -----------------------------------------------------------------------------------------------

    def create(self, keeper: Keeper, name: str, role: Role) -> PrincipalRow:
        """A new principal, without keys.

        Raises:
            NameTaken: the tenant has one of that name.
            RoleRefused: the role is not the tenant's to give.
        """
        if keeper.bound:
            check_role(role)
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            principal = access.create_principal(
                connection, keeper.scope, tenant_id=keeper.tenant_id, name=name, role=role, now_us=now_us
            )
            _note(connection, keeper, "principal.created", principal.id, {"name": name, "role": role}, now_us)
        return principal

    def page(
        self, keeper: Keeper, *, cursor: str | None = None, limit: int = 100
    ) -> tuple[list[PrincipalRow], str | None]:
        """A page of the tenant's principals, oldest first, and the cursor of the next one."""
        with self._database.read() as connection:
            return principals.page_of_principals(connection, keeper.scope, keeper.tenant_id, cursor=cursor, limit=limit)

    def get(self, keeper: Keeper, principal_id: str) -> PrincipalRow:
        """One of the tenant's principals.

        Raises:
            NotFound: the tenant has no such one.
        """
        with self._database.read() as connection:
            return _found(connection, keeper, principal_id)

    def named(self, keeper: Keeper, name: str) -> PrincipalRow:
        """The tenant's principal of this name.

        Raises:
            NotFound: the tenant has no such one.
        """
        with self._database.read() as connection:
            if row := principals.find_principal(connection, self._scope, keeper.tenant_id, name):
                return row
        raise NotFound("principal", name)

    def change(
        self, keeper: Keeper, principal_id: str, *, role: Role | None = None, disabled: bool | None = None
    ) -> PrincipalRow:
        """Give a principal another role, lock it out, or let it in again; within a second.

        Its keys stay, except under a role that is not the tenant's to give: keys from before it are closed.

        Raises:
            NotFound: the tenant has no such principal.
            RoleRefused: a role that is not the tenant's to give or manage.
            LockOut: nobody would be left who manages the tenant's principals, or its author would lock itself out.
        """
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            roster = {row.id: row for row in principals.lock_roster(connection, keeper.scope, keeper.tenant_id)}
            before = next((row for row in roster.values() if row.id == principal_id), None)
            if before is None:
                raise NotFound("principal", principal_id)
            after = replace(
                before,
                role=before.role if role is None else role,
                disabled=before.disabled if disabled is None else disabled,
            )
            if keeper.bound:
                standings = self._standings(connection, keeper, roster.values(), now_us)
                changed = next(one for one in standings if one.id == after.id)
                changed = replace(changed, role=after.role, disabled=after.disabled)
                check_change(standings, keeper.bound.principal_id, changed)
            if after == before:
                return before
            principals.set_standing(
                connection, keeper.scope, keeper.tenant_id, before.id, role=after.role, disabled=after.disabled
            )
            if after.role != before.role:
                facts = {"from": before.role, "to": after.role}
                _note(connection, keeper, "principal.role_changed", before.id, facts, now_us)
                close_outgrown_keys(connection, keeper, before, after.role, now_us)
            if after.disabled != before.disabled:
                action = "principal.disabled" if after.disabled else "principal.enabled"
                _note(connection, keeper, action, before.id, {}, now_us)
        return after

    # --- keys -----------------------------------------------------------------------------------------------------

    def create_key(
        self, keeper: Keeper, principal_id: str, *, label: str = "", expires_at_us: int | None = None
    ) -> tuple[KeyRow, str]:
        """A new key of a principal. The key itself is in the answer and nowhere else.

        Raises:
            NotFound: the tenant has no such principal.
            RoleRefused: its role is not the tenant's to manage.
            TooLarge: it has as many live keys as its tenant may give it.
        """
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            _checked(connection, keeper, principal_id, now_us)
            row, key = self._insert(connection, keeper, principal_id, label, expires_at_us, now_us)
            facts = {"principal": principal_id, "label": label, "expires_at_us": expires_at_us}
            _note(connection, keeper, "key.created", row.id, facts, now_us)
        return row, key

    def keys(
        self, keeper: Keeper, principal_id: str, *, cursor: str | None = None, limit: int = 100
    ) -> tuple[list[KeyRow], str | None]:
        """A page of a principal's keys, newest first, without the keys.

        Raises:
            NotFound: the tenant has no such principal, or it is another than one that manages nobody.
        """
        with self._database.read() as connection:
            if not _reaches(keeper, principal_id):
                raise NotFound("principal", principal_id)
            _found(connection, keeper, principal_id)
            return keys.page_of_keys(
                connection, keeper.scope, keeper.tenant_id, principal_id, cursor=cursor, limit=limit
            )

    def rotate(self, keeper: Keeper, key_id: str, *, grace_us: int = GRACE_US) -> tuple[KeyRow, str]:
        """A new key in the place of an old one, which works for a while longer. The new one lives as long as the old.

        Args:
            keeper: who does it.
            key_id: the old key.
            grace_us: for how long the old key goes on to work; 0: it ends at once.

        Raises:
            NotFound: the tenant has no such key, or it is another's and the keeper manages nobody.
            KeyEnded: it is revoked or has expired.
            RoleRefused: the role of its principal is not the tenant's to manage.
            TooLarge: the principal has as many live keys as it may.
        """
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            old = self._locked(connection, keeper, key_id, now_us, one_more=grace_us > 0)
            if old.ended(now_us):
                raise KeyEnded(old.id)
            row, key = self._insert(connection, keeper, old.principal_id, old.label, old.expires_at_us, now_us)
            if grace_us > 0:
                keys.end_key(connection, keeper.scope, keeper.tenant_id, old.id, now_us + grace_us)
            else:
                keys.revoke_one(connection, keeper.scope, keeper.tenant_id, old.id, now_us)
            facts = {"principal": old.principal_id, "by": row.id, "grace_us": grace_us}
            _note(connection, keeper, "key.rotated", old.id, facts, now_us)
        return row, key

    def revoke(self, keeper: Keeper, key_id: str) -> KeyRow:
        """Close the door for a key, within a second. A revoked key stays revoked since the first time.

        Raises:
            NotFound: the tenant has no such key, or it is another's and the keeper manages nobody.
            RoleRefused: the role of its principal is not the tenant's to manage.
            LockOut: it is the last key of the tenant's last administrator.
        """
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            found = keys.get_key(connection, keeper.scope, keeper.tenant_id, key_id)
            before = self._administrators(connection, keeper, found.principal_id, now_us) if found else []
            key = self._locked(connection, keeper, key_id, now_us)
            if not keys.revoke_one(connection, keeper.scope, keeper.tenant_id, key.id, now_us):
                return key
            check_kept(before, self._standings(connection, keeper, before, now_us))
            _note(connection, keeper, "key.revoked", key.id, {"principal": key.principal_id}, now_us)
        return replace(key, revoked_at_us=now_us)

    def revoke_all(self, keeper: Keeper, principal_id: str) -> int:
        """Close the door for every key of a principal, within a second. How many this call closed.

        Raises:
            NotFound: the tenant has no such principal.
            RoleRefused: its role is not the tenant's to manage.
        """
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            before = self._administrators(connection, keeper, principal_id, now_us)
            _checked(connection, keeper, principal_id)
            closed = _close_keys(connection, keeper, principal_id, now_us)
            check_kept(before, self._standings(connection, keeper, before, now_us))
        return closed

    def _administrators(self, connection: Connection, keeper: Keeper, principal_id: str, now_us: int) -> list[Standing]:
        """The tenant's administrators, locked; none if this principal is none, or the tenant's rules do not bind."""
        if keeper.bound is None or _found(connection, keeper, principal_id).role is not Role.TENANT_ADMIN:
            return []
        roster = principals.lock_roster(connection, keeper.scope, keeper.tenant_id)
        return [one for one in self._standings(connection, keeper, roster, now_us) if one.role is Role.TENANT_ADMIN]

    def _standings(
        self, connection: Connection, keeper: Keeper, roster: Collection[PrincipalRow | Standing], now_us: int
    ) -> list[Standing]:
        """Principals as they stand, asked after they are locked: who of the administrators has a way in."""
        administrators = [row.id for row in roster if row.role is Role.TENANT_ADMIN]
        live = keys.with_live_keys(connection, keeper.scope, keeper.tenant_id, administrators, now_us)
        every = self._administrators_have_tokens
        return [Standing(row.id, row.role, row.disabled, every or row.id in live) for row in roster]

    def _insert(
        self,
        connection: Connection,
        keeper: Keeper,
        principal_id: str,
        label: str,
        expires_at_us: int | None,
        now_us: int,
    ) -> tuple[KeyRow, str]:
        key = make_key(secrets.token_bytes(32))
        row = access.insert_key(
            connection,
            keeper.scope,
            tenant_id=keeper.tenant_id,
            principal_id=principal_id,
            key_hmac=key_hmac(key, self._pepper),
            now_us=now_us,
            expires_at_us=expires_at_us,
            label=label,
        )
        return row, key

    def _locked(
        self, connection: Connection, keeper: Keeper, key_id: str, now_us: int, *, one_more: bool = False
    ) -> KeyRow:
        """A key that this keeper may end or replace."""
        key = keys.get_key(connection, keeper.scope, keeper.tenant_id, key_id)
        if key is None or not _reaches(keeper, key.principal_id):
            raise NotFound("key", key_id)
        _checked(connection, keeper, key.principal_id, now_us if one_more else None)
        return keys.get_key(connection, keeper.scope, keeper.tenant_id, key_id, lock=True) or key


def _reaches(keeper: Keeper, principal_id: str) -> bool:
    """Whether this principal exists for the keeper: every one of the tenant, or its own."""
    bound = keeper.bound
    return bound is None or bound.principal_id == principal_id or bound.may(Permission.MANAGE_PRINCIPALS)


def close_outgrown_keys(connection: Connection, keeper: Keeper, before: PrincipalRow, role: Role, now_us: int) -> None:
    """Under a role that is not the tenant's to give, no key lives on that the tenant may have made before."""
    if outgrows(before.role, role):
        _close_keys(connection, keeper, before.id, now_us)


def _close_keys(connection: Connection, keeper: Keeper, principal_id: str, now_us: int) -> int:
    closed = keys.revoke_keys_of(connection, keeper.scope, keeper.tenant_id, principal_id, now_us)
    if closed:
        _note(connection, keeper, "principal.keys_revoked", principal_id, {"keys": closed}, now_us)
    return closed


def _found(connection: Connection, keeper: Keeper, principal_id: str, *, lock: bool = False) -> PrincipalRow:
    row = principals.get_principal(connection, keeper.scope, keeper.tenant_id, principal_id, lock=lock)
    if row is None:
        raise NotFound("principal", principal_id)
    return row


def _checked(
    connection: Connection, keeper: Keeper, principal_id: str, one_key_more_at_us: int | None = None
) -> PrincipalRow:
    """A principal whose keys this keeper may make and end: an operator's are nobody's of the tenant but its own.

    It is locked, before its keys: its role is the same one when they are stored.
    """
    row = _found(connection, keeper, principal_id, lock=True)
    if keeper.bound is None:
        return row
    if keeper.bound.principal_id != row.id:
        check_role(row.role)
    if one_key_more_at_us is not None:
        check_live_keys(
            keys.count_live_keys(connection, keeper.scope, keeper.tenant_id, principal_id, one_key_more_at_us)
        )
    return row


def _note(
    connection: Connection, keeper: Keeper, action: str, subject: str, facts: Mapping[str, object], now_us: int
) -> None:
    audit.append(
        connection,
        keeper.scope,
        actor=keeper.actor,
        action=action,
        subject=subject,
        tenant_id=keeper.tenant_id,
        facts=facts,
        now_us=now_us,
    )
