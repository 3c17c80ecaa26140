"""Recovery: the same batch again after a crash, and how a poisonous job is found.

A batch was committed with everything it means, so running it again gives the same counts. After a lost lease or a
dead worker the same batch runs under the new epoch. After :data:`MAX_ATTEMPTS` it is dissolved: its jobs go back to
the queue to run alone, and the one that fails alone fails for good, at no cost.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.programs import Program
from qpu_backend.pipeline.batching import Batch, Member
from qpu_backend.pipeline.endings import fail_jobs
from qpu_backend.pipeline.notices import tenant_topic
from qpu_backend.stores import batches, blobs, devices, events, job_states, jobs
from qpu_backend.stores.errors import LeaseLost, MissingRow
from qpu_backend.telemetry.logs import logger
from qpu_sdk.wire.codec import unpack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.execution import BatchOutcome
    from qpu_backend.pipeline.notices import NoticeBoard
    from qpu_backend.stores.batches import BatchRow
    from qpu_backend.stores.database import Database

MAX_ATTEMPTS = 3
_POSTPONE_S = 1.0


class Runner(Protocol):
    """Who runs batches of a device: its dispatcher."""

    def run_again(self, batch: Batch) -> None:
        """Execute another attempt of a batch that is already counted as running."""
        ...

    def finished(self, batch_id: str) -> None:
        """The batch needs nothing more."""
        ...


_log = logger("recovery")


def recover(database: Database, scope: SystemScope, device_id: str, epoch: int, now_us: int) -> list[Batch]:
    """Every batch that was running under an earlier epoch, now under this one: to be run again, in order."""
    recovered: list[Batch] = []
    with database.read() as connection:
        running = batches.running_batches(connection, scope, device_id)
    for row in running:
        batch = run_again(database, scope, row.id, device_id, epoch, now_us)
        if batch is not None:
            recovered.append(batch)
    return recovered


def run_again(
    database: Database, scope: SystemScope, batch_id: str, device_id: str, epoch: int, now_us: int
) -> Batch | None:
    """The next attempt of a batch, or None when it was dissolved or has ended.

    Raises:
        LeaseLost: the device has another holder.
    """
    with database.write() as connection:
        devices.require_epoch(connection, device_id, epoch)
        row = _existing(batches.read_batch(connection, scope, batch_id), batch_id)
        if row.state != "running":
            return None
        attempt = row.attempt + 1
        if attempt > MAX_ATTEMPTS:
            dissolve(connection, scope, row, now_us)
            return None
        batches.bump_attempt(connection, scope, batch_id, epoch=epoch, attempt=attempt)
    with database.read() as connection:
        batch = load(connection, scope, batch_id)
    _log.warning("batch_attempted_again", batch=batch_id, device=device_id, attempt=attempt)
    return batch


def load(connection: Connection, scope: SystemScope, batch_id: str) -> Batch:
    """A committed batch as it will be executed, from the database alone."""
    row = _existing(batches.read_batch(connection, scope, batch_id), batch_id)
    placements = batches.placements_of(connection, scope, batch_id)
    rows = jobs.read_jobs(connection, scope, [placement.job_id for placement in placements])
    shas = {row.rounds_sha, *(p.record_sha for p in placements), *(job.program_sha for job in rows.values())}
    bodies = blobs.get_blobs(connection, sorted(shas))
    layout = unpack(bodies[row.rounds_sha])
    members = tuple(
        Member(
            job=rows[placement.job_id],
            program=Program.from_document(unpack(bodies[rows[placement.job_id].program_sha])),
            region=tuple(placement.region),
            record=bodies[placement.record_sha],
            slice_executions=tuple(layout["slices"][placement.job_id]),
            co_tenants=placement.co_tenants,
            crosstalk_loss=placement.crosstalk_loss or 0.0,
            fairness_cost=placement.fairness_cost,
        )
        for placement in placements
    )
    return Batch(
        id=row.id,
        device_id=row.device_id,
        epoch=row.epoch,
        attempt=row.attempt,
        snapshot_id=row.snapshot_id,
        device_start_us=row.device_start_us,
        device_us=row.device_us,
        members=members,
    )


def dissolve(connection: Connection, scope: SystemScope, row: BatchRow, now_us: int) -> None:
    """Give a batch up. A job that was in it alone is the poison and fails; the others are queued again, each alone."""
    placements = batches.placements_of(connection, scope, row.id)
    batches.dissolve_batch(connection, scope, row.id, finished_at_us=now_us)
    job_ids = [placement.job_id for placement in placements]
    rows = jobs.read_jobs(connection, scope, job_ids)
    if len(job_ids) == 1:
        message = f"the job took its simulator down {MAX_ATTEMPTS} times while it ran alone"
        fail_jobs(connection, scope, list(rows.values()), "poisonous", message, now_us)
    else:
        job_states.requeue_solo(connection, scope, job_ids)
        again = [
            events.NewEvent(
                job.id, job.tenant_id, "requeued", JobState.QUEUED, now_us, None, "its batch failed; it runs alone next"
            )
            for job in rows.values()
        ]
        events.append_events(connection, scope, again)
    _log.error("batch_dissolved", batch=row.id, device=row.device_id, jobs=len(job_ids))


def _existing(row: BatchRow | None, batch_id: str) -> BatchRow:
    if row is None:
        raise MissingRow("batch", batch_id)
    return row


class Retrier:
    """What happens to a batch whose attempt failed: the same again, or, after too many, its end."""

    def __init__(
        self,
        database: Database,
        scope: SystemScope,
        clock: WallClock,
        notices: NoticeBoard,
        dispatchers: Mapping[str, Runner],
    ) -> None:
        self._database = database
        self._scope = scope
        self._clock = clock
        self._notices = notices
        self._dispatchers = dispatchers

    def retry(self, outcome: BatchOutcome) -> None:
        """Run the batch again, or give it up. Blocks while the database does not answer: nothing may be forgotten."""
        batch = outcome.batch
        runner = self._dispatchers[batch.device_id]
        _log.warning("batch_attempt_failed", batch=batch.id, attempt=batch.attempt, error=repr(outcome.error))
        while True:
            try:
                again = run_again(
                    self._database, self._scope, batch.id, batch.device_id, batch.epoch, self._clock.now_us()
                )
            except LeaseLost:
                runner.finished(batch.id)
                return
            except Exception:  # noqa: BLE001 - a database that does not answer: the batch waits for it
                _log.exception("retry_postponed", batch=batch.id)
                time.sleep(_POSTPONE_S)
                continue
            break
        if again is None:
            runner.finished(batch.id)
            self._notices.post({tenant_topic(member.job.tenant_id) for member in batch.members})
        else:
            runner.run_again(again)
