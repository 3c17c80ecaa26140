"""Invoices that were issued, compared with the records of their months: sums with lines, lines with records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Executable,
    String,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
)

from qpu_backend.domain.invoices import LineKind, Month
from qpu_backend.domain.reconciliation import Difference, Finding
from qpu_backend.stores.invoice_records import IS_REFUND
from qpu_backend.stores.rows import STREAMED
from qpu_backend.stores.schema import sessions
from qpu_backend.stores.schema_money import invoice_lines, invoices, postings, usage_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy import Subquery

    from qpu_backend.domain.tenancy import SystemScope


def invoice_findings(connection: Connection, _scope: SystemScope) -> Iterator[Finding]:
    """Invoices that do not add up, month by month."""
    for kind, statement in ((Difference.INVOICE_TOTAL, _TOTAL), (Difference.MISPOSTED_ALLOWANCE, _ALLOWANCE)):
        yield from read_findings(connection, kind, statement)
    for month in list(connection.execute(_MONTHS).scalars()):
        bounds = Month.parse(month).interval
        values = {"of_month": month, "start": bounds.start_us, "end": bounds.end_us}
        for kind, statement in _MONTHLY:
            yield from read_findings(connection, kind, statement, values)


def read_findings(
    connection: Connection, kind: Difference, statement: Executable, values: Mapping[str, Any] | None = None
) -> Iterator[Finding]:
    """What a statement finds: id, tenant, unit, what was expected, what was found."""
    for row in connection.execute(statement, values, execution_options=STREAMED):
        yield Finding(kind, row[0], row[1], row[2], int(row[3]), int(row[4]))


# --- sums and lines -----------------------------------------------------------------------------------------------

_IS_ALLOWANCE: Final = invoice_lines.c.kind == LineKind.ALLOWANCE.value


def _sum_of_lines(which: ColumnElement[bool]) -> ColumnElement[int]:
    return (
        select(func.coalesce(func.sum(invoice_lines.c.amount_micro), 0))
        .where(invoice_lines.c.invoice_id == invoices.c.id, which)
        .scalar_subquery()
    )


_CHARGED: Final = _sum_of_lines(~_IS_ALLOWANCE)
_FREE: Final = _sum_of_lines(_IS_ALLOWANCE)
_TOTAL: Final = select(
    invoices.c.id, invoices.c.tenant_id, literal("micro"), _CHARGED + _FREE, invoices.c.total_micro
).where(
    or_(
        invoices.c.charged_micro != _CHARGED,
        invoices.c.allowance_micro != -_FREE,
        invoices.c.total_micro != invoices.c.charged_micro - invoices.c.allowance_micro,
    )
)
_GIVEN: Final[ColumnElement[int]] = (
    select(func.coalesce(func.sum(postings.c.amount_micro), 0))
    .where(
        postings.c.transaction_id == invoices.c.id,
        postings.c.account == "tenant:" + invoices.c.tenant_id,
    )
    .scalar_subquery()
)
_ALLOWANCE: Final = select(
    invoices.c.id, invoices.c.tenant_id, literal("micro"), invoices.c.allowance_micro, _GIVEN
).where(invoices.c.allowance_micro != _GIVEN)
_MONTHS: Final = select(invoices.c.month).distinct().order_by(invoices.c.month)

# --- lines and records --------------------------------------------------------------------------------------------

_ZERO: Final[ColumnElement[int]] = literal_column("0", BigInteger)
_NO_TEXT: Final = cast(null(), String)


def _raw(of_invoiced_tenants: ColumnElement[bool]) -> Subquery:
    """All raw records of a month, of the tenants that have an invoice for it."""
    start, end = bindparam("start", type_=BigInteger()), bindparam("end", type_=BigInteger())
    used = select(
        usage_records.c.id.label("id"),
        usage_records.c.tenant_id.label("tenant_id"),
        literal(LineKind.JOBS.value).label("kind"),
        usage_records.c.device_id.label("device_id"),
        usage_records.c.lane.label("lane"),
        usage_records.c.price_book.label("price_book"),
        usage_records.c.shots.label("shots"),
        usage_records.c.device_us.label("device_us"),
        usage_records.c.price_micro.label("amount_micro"),
        invoices.c.id.label("invoice_id"),
    ).join(invoices, and_(invoices.c.tenant_id == usage_records.c.tenant_id, of_invoiced_tenants))
    held = select(
        sessions.c.id,
        sessions.c.tenant_id,
        literal(LineKind.SESSIONS.value),
        sessions.c.device_id,
        sessions.c.lane,
        sessions.c.price_book,
        _ZERO,
        _ZERO,
        func.coalesce(sessions.c.price_micro, 0),
        invoices.c.id,
    ).join(invoices, and_(invoices.c.tenant_id == sessions.c.tenant_id, of_invoiced_tenants))
    refunded = select(
        postings.c.transaction_id,
        postings.c.tenant_id,
        literal(LineKind.REFUNDS.value),
        _NO_TEXT,
        _NO_TEXT,
        _NO_TEXT,
        _ZERO,
        _ZERO,
        -postings.c.amount_micro,
        invoices.c.id,
    ).join(invoices, and_(invoices.c.tenant_id == postings.c.tenant_id, of_invoiced_tenants))
    return union_all(
        used.where(usage_records.c.recorded_at_us >= start, usage_records.c.recorded_at_us < end),
        held.where(sessions.c.closed_at_us >= start, sessions.c.closed_at_us < end),
        refunded.where(postings.c.posted_at_us >= start, postings.c.posted_at_us < end, IS_REFUND),
    ).subquery("raw")


_RAW: Final = _raw(invoices.c.month == bindparam("of_month", type_=String()))
_GROUPED: Final = (
    select(
        _RAW.c.invoice_id,
        _RAW.c.kind,
        _RAW.c.device_id,
        _RAW.c.lane,
        _RAW.c.price_book,
        func.count().label("records"),
        func.sum(_RAW.c.shots).label("shots"),
        func.sum(_RAW.c.device_us).label("device_us"),
        func.sum(_RAW.c.amount_micro).label("amount_micro"),
    )
    .group_by(_RAW.c.invoice_id, _RAW.c.kind, _RAW.c.device_id, _RAW.c.lane, _RAW.c.price_book)
    .subquery("grouped")
)


def _is_its_line(records: Subquery) -> ColumnElement[bool]:
    return and_(
        invoice_lines.c.invoice_id == records.c.invoice_id,
        invoice_lines.c.kind == records.c.kind,
        invoice_lines.c.device_id.is_not_distinct_from(records.c.device_id),
        invoice_lines.c.lane.is_not_distinct_from(records.c.lane),
        invoice_lines.c.price_book.is_not_distinct_from(records.c.price_book),
    )


def _of(column: str) -> ColumnElement[int]:
    return func.coalesce(_GROUPED.c[column], 0)


_LINES: Final = (
    select(
        (invoice_lines.c.invoice_id + "/" + cast(invoice_lines.c.number, String)),
        invoice_lines.c.tenant_id,
    )
    .select_from(
        invoice_lines.join(invoices, invoices.c.id == invoice_lines.c.invoice_id).outerjoin(
            _GROUPED, _is_its_line(_GROUPED)
        )
    )
    .where(invoices.c.month == bindparam("of_month", type_=String()), ~_IS_ALLOWANCE)
)
_COLUMNS: Final = {"amount_micro": "micro", "shots": "shots", "device_us": "us", "records": "records"}
_DIFFERENT: Final = {column: invoice_lines.c[column] != _of(column) for column in _COLUMNS}
_FEWER: Final = invoice_lines.c.records < _of("records")
_MISSES: Final = _LINES.add_columns(literal("records"), _of("records"), invoice_lines.c.records).where(_FEWER)
_DIFFERS: Final = _LINES.add_columns(
    case(*((_DIFFERENT[column], unit) for column, unit in _COLUMNS.items())),
    case(*((_DIFFERENT[column], _of(column)) for column in _COLUMNS)),
    case(*((_DIFFERENT[column], invoice_lines.c[column]) for column in _COLUMNS)),
).where(~_FEWER, or_(*_DIFFERENT.values()))
_IN_NO_LINE: Final = (
    select(_RAW.c.id, _RAW.c.tenant_id, literal("micro"), _RAW.c.amount_micro, _ZERO)
    .select_from(_RAW.outerjoin(invoice_lines, _is_its_line(_RAW)))
    .where(invoice_lines.c.invoice_id.is_(None))
)
_MONTHLY: Final[tuple[tuple[Difference, Executable], ...]] = (
    (Difference.INVOICE_LINE_DIFFERS, _DIFFERS),
    (Difference.INVOICE_MISSES_RECORD, _MISSES),
    (Difference.RECORD_NOT_INVOICED, _IN_NO_LINE),
)
