"""API keys after they were made: lists, ends, and who has how many. A key itself is never here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Connection, and_, bindparam, func, or_, select, tuple_, update

from qpu_backend.stores.access import KeyRow
from qpu_backend.stores.cursors import CURSOR, page_of
from qpu_backend.stores.errors import ForeignTenant, InvalidCursor
from qpu_backend.stores.rows import columns_of
from qpu_backend.stores.schema_access import api_keys

if TYPE_CHECKING:
    from collections.abc import Collection

    from qpu_backend.domain.tenancy import SystemScope, TenantScope


def find_tenant_of_key(connection: Connection, _scope: SystemScope, key_id: str) -> str | None:
    """The id of the tenant that has a key of this id."""
    return connection.execute(_TENANT_OF, {"key": key_id}).scalar_one_or_none()


def get_key(
    connection: Connection, scope: SystemScope | TenantScope, tenant_id: str, key_id: str, *, lock: bool = False
) -> KeyRow | None:
    """A key of the tenant.

    Args:
        connection: of a write transaction, with ``lock``.
        scope: the tenant's, or the service's.
        tenant_id: whose key it is.
        key_id: which.
        lock: nobody else ends or replaces it before this transaction has ended.

    Raises:
        ForeignTenant: a tenant's scope and another tenant.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    row = connection.execute(_LOCK if lock else _ONE, {"tenant": tenant_id, "key": key_id}).one_or_none()
    return None if row is None else KeyRow(*row)


def page_of_keys(
    connection: Connection,
    scope: SystemScope | TenantScope,
    tenant_id: str,
    principal_id: str,
    *,
    cursor: str | None = None,
    limit: int = 100,
) -> tuple[list[KeyRow], str | None]:
    """A page of a principal's keys, newest first, ended ones too, and the cursor of the next page, if there is one.

    Raises:
        ForeignTenant: a tenant's scope and another tenant.
        InvalidCursor: the cursor is not one that a page before this gave out.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    query = _NEWEST
    values: dict[str, object] = {"tenant": tenant_id, "principal": principal_id, "limit": limit + 1}
    if cursor is not None:
        last = get_key(connection, scope, tenant_id, cursor)
        if last is None or last.principal_id != principal_id:
            raise InvalidCursor
        query = query.where(_OLDER)
        values |= {"cursor_us": last.created_at_us, "cursor_id": last.id}
    rows = [KeyRow(*row) for row in connection.execute(query, values)]
    return page_of(rows, limit, lambda row: row.id)


def count_live_keys(
    connection: Connection, scope: SystemScope | TenantScope, tenant_id: str, principal_id: str, now_us: int
) -> int:
    """How many keys of a principal open the door at this wall time.

    Raises:
        ForeignTenant: a tenant's scope and another tenant.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    values = {"tenant": tenant_id, "principal": principal_id, "now": now_us}
    return int(connection.execute(_COUNT_LIVE, values).scalar_one())


def with_live_keys(
    connection: Connection,
    scope: SystemScope | TenantScope,
    tenant_id: str,
    principal_ids: Collection[str],
    now_us: int,
) -> set[str]:
    """Which of these principals have a key that opens the door at this wall time.

    Raises:
        ForeignTenant: a tenant's scope and another tenant.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    values = {"tenant": tenant_id, "principals": sorted(principal_ids), "now": now_us}
    return set(connection.execute(_WITH_LIVE, values).scalars()) if principal_ids else set()


def end_key(connection: Connection, scope: SystemScope | TenantScope, tenant_id: str, key_id: str, at_us: int) -> None:
    """Let a key expire at this wall time, if it does not before.

    Raises:
        ForeignTenant: a tenant's scope and another tenant.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    connection.execute(_END, {"tenant": tenant_id, "key": key_id, "at_us": at_us})


def revoke_one(
    connection: Connection, scope: SystemScope | TenantScope, tenant_id: str, key_id: str, now_us: int
) -> bool:
    """Close the door for a key. Whether this call did it: a revoked key stays revoked since the first time.

    Raises:
        ForeignTenant: a tenant's scope and another tenant.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    return connection.execute(_REVOKE, {"tenant": tenant_id, "key": key_id, "at_us": now_us}).rowcount == 1


def successors_of(
    connection: Connection, scope: SystemScope | TenantScope, tenant_id: str, key_id: str
) -> list[KeyRow]:
    """The keys that came of a key by rotation, however many times, oldest first; ended ones too, itself not.

    Raises:
        ForeignTenant: a tenant's scope and another tenant.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    return [KeyRow(*row) for row in connection.execute(_SUCCESSORS, {"tenant": tenant_id, "key": key_id})]


def revoke_keys_of(
    connection: Connection, scope: SystemScope | TenantScope, tenant_id: str, principal_id: str, now_us: int
) -> int:
    """Close the door for every key of a principal; how many this call closed.

    Raises:
        ForeignTenant: a tenant's scope and another tenant.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    values = {"tenant": tenant_id, "principal": principal_id, "at_us": now_us}
    return connection.execute(_REVOKE_ALL, values).rowcount


_OF_TENANT: Final = api_keys.c.tenant_id == bindparam("tenant")
_OF_PRINCIPAL: Final = and_(_OF_TENANT, api_keys.c.principal_id == bindparam("principal"))
_THIS: Final = and_(_OF_TENANT, api_keys.c.id == bindparam("key"))
_OPEN: Final = api_keys.c.revoked_at_us.is_(None)
_ROW: Final = columns_of(KeyRow, api_keys)

_TENANT_OF: Final = select(api_keys.c.tenant_id).where(api_keys.c.id == bindparam("key"))
_ONE: Final = select(*_ROW).where(_THIS)
_LOCK: Final = _ONE.with_for_update()
_CAME_OF: Final = (
    select(api_keys.c.id).where(_OF_TENANT, api_keys.c.replaces == bindparam("key")).cte("came_of", recursive=True)
)
_ALL_THAT_CAME: Final = _CAME_OF.union(select(api_keys.c.id).where(_OF_TENANT, api_keys.c.replaces == _CAME_OF.c.id))
_SUCCESSORS: Final = (
    select(*_ROW)
    .where(api_keys.c.id.in_(select(_ALL_THAT_CAME.c.id)))
    .order_by(api_keys.c.created_at_us, api_keys.c.id)
)
_NEWEST: Final = (
    select(*_ROW)
    .where(_OF_PRINCIPAL)
    .order_by(api_keys.c.created_at_us.desc(), api_keys.c.id.desc())
    .limit(bindparam("limit"))
)
_OLDER: Final = tuple_(api_keys.c.created_at_us, api_keys.c.id) < CURSOR
_LIVE: Final = and_(
    _OPEN, or_(api_keys.c.expires_at_us.is_(None), api_keys.c.expires_at_us > bindparam("now", type_=BigInteger()))
)
_COUNT_LIVE: Final = select(func.count()).select_from(api_keys).where(_OF_PRINCIPAL, _LIVE)
_WITH_LIVE: Final = (
    select(api_keys.c.principal_id)
    .where(_OF_TENANT, api_keys.c.principal_id.in_(bindparam("principals", expanding=True)), _LIVE)
    .distinct()
)
_END: Final = (
    update(api_keys)
    .where(
        _THIS,
        or_(api_keys.c.expires_at_us.is_(None), api_keys.c.expires_at_us > bindparam("at_us", type_=BigInteger())),
    )
    .values(expires_at_us=bindparam("at_us", type_=BigInteger()))
)
_REVOKE: Final = update(api_keys).where(_THIS, _OPEN).values(revoked_at_us=bindparam("at_us"))
_REVOKE_ALL: Final = update(api_keys).where(_OF_PRINCIPAL, _OPEN).values(revoked_at_us=bindparam("at_us"))
