"""Ends of jobs that produced no result, and their books: failed by us, which is free, or cancelled.

A cancelled job pays for the shots that ran: none before its first batch, those of its legs between two of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qpu_backend.domain import ledger, pricing
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.legs import Legs
from qpu_backend.domain.quota import Resource
from qpu_backend.domain.tenancy import TenantId
from qpu_backend.stores import events, job_states, money, quota, sessions
from qpu_backend.stores.errors import MissingRow
from qpu_backend.stores.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.stores.jobs import JobRow


def fail_jobs(
    connection: Connection, scope: SystemScope, rows: Sequence[JobRow], code: str, message: str, now_us: int
) -> None:
    """Fail jobs for a reason that is not theirs to pay for: reservation released, usage record over zero."""
    failures = [job_states.Failure(row.id, code, message) for row in rows]
    failed = job_states.mark_failed(connection, scope, failures, finished_at_us=now_us)
    rows = [row for row in rows if row.id in failed]
    keep_books(connection, scope, [(row, nothing_used(row, JobState.FAILED, now_us)) for row in rows], now_us)
    _tell(connection, scope, rows, JobState.FAILED, [message] * len(rows), now_us)


def end_cancelled(
    connection: Connection,
    scope: SystemScope,
    rows: Sequence[JobRow],
    message: str,
    now_us: int,
    also: Sequence[events.NewEvent] = (),
) -> None:
    """The books of jobs that were cancelled while nothing of them ran: billed for the legs that had run before.

    Args:
        connection: of a transaction that has marked them as cancelled.
        scope: of the service.
        rows: as they were.
        message: what to tell about those of which nothing has run.
        now_us: wall time.
        also: further events of the transaction: all are appended at once, which locks tenants in one order.
    """
    used = [(row, shots_used(connection, row, row.leg, JobState.CANCELLED, now_us)) for row in rows]
    keep_books(connection, scope, used, now_us)
    told = [
        f"cancelled after {row.leg} of {row.num_legs} legs; the shots that ran are billed" if row.leg else message
        for row in rows
    ]
    _tell(connection, scope, rows, JobState.CANCELLED, told, now_us, also)


def nothing_used(row: JobRow, end: JobState, now_us: int) -> money.UsageRow:
    """The usage record of a job that is billed for nothing: what every other one starts from."""
    return money.UsageRow(
        id=new_id("use"),
        tenant_id=row.tenant_id,
        principal_id=row.principal_id,
        job_id=row.id,
        batch_id=None,
        device_id=row.device_id,
        snapshot_id=None,
        recorded_at_us=now_us,
        outcome=end,
        shots=0,
        device_us=0,
        footprint_qubits=row.footprint_qubits,
        simulator_cpu_us=row.simulator_cpu_us,
        result_bytes=0,
        price_book=row.price_book,
        price_micro=0,
        tags=list(row.tags),
        lane=row.lane,
    )


def shots_used(connection: Connection, row: JobRow, legs: int, end: JobState, now_us: int) -> money.UsageRow:
    """The usage record of a job of which so many legs have run: their shots, priced as if they had run in one piece.

    Raises:
        MissingRow: the price book that it was quoted by is not there.
    """
    nothing = nothing_used(row, end, now_us)
    if legs == 0:
        return nothing
    if legs == row.num_legs or row.legs is None:
        return replace(nothing, shots=row.shots, device_us=row.device_us, price_micro=row.price_micro)
    book = money.read_price_book(connection, row.price_book)
    if book is None:
        raise MissingRow("price book", row.price_book)
    shots, device_us = Legs.from_document(dict(row.legs)).used(legs)
    price_micro = pricing.price(book, shots, device_us, row.footprint_qubits, row.lane)
    # A job that was quoted for circuits that took less time then pays at most what was quoted, and reserved, for all.
    return replace(nothing, shots=shots, device_us=device_us, price_micro=min(price_micro, row.price_micro))


def keep_books(
    connection: Connection, scope: SystemScope, used: Sequence[tuple[JobRow, money.UsageRow]], now_us: int
) -> None:
    """Of jobs that have ended: settle reservations, store what they used, charge it, keep their sessions alive."""
    joined = {row.session_id for row, _ in used if row.session_id is not None}
    sessions.prolong(connection, scope, joined, now_us=now_us)
    unspent: dict[str, int] = {}
    for row, record in used:
        if row.session_id is not None:
            unspent[row.session_id] = unspent.get(row.session_id, 0) + row.price_micro - record.price_micro
    sessions.settle(connection, scope, unspent)
    settlements = [
        quota.Settlement(
            record.tenant_id,
            row.quota_start,
            {
                Resource.SHOTS: record.shots,
                Resource.DEVICE_US: record.device_us,
                Resource.SPEND_MICRO: record.price_micro,
            },
        )
        for row, record in used
    ]
    quota.settle_many(connection, scope, settlements)
    records = [record for _, record in used]
    money.insert_usage_records(connection, scope, records)
    charges = [
        ledger.charge(record.id, TenantId(record.tenant_id), record.price_micro)
        for record in records
        if record.price_micro
    ]
    money.insert_postings(connection, scope, charges, posted_at_us=now_us)


def _tell(
    connection: Connection,
    scope: SystemScope,
    rows: Sequence[JobRow],
    end: JobState,
    messages: Sequence[str],
    now_us: int,
    also: Sequence[events.NewEvent] = (),
) -> None:
    """Once for all of them: events lock the rows of tenants, in one order."""
    ended = [
        events.NewEvent(row.id, row.tenant_id, str(end), end, now_us, None, message)
        for row, message in zip(rows, messages, strict=True)
    ]
    events.append_events(connection, scope, [*ended, *also])
