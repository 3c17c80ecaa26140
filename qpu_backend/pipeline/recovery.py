"""Recovery: the same batch again after a crash, and how a poisonous job is found.

A batch was committed with everything it means, so running it again gives the same counts. After a lost lease or a
dead worker the same batch runs under the new epoch. After :data:`MAX_FAILURES` failed attempts it is
dissolved: its jobs go back to the queue to run alone, and the one that fails alone fails for good, at no cost.

A server that dies is no fault of the batches it was running, so being taken over is no failed attempt. Only after
:data:`MAX_ATTEMPTS` of both kinds is a batch suspected of ending servers, and dissolved too.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

from qpu_backend.domain.deferral import Choice
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.programs import Program
from qpu_backend.engines.executors import WorkersUnreachable
from qpu_backend.pipeline.batching import Batch, Member
from qpu_backend.pipeline.endings import end_cancelled, fail_jobs
from qpu_backend.pipeline.execution import ExecutorClosed
from qpu_backend.pipeline.notices import queue_topic
from qpu_backend.stores import batches, blobs, devices, events, job_states, jobs
from qpu_backend.stores.errors import DatabaseTrouble, LeaseLost, MissingRow
from qpu_backend.telemetry.logs import logger
from qpu_sdk.wire.codec import unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.execution import BatchOutcome
    from qpu_backend.pipeline.notices import NoticeBoard
    from qpu_backend.stores.batches import BatchRow
    from qpu_backend.stores.database import Database

MAX_FAILURES = 3
MAX_ATTEMPTS = 12
_POSTPONE_S = 1.0
_ASK_AGAIN_S = 1.0
"""After workers could not be reached."""


class Runner(Protocol):
    """Who runs batches of a device: its dispatcher."""

    def run_again(self, batch: Batch) -> None:
        """Execute another attempt of a batch that is already counted as running."""
        ...

    def finished(self, batch: Batch) -> None:
        """This attempt of the batch needs nothing more."""
        ...

    def stop_serving(self) -> None:
        """Start nothing more: this process is ending."""
        ...


_log = logger("recovery")


def recover(
    database: Database,
    scope: SystemScope,
    device_id: str,
    epoch: int,
    now_us: int,
    *,
    known: Callable[[str, int], bool],
) -> Iterator[Batch]:
    """Every batch that is committed as running and runs nowhere, now under this epoch: to be run again, in order.

    Args:
        database: where the batches are.
        scope: proof that the service itself asks.
        device_id: the device.
        epoch: of the lease that this process holds.
        now_us: wall time.
        known: whether this process is running the batch of this id under this epoch.
    """
    with database.read() as connection:
        running = batches.running_batches(connection, scope, device_id)
    for row in running:
        if known(row.id, row.epoch) and row.epoch == epoch:
            continue
        batch = run_again(database, scope, row.id, device_id, epoch, now_us)
        if batch is not None:
            yield batch


def run_again(
    database: Database,
    scope: SystemScope,
    batch_id: str,
    device_id: str,
    epoch: int,
    now_us: int,
    *,
    failed: int | None = None,
) -> Batch | None:
    """The next attempt of a batch, or None when it was dissolved or has ended.

    Args:
        database: where the batch is.
        scope: proof that the service itself asks.
        batch_id: the batch.
        device_id: its device.
        epoch: of the lease that this process holds.
        now_us: wall time.
        failed: the attempt that failed; none where the batch was only taken over. It counts once, however often the
            database has to be told.

    Raises:
        LeaseLost: the device has another holder.
    """
    with database.write() as connection:
        devices.require_epoch(connection, device_id, epoch)
        row = _existing(batches.read_batch(connection, scope, batch_id), batch_id)
        if row.state != "running":
            return None
        attempt, failures = row.attempt + 1, row.failures + (row.attempt == failed)
        if failures >= MAX_FAILURES or attempt > MAX_ATTEMPTS or _unwanted(connection, scope, row):
            dissolve(connection, scope, row, now_us)
            return None
        batches.bump_attempt(connection, scope, batch_id, epoch=epoch, attempt=attempt, failures=failures)
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
            caveats=tuple(layout.get("caveats", {}).get(placement.job_id, ())),
            leg=placement.leg,
            choices=tuple(Choice(*choice) for choice in layout.get("choices", {}).get(placement.job_id, ())),
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
    """Give a batch up. A job that was in it alone is the poison and fails; the others are queued again, each alone.

    Those whose cancellation was asked for end here: the batch that would have ended them has produced nothing and is
    free, as for one that fails all of its legs are; a cancelled one pays for those that ran before.
    """
    placements = batches.placements_of(connection, scope, row.id)
    batches.dissolve_batch(connection, scope, row.id, finished_at_us=now_us)
    rows = jobs.lock_jobs(connection, scope, [placement.job_id for placement in placements])
    unwanted = [job for job in rows.values() if job.cancel_requested]
    wanted = [job for job in rows.values() if not job.cancel_requested]
    if len(rows) == 1 and wanted:
        message = "the simulation of this job failed again and again while it ran alone; it is not billed"
        fail_jobs(connection, scope, wanted, "poisonous", message, now_us)
    else:
        job_states.requeue_solo(connection, scope, [job.id for job in wanted])
        job_states.mark_cancelled(connection, scope, [job.id for job in unwanted], finished_at_us=now_us)
        again = [
            events.NewEvent(
                job.id, job.tenant_id, "requeued", JobState.QUEUED, now_us, None, "its batch failed; it runs alone next"
            )
            for job in wanted
        ]
        end_cancelled(connection, scope, unwanted, "cancelled; its batch failed, nothing is billed", now_us, again)
    _log.error("batch_dissolved", batch=row.id, device=row.device_id, jobs=len(rows))


def _unwanted(connection: Connection, scope: SystemScope, row: BatchRow) -> bool:
    """Whether everybody in the batch has asked for cancellation: nothing is run again to be thrown away."""
    placements = batches.placements_of(connection, scope, row.id)
    rows = jobs.read_jobs(connection, scope, [placement.job_id for placement in placements])
    return all(job.cancel_requested for job in rows.values())


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
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Wait no longer for a database that does not answer."""
        self._stopping.set()

    def finished(self, batch: Batch) -> None:
        """The batch needs nothing more."""
        self._dispatchers[batch.device_id].finished(batch)

    def retry(self, outcome: BatchOutcome) -> None:
        """Run the batch again, or give it up. Blocks while the database does not answer: nothing may be forgotten.

        It also waits a moment before workers are asked for again that could not be reached, once for all batches that
        came back at that time.

        A batch that an ending process could not run stays committed as it is, for the next holder of the lease.
        """
        batch = outcome.batch
        runner = self._dispatchers[batch.device_id]
        if isinstance(outcome.error, ExecutorClosed):
            runner.stop_serving()
            self.finished(batch)
            return
        if isinstance(outcome.error, WorkersUnreachable):
            _log.warning("batch_waits_for_workers", batch=batch.id, attempt=batch.attempt)
            wait_s = outcome.since_s + _ASK_AGAIN_S - time.monotonic()  # once for all that came back together
            if not self._stopping.wait(max(0.0, wait_s)):
                runner.run_again(batch)  # the same attempt
            return
        _log.warning("batch_attempt_failed", batch=batch.id, attempt=batch.attempt, error=repr(outcome.error))
        while not self._stopping.is_set():
            try:
                again = run_again(
                    self._database,
                    self._scope,
                    batch.id,
                    batch.device_id,
                    batch.epoch,
                    self._clock.now_us(),
                    failed=batch.attempt,
                )
            except LeaseLost:
                self.finished(batch)
                return
            except DatabaseTrouble as trouble:
                _log.warning("retry_postponed", batch=batch.id, trouble=trouble.code)
                self._stopping.wait(_POSTPONE_S)
                continue
            except Exception:  # noqa: BLE001 - whatever it is, the batch waits for its end
                _log.exception("retry_postponed", batch=batch.id)
                self._stopping.wait(_POSTPONE_S)
                continue
            break
        else:
            return
        if again is not None:
            runner.run_again(again)
            return
        self.finished(batch)
        self._notices.ended((member.job.tenant_id, member.job.id) for member in batch.members)
        self._notices.post([queue_topic(batch.device_id)])
