"""Tenants, their principals and API keys: how they are made, and the question whose a key is.

Keys are stored as HMACs; the key itself is never here. What happens to principals and keys later is in
``principals.py`` and ``keys.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Connection, String, bindparam, func, insert, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from qpu_backend.domain.principals import check_principals
from qpu_backend.domain.tenancy import PrincipalId, Role, SystemScope, TenantId, TenantScope
from qpu_backend.stores.cursors import page_of
from qpu_backend.stores.database import is_duplicate
from qpu_backend.stores.errors import ForeignTenant, InvalidCursor, MissingRow, NameTaken
from qpu_backend.stores.given import among, listed
from qpu_backend.stores.ids import new_id
from qpu_backend.stores.rows import columns_of, parameters_of
from qpu_backend.stores.schema_access import api_keys, principals, tenants

if TYPE_CHECKING:
    from collections.abc import Collection

DEFAULT_MAX_QUEUED_JOBS: Final = 1000
"""Unfinished jobs that a tenant may have where nothing is said."""


@dataclass(frozen=True, slots=True)
class TenantRow:
    """A tenant and its policy."""

    id: TenantId
    name: str
    created_at_us: int
    weight: int
    max_queued_jobs: int
    disabled: bool


@dataclass(frozen=True, slots=True)
class PrincipalRow:
    """Somebody, or some program, of a tenant."""

    id: PrincipalId
    tenant_id: TenantId
    name: str
    role: Role
    created_at_us: int
    disabled: bool = False
    role_set_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """An API key, without anything that would help to use it."""

    id: str
    tenant_id: TenantId
    principal_id: PrincipalId
    created_at_us: int
    expires_at_us: int | None
    revoked_at_us: int | None
    label: str = ""
    replaces: str | None = None

    def ended(self, now_us: int) -> bool:
        """Whether the key opens nothing any more at this wall time, whoever has it."""
        return self.revoked_at_us is not None or (self.expires_at_us is not None and self.expires_at_us <= now_us)


@dataclass(frozen=True, slots=True)
class KeyOwner:
    """What a presented key says: whose it is, and whether it may still be used.

    Attributes:
        disabled: the tenant, or the principal.
    """

    key_id: str
    tenant_id: TenantId
    tenant_name: str
    principal_id: PrincipalId
    principal_name: str
    role: Role
    expires_at_us: int | None
    revoked_at_us: int | None
    disabled: bool

    def valid(self, now_us: int) -> bool:
        """Whether the key opens the door at this wall time."""
        expired = self.expires_at_us is not None and self.expires_at_us <= now_us
        return not (expired or self.disabled or self.revoked_at_us is not None)


# --- authentication: the one question asked before there is a scope -----------------------------------------------


def find_key(connection: Connection, key_hmac: str) -> KeyOwner | None:
    """Whose key has this HMAC, valid or not; ``None`` when nobody's."""
    return find_keys(connection, [key_hmac]).get(key_hmac)


def find_keys(connection: Connection, key_hmacs: Collection[str]) -> dict[str, KeyOwner]:
    """Whose keys have these HMACs, valid or not, by HMAC; what is nobody's is left out."""
    rows = connection.execute(_FIND_KEYS, {"key_hmacs": listed(key_hmacs)}).all()
    return {row[0]: KeyOwner(*row[1:]) for row in rows}


# --- a tenant about itself ----------------------------------------------------------------------------------------


def read_tenant(connection: Connection, scope: TenantScope) -> TenantRow:
    """The tenant's own row: name, weight, queue limit."""
    row = connection.execute(_TENANT, {"id": scope.tenant_id}).one_or_none()
    if row is None:
        raise MissingRow("tenant", scope.tenant_id)
    return TenantRow(*row)


# --- the operator -------------------------------------------------------------------------------------------------


def create_tenant(
    connection: Connection,
    _scope: SystemScope,
    *,
    name: str,
    now_us: int,
    weight: int = 100,
    max_queued_jobs: int = DEFAULT_MAX_QUEUED_JOBS,
) -> TenantRow:
    """A new tenant.

    Raises:
        NameTaken: there is one of that name.
    """
    tenant = TenantRow(TenantId(new_id("ten")), name, now_us, weight, max_queued_jobs, disabled=False)
    try:
        connection.execute(insert(tenants), _tenant_parameters(tenant))
    except IntegrityError as error:
        if is_duplicate(error):
            raise NameTaken("tenant", name) from error
        raise
    return tenant


def create_principal(
    connection: Connection,
    scope: SystemScope | TenantScope,
    *,
    tenant_id: str,
    name: str,
    role: Role,
    now_us: int,
    role_set_at_us: int | None = None,
) -> PrincipalRow:
    """A new principal of a tenant.

    Raises:
        ForeignTenant: a tenant's scope and another tenant.
        MissingRow: no such tenant.
        NameTaken: the tenant has one of that name.
        TooLarge: the tenant has as many as it may.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    if connection.execute(_TENANT, {"id": tenant_id}).one_or_none() is None:
        raise MissingRow("tenant", tenant_id)
    check_principals(connection.execute(_HOW_MANY, {"tenant_id": tenant_id}).scalar_one())
    principal = PrincipalRow(
        PrincipalId(new_id("prn")), TenantId(tenant_id), name, role, now_us, role_set_at_us=role_set_at_us
    )
    try:
        connection.execute(insert(principals), _principal_parameters(principal))
    except IntegrityError as error:
        if is_duplicate(error):
            raise NameTaken("principal", name) from error
        raise
    return principal


def insert_key(
    connection: Connection,
    scope: SystemScope | TenantScope,
    *,
    tenant_id: str,
    principal_id: str,
    key_hmac: str,
    now_us: int,
    expires_at_us: int | None = None,
    label: str = "",
    replaces: str | None = None,
) -> KeyRow:
    """Store a key's HMAC for a principal; ``replaces`` is the key in whose place it comes.

    Raises:
        ForeignTenant: a tenant's scope and another tenant.
        MissingRow: the tenant has no such principal.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    found = connection.execute(_PRINCIPAL, {"id": principal_id, "tenant_id": tenant_id}).one_or_none()
    if found is None:
        raise MissingRow("principal", principal_id)
    key = KeyRow(
        new_id("key"), TenantId(tenant_id), PrincipalId(principal_id), now_us, expires_at_us, None, label, replaces
    )
    connection.execute(insert(api_keys), {**_key_parameters(key), "key_hmac": key_hmac})
    return key


def list_tenants(connection: Connection, _scope: SystemScope) -> list[TenantRow]:
    """Every tenant, oldest first."""
    return [TenantRow(*row) for row in connection.execute(_TENANTS)]


def page_of_tenants(
    connection: Connection, _scope: SystemScope, *, cursor: str | None = None, limit: int = 100
) -> tuple[list[TenantRow], str | None]:
    """A page of the tenants, oldest first, and the cursor of the next page, ``None`` on the last.

    Raises:
        InvalidCursor: the cursor is not one that a page before this gave out.
    """
    values: dict[str, object] = {"limit": limit + 1, "after_us": -1, "after_id": ""}
    if cursor is not None:
        last = connection.execute(_TENANT, {"id": cursor}).one_or_none()
        if last is None:
            raise InvalidCursor
        values |= {"after_us": TenantRow(*last).created_at_us, "after_id": cursor}
    rows = [TenantRow(*row) for row in connection.execute(_TENANTS_AFTER, values)]
    return page_of(rows, limit, lambda row: row.id)


def find_tenant(connection: Connection, _scope: SystemScope, name: str) -> TenantRow | None:
    """The tenant of that name."""
    row = connection.execute(_TENANT_BY_NAME, {"name": name}).one_or_none()
    return None if row is None else TenantRow(*row)


def list_principals(connection: Connection, _scope: SystemScope, tenant_id: str) -> list[PrincipalRow]:
    """A tenant's principals, oldest first."""
    return [PrincipalRow(*row) for row in connection.execute(_PRINCIPALS, {"tenant_id": tenant_id})]


def list_keys(connection: Connection, _scope: SystemScope, tenant_id: str) -> list[KeyRow]:
    """A tenant's keys, oldest first, the revoked ones too."""
    return [KeyRow(*row) for row in connection.execute(_KEYS, {"tenant_id": tenant_id})]


def set_weight(connection: Connection, _scope: SystemScope, tenant_id: str, weight: int) -> bool:
    """Change a tenant's share of contended devices, for jobs admitted from now on. Whether there is such a tenant."""
    return connection.execute(_SET_WEIGHT, {"tenant": tenant_id, "value": weight}).rowcount == 1


def set_max_queued_jobs(connection: Connection, _scope: SystemScope, tenant_id: str, max_queued_jobs: int) -> bool:
    """Change how many unfinished jobs a tenant may have. Whether there is such a tenant."""
    return connection.execute(_SET_MAX_QUEUED, {"tenant": tenant_id, "value": max_queued_jobs}).rowcount == 1


def set_disabled(connection: Connection, _scope: SystemScope, tenant_id: str, *, disabled: bool) -> bool:
    """Lock a tenant out, or let it in again; its jobs and facts stay. Whether there is such a tenant."""
    return connection.execute(_SET_DISABLED, {"tenant": tenant_id, "value": disabled}).rowcount == 1


_tenant_parameters: Final = parameters_of(TenantRow)
_principal_parameters: Final = parameters_of(PrincipalRow)
_key_parameters: Final = parameters_of(KeyRow)

_TENANTS: Final = select(*columns_of(TenantRow, tenants)).order_by(tenants.c.created_at_us, tenants.c.id)
_TENANTS_AFTER: Final = _TENANTS.where(
    tuple_(tenants.c.created_at_us, tenants.c.id)
    > tuple_(bindparam("after_us", type_=BigInteger()), bindparam("after_id", type_=String()))
).limit(bindparam("limit"))
_TENANT: Final = select(*columns_of(TenantRow, tenants)).where(tenants.c.id == bindparam("id"))
_TENANT_BY_NAME: Final = select(*columns_of(TenantRow, tenants)).where(tenants.c.name == bindparam("name"))
_SET_WEIGHT: Final = update(tenants).where(tenants.c.id == bindparam("tenant")).values(weight=bindparam("value"))
_SET_MAX_QUEUED: Final = (
    update(tenants).where(tenants.c.id == bindparam("tenant")).values(max_queued_jobs=bindparam("value"))
)
_SET_DISABLED: Final = update(tenants).where(tenants.c.id == bindparam("tenant")).values(disabled=bindparam("value"))
_PRINCIPAL: Final = select(principals.c.id).where(
    principals.c.id == bindparam("id"), principals.c.tenant_id == bindparam("tenant_id")
)
_PRINCIPALS: Final = (
    select(*columns_of(PrincipalRow, principals))
    .where(principals.c.tenant_id == bindparam("tenant_id"))
    .order_by(principals.c.created_at_us, principals.c.id)
)
_HOW_MANY: Final = select(func.count()).select_from(principals).where(principals.c.tenant_id == bindparam("tenant_id"))
_KEYS: Final = (
    select(*columns_of(KeyRow, api_keys))
    .where(api_keys.c.tenant_id == bindparam("tenant_id"))
    .order_by(api_keys.c.created_at_us, api_keys.c.id)
)
_FIND_KEYS: Final = (
    select(
        api_keys.c.key_hmac,
        api_keys.c.id,
        tenants.c.id,
        tenants.c.name,
        principals.c.id,
        principals.c.name,
        principals.c.role,
        api_keys.c.expires_at_us,
        api_keys.c.revoked_at_us,
        or_(tenants.c.disabled, principals.c.disabled),
    )
    .join(principals, principals.c.id == api_keys.c.principal_id)
    .join(tenants, tenants.c.id == api_keys.c.tenant_id)
    .where(among(api_keys.c.key_hmac, "key_hmacs"))
)
