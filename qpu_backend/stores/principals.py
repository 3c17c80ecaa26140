"""Principals after they were made: lists, changes, and the question who a subject of a token is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Connection, and_, bindparam, func, select, tuple_, update

from qpu_backend.stores.access import PrincipalRow
from qpu_backend.stores.cursors import CURSOR, page_of
from qpu_backend.stores.errors import ForeignTenant, InvalidCursor
from qpu_backend.stores.rows import columns_of
from qpu_backend.stores.schema_access import principals, tenants

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from qpu_backend.domain.tenancy import PrincipalId, Role, SystemScope, TenantId, TenantScope


@dataclass(frozen=True, slots=True)
class Subject:
    """A tenant by its name, and its principal of a name, if it has one.

    Attributes:
        disabled: the tenant, or the principal.
        role_set_at_us: when the newest token was issued that said the role.
    """

    tenant_id: TenantId
    principal_id: PrincipalId | None
    role: Role | None
    disabled: bool
    role_set_at_us: int | None = None


def find_subject(connection: Connection, _scope: SystemScope, tenant: str, principal: str) -> Subject | None:
    """Who has these names; ``None`` when there is no such tenant."""
    row = connection.execute(_SUBJECT, {"tenant_name": tenant, "name": principal}).one_or_none()
    if row is None:
        return None
    tenant_id, tenant_disabled, principal_id, role, disabled, role_set_at_us = row
    return Subject(tenant_id, principal_id, role, bool(tenant_disabled or disabled), role_set_at_us)


def get_principal(
    connection: Connection, scope: SystemScope | TenantScope, tenant_id: str, principal_id: str, *, lock: bool = False
) -> PrincipalRow | None:
    """A principal of the tenant.

    Args:
        connection: of a write transaction, with ``lock``.
        scope: the tenant's, or the service's.
        tenant_id: whose principal it is.
        principal_id: which.
        lock: nobody else changes it before this transaction has ended.

    Raises:
        ForeignTenant: a tenant's scope and another tenant.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    row = connection.execute(_LOCK if lock else _ONE, {"tenant": tenant_id, "principal": principal_id}).one_or_none()
    return None if row is None else PrincipalRow(*row)


def find_principal(
    connection: Connection, _scope: SystemScope, tenant_id: str, name: str, *, lock: bool = False
) -> PrincipalRow | None:
    """The principal of that name; with ``lock``, nobody else changes it before this transaction has ended."""
    row = connection.execute(_LOCK_NAMED if lock else _NAMED, {"tenant": tenant_id, "name": name}).one_or_none()
    return None if row is None else PrincipalRow(*row)


def names_of(
    connection: Connection, _scope: SystemScope, tenant_id: str, principal_ids: Collection[str]
) -> dict[str, str]:
    """The names of some of the tenant's principals, by their ids."""
    if not principal_ids:
        return {}
    rows = connection.execute(_NAMES, {"tenant": tenant_id, "principals": sorted(principal_ids)})
    return {row.id: row.name for row in rows}


def page_of_principals(
    connection: Connection,
    scope: SystemScope | TenantScope,
    tenant_id: str,
    *,
    cursor: str | None = None,
    limit: int = 100,
) -> tuple[list[PrincipalRow], str | None]:
    """A page of the tenant's principals, oldest first, and the cursor of the next page, ``None`` on the last.

    Raises:
        ForeignTenant: a tenant's scope and another tenant.
        InvalidCursor: the cursor is not one that a page before this gave out.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    query = _ALL
    values: dict[str, object] = {"tenant": tenant_id, "limit": limit + 1}
    if cursor is not None:
        last = get_principal(connection, scope, tenant_id, cursor)
        if last is None:
            raise InvalidCursor
        query = query.where(_YOUNGER)
        values |= {"cursor_us": last.created_at_us, "cursor_id": last.id}
    rows = [PrincipalRow(*row) for row in connection.execute(query, values)]
    return page_of(rows, limit, lambda row: row.id)


def lock_roster(connection: Connection, scope: SystemScope | TenantScope, tenant_id: str) -> Sequence[PrincipalRow]:
    """All principals of the tenant; nobody else changes one before this transaction has ended.

    Raises:
        ForeignTenant: a tenant's scope and another tenant.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    return [PrincipalRow(*row) for row in connection.execute(_ROSTER, {"tenant": tenant_id})]


def set_standing(
    connection: Connection,
    scope: SystemScope | TenantScope,
    tenant_id: str,
    principal_id: str,
    *,
    role: Role,
    disabled: bool,
    role_set_at_us: int | None = None,
) -> None:
    """Change what a principal is; follows a lock of it, by :func:`lock_roster` or alone.

    Args:
        connection: of a write transaction.
        scope: the tenant's, or the service's.
        tenant_id: whose principal it is.
        principal_id: which.
        role: from now on.
        disabled: from now on.
        role_set_at_us: when the token was issued that says the role; ``None``: no token does, and what is noted stays.

    Raises:
        ForeignTenant: a tenant's scope and another tenant.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    values = {
        "tenant": tenant_id,
        "principal": principal_id,
        "to_role": role,
        "to_disabled": disabled,
        "said_at_us": role_set_at_us,
    }
    connection.execute(_SET_STANDING, values)


_OF_TENANT: Final = principals.c.tenant_id == bindparam("tenant")
_THIS: Final = and_(_OF_TENANT, principals.c.id == bindparam("principal"))
_ROW: Final = columns_of(PrincipalRow, principals)
_ONE: Final = select(*_ROW).where(_THIS)
_LOCK: Final = _ONE.with_for_update(key_share=True)
_NAMED: Final = select(*_ROW).where(_OF_TENANT, principals.c.name == bindparam("name"))
_LOCK_NAMED: Final = _NAMED.with_for_update(key_share=True)
_NAMES: Final = select(principals.c.id, principals.c.name).where(
    _OF_TENANT, principals.c.id.in_(bindparam("principals", expanding=True))
)
_ALL: Final = (
    select(*_ROW).where(_OF_TENANT).order_by(principals.c.created_at_us, principals.c.id).limit(bindparam("limit"))
)
_YOUNGER: Final = tuple_(principals.c.created_at_us, principals.c.id) > CURSOR
_ROSTER: Final = select(*_ROW).where(_OF_TENANT).order_by(principals.c.id).with_for_update(key_share=True)
_SET_STANDING: Final = (
    update(principals)
    .where(_THIS)
    .values(
        role=bindparam("to_role"),
        disabled=bindparam("to_disabled"),
        role_set_at_us=func.coalesce(bindparam("said_at_us", type_=BigInteger()), principals.c.role_set_at_us),
    )
)
_SUBJECT: Final = (
    select(
        tenants.c.id,
        tenants.c.disabled,
        principals.c.id,
        principals.c.role,
        principals.c.disabled,
        principals.c.role_set_at_us,
    )
    .select_from(
        tenants.outerjoin(
            principals, and_(principals.c.tenant_id == tenants.c.id, principals.c.name == bindparam("name"))
        )
    )
    .where(tenants.c.name == bindparam("tenant_name"))
)
