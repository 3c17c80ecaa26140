"""Batches: what runs together on a device, committed before it runs, with one placement for each job in it.

running ──finish_batch──► done
   │ ▲ └──dissolve_batch──► dissolved      its jobs are retried alone
   └─┘ bump_attempt: the same batch again, under a new lease
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, bindparam, insert, literal_column, select, update

from qpu_backend.stores.rows import columns_of, parameters_of
from qpu_backend.stores.schema import batches, placements

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qpu_backend.domain.tenancy import SystemScope, TenantScope


@dataclass(frozen=True, slots=True)
class NewBatch:
    """A batch as dispatch commits it, running, before anything runs.

    Attributes:
        epoch: of the lease it is dispatched under.
        attempt: 1 the first time.
        snapshot_id: the calibration it runs with.
        device_start_us: device time.
        device_us: how long it takes on the device.
        view_digest: of what the planner saw.
        explanation: why the planner chose it; JSON.
        rounds_sha: blob with the rounds.
        plan_sha: blob with what the planner saw: with the calibration, all that the plan follows from.
    """

    id: str
    device_id: str
    epoch: int
    attempt: int
    created_at_us: int
    snapshot_id: str
    device_start_us: int
    device_us: int
    view_digest: str
    explanation: Any
    rounds_sha: str
    plan_sha: str


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A batch; ``failures`` counts the attempts at it that failed, not those that were taken over."""

    id: str
    device_id: str
    state: str
    epoch: int
    attempt: int
    created_at_us: int
    finished_at_us: int | None
    snapshot_id: str
    device_start_us: int
    device_us: int
    view_digest: str
    explanation: Any
    rounds_sha: str
    plan_sha: str
    failures: int = 0


@dataclass(frozen=True, slots=True)
class PlacementRow:
    """A job on its qubits, in a batch.

    Attributes:
        position: order in the batch, from 0.
        region: physical qubit of each of the job's region qubits.
        co_tenants: ``0``, ``1-3`` or ``4+``.
        crosstalk_loss: predicted loss of success probability to neighbours, unrounded; round it where a tenant sees it.
        fairness_cost: µs · qubit.
        record_sha: blob with all that a replay needs.
        leg: of the job: what of it runs here, from 0.
        part_sha: blob with what this leg measured, where the job goes on after it.
    """

    batch_id: str
    job_id: str
    tenant_id: str
    position: int
    region: list[int]
    co_tenants: str
    crosstalk_loss: float | None
    fairness_cost: int
    record_sha: str
    leg: int = 0
    part_sha: str | None = None


@dataclass(frozen=True, slots=True)
class PlacedJob:
    """A job's placement and, of its batch, what concerns the job alone."""

    placement: PlacementRow
    state: str
    attempt: int
    snapshot_id: str
    device_start_us: int
    created_at_us: int


def insert_batch(connection: Connection, _scope: SystemScope, batch: NewBatch, placed: Sequence[PlacementRow]) -> None:
    """Commit to running a batch."""
    connection.execute(_INSERT, _batch_parameters(batch))
    if placed:
        connection.execute(_INSERT_PLACEMENTS, [_placement_parameters(placement) for placement in placed])


def read_batch(connection: Connection, _scope: SystemScope, batch_id: str) -> BatchRow | None:
    """The batch of that id."""
    row = connection.execute(_READ, {"batch": batch_id}).one_or_none()
    return None if row is None else BatchRow(*row)


def running_batches(connection: Connection, _scope: SystemScope, device_id: str) -> list[BatchRow]:
    """The device's batches without an outcome, oldest first: what a new lease holder executes again."""
    return [BatchRow(*row) for row in connection.execute(_OF_DEVICE_RUNNING, {"device": device_id})]


def recent_batches(connection: Connection, _scope: SystemScope, device_id: str, *, limit: int) -> list[BatchRow]:
    """The device's last batches, newest first: what the operator looks at."""
    return [BatchRow(*row) for row in connection.execute(_RECENT, {"device": device_id, "limit": limit})]


def last_batch_of(connection: Connection, _scope: SystemScope, job_id: str) -> str | None:
    """The batch that a job was part of last."""
    return connection.execute(_LAST_OF_JOB, {"job": job_id}).scalar_one_or_none()


def placements_of(connection: Connection, _scope: SystemScope, batch_id: str) -> list[PlacementRow]:
    """The placements of a batch, in their order."""
    return [PlacementRow(*row) for row in connection.execute(_PLACEMENTS, {"batch": batch_id})]


def placement_of_job(connection: Connection, scope: TenantScope, job_id: str) -> PlacedJob | None:
    """Where the tenant's job ran last, or runs now; ``None`` before that, and for a foreign job."""
    row = connection.execute(_OF_JOB, {"job": job_id, "tenant": scope.tenant_id}).one_or_none()
    if row is None:
        return None
    return PlacedJob(PlacementRow(*row[:_PLACEMENT_WIDTH]), *row[_PLACEMENT_WIDTH:])


def legs_of_job(connection: Connection, scope: TenantScope, job_id: str) -> list[PlacedJob]:
    """Where each leg of the tenant's job ran that has been settled, in order; nothing for a foreign job."""
    rows = connection.execute(_LEGS, {"job": job_id, "tenant": scope.tenant_id})
    return [PlacedJob(PlacementRow(*row[:_PLACEMENT_WIDTH]), *row[_PLACEMENT_WIDTH:]) for row in rows]


def parts_of_job(connection: Connection, _scope: SystemScope, job_id: str) -> list[str]:
    """The blobs of what the job's settled legs measured, in order."""
    return list(connection.execute(_PARTS, {"job": job_id}).scalars())


def keep_parts(connection: Connection, _scope: SystemScope, batch_id: str, parts: Mapping[str, str]) -> None:
    """Note the blobs of what the legs of some jobs measured in a batch: job → its blob."""
    if parts:
        rows = [{"batch": batch_id, "job": job_id, "sha": parts[job_id]} for job_id in sorted(parts)]
        connection.execute(_KEEP_PART, rows)


def finish_batch(connection: Connection, _scope: SystemScope, batch_id: str, *, finished_at_us: int) -> bool:
    """A running batch is done. Whether it was running."""
    return connection.execute(_FINISH, {"batch": batch_id, "at_us": finished_at_us}).rowcount == 1


def dissolve_batch(connection: Connection, _scope: SystemScope, batch_id: str, *, finished_at_us: int) -> bool:
    """A running batch is given up; its jobs go back to the queue alone. Whether it was running."""
    return connection.execute(_DISSOLVE, {"batch": batch_id, "at_us": finished_at_us}).rowcount == 1


def bump_attempt(
    connection: Connection, _scope: SystemScope, batch_id: str, *, epoch: int, attempt: int, failures: int
) -> bool:
    """A running batch is executed again under a (new) lease. Whether it was running.

    Args:
        connection: of a write transaction.
        batch_id: the batch.
        epoch: of the lease.
        attempt: its number.
        failures: how many attempts have failed so far; being taken over is none.
    """
    values = {"batch": batch_id, "under": epoch, "number": attempt, "failed": failures}
    return connection.execute(_BUMP, values).rowcount == 1


_batch_parameters: Final = parameters_of(NewBatch)
_placement_parameters: Final = parameters_of(PlacementRow)
_PLACEMENT_COLUMNS: Final = columns_of(PlacementRow, placements)
_PLACEMENT_WIDTH: Final = len(_PLACEMENT_COLUMNS)
_THIS: Final = batches.c.id == bindparam("batch")
_RUNNING: Final = batches.c.state == literal_column("'running'")

_INSERT: Final = insert(batches).values(state=literal_column("'running'"))
_INSERT_PLACEMENTS: Final = insert(placements)
_READ: Final = select(*columns_of(BatchRow, batches)).where(_THIS)
_OF_DEVICE_RUNNING: Final = (
    select(*columns_of(BatchRow, batches))
    .where(batches.c.device_id == bindparam("device"), _RUNNING)
    .order_by(batches.c.device_start_us, batches.c.id)
)
_RECENT: Final = (
    select(*columns_of(BatchRow, batches))
    .where(batches.c.device_id == bindparam("device"))
    .order_by(batches.c.device_start_us.desc(), batches.c.id.desc())
    .limit(bindparam("limit"))
)
_LAST_OF_JOB: Final = (
    select(batches.c.id)
    .join(placements, placements.c.batch_id == batches.c.id)
    .where(placements.c.job_id == bindparam("job"))
    .order_by(batches.c.created_at_us.desc(), batches.c.id.desc())
    .limit(1)
)
_PLACEMENTS: Final = (
    select(*_PLACEMENT_COLUMNS).where(placements.c.batch_id == bindparam("batch")).order_by(placements.c.position)
)
_PLACED: Final = (
    select(
        *_PLACEMENT_COLUMNS,
        batches.c.state,
        batches.c.attempt,
        batches.c.snapshot_id,
        batches.c.device_start_us,
        batches.c.created_at_us,
    )
    .join(batches, batches.c.id == placements.c.batch_id)
    .where(placements.c.job_id == bindparam("job"), placements.c.tenant_id == bindparam("tenant"))
)
_DONE: Final = batches.c.state == literal_column("'done'")  # a leg has one such placement: the batch that settled it
_OF_JOB: Final = _PLACED.order_by(batches.c.created_at_us.desc(), batches.c.id.desc()).limit(1)
_LEGS: Final = _PLACED.where(_DONE).order_by(placements.c.leg)
_PARTS: Final = (
    select(placements.c.part_sha)
    .join(batches, batches.c.id == placements.c.batch_id)
    .where(placements.c.job_id == bindparam("job"), placements.c.part_sha.is_not(None), _DONE)
    .order_by(placements.c.leg)
)
_KEEP_PART: Final = (
    update(placements)
    .where(placements.c.batch_id == bindparam("batch"), placements.c.job_id == bindparam("job"))
    .values(part_sha=bindparam("sha"))
)
_FINISH: Final = (
    update(batches).where(_THIS, _RUNNING).values(state=literal_column("'done'"), finished_at_us=bindparam("at_us"))
)
_DISSOLVE: Final = (
    update(batches)
    .where(_THIS, _RUNNING)
    .values(state=literal_column("'dissolved'"), finished_at_us=bindparam("at_us"))
)
_BUMP: Final = (
    update(batches)
    .where(_THIS, _RUNNING)
    .values(epoch=bindparam("under"), attempt=bindparam("number"), failures=bindparam("failed"))
)
