"""The audit log: who did what to whom. Rows are added, then sealed once; nothing else ever happens to them.

The order of the chain is the order of sealing, not of ids: a transaction that commits late has its rows sealed late.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Text,
    bindparam,
    cast,
    func,
    insert,
    select,
    text,
    tuple_,
    update,
)

from qpu_backend.domain.audit import Entry, Sealed, by_principal
from qpu_backend.stores.cursors import CURSOR, page_of, read_cursor, write_cursor
from qpu_backend.stores.errors import ForeignTenant
from qpu_backend.stores.ids import new_id
from qpu_backend.stores.schema_access import audit_log, principals

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from qpu_backend.domain.tenancy import SystemScope, TenantScope

OPERATOR: Final = "operator"
"""What a tenant reads where a principal of another tenant acted."""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A row of the log.

    Attributes:
        number: in the chain; ``None`` until sealed.
        seal: over it and the seal before.
    """

    entry: Entry
    number: int | None
    seal: str | None


@dataclass(frozen=True, slots=True)
class Search:
    """Which rows are asked for; what is ``None`` is not asked about.

    Attributes:
        action: as a whole, or with its noun: ``key`` for every ``key.…``.
        since_us: wall time.
    """

    tenant_id: str | None = None
    action: str | None = None
    since_us: int | None = None


def append(
    connection: Connection,
    scope: SystemScope | TenantScope,
    *,
    actor: str,
    action: str,
    subject: str,
    tenant_id: str | None,
    facts: Mapping[str, Any],
    now_us: int,
) -> None:
    """Note an administrative, access or money-changing action in the transaction that does it.

    Args:
        connection: of that transaction.
        scope: the tenant whose matter it is, or the service.
        actor: ``principal:<id>``, ``cli`` or ``service``.
        action: what was done, ``noun.verb`` in the past tense: ``key.created``.
        subject: id of what it was done to.
        tenant_id: whose matter it is; ``None``: the service's.
        facts: what one needs to understand it later, plain JSON; never a key, never a payload.
        now_us: wall time.

    Raises:
        ForeignTenant: a tenant's scope and another tenant's matter.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    row = {
        "id": new_id("aud"),
        "at_us": now_us,
        "actor": actor,
        "tenant_id": tenant_id,
        "action": action,
        "subject": subject,
        "facts": dict(facts),
    }
    connection.execute(_APPEND, row)


# --- reading --------------------------------------------------------------------------------------------------------


def list_rows(
    connection: Connection, _scope: SystemScope, search: Search, *, cursor: str | None = None, limit: int = 100
) -> tuple[list[AuditRow], str | None]:
    """A page of everybody's rows, newest first, and the cursor of the next page, ``None`` on the last.

    Raises:
        InvalidCursor: the cursor is not one that a page before this gave out.
    """
    return _page(connection, search, cursor, limit)


def list_own_rows(
    connection: Connection, scope: TenantScope, search: Search, *, cursor: str | None = None, limit: int = 100
) -> tuple[list[AuditRow], str | None]:
    """As :func:`list_rows`, of the tenant's own matters; a principal of others that acted in them is ``operator``.

    Raises:
        InvalidCursor: the cursor is not one that a page before this gave out.
    """
    search = Search(scope.tenant_id, search.action, search.since_us)
    rows, following = _page(connection, search, cursor, limit)
    own = {by_principal(one) for one in connection.execute(_PRINCIPALS, {"tenant": scope.tenant_id}).scalars()}
    return [row if _may_name(row.entry.actor, own) else _anonymous(row) for row in rows], following


def sealed_rows(connection: Connection, _scope: SystemScope) -> Iterator[Sealed]:
    """The whole chain, by number, read as it is asked for."""
    found = connection.execution_options(yield_per=_CHUNK).execute(_CHAIN)
    for *entry, number, seal in found:
        yield Sealed(number, seal, _entry(entry))


def last_sealed(connection: Connection, _scope: SystemScope, *, limit: int = 1) -> list[Sealed]:
    """The end of the chain, last first."""
    found = connection.execute(_TAIL, {"limit": limit})
    return [Sealed(number, seal, _entry(entry)) for *entry, number, seal in found]


def unsealed_rows(connection: Connection, _scope: SystemScope, *, limit: int | None = None) -> list[Entry]:
    """Rows that are not sealed yet, by id."""
    query = _UNSEALED if limit is None else _UNSEALED.limit(limit)
    return [_entry(entry) for entry in connection.execute(query)]


def has_unsealed(connection: Connection, _scope: SystemScope) -> bool:
    """Whether any row waits to be sealed: one look into an index that is empty otherwise."""
    return connection.execute(_ANY_UNSEALED).first() is not None


# --- sealing --------------------------------------------------------------------------------------------------------


def lock_chain(connection: Connection, _scope: SystemScope) -> bool:
    """Be the only one that seals until this transaction has ended; ``False``, at once, while somebody else is.

    On SQLite the write lock, which this transaction has, is that lock.
    """
    if connection.dialect.name == "sqlite":
        return True
    return bool(connection.execute(_LOCK).scalar_one())


def seal_rows(connection: Connection, _scope: SystemScope, rows: Sequence[Sealed]) -> None:
    """Give rows their places. Under :func:`lock_chain`; that no two rows ever have the same number is a constraint.

    Raises:
        ValueError: a row was sealed already, or is gone.
    """
    parameters = [{"row": row.entry.id, "at": row.number, "with": row.seal} for row in rows]
    if parameters and connection.execute(_SEAL, parameters).rowcount != len(parameters):
        raise ValueError("a row of the audit log was sealed twice, or went away")


# --- rows, statements -----------------------------------------------------------------------------------------------


def _page(connection: Connection, search: Search, cursor: str | None, limit: int) -> tuple[list[AuditRow], str | None]:
    query = _PAGE
    values: dict[str, object] = {"limit": limit + 1}
    if search.tenant_id is not None:
        query = query.where(audit_log.c.tenant_id == bindparam("tenant"))
        values["tenant"] = search.tenant_id
    if search.action is not None:
        query = query.where(_OF_ACTION)
        values |= {"action": search.action, "noun": f"{search.action}.", "length": len(search.action) + 1}
    if search.since_us is not None:
        query = query.where(audit_log.c.at_us >= bindparam("since"))
        values["since"] = search.since_us
    if cursor is not None:
        query = query.where(_BEFORE)
        values["cursor_us"], values["cursor_id"] = read_cursor(cursor, "aud_")
    rows = [AuditRow(_entry(entry), number, seal) for *entry, number, seal in connection.execute(query, values)]
    return page_of(rows, limit, lambda row: write_cursor(row.entry.at_us, row.entry.id))


def _entry(columns: Sequence[Any]) -> Entry:
    row_id, at_us, actor, tenant_id, action, subject, facts = columns
    read: dict[str, Any] | None
    try:
        read = json.loads(facts)
    except (ValueError, TypeError, RecursionError):  # not what anybody of us wrote: it will not be what was sealed
        read = None
    if not isinstance(read, dict):
        read = {"unreadable": repr(facts)}
    return Entry(row_id, at_us, actor, tenant_id, action, subject, read)


def _may_name(actor: str, own: set[str]) -> bool:
    return actor in own or not actor.startswith(by_principal(""))


def _anonymous(row: AuditRow) -> AuditRow:
    entry = row.entry
    named = (entry.tenant_id, entry.action, entry.subject, entry.facts)
    return AuditRow(Entry(entry.id, entry.at_us, OPERATOR, *named), row.number, row.seal)


_CHUNK: Final = 1000
_LOCK_NUMBER: Final = 0x71_7075_6175_6474  # "qpuaudt"
_SEALED: Final = audit_log.c.number.is_not(None)
_POSSIBLE: Final = audit_log.c.number.between(1, 10**12)  # what somebody made of one must not use up all others
_COLUMNS: Final[tuple[ColumnElement[Any], ...]] = (
    audit_log.c.id,
    audit_log.c.at_us,
    audit_log.c.actor,
    audit_log.c.tenant_id,
    audit_log.c.action,
    audit_log.c.subject,
    cast(audit_log.c.facts, Text),  # as it was stored: what somebody spoiled must still be told of
)
_PLACED: Final[tuple[ColumnElement[Any], ...]] = (*_COLUMNS, audit_log.c.number, audit_log.c.seal)
_APPEND: Final = insert(audit_log)
_CHAIN: Final = select(*_PLACED).where(_SEALED).order_by(audit_log.c.number, audit_log.c.id)
_TAIL: Final = select(*_PLACED).where(_POSSIBLE).order_by(audit_log.c.number.desc()).limit(bindparam("limit"))
_UNSEALED: Final = select(*_COLUMNS).where(audit_log.c.number.is_(None)).order_by(audit_log.c.id)
_ANY_UNSEALED: Final = select(audit_log.c.id).where(audit_log.c.number.is_(None)).limit(1)
_LOCK: Final = select(func.pg_try_advisory_xact_lock(text(str(_LOCK_NUMBER))))
_SEAL: Final = (
    update(audit_log)
    .where(audit_log.c.id == bindparam("row"), audit_log.c.number.is_(None))
    .values(number=bindparam("at"), seal=bindparam("with"))
)
_PAGE: Final = select(*_PLACED).order_by(audit_log.c.at_us.desc(), audit_log.c.id.desc()).limit(bindparam("limit"))
_OF_ACTION: Final = (audit_log.c.action == bindparam("action")) | (
    func.substr(audit_log.c.action, 1, bindparam("length")) == bindparam("noun")
)
_BEFORE: Final = tuple_(audit_log.c.at_us, audit_log.c.id) < CURSOR
_PRINCIPALS: Final = select(principals.c.id).where(principals.c.tenant_id == bindparam("tenant"))
