"""What an invoice is made of: usage records of jobs, sessions that were closed, and refunds, of one tenant and month.

A line of an invoice does not list its records: it names what they have in common, and a month that is over gets no more
of them. So each line opens into its raw records by one query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    JSON,
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    Integer,
    String,
    and_,
    bindparam,
    cast,
    exists,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    union,
)

from qpu_backend.domain.invoices import Fact, Group, LineKind
from qpu_backend.domain.ledger import REVENUE
from qpu_backend.stores.cursors import page_of
from qpu_backend.stores.errors import ForeignTenant, InvalidCursor
from qpu_backend.stores.rows import STREAMED
from qpu_backend.stores.schema import sessions
from qpu_backend.stores.schema_money import postings, usage_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpu_backend.domain.quota import Interval
    from qpu_backend.domain.tenancy import SystemScope, TenantScope


@dataclass(frozen=True, slots=True)
class RecordRow:
    """One raw record behind a line: of a job, of a session that was closed, or a refund.

    Attributes:
        at_us: when it was recorded, wall time.
        outcome: of a job: its final state.
        held_cost: of a session: what it kept and nobody used, µs · qubit.
        amount_micro: what the tenant was charged; negative: was given back.
    """

    id: str
    at_us: int
    principal_id: str | None
    job_id: str | None
    device_id: str | None
    lane: str | None
    price_book: str | None
    outcome: str | None
    shots: int
    device_us: int
    footprint_qubits: int | None
    held_cost: int | None
    amount_micro: int
    tags: list[str] | None


def facts_of(
    connection: Connection, scope: SystemScope | TenantScope, tenant_id: str, month: Interval
) -> Iterator[Fact]:
    """Everything that was recorded of a tenant in a month, a thousand rows at a time.

    Raises:
        ForeignTenant: a tenant's scope and another tenant's month.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    return _facts(connection, tenant_id, month)


def _facts(connection: Connection, tenant_id: str, month: Interval) -> Iterator[Fact]:
    values = {"tenant": tenant_id, "start": month.start_us, "end": month.end_us}
    for kind, query in _FACTS.items():
        for row in connection.execute(query, values, execution_options=STREAMED):
            yield Fact(Group(kind, row[0], row[1], row[2]), int(row[3]), int(row[4]), int(row[5]))


def tenants_with_facts(connection: Connection, _scope: SystemScope, month: Interval) -> list[str]:
    """Ids of the tenants of which anything was recorded in a month, in order."""
    values = {"start": month.start_us, "end": month.end_us}
    return list(connection.execute(_TENANTS, values).scalars())


def records_of_line(
    connection: Connection,
    scope: SystemScope | TenantScope,
    tenant_id: str,
    month: Interval,
    group: Group,
    *,
    cursor: str | None = None,
    limit: int = 100,
) -> tuple[list[RecordRow], str | None]:
    """A page of the raw records of a tenant's line, by id, and the cursor of the next page, ``None`` on the last.

    Raises:
        ForeignTenant: a tenant's scope and another tenant's line.
        InvalidCursor: the cursor is not one that a page before this gave out.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    query = _RECORDS.get(group.kind)
    if query is None:  # the allowance is nothing that happened
        return [], None
    values: dict[str, object] = {
        "tenant": tenant_id,
        "start": month.start_us,
        "end": month.end_us,
        "device": group.device_id,
        "in_lane": group.lane,
        "book": group.price_book,
        "limit": limit + 1,
        "after": "",
    }
    if cursor is not None:
        if (
            not cursor.isprintable()
            or connection.execute(_KNOWN[group.kind], values | {"after": cursor}).first() is None
        ):
            raise InvalidCursor
        values["after"] = cursor
    rows = [RecordRow(*row) for row in connection.execute(query, values)]
    return page_of(rows, limit, lambda row: row.id)


# --- the three kinds of records, as columns that reconciliation reads too -----------------------------------------

_START: Final = bindparam("start", type_=BigInteger())
_END: Final = bindparam("end", type_=BigInteger())


def _within(column: ColumnElement[int]) -> ColumnElement[bool]:
    return and_(column >= _START, column < _END)


CHARGED_OTHERWISE: Final = and_(
    postings.c.account == "tenant:" + postings.c.tenant_id,
    ~exists(select(1).where(usage_records.c.id == postings.c.transaction_id)),
    ~exists(select(1).where(sessions.c.id == postings.c.transaction_id)),
)
"""Postings on a tenant's account that neither a job nor a session caused."""
_OF_REVENUE: Final = postings.alias("of_revenue")
IS_REFUND: Final = and_(
    CHARGED_OTHERWISE,
    exists(
        select(1).where(_OF_REVENUE.c.transaction_id == postings.c.transaction_id, _OF_REVENUE.c.account == REVENUE)
    ),
)
"""Those that gave back, or took, what is revenue: not top-ups, and not the allowances of invoices."""

_NOTHING: Final[ColumnElement[int]] = literal_column("0", BigInteger)
_RECORDED: Final[dict[LineKind, tuple[ColumnElement[bool], ColumnElement[bool]]]] = {
    LineKind.JOBS: (usage_records.c.tenant_id == bindparam("tenant"), _within(usage_records.c.recorded_at_us)),
    LineKind.SESSIONS: (sessions.c.tenant_id == bindparam("tenant"), _within(sessions.c.closed_at_us)),
    LineKind.REFUNDS: (postings.c.tenant_id == bindparam("tenant"), and_(_within(postings.c.posted_at_us), IS_REFUND)),
}
_FACTS: Final[dict[LineKind, Executable]] = {
    LineKind.JOBS: select(
        usage_records.c.device_id,
        usage_records.c.lane,
        usage_records.c.price_book,
        usage_records.c.shots,
        usage_records.c.device_us,
        usage_records.c.price_micro,
    ).where(*_RECORDED[LineKind.JOBS]),
    LineKind.SESSIONS: select(
        sessions.c.device_id,
        sessions.c.lane,
        sessions.c.price_book,
        _NOTHING,
        _NOTHING,
        func.coalesce(sessions.c.price_micro, 0),
    ).where(*_RECORDED[LineKind.SESSIONS]),
    LineKind.REFUNDS: select(null(), null(), null(), _NOTHING, _NOTHING, -postings.c.amount_micro).where(
        *_RECORDED[LineKind.REFUNDS]
    ),
}
_TENANTS: Final = union(
    select(usage_records.c.tenant_id).where(_RECORDED[LineKind.JOBS][1]),
    select(sessions.c.tenant_id).where(_RECORDED[LineKind.SESSIONS][1]),
    select(postings.c.tenant_id).where(_RECORDED[LineKind.REFUNDS][1]),
).order_by("tenant_id")


def _same(column: ColumnElement[str | None], name: str) -> ColumnElement[bool]:
    """Equal, or both missing."""
    value = bindparam(name, type_=String())
    return or_(column == value, and_(column.is_(None), cast(value, String).is_(None)))


_AFTER: Final = bindparam("after", type_=String())
_LIMIT: Final = bindparam("limit", type_=Integer())
_NO_TEXT: Final = cast(null(), String)
_NO_NUMBER: Final = cast(null(), BigInteger)
_IDS: Final[dict[LineKind, ColumnElement[str]]] = {
    LineKind.JOBS: usage_records.c.id,
    LineKind.SESSIONS: sessions.c.id,
    LineKind.REFUNDS: postings.c.transaction_id,
}
_OF_LINE: Final[dict[LineKind, ColumnElement[bool]]] = {
    LineKind.JOBS: and_(
        *_RECORDED[LineKind.JOBS],
        _same(usage_records.c.device_id, "device"),
        _same(usage_records.c.lane, "in_lane"),
        _same(usage_records.c.price_book, "book"),
    ),
    LineKind.SESSIONS: and_(
        *_RECORDED[LineKind.SESSIONS],
        _same(sessions.c.device_id, "device"),
        _same(sessions.c.lane, "in_lane"),
        _same(sessions.c.price_book, "book"),
    ),
    LineKind.REFUNDS: and_(*_RECORDED[LineKind.REFUNDS]),
}
_COLUMNS: Final[dict[LineKind, tuple[ColumnElement[Any], ...]]] = {
    LineKind.JOBS: (
        usage_records.c.id,
        usage_records.c.recorded_at_us,
        usage_records.c.principal_id,
        usage_records.c.job_id,
        usage_records.c.device_id,
        usage_records.c.lane,
        usage_records.c.price_book,
        usage_records.c.outcome,
        usage_records.c.shots,
        usage_records.c.device_us,
        usage_records.c.footprint_qubits,
        _NO_NUMBER,
        usage_records.c.price_micro,
        usage_records.c.tags,
    ),
    LineKind.SESSIONS: (
        sessions.c.id,
        sessions.c.closed_at_us,
        sessions.c.principal_id,
        _NO_TEXT,
        sessions.c.device_id,
        sessions.c.lane,
        sessions.c.price_book,
        _NO_TEXT,
        _NOTHING,
        _NOTHING,
        _NO_NUMBER,
        sessions.c.held_cost,
        func.coalesce(sessions.c.price_micro, 0),
        literal(None, JSON(none_as_null=True)),
    ),
    LineKind.REFUNDS: (
        postings.c.transaction_id,
        postings.c.posted_at_us,
        *(_NO_TEXT,) * 6,
        _NOTHING,
        _NOTHING,
        _NO_NUMBER,
        _NO_NUMBER,
        -postings.c.amount_micro,
        literal(None, JSON(none_as_null=True)),
    ),
}
_RECORDS: Final = {
    kind: select(*columns).where(_OF_LINE[kind], _IDS[kind] > _AFTER).order_by(_IDS[kind]).limit(_LIMIT)
    for kind, columns in _COLUMNS.items()
}
_KNOWN: Final = {kind: select(_IDS[kind]).where(_OF_LINE[kind], _IDS[kind] == _AFTER) for kind in _COLUMNS}
