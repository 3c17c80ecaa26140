"""Settlement: result, usage record, postings, quota, state and event of every job of a batch, in one transaction.

The transaction first locks the device row and compares the epoch, so a process that came back from the dead settles
nothing. A batch whose attempt failed as a whole goes to recovery instead.
"""

from __future__ import annotations

import queue
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qpu_backend.domain import ledger
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.quota import Resource
from qpu_backend.domain.tenancy import TenantId
from qpu_backend.pipeline.endings import nothing_used
from qpu_backend.pipeline.postprocessing import package
from qpu_backend.stores import batches, blobs, devices, events, job_states, jobs, money, quota
from qpu_backend.stores.errors import LeaseLost
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.batching import Batch, Member
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.execution import BatchOutcome
    from qpu_backend.pipeline.notices import NoticeBoard
    from qpu_backend.stores.database import Database
    from qpu_backend.telemetry.metrics import Metrics


_STOP_WITHIN_S = 30.0
"""A database that does not answer must not keep a process from ending: what is committed as running runs again."""


@dataclass(frozen=True, slots=True, eq=False)
class _Settled:
    """A member with what became of it: a packaged result, or why there is none."""

    member: Member
    result: blobs.Blob | None
    failure: str | None
    cpu_us: int


class Settler:
    """Takes batches that came back and writes their end, in a thread of its own."""

    def __init__(
        self,
        *,
        database: Database,
        scope: SystemScope,
        clock: WallClock,
        notices: NoticeBoard,
        metrics: Metrics,
        retry: Callable[[BatchOutcome], None],
        finished: Callable[[Batch], None],
    ) -> None:
        self._database = database
        self._scope = scope
        self._clock = clock
        self._notices = notices
        self._metrics = metrics
        self._retry = retry
        self._finished = finished
        self._ready: queue.SimpleQueue[BatchOutcome | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._log = logger("settlement")

    def start(self) -> None:
        """Settle in a thread, from now on."""
        self._thread = threading.Thread(target=self._serve, name="settlement", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Settle what has come back, then end."""
        self._ready.put(None)
        if self._thread is not None:
            self._thread.join(_STOP_WITHIN_S)

    def take(self, outcome: BatchOutcome) -> None:
        """A batch came back. Any thread may call this."""
        self._ready.put(outcome)

    def _serve(self) -> None:
        while True:
            outcomes = [self._ready.get()]
            while not self._ready.empty():
                outcomes.append(self._ready.get())
            try:
                self.settle([outcome for outcome in outcomes if outcome is not None])
            except Exception:  # noqa: BLE001 - this thread must outlive everything: all devices wait for it
                self._log.exception("settlement_stumbled")
            if None in outcomes:
                return

    def settle(self, outcomes: list[BatchOutcome]) -> None:
        """Write the end of every batch that ran; hand the others to recovery."""
        for outcome in outcomes:
            if outcome.error is None:
                try:
                    self._settle_batch(outcome)
                except LeaseLost:
                    self._log.warning("settlement_fenced", batch=outcome.batch.id)
                    self._finished(outcome.batch)
                except Exception as error:  # noqa: BLE001 - the batch is committed as running: it is run and settled again
                    self._log.exception("settlement_failed", batch=outcome.batch.id)
                    self._retry(_failed(outcome, error))
            else:
                self._metrics.attempts_failed.labels(device=outcome.batch.device_id).inc()
                self._retry(outcome)

    def _settle_batch(self, outcome: BatchOutcome) -> None:
        batch = outcome.batch
        settled = [
            _Settled(
                member=member,
                result=None if answer.failure else blobs.encode_blob(package(batch, member, answer)),
                failure=answer.failure,
                cpu_us=answer.cpu_us,
            )
            for member, answer in zip(batch.members, outcome.members, strict=True)
        ]
        with self._database.write() as connection:
            devices.require_epoch(connection, batch.device_id, batch.epoch)
            outcomes = self._write(connection, batch, settled)
            if not batches.finish_batch(connection, self._scope, batch.id, finished_at_us=self._clock.now_us()):
                raise RuntimeError(f"batch {batch.id} is not running, so it cannot be settled")
        self._finished(batch)
        self._notices.ended((member.job.tenant_id, member.job.id) for member in batch.members)
        for end in outcomes:
            self._metrics.jobs_finished.labels(device=batch.device_id, outcome=end).inc()
        self._log.info("batch_settled", device=batch.device_id, batch=batch.id, jobs=len(settled))

    def _write(self, connection: Connection, batch: Batch, settled: list[_Settled]) -> list[JobState]:
        now_us = self._clock.now_us()
        end_us = batch.device_start_us + batch.device_us
        current = jobs.lock_jobs(connection, self._scope, [one.member.job.id for one in settled])
        ends = [_end(one, current[one.member.job.id].cancel_requested) for one in settled]
        kept = [one for one, end in zip(settled, ends, strict=True) if end is JobState.DONE]
        shas = blobs.put_blobs(connection, [one.result for one in kept if one.result is not None])
        self._change_states(
            connection, settled, ends, dict(zip((one.member.job.id for one in kept), shas, strict=True))
        )
        usage = [_usage(batch, one, end, now_us) for one, end in zip(settled, ends, strict=True)]
        quota.settle_many(
            connection, self._scope, [_quota_used(one, record) for one, record in zip(settled, usage, strict=True)]
        )
        money.insert_usage_records(connection, self._scope, usage)
        charges = [
            ledger.charge(record.id, TenantId(record.tenant_id), record.price_micro)
            for record in usage
            if record.price_micro
        ]
        money.insert_postings(connection, self._scope, charges, posted_at_us=now_us)
        facts = [
            events.NewEvent(one.member.job.id, one.member.job.tenant_id, str(end), end, now_us, end_us, one.failure)
            for one, end in zip(settled, ends, strict=True)
        ]
        events.append_events(connection, self._scope, facts)
        return ends

    def _change_states(
        self, connection: Connection, settled: list[_Settled], ends: list[JobState], shas: dict[str, str]
    ) -> None:
        """Done, failed or cancelled, each exactly once: a job that is not running stops the whole transaction."""
        now_us = self._clock.now_us()
        done = [job_states.Completion(job_id, sha) for job_id, sha in shas.items()]
        failed = [
            job_states.Failure(
                one.member.job.id, "execution_failed", f"the simulation of this job failed: {one.failure}"
            )
            for one, end in zip(settled, ends, strict=True)
            if end is JobState.FAILED
        ]
        cancelled = [one.member.job.id for one, end in zip(settled, ends, strict=True) if end is JobState.CANCELLED]
        changed = (
            job_states.mark_done(connection, self._scope, done, finished_at_us=now_us)
            | job_states.mark_failed(connection, self._scope, failed, finished_at_us=now_us)
            | job_states.mark_cancelled(connection, self._scope, cancelled, finished_at_us=now_us)
        )
        missing = {one.member.job.id for one in settled} - changed
        if missing:
            raise RuntimeError(f"jobs {sorted(missing)} are not running, so they cannot be settled")


def _quota_used(one: _Settled, record: money.UsageRow) -> quota.Settlement:
    used = {
        Resource.SHOTS: record.shots,
        Resource.DEVICE_US: record.device_us,
        Resource.SPEND_MICRO: record.price_micro,
    }
    return quota.Settlement(record.tenant_id, one.member.job.quota_start, used)


def _end(one: _Settled, cancel_requested: bool) -> JobState:
    if cancel_requested:
        return JobState.CANCELLED
    return JobState.FAILED if one.result is None else JobState.DONE


def _usage(batch: Batch, one: _Settled, end: JobState, now_us: int) -> money.UsageRow:
    """A job that failed by our fault is free; a cancelled one pays for the shots that ran."""
    job = one.member.job
    fact = replace(nothing_used(job, end, now_us), batch_id=batch.id, snapshot_id=batch.snapshot_id)
    fact = replace(fact, simulator_cpu_us=one.cpu_us)
    if end is JobState.FAILED:
        return fact
    size = one.result.size if one.result is not None and end is JobState.DONE else 0
    return replace(fact, shots=job.shots, device_us=job.device_us, price_micro=job.price_micro, result_bytes=size)


def _failed(outcome: BatchOutcome, error: Exception) -> BatchOutcome:
    return type(outcome)(outcome.batch, (), error)
