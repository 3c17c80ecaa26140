"""Ends of jobs that produced no result: failed by us, or cancelled before they ran. Both free, both facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpu_backend.domain.jobs import JobState
from qpu_backend.stores import events, job_states, money, quota
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
    end_free(connection, scope, [row for row in rows if row.id in failed], JobState.FAILED, message, now_us)


def end_free(
    connection: Connection,
    scope: SystemScope,
    rows: Sequence[JobRow],
    end: JobState,
    message: str | None,
    now_us: int,
) -> None:
    """The books of jobs that end without a result and without a price."""
    for row in rows:
        quota.release(connection, scope, row.tenant_id, row.quota_start)
    money.insert_usage_records(connection, scope, [nothing_used(row, end, now_us) for row in rows])
    ended = [events.NewEvent(row.id, row.tenant_id, str(end), end, now_us, None, message) for row in rows]
    events.append_events(connection, scope, ended)


def nothing_used(row: JobRow, end: JobState, now_us: int) -> money.UsageRow:
    """The usage record of a job that used nothing: what every other one starts from."""
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
        simulator_cpu_us=0,
        result_bytes=0,
        price_book=row.price_book,
        price_micro=0,
        tags=list(row.tags),
    )
