"""Settlement: result, usage record, postings, quota, state and event of every job of a batch, in one transaction.

Of a job that runs in legs, each leg but the last one is kept as a part: it queues again, and its end, with result and
bill, comes with the last one. The transaction first locks the device row and compares the epoch, so a process that
came back from the dead settles nothing. A batch whose attempt failed as a whole goes to recovery instead.

Mitigation may take seconds of processor time. Batches with any are packaged in a thread of their own before they come
here, so that others' results wait for none of it.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qpu_backend.domain.jobs import JobState
from qpu_backend.pipeline.continuing import continue_jobs, told
from qpu_backend.pipeline.endings import keep_books, shots_used
from qpu_backend.pipeline.notices import UNHURRIED_S, queue_topic, tenant_topic
from qpu_backend.pipeline.parts import Part, earlier_parts
from qpu_backend.pipeline.postprocessing import package
from qpu_backend.stores import batches, blobs, devices, events, job_states, jobs
from qpu_backend.stores.errors import DatabaseTrouble, LeaseLost
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.batching import Batch, Member
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.execution import BatchOutcome
    from qpu_backend.pipeline.notices import NoticeBoard
    from qpu_backend.stores import money
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.devices import DeviceRow
    from qpu_backend.telemetry.metrics import Metrics


_POSTPONE_S = 0.5
_STOP_WITHIN_S = 30.0
"""A database that does not answer must not keep a process from ending: what is committed as running runs again."""


@dataclass(frozen=True, slots=True, eq=False)
class _Settled:
    """A member with what became of it: a packaged result, or part of one, or why there is none."""

    member: Member
    result: blobs.Blob | None
    part: blobs.Blob | None
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
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._to_package: queue.SimpleQueue[BatchOutcome | None] = queue.SimpleQueue()
        self._packaging: threading.Thread | None = None
        self._packaged_early: dict[int, list[_Settled]] = {}
        self._log = logger("settlement")

    def start(self) -> None:
        """Settle in a thread, and package what is mitigated in another one, from now on."""
        self._packaging = threading.Thread(target=self._package_early, name="mitigation", daemon=True)
        self._packaging.start()
        self._thread = threading.Thread(target=self._serve, name="settlement", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Settle what has come back, then end; wait no longer for a database that cannot serve, or for mitigation.

        A batch that is not packaged by then is committed as running: the next holder of the lease settles it.
        """
        until_s = time.monotonic() + _STOP_WITHIN_S
        self._stopping.set()
        self._to_package.put(None)
        if self._packaging is not None:
            self._packaging.join(_STOP_WITHIN_S)
        self._ready.put(None)
        if self._thread is not None:
            self._thread.join(max(0.0, until_s - time.monotonic()))

    def take(self, outcome: BatchOutcome) -> None:
        """A batch came back. Any thread may call this."""
        if outcome.error is None and any(one.program.treatment is not None for one in outcome.batch.members):
            self._to_package.put(outcome)
        else:
            self._ready.put(outcome)

    def _package_early(self) -> None:
        while (outcome := self._to_package.get()) is not None and not self._stopping.is_set():
            try:
                self._packaged_early[id(outcome)] = self._package(outcome)
            except Exception as error:  # noqa: BLE001 - it is tried again, and dealt with, where it is settled
                self._log.warning("packaging_failed", batch=outcome.batch.id, reason=type(error).__name__)
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
                    self._settle_when_possible(outcome)
                except LeaseLost:
                    self._log.warning("settlement_fenced", batch=outcome.batch.id)
                    self._finished(outcome.batch)
                except Exception as error:  # noqa: BLE001 - the batch is committed as running: it is run and settled again
                    self._log.exception("settlement_failed", batch=outcome.batch.id)
                    self._retry(_failed(outcome, error))
                finally:
                    self._packaged_early.pop(id(outcome), None)
            else:
                self._metrics.attempts_failed.labels(device=outcome.batch.device_id).inc()
                self._retry(outcome)

    def _settle_when_possible(self, outcome: BatchOutcome) -> None:
        """A database that cannot serve is no fault of the batch: what it measured is kept until it can be stored.

        A process that ends meanwhile leaves the batch as it is committed, for the next holder of the lease.
        """
        postponed = False
        while True:
            try:
                self._settle_batch(outcome)
            except DatabaseTrouble as trouble:
                if not postponed:
                    self._log.warning("settlement_postponed", batch=outcome.batch.id, trouble=trouble.code)
                postponed = True
                if self._stopping.wait(_POSTPONE_S):
                    return
            else:
                return

    def _settle_batch(self, outcome: BatchOutcome) -> None:
        batch = outcome.batch
        settled = self._packaged(outcome)
        with self._database.write() as connection:
            device = devices.require_epoch(connection, batch.device_id, batch.epoch)
            if not batches.finish_batch(connection, self._scope, batch.id, finished_at_us=self._clock.now_us()):
                raise RuntimeError(f"batch {batch.id} is not running, so it cannot be settled")
            ends = self._write(connection, device, batch, settled)
        ended = [one.member.job for one, end in zip(settled, ends, strict=True) if end.final]
        going_on = [one.member.job for one, end in zip(settled, ends, strict=True) if not end.final]
        self._notices.ended((job.tenant_id, job.id) for job in ended)
        self._finished(batch)
        if going_on:
            self._notices.post({tenant_topic(job.tenant_id) for job in going_on}, within_s=UNHURRIED_S)
            self._notices.post([queue_topic(batch.device_id)])
        for end in ends:
            if end.final:
                self._metrics.jobs_finished.labels(device=batch.device_id, outcome=end).inc()
        self._log.info("batch_settled", device=batch.device_id, batch=batch.id, jobs=len(settled), ended=len(ended))

    def _packaged(self, outcome: BatchOutcome) -> list[_Settled]:
        early = self._packaged_early.get(id(outcome))
        return self._package(outcome) if early is None else early

    def _package(self, outcome: BatchOutcome) -> list[_Settled]:
        """What is to be stored of each member: its result with its last leg, before that what this leg measured."""
        settled: list[_Settled] = []
        for member, answer in zip(outcome.batch.members, outcome.members, strict=True):
            one = _Settled(member, None, None, answer.failure, answer.cpu_us)
            if answer.failure is None:
                part = Part.of(outcome.batch, member, answer)
                if member.last:
                    body = package(member.job, member.program, (*self._earlier_parts(member), part))
                    one = replace(one, result=blobs.encode_blob(body))
                else:
                    one = replace(one, part=blobs.encode_blob(part.to_bytes()))
            settled.append(one)
        return settled

    def _earlier_parts(self, member: Member) -> tuple[Part, ...]:
        if member.leg == 0:
            return ()
        with self._database.read() as connection:
            return earlier_parts(connection, self._scope, member)

    def _write(
        self, connection: Connection, device: DeviceRow, batch: Batch, settled: list[_Settled]
    ) -> list[JobState]:
        now_us = self._clock.now_us()
        end_us = batch.device_start_us + batch.device_us
        current = jobs.lock_jobs(connection, self._scope, [one.member.job.id for one in settled])
        ends = [_end(one, current[one.member.job.id].cancel_requested) for one in settled]
        shas = self._put(connection, batch, settled, ends)
        self._change_states(connection, settled, ends, shas)
        used = [
            (one.member.job, _usage(connection, batch, one, end, now_us))
            for one, end in zip(settled, ends, strict=True)
            if end.final
        ]
        keep_books(connection, self._scope, used, now_us)
        going_on = [one for one, end in zip(settled, ends, strict=True) if not end.final]
        if going_on:
            rows = [current[one.member.job.id] for one in going_on]
            cpu_us = {one.member.job.id: one.cpu_us for one in going_on}
            continue_jobs(connection, self._scope, device, rows, cpu_us)
        facts = [
            events.NewEvent(one.member.job.id, one.member.job.tenant_id, str(end), end, now_us, end_us, one.failure)
            if end.final
            else told(one.member.job, now_us, end_us)
            for one, end in zip(settled, ends, strict=True)
        ]
        events.append_events(connection, self._scope, facts)
        return ends

    def _put(
        self, connection: Connection, batch: Batch, settled: list[_Settled], ends: list[JobState]
    ) -> dict[str, str]:
        """Store the results of jobs that are done, and what the others' legs measured. The blobs of the results."""
        kept = [
            (one.member.job.id, end, body)
            for one, end in zip(settled, ends, strict=True)
            if (body := {JobState.DONE: one.result, JobState.QUEUED: one.part}.get(end)) is not None
        ]
        shas = blobs.put_blobs(connection, [body for _, _, body in kept])
        stored = [(job_id, end, sha) for (job_id, end, _), sha in zip(kept, shas, strict=True)]
        parts = {job_id: sha for job_id, end, sha in stored if end is JobState.QUEUED}
        batches.keep_parts(connection, self._scope, batch.id, parts)
        return {job_id: sha for job_id, end, sha in stored if end is JobState.DONE}

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
        final = {one.member.job.id for one, end in zip(settled, ends, strict=True) if end.final}
        missing = final - changed
        if missing:
            raise RuntimeError(f"jobs {sorted(missing)} are not running, so they cannot be settled")


def _end(one: _Settled, cancel_requested: bool) -> JobState:
    """What the job is now; queued: for its next leg."""
    if cancel_requested:
        return JobState.CANCELLED
    if one.failure is not None:
        return JobState.FAILED
    return JobState.DONE if one.member.last else JobState.QUEUED


def _usage(connection: Connection, batch: Batch, one: _Settled, end: JobState, now_us: int) -> money.UsageRow:
    """A job that failed by our fault is free; a cancelled one pays for the shots that ran."""
    job = one.member.job
    legs = 0 if end is JobState.FAILED else one.member.leg + int(one.failure is None)
    fact = shots_used(connection, job, legs, end, now_us)
    size = one.result.size if one.result is not None and end is JobState.DONE else 0
    return replace(
        fact,
        batch_id=batch.id,
        snapshot_id=batch.snapshot_id,
        simulator_cpu_us=fact.simulator_cpu_us + one.cpu_us,
        result_bytes=size,
    )


def _failed(outcome: BatchOutcome, error: Exception) -> BatchOutcome:
    return type(outcome)(outcome.batch, (), error)
