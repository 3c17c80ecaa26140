"""Logins by a token: the tenant and the principal that it names, made at the first login where that is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpu_backend.domain.errors import TooLarge
from qpu_backend.domain.logins import LoginRefused, check_login_role
from qpu_backend.domain.tenancy import PrincipalId, Role, SystemScope, TenantId
from qpu_backend.pipeline.keepers import Keeper
from qpu_backend.pipeline.keys import close_outgrown_keys
from qpu_backend.stores import access, audit, principals
from qpu_backend.stores.errors import NameTaken

if TYPE_CHECKING:
    from qpu_backend.domain.logins import Login, LoginPolicy
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.stores.database import Database

ACTOR = "oidc"


@dataclass(frozen=True, slots=True)
class Entry:
    """Who came in."""

    tenant_id: TenantId
    principal_id: PrincipalId
    role: Role


class Logins:
    """Who a token lets in."""

    def __init__(self, database: Database, scope: SystemScope, clock: WallClock, policy: LoginPolicy) -> None:
        self._database = database
        self._scope = scope
        self._clock = clock
        self.policy = policy

    def enter(self, login: Login) -> Entry:
        """The principal that logs in; made if there is none yet, and given the role that the issuer says it has.

        Raises:
            LoginRefused: there is no such tenant, or no such principal and none may be made; one of them is disabled;
                the principal has a role that does not come in by a token.
        """
        found = self._look(login)
        if found is None:
            try:
                return self._create(login)
            except TooLarge as error:
                raise LoginRefused("the tenant has as many principals as it may") from error
            except NameTaken:  # a twin of this login was faster
                found = self._look(login)
        if found is None:
            raise LoginRefused("the principal cannot be made")
        entry, said_at_us = found
        if login.role is not None and (login.role is not entry.role or login.issued_at_us > (said_at_us or 0)):
            return self._follow(entry, login.role, login.issued_at_us)
        return entry

    def _look(self, login: Login) -> tuple[Entry, int | None] | None:
        """The principal, and when the newest token was issued that said its role."""
        with self._database.read() as connection:
            subject = principals.find_subject(connection, self._scope, login.tenant, login.principal)
        if subject is None:
            raise LoginRefused("there is no such tenant")
        if subject.disabled:
            raise LoginRefused("the tenant or the principal is disabled")
        if subject.principal_id is None or subject.role is None:
            return None
        check_login_role(subject.role, self.policy)
        return Entry(subject.tenant_id, subject.principal_id, subject.role), subject.role_set_at_us

    def _create(self, login: Login) -> Entry:
        role = login.role or Role.MEMBER
        if not self.policy.create_principals:
            raise LoginRefused("there is no such principal")
        check_login_role(role, self.policy)
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            tenant = access.find_tenant(connection, self._scope, login.tenant)
            if tenant is None or tenant.disabled:
                raise LoginRefused("there is no such tenant")
            row = access.create_principal(
                connection,
                self._scope,
                tenant_id=tenant.id,
                name=login.principal,
                role=role,
                now_us=now_us,
                role_set_at_us=None if login.role is None else login.issued_at_us,
            )
            audit.append(
                connection,
                self._scope,
                actor=ACTOR,
                action="principal.created",
                subject=row.id,
                tenant_id=tenant.id,
                facts={"name": row.name, "role": role},
                now_us=now_us,
            )
        return Entry(tenant.id, row.id, role)

    def _follow(self, entry: Entry, role: Role, issued_at_us: int) -> Entry:
        """The issuer says the role: the principal has it from now on, unless a newer token has said another."""
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            row = principals.get_principal(connection, self._scope, entry.tenant_id, entry.principal_id, lock=True)
            if row is None or row.disabled:
                raise LoginRefused("the tenant or the principal is disabled")
            check_login_role(row.role, self.policy)
            if row.role_set_at_us is not None and issued_at_us < row.role_set_at_us:
                return Entry(entry.tenant_id, entry.principal_id, row.role)
            principals.set_standing(
                connection,
                self._scope,
                entry.tenant_id,
                entry.principal_id,
                role=role,
                disabled=False,
                role_set_at_us=issued_at_us,
            )
            if row.role is role:
                return Entry(entry.tenant_id, entry.principal_id, role)
            audit.append(
                connection,
                self._scope,
                actor=ACTOR,
                action="principal.role_changed",
                subject=entry.principal_id,
                tenant_id=entry.tenant_id,
                facts={"from": row.role, "to": role},
                now_us=now_us,
            )
            close_outgrown_keys(connection, Keeper(self._scope, entry.tenant_id, ACTOR), row, role, now_us)
        return Entry(entry.tenant_id, entry.principal_id, role)
