"""Jobs change state: ``queued → running → done | failed | cancelled``, each change guarded by the state it starts from.

        ┌──requeue_solo──┐
        ▼                │
    queued ──mark_running──► running ──mark_done / mark_failed / mark_cancelled──► final
        └──request_cancel, mark_failed (it fits nowhere)──────────────────────────► final

Bulk forms say which jobs changed; a job in another state is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Update, bindparam, literal_column, select, update

from qpu_backend.domain.jobs import JobState
from qpu_backend.stores.jobs import JobRow
from qpu_backend.stores.rows import columns_of
from qpu_backend.stores.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qpu_backend.domain.tenancy import SystemScope, TenantScope


@dataclass(frozen=True, slots=True)
class Completion:
    """A job whose result has been stored."""

    job_id: str
    result_sha: str


@dataclass(frozen=True, slots=True)
class Failure:
    """A job that has no result, and why."""

    job_id: str
    error_code: str
    error_message: str


class CancelOutcome(StrEnum):
    """What asking for cancellation did."""

    CANCELLED = "cancelled"
    """The job was waiting; it is cancelled now and its reservation is to be released."""
    REQUESTED = "requested"
    """The job is running: its batch is not cut, its result will be discarded."""
    TOO_LATE = "too_late"
    """The job was final already; nothing changed."""


@dataclass(frozen=True, slots=True)
class Cancellation:
    """What asking for cancellation did, and the job as it was before."""

    outcome: CancelOutcome
    job: JobRow


def request_cancel(connection: Connection, scope: TenantScope, job_id: str, *, now_us: int) -> Cancellation | None:
    """Cancel a waiting job, or note that a running one's result is not wanted. ``None``: the tenant has no such job."""
    row = connection.execute(_LOCK_ONE, {"id": job_id, "tenant_id": scope.tenant_id}).one_or_none()
    if row is None:
        return None
    job = JobRow(*row)
    match job.state:
        case JobState.QUEUED:
            connection.execute(_DISCARD, {"job": job_id, "at_us": now_us})
            return Cancellation(CancelOutcome.CANCELLED, job)
        case JobState.RUNNING:
            connection.execute(_ASK_CANCEL, {"job": job_id})
            return Cancellation(CancelOutcome.REQUESTED, job)
        case _:
            return Cancellation(CancelOutcome.TOO_LATE, job)


def mark_running(
    connection: Connection, _scope: SystemScope, job_ids: Iterable[str], *, started_at_us: int
) -> frozenset[str]:
    """Queued jobs are running now. Which of them were queued."""
    rows = [{"job": job_id, "at_us": started_at_us} for job_id in job_ids]
    return _change(connection, _START, rows, JobState.QUEUED)


def mark_done(
    connection: Connection, _scope: SystemScope, completions: Iterable[Completion], *, finished_at_us: int
) -> frozenset[str]:
    """Running jobs have their results, stored in the same transaction. Which of them were running."""
    rows = [{"job": each.job_id, "sha": each.result_sha, "at_us": finished_at_us} for each in completions]
    return _change(connection, _COMPLETE, rows, JobState.RUNNING)


def mark_failed(
    connection: Connection, _scope: SystemScope, failures: Iterable[Failure], *, finished_at_us: int
) -> frozenset[str]:
    """Queued or running jobs will never have a result. Which of them were unfinished."""
    rows = [
        {"job": each.job_id, "code": each.error_code, "message": each.error_message, "at_us": finished_at_us}
        for each in failures
    ]
    return _change(connection, _FAIL, rows, JobState.QUEUED, JobState.RUNNING)


def mark_cancelled(
    connection: Connection, _scope: SystemScope, job_ids: Iterable[str], *, finished_at_us: int
) -> frozenset[str]:
    """Running jobs whose result nobody wants. Which of them were running."""
    rows = [{"job": job_id, "at_us": finished_at_us} for job_id in job_ids]
    return _change(connection, _DISCARD, rows, JobState.RUNNING)


def requeue_solo(connection: Connection, _scope: SystemScope, job_ids: Iterable[str]) -> frozenset[str]:
    """Running jobs go back to their old place in the queue, to be run alone. Which of them were running."""
    return _change(connection, _REQUEUE, [{"job": job_id} for job_id in job_ids], JobState.RUNNING)


def _change(
    connection: Connection, statement: Update, rows: Sequence[dict[str, Any]], *from_states: JobState
) -> frozenset[str]:
    """Lock in ascending order those jobs that are in a state to start from, then change exactly them."""
    if not rows:
        return frozenset()
    wanted = {"ids": [row["job"] for row in rows], "from_states": from_states}
    ready = frozenset(connection.execute(_LOCK_MANY, wanted).scalars())
    changes = [row for row in rows if row["job"] in ready]
    if changes:
        connection.execute(statement, changes)
    return ready


_ROW: Final = columns_of(JobRow, jobs)
_THIS: Final = jobs.c.id == bindparam("job")
_LOCK_ONE: Final = (
    select(*_ROW)
    .where(jobs.c.id == bindparam("id"), jobs.c.tenant_id == bindparam("tenant_id"))
    .with_for_update(key_share=True)
)
_LOCK_MANY: Final = (
    select(jobs.c.id)
    .where(
        jobs.c.id.in_(bindparam("ids", expanding=True)),
        jobs.c.state.in_(bindparam("from_states", expanding=True)),
    )
    .order_by(jobs.c.id)
    .with_for_update(key_share=True)
)
_START: Final = update(jobs).where(_THIS).values(state=literal_column("'running'"), started_at_us=bindparam("at_us"))
_COMPLETE: Final = (
    update(jobs)
    .where(_THIS)
    .values(state=literal_column("'done'"), result_sha=bindparam("sha"), finished_at_us=bindparam("at_us"))
)
_FAIL: Final = (
    update(jobs)
    .where(_THIS)
    .values(
        state=literal_column("'failed'"),
        error_code=bindparam("code"),
        error_message=bindparam("message"),
        finished_at_us=bindparam("at_us"),
    )
)
_DISCARD: Final = (
    update(jobs)
    .where(_THIS)
    .values(
        state=literal_column("'cancelled'"),
        cancel_requested=literal_column("TRUE"),
        finished_at_us=bindparam("at_us"),
    )
)
_REQUEUE: Final = (
    update(jobs).where(_THIS).values(state=literal_column("'queued'"), started_at_us=None, solo=literal_column("TRUE"))
)
_ASK_CANCEL: Final = update(jobs).where(_THIS).values(cancel_requested=literal_column("TRUE"))
