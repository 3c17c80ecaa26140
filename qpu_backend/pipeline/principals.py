"""A tenant's principals: made, changed, limited. Every change is in the audit log of its transaction.

The same methods serve whoever runs the service (a keeper by :meth:`Principals.keeper`) and the tenant's own
administrators (:func:`~qpu_backend.pipeline.keepers.own_keeper`). Their keys are in ``keys.py``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qpu_backend.domain.errors import NotFound
from qpu_backend.domain.principals import check_change, check_role
from qpu_backend.pipeline.keepers import Keeper, found, note, standings
from qpu_backend.pipeline.keys import close_outgrown_keys
from qpu_backend.pipeline.limiting import NO_LIMITS, put_limits
from qpu_backend.stores import access, principals

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import Role, SystemScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.limiting import NewLimits
    from qpu_backend.stores.access import PrincipalRow
    from qpu_backend.stores.database import Database


class Principals:
    """Principals, whoever keeps them."""

    def __init__(
        self,
        database: Database,
        scope: SystemScope,
        clock: WallClock,
        *,
        administrators_have_tokens: bool = False,
    ) -> None:
        self._administrators_have_tokens = administrators_have_tokens
        self._database = database
        self._scope = scope
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
            note(connection, keeper, "principal.created", principal.id, {"name": name, "role": role}, now_us)
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
            return found(connection, keeper, principal_id)

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
        self,
        keeper: Keeper,
        principal_id: str,
        *,
        role: Role | None = None,
        disabled: bool | None = None,
        limits: NewLimits = NO_LIMITS,
    ) -> PrincipalRow:
        """Give a principal another role, lock it out, let it in again, limit it; all of that or nothing, at once.

        Its keys stay, except under a role that is not the tenant's to give: keys from before it are closed.

        Raises:
            InvalidRequest: a number that is no limit.
            NotFound: the tenant has no such principal.
            RoleRefused: a role that is not the tenant's to give or manage.
            LockOut: nobody would be left who manages the tenant's principals, or its author would lock itself out.
        """
        limits.check()
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
                tokens = self._administrators_have_tokens
                roles = standings(connection, keeper, roster.values(), now_us, administrators_have_tokens=tokens)
                changed = next(one for one in roles if one.id == after.id)
                changed = replace(changed, role=after.role, disabled=after.disabled)
                check_change(roles, keeper.bound.principal_id, changed)
            if after != before:
                principals.set_standing(
                    connection, keeper.scope, keeper.tenant_id, before.id, role=after.role, disabled=after.disabled
                )
            if after.role != before.role:
                facts = {"from": before.role, "to": after.role}
                note(connection, keeper, "principal.role_changed", before.id, facts, now_us)
                close_outgrown_keys(connection, keeper, before, after.role, now_us)
            if after.disabled != before.disabled:
                action = "principal.disabled" if after.disabled else "principal.enabled"
                note(connection, keeper, action, before.id, {}, now_us)
            whose = {"principal_id": before.id, "actor": keeper.actor}
            put_limits(connection, self._scope, keeper.tenant_id, limits, **whose, now_us=now_us)
        return after
