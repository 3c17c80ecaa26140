"""Jobs change state: ``queued → running → done | failed | cancelled``, each change guarded by the state it starts from.

        ┌──requeue_solo, continue_jobs──┐
        ▼                               │
    queued ──mark_running──► running ──mark_done / mark_failed / mark_cancelled──► final
        └──request_cancel, mark_failed (it fits nowhere)──────────────────────────► final

Bulk forms say which jobs changed; a job in another state is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, Connection, Update, bindparam, case, literal_column, select, update

from qpu_backend.domain.jobs import JobState
from qpu_backend.stores.jobs import JobRow
from qpu_backend.stores.rows import columns_of
from qpu_backend.stores.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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


@dataclass(frozen=True, slots=True)
class Continuation:
    """A job of which one leg has run, and its next leg as it queues.

    Attributes:
        leg: the next one.
        footprint: what it needs.
        start_tag, finish_tag, fairness_cost: its place in the queue; see :class:`qpu_backend.stores.new_jobs.NewJob`.
        simulator_cpu_us: of the leg that has run.
    """

    job_id: str
    leg: int
    footprint: Mapping[str, Any]
    start_tag: int
    finish_tag: int
    fairness_cost: int
    simulator_cpu_us: int


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


def discard_queued(
    connection: Connection, _scope: SystemScope, job_ids: Iterable[str], *, finished_at_us: int
) -> frozenset[str]:
    """Waiting jobs that nobody wants any more. Which of them were waiting."""
    rows = [{"job": job_id, "at_us": finished_at_us} for job_id in job_ids]
    return _change(connection, _DISCARD, rows, JobState.QUEUED)


def requeue_solo(connection: Connection, _scope: SystemScope, job_ids: Iterable[str]) -> frozenset[str]:
    """Running jobs go back to their old place in the queue, to be run alone. Which of them were running."""
    return _change(connection, _REQUEUE, [{"job": job_id} for job_id in job_ids], JobState.RUNNING)


def continue_jobs(connection: Connection, _scope: SystemScope, continuations: Iterable[Continuation]) -> frozenset[str]:
    """Running jobs whose leg has run queue for their next one; a promise to start is kept, a quarantine over.

    Returns:
        Those that were running the leg before it.
    """
    wanted = {each.job_id: each for each in continuations}
    if not wanted:
        return frozenset()
    found = connection.execute(_LEG_OF_MANY, {"ids": sorted(wanted)})
    rows = [
        {
            "job": job_id,
            "next_leg": wanted[job_id].leg,
            "needs": wanted[job_id].footprint,
            "start": wanted[job_id].start_tag,
            "finish": wanted[job_id].finish_tag,
            "cost": wanted[job_id].fairness_cost,
            "cpu_us": wanted[job_id].simulator_cpu_us,
        }
        for job_id, leg in found
        if leg + 1 == wanted[job_id].leg
    ]
    return _change(connection, _CONTINUE, rows, JobState.RUNNING)


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
_LEG_OF_MANY: Final = (
    select(jobs.c.id, jobs.c.leg)
    .where(jobs.c.id.in_(bindparam("ids", expanding=True)))
    .order_by(jobs.c.id)
    .with_for_update(key_share=True)
)
_START: Final = (
    update(jobs)
    .where(_THIS)
    .values(
        state=literal_column("'running'"),
        started_at_us=case((jobs.c.leg > 0, jobs.c.started_at_us), else_=bindparam("at_us", type_=BigInteger())),
    )
)
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
    update(jobs)
    .where(_THIS)
    .values(
        state=literal_column("'queued'"),
        started_at_us=case((jobs.c.leg > 0, jobs.c.started_at_us)),
        solo=literal_column("TRUE"),
    )
)
_CONTINUE: Final = (
    update(jobs)
    .where(_THIS)
    .values(
        state=literal_column("'queued'"),
        leg=bindparam("next_leg"),
        footprint=bindparam("needs"),
        start_tag=bindparam("start"),
        finish_tag=bindparam("finish"),
        fairness_cost=bindparam("cost"),
        simulator_cpu_us=jobs.c.simulator_cpu_us + bindparam("cpu_us", type_=BigInteger()),
        start_by_us=None,
        solo=literal_column("FALSE"),
    )
)
_ASK_CANCEL: Final = update(jobs).where(_THIS).values(cancel_requested=literal_column("TRUE"))
