"""Reconciliation: the batch log, jobs, usage records, sessions and postings compared with each other, in SQL.

Each statement answers with the differences of one kind only, so it is the same work whether there are ten jobs or a
million, and nothing of them is held in memory. What needs a rule (the shots of some of a job's legs, the price of what
a session held) is streamed past ``domain/``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    Executable,
    and_,
    case,
    exists,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
)

from qpu_backend.domain import pricing
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.lanes import STANDARD
from qpu_backend.domain.ledger import ALLOWANCE, FUNDING, REFUND_PREFIX
from qpu_backend.domain.legs import Legs
from qpu_backend.domain.pricing import PriceBook
from qpu_backend.domain.reconciliation import Difference, Finding
from qpu_backend.domain.sessions import price_of_hold
from qpu_backend.stores.given_back import allowance_findings
from qpu_backend.stores.invoice_comparison import invoice_findings, read_findings
from qpu_backend.stores.quota_comparison import quota_findings
from qpu_backend.stores.rows import STREAMED
from qpu_backend.stores.schema import batches, job_events, jobs, placements, sessions
from qpu_backend.stores.schema_money import invoices, postings, price_books, usage_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpu_backend.domain.tenancy import SystemScope


def findings(connection: Connection, scope: SystemScope) -> Iterator[Finding]:
    """Every difference there is, kind by kind. The connection shows one moment, however long it takes."""
    for kind, statement in _STATEMENTS:
        yield from read_findings(connection, kind, statement)
    books = {row.id: PriceBook.from_rates(row.id, row.rates) for row in connection.execute(_BOOKS)}
    yield from _partly_run(connection, books)
    yield from _sessions(connection, books)
    yield from quota_findings(connection, scope)
    yield from invoice_findings(connection, scope)
    yield from allowance_findings(connection, scope)


def compared(connection: Connection, _scope: SystemScope) -> dict[str, int]:
    """How much there is of each, for the report: that nothing differs says little about nothing."""
    return {name: int(connection.execute(statement).scalar_one()) for name, statement in _SIZES.items()}


def _partly_run(connection: Connection, books: dict[str, PriceBook]) -> Iterator[Finding]:
    """Jobs in legs of which not all ran: they pay for those that did, as if these had run in one piece."""
    for row in connection.execute(_PARTLY_RUN, execution_options=STREAMED):
        if row.price_book not in books:
            continue  # which is a finding of its own
        ran = int(row.ran) - int(row.in_vain)
        shots, device_us, price_micro = 0, 0, 0
        if ran > 0 and row.state is not JobState.FAILED:
            shots, device_us = Legs.from_document(dict(row.legs)).used(min(ran, row.num_legs))
            full_price = pricing.price(books[row.price_book], shots, device_us, row.footprint_qubits, row.lane)
            price_micro = min(full_price, row.quoted_micro)
        for kind, unit, expected, found in (
            (Difference.SHOTS_DIFFER, "shots", shots, row.shots),
            (Difference.DEVICE_TIME_DIFFERS, "us", device_us, row.device_us),
            (Difference.MISPRICED_USAGE, "micro", price_micro, row.price_micro),
        ):
            if expected != found:
                yield Finding(kind, row.id, row.tenant_id, unit, expected, int(found))


def _sessions(connection: Connection, books: dict[str, PriceBook]) -> Iterator[Finding]:
    for row in connection.execute(_CLOSED, execution_options=STREAMED):
        if row.price_book not in books:
            continue  # which is a finding of its own
        expected = price_of_hold(books[row.price_book], int(row.held_cost), row.lane or STANDARD)
        if expected != row.price_micro:
            found = int(row.price_micro)
            yield Finding(Difference.MISPRICED_SESSION, row.id, row.tenant_id, "micro", expected, found)


# --- what ran -----------------------------------------------------------------------------------------------------

_FINAL: Final = jobs.c.state.in_([literal_column("'done'"), literal_column("'failed'"), literal_column("'cancelled'")])
_ZERO: Final[ColumnElement[int]] = literal_column("0")
_ONE: Final[ColumnElement[int]] = literal_column("1")
_HERE: Final = jobs.c.archived_at_us.is_(None)
"""What ran is compared while it is known: the batch log of an archived job may be gone."""
_OF_JOB: Final = and_(usage_records.c.job_id == jobs.c.id, usage_records.c.tenant_id == jobs.c.tenant_id)
_RAN: Final = select(_ONE).where(
    placements.c.job_id == jobs.c.id, batches.c.id == placements.c.batch_id, batches.c.state == "done"
)
_LEGS_RAN: Final = _RAN.with_only_columns(func.count(placements.c.leg.distinct())).scalar_subquery()
_IN_VAIN: Final = and_(  # it was cancelled while it ran, and that run failed besides: its end says why
    jobs.c.state == JobState.CANCELLED,
    usage_records.c.batch_id.is_not(None),
    exists(
        select(_ONE).where(
            job_events.c.job_id == jobs.c.id, job_events.c.name == "cancelled", job_events.c.message.is_not(None)
        )
    ),
)
_IN_ONE_PIECE: Final = or_(jobs.c.num_legs == 1, and_(jobs.c.state == JobState.DONE, jobs.c.num_legs == _LEGS_RAN))
_FREE: Final = or_(jobs.c.state == JobState.FAILED, _IN_VAIN, ~exists(_RAN))
_USED_WHOLE: Final = select(usage_records.c.id).join(jobs, _OF_JOB).where(_FINAL, _HERE, _IN_ONE_PIECE)


def _whole(kind_of: ColumnElement[int], recorded: ColumnElement[int], unit: str) -> Executable:
    """Records of jobs in one piece, or all of whose legs ran: all of it or nothing."""
    expected: ColumnElement[int] = case((_FREE, 0), else_=kind_of)
    return _USED_WHOLE.with_only_columns(
        usage_records.c.id, usage_records.c.tenant_id, literal(unit), expected, recorded
    ).where(expected != recorded, or_(usage_records.c.shots == 0, exists(_RAN)))


_UNMETERED: Final = select(jobs.c.id, jobs.c.tenant_id, literal(""), _ZERO, _ZERO).where(
    _FINAL, ~exists(select(_ONE).where(usage_records.c.job_id == jobs.c.id))
)
_DOUBLE: Final = (
    select(usage_records.c.job_id, func.min(usage_records.c.tenant_id), literal("records"), _ONE, func.count())
    .group_by(usage_records.c.job_id)
    .having(func.count() > 1)
)
_NO_JOB: Final = (
    select(usage_records.c.id, usage_records.c.tenant_id, literal(""), _ZERO, _ZERO)
    .select_from(usage_records.outerjoin(jobs, _OF_JOB))
    .where(jobs.c.id.is_(None))
)
_USED: Final = select(usage_records.c.id, usage_records.c.tenant_id, literal(""), _ZERO, _ZERO).join(jobs, _OF_JOB)
_UNFINISHED: Final = _USED.where(~_FINAL)
_OUTCOME: Final = _USED.where(_FINAL, usage_records.c.outcome != jobs.c.state)
_NOT_RUN: Final = (
    select(usage_records.c.id, usage_records.c.tenant_id, literal("shots"), _ZERO, usage_records.c.shots)
    .join(jobs, _OF_JOB)
    .where(_FINAL, _HERE, usage_records.c.shots > 0, ~exists(_RAN))
)
_TWICE: Final = (
    select(placements.c.job_id, func.min(placements.c.tenant_id), literal("records"), _ONE, func.count())
    .join(batches, batches.c.id == placements.c.batch_id)
    .where(batches.c.state == "done")
    .group_by(placements.c.job_id, placements.c.leg)
    .having(func.count() > 1)
)
_ASTRAY: Final = select(jobs.c.id, jobs.c.tenant_id, literal(""), _ZERO, _ZERO).where(
    jobs.c.state == JobState.RUNNING,
    ~exists(
        select(_ONE).where(
            placements.c.job_id == jobs.c.id, batches.c.id == placements.c.batch_id, batches.c.state == "running"
        )
    ),
)
_PARTLY_RUN: Final = (
    select(
        usage_records.c.id,
        usage_records.c.tenant_id,
        usage_records.c.shots,
        usage_records.c.device_us,
        usage_records.c.price_micro,
        usage_records.c.price_book,
        jobs.c.state,
        jobs.c.legs,
        jobs.c.num_legs,
        jobs.c.footprint_qubits,
        jobs.c.lane,
        jobs.c.price_micro.label("quoted_micro"),
        _LEGS_RAN.label("ran"),
        case((_IN_VAIN, 1), else_=0).label("in_vain"),
    )
    .join(jobs, _OF_JOB)
    .where(_FINAL, _HERE, ~_IN_ONE_PIECE, or_(usage_records.c.shots == 0, exists(_RAN)))
)

# --- what was charged ---------------------------------------------------------------------------------------------


def _charged(fact_id: ColumnElement[str], tenant_id: ColumnElement[str]) -> ColumnElement[int]:
    return (
        select(func.coalesce(func.sum(-postings.c.amount_micro), 0))
        .where(postings.c.transaction_id == fact_id, postings.c.account == "tenant:" + tenant_id)
        .scalar_subquery()
    )


_CHARGED: Final = _charged(usage_records.c.id, usage_records.c.tenant_id)
_MISPOSTED: Final = select(
    usage_records.c.id, usage_records.c.tenant_id, literal("micro"), usage_records.c.price_micro, _CHARGED
).where(usage_records.c.price_micro != _CHARGED)
_PRICE: Final[ColumnElement[int]] = func.coalesce(sessions.c.price_micro, 0)
_CHARGED_SESSION: Final = _charged(sessions.c.id, sessions.c.tenant_id)
_MISPOSTED_SESSION: Final = select(
    sessions.c.id, sessions.c.tenant_id, literal("micro"), _PRICE, _CHARGED_SESSION
).where(_PRICE != _CHARGED_SESSION)
_OTHER: Final = postings.alias("other")
_IS_REFUNDED: Final = and_(
    postings.c.transaction_id.startswith(REFUND_PREFIX),
    _OTHER.c.transaction_id == func.substr(postings.c.transaction_id, len(REFUND_PREFIX) + 1),
)
_TAKEN: Final = postings.alias("taken")
_GIVEN_BACK: Final[ColumnElement[int]] = postings.c.amount_micro + func.coalesce(  # to the tenant and to the allowance
    select(_TAKEN.c.amount_micro)
    .where(_TAKEN.c.transaction_id == postings.c.transaction_id, _TAKEN.c.account == ALLOWANCE)
    .scalar_subquery(),
    0,
)
_MISPOSTED_REFUND: Final = (
    select(
        postings.c.transaction_id,
        postings.c.tenant_id,
        literal("micro"),
        -_OTHER.c.amount_micro,
        _GIVEN_BACK,
    )
    .join(_OTHER, and_(_IS_REFUNDED, _OTHER.c.account == postings.c.account))
    .where(postings.c.account == "tenant:" + postings.c.tenant_id, -_OTHER.c.amount_micro != _GIVEN_BACK)
)
_NO_FACT: Final = (
    select(
        postings.c.transaction_id,
        func.min(postings.c.tenant_id),
        literal("micro"),
        _ZERO,
        func.max(postings.c.amount_micro),
    )
    .where(
        ~exists(select(_ONE).where(usage_records.c.id == postings.c.transaction_id)),
        ~exists(select(_ONE).where(sessions.c.id == postings.c.transaction_id)),
        ~exists(select(_ONE).where(invoices.c.id == postings.c.transaction_id)),
        ~exists(  # a top-up is its own fact
            select(_ONE).where(_OTHER.c.transaction_id == postings.c.transaction_id, _OTHER.c.account == FUNDING)
        ),
        ~exists(select(_ONE).where(_IS_REFUNDED)),
    )
    .group_by(postings.c.transaction_id)
)
_SUM: Final[ColumnElement[int]] = func.sum(postings.c.amount_micro)
_UNBALANCED: Final = (
    select(postings.c.transaction_id, func.min(postings.c.tenant_id), literal("micro"), _ZERO, _SUM)
    .group_by(postings.c.transaction_id)
    .having(_SUM != 0)
)
_TRIAL_BALANCE: Final = select(literal("postings"), null(), literal("micro"), _ZERO, _SUM).having(_SUM != 0)
_CLOSED: Final = select(
    sessions.c.id,
    sessions.c.tenant_id,
    sessions.c.held_cost,
    sessions.c.price_book,
    sessions.c.price_micro,
    sessions.c.lane,
).where(sessions.c.closed_at_us.is_not(None), or_(sessions.c.held_cost != 0, sessions.c.price_micro != 0))
_BOOKS: Final = select(price_books)
_NO_BOOK: Final = union_all(
    *(
        select(table.c.id, table.c.tenant_id, literal(""), _ZERO, _ZERO).where(
            ~exists(select(_ONE).where(price_books.c.id == table.c.price_book))
        )
        for table in (usage_records, sessions)
    )
)

_STATEMENTS: Final[tuple[tuple[Difference, Executable], ...]] = (
    (Difference.UNMETERED_JOB, _UNMETERED),
    (Difference.DOUBLE_CHARGE, _DOUBLE),
    (Difference.USAGE_WITHOUT_JOB, _NO_JOB),
    (Difference.USAGE_OF_UNFINISHED_JOB, _UNFINISHED),
    (Difference.USAGE_WITHOUT_RUN, _NOT_RUN),
    (Difference.OUTCOME_DIFFERS, _OUTCOME),
    (Difference.SHOTS_DIFFER, _whole(jobs.c.shots, usage_records.c.shots, "shots")),
    (Difference.DEVICE_TIME_DIFFERS, _whole(jobs.c.device_us, usage_records.c.device_us, "us")),
    (Difference.UNKNOWN_PRICE_BOOK, _NO_BOOK),
    (Difference.MISPRICED_USAGE, _whole(jobs.c.price_micro, usage_records.c.price_micro, "micro")),
    (Difference.LEG_RAN_TWICE, _TWICE),
    (Difference.RUNNING_WITHOUT_BATCH, _ASTRAY),
    (Difference.MISPOSTED_USAGE, _MISPOSTED),
    (Difference.MISPOSTED_SESSION, _MISPOSTED_SESSION),
    (Difference.MISPOSTED_REFUND, _MISPOSTED_REFUND),
    (Difference.POSTING_WITHOUT_FACT, _NO_FACT),
    (Difference.UNBALANCED_TRANSACTION, _UNBALANCED),
    (Difference.TRIAL_BALANCE, _TRIAL_BALANCE),
)
_SIZES: Final[dict[str, Any]] = {
    table.name: select(func.count()).select_from(table)
    for table in (batches, jobs, sessions, usage_records, postings, invoices)
}
