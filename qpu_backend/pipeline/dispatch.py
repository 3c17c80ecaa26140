"""Dispatch: read the front of the queue, plan, commit the batch, hand it to execution. One thread a device.

The decision is the pure function :func:`qpu_backend.domain.planning.plan`; here are only its inputs, its transaction
and its clock. The batch is committed (with contexts and seeds) before it runs; device time moves with that
transaction.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from qpu_backend.domain.planning import Plan, Wait
from qpu_backend.domain.programs import Program
from qpu_backend.engines.executors import ExecutorShutDown, WorkersUnreachable
from qpu_backend.pipeline.batching import REMEMBERED_BYTES, Batch, InPlace, Member, Unplaceable, assemble
from qpu_backend.pipeline.commitment import PlanOutdated, commit_batch, commit_idling
from qpu_backend.pipeline.deciding import Decider
from qpu_backend.pipeline.endings import fail_jobs
from qpu_backend.pipeline.lookout import Looked, Lookout
from qpu_backend.pipeline.notices import UNHURRIED_S, queue_topic, tenant_topic
from qpu_backend.pipeline.recent import Recent
from qpu_backend.pipeline.recovery import recover
from qpu_backend.stores import blobs, devices, jobs
from qpu_backend.stores.errors import DatabaseTrouble, LeaseLost
from qpu_backend.stores.ids import new_id
from qpu_backend.telemetry.logs import logger
from qpu_sdk.wire.codec import unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.domain.views import QueuedJob
    from qpu_backend.pipeline.backends import Calibrated
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.deferred import Recompiler
    from qpu_backend.pipeline.fleet import Fleet
    from qpu_backend.pipeline.lease import DeviceLease
    from qpu_backend.pipeline.notices import NoticeBoard
    from qpu_backend.pipeline.profiling import Profiler
    from qpu_backend.pipeline.sessions import Sessions
    from qpu_backend.stores.database import Database
    from qpu_backend.telemetry.metrics import Metrics

_LONG_US = 2_000_000
"""A job whose simulation is expected to take longer is *long*. Long jobs share batches with long ones only, and one
slot of the device is kept free of them: nobody's short job waits for a stranger's long simulation, unless that one was
promised its start."""
_REREAD_S = 1.0
"""How often the queue is read without a hint: jobs another process admitted."""
_HURRY_S = 0.1
"""How soon a stop notices that it is to hurry."""


class Dispatcher:
    """Serves the queue of one device while this process holds its lease."""

    def __init__(
        self,
        *,
        database: Database,
        scope: SystemScope,
        device_id: str,
        fleet: Fleet,
        lease: DeviceLease,
        run: Callable[[Batch], None],
        clock: WallClock,
        notices: NoticeBoard,
        metrics: Metrics,
        max_inflight: int,
        programs: Recent[str, Program],
        profile: Profiler,
        recompiler: Recompiler,
        sessions: Sessions,
    ) -> None:
        self._database = database
        self._scope = scope
        self._device_id = device_id
        self._fleet = fleet
        self._lease = lease
        self._run_batch = run
        self._clock = clock
        self._notices = notices
        self._metrics = metrics
        self._max_inflight = max_inflight
        self._programs = programs
        self._profile = profile
        self._recompiler = recompiler
        self._sessions = sessions
        self._sessions_end_s = 0.0
        self._in_place: InPlace = Recent(REMEMBERED_BYTES)
        self._lookout = Lookout(database, scope, device_id, fleet, clock)
        self._decider = Decider(database, scope, device_id, metrics)
        self._inflight: set[tuple[str, int]] = set()
        self._long: set[tuple[str, int]] = set()
        self._unsure = True
        self._suspects: set[str] = set()
        self._changed = threading.Condition()
        self._stopping = False
        self._hurrying = False
        self._paused = False
        self._held_back = False  # jobs that wait until others of their owner have ended
        self._thread: threading.Thread | None = None
        self._log = logger("dispatch")

    # --- life ------------------------------------------------------------------------------------------------------

    @property
    def lease(self) -> DeviceLease:
        """This process's claim on the device."""
        return self._lease

    def start(self) -> None:
        """Serve the queue in a thread, from now on."""
        self._thread = threading.Thread(target=self._serve, name=f"dispatch-{self._device_id}", daemon=True)
        self._thread.start()

    def stop(self, *, drain_s: float = 30.0) -> bool:
        """Start no further batch, wait for those that run (at most ``drain_s``), give the lease back.

        Returns:
            Whether everything that ran has ended. What has not is run again by the next holder of the lease.
        """
        until_s = time.monotonic() + drain_s
        self.stop_serving()
        while self._thread is not None and self._thread.is_alive():
            left_s = until_s - time.monotonic()
            if self._hurrying or left_s <= 0:
                break  # without the lease it cannot commit anything
            self._thread.join(min(_HURRY_S, left_s))
        with self._changed:
            left_s = max(0.0, until_s - time.monotonic())
            self._changed.wait_for(lambda: self._hurrying or not self._inflight, timeout=left_s)
            drained = not self._inflight and not self._profile.gave_up
        self._lease.release()
        self.wake()  # who stands by need not wait
        return drained

    def hurry(self) -> None:
        """While stopping: wait for nothing more."""
        self._hurrying = True
        with self._changed:
            self._changed.notify_all()

    def wake(self) -> None:
        """Look at the queue now."""
        self._notices.post([queue_topic(self._device_id)])

    def stop_serving(self) -> None:
        """Start nothing more; does not wait."""
        self._stopping = True
        self._profile.stop()
        self.wake()

    def finished(self, batch: Batch) -> None:
        """A batch of this device has been settled or given up, or is somebody else's now."""
        with self._changed:
            was_full = len(self._inflight) >= self._max_inflight or self._held_back
            self._inflight.discard((batch.id, batch.epoch))
            was_full |= (batch.id, batch.epoch) in self._long
            self._long.discard((batch.id, batch.epoch))
            self._changed.notify_all()
        if was_full:
            self.wake()

    def run_again(self, batch: Batch) -> None:
        """Execute another attempt of a batch that is already counted as running."""
        self._run_batch(batch)

    def _serve(self) -> None:
        with self._notices.watch(queue_topic(self._device_id)) as hint:
            while not self._stopping:
                hint.clear()
                try:
                    progressed = self.dispatch_once()
                    self._resume()
                except ExecutorShutDown:
                    self.stop_serving()
                    progressed = False
                except LeaseLost:
                    self._lease.lose()
                    progressed = False
                except DatabaseTrouble as trouble:
                    self._pause(trouble)
                    time.sleep(_REREAD_S)
                    continue
                except Exception:  # noqa: BLE001 - the device stops, the backlog stays; the next turn tries again
                    self._log.exception("dispatch_failed", device=self._device_id)
                    self._unsure = True  # a commit that failed may have reached the database all the same
                    time.sleep(_REREAD_S)
                    continue
                if not progressed:
                    hint.wait(_REREAD_S)

    def _pause(self, trouble: DatabaseTrouble) -> None:
        """The database cannot serve: nothing is started until it can, and nothing is forgotten."""
        self._unsure = True  # a commit that failed may have reached the database all the same
        if not self._paused:
            self._log.error("dispatch_paused", device=self._device_id, trouble=trouble.code)
            self._metrics.dispatch_paused.labels(device=self._device_id).set(1)
        self._paused = True

    def _resume(self) -> None:
        if self._paused:
            self._log.info("dispatch_resumed", device=self._device_id)
            self._metrics.dispatch_paused.labels(device=self._device_id).set(0)
        self._paused = False

    # --- one turn --------------------------------------------------------------------------------------------------

    def dispatch_once(self) -> bool:
        """One turn: take the lease if needed, plan, commit and start at most one batch.

        Returns:
            Whether there is more to do at once: jobs that found no place in the batch, a plan that was outdated, or a
            device that idled until a booked window began or ended.
        """
        if not self._in_charge():
            return False
        with self._changed:
            if len(self._inflight) >= self._max_inflight:
                return False
        self._end_sessions()
        looked = self._lookout.look(self._suspects)
        self._held_back = looked is not None and looked.view.unseen_tag is not None
        if looked is None or not looked.view.jobs:
            return False
        waits: list[Wait] = []
        epoch = self._lease.epoch or 0
        seen = self._by_kind(looked, self._decider.first(looked, epoch))
        for some in seen:
            decision = self._decider.decide(some, epoch)
            if decision.unplaceable:
                self._fail_unplaceable(decision.unplaceable)
            if isinstance(decision, Plan):
                return not self._commit(some, decision) or len(decision.placements) < len(looked.view.jobs)
            waits.append(decision)
        if any(wait.unplaceable for wait in waits):
            return True
        all_wait = len({job.id for some in seen for job in some.view.jobs}) == len(looked.view.jobs)
        return all_wait and self._idle(looked, [wait.until_us for wait in waits if wait.until_us is not None])

    def _end_sessions(self) -> None:
        """Release what the sessions held that are over; asked once in a while."""
        if time.monotonic() >= self._sessions_end_s:
            self._sessions.expire(self._device_id)
            self._sessions_end_s = time.monotonic() + _REREAD_S

    def _in_charge(self) -> bool:
        """Whether this process holds the lease and runs every batch that is committed as running."""
        epoch = self._lease.epoch
        if epoch is None:
            self._unsure = True
            epoch = self._lease.acquire()
        if epoch is None:
            return False
        if self._unsure:
            now_us = self._clock.now_us()
            for batch in recover(self._database, self._scope, self._device_id, epoch, now_us, known=self._runs):
                self._start(batch)
            self._unsure = False
        return True

    def _runs(self, batch_id: str, epoch: int) -> bool:
        with self._changed:
            return (batch_id, epoch) in self._inflight

    def _by_kind(self, looked: Looked, head: QueuedJob | None) -> list[Looked]:
        """Long jobs and short ones, the kind of who is first in line before the other; no long ones without a slot.

        A job that was promised its start is of both kinds: it may not wait for a slot, nor be forgotten by the other.
        """
        with self._changed:
            slot = len(self._long) < max(1, self._max_inflight - 1)
        long_first = head is not None and head.footprint.simulation_us > _LONG_US
        kinds = [
            tuple(
                job
                for job in looked.view.jobs
                if (job.footprint.simulation_us > _LONG_US) == long or job.start_by_us is not None
            )
            for long in ((True, False) if long_first else (False, True))
            if slot or not long
        ]
        return [looked.with_jobs(jobs_of_kind) for jobs_of_kind in kinds if jobs_of_kind]

    def _idle(self, looked: Looked, windows_us: list[int]) -> bool:
        """Nothing that waits can run before a booked window begins or ends: let device time pass until then.

        Returns:
            Whether to look again; not where jobs wait for something else than a window.
        """
        epoch = self._lease.epoch
        if not windows_us or epoch is None:
            return False
        until_us = min(windows_us)
        try:
            commit_idling(self._database, self._scope, epoch, looked, until_us)
        except PlanOutdated:
            return True
        self._log.info("device_idled", device=self._device_id, from_us=looked.now_us, until_us=until_us)
        return True

    def _commit(self, looked: Looked, decision: Plan) -> bool:
        """Commit and start the batch; whether it was, or the plan was outdated by then."""
        calibrated = looked.calibrated
        if self._fleet.calibrated(self._device_id) is not calibrated:
            return False
        try:
            members = self._assemble(decision, calibrated)
        except Unplaceable as error:
            self._fail_unplaceable((error.job_id,))
            return False
        except (SQLAlchemyError, DatabaseTrouble, MemoryError, OSError, WorkersUnreachable, ExecutorShutDown):
            raise  # nobody's fault
        except Exception:  # noqa: BLE001 - one job must not stop the device for all
            self._log.exception("batch_not_assembled", device=self._device_id, jobs=len(decision.placements))
            self._suspect([placement.job_id for placement in decision.placements])
            return False
        epoch = self._lease.epoch
        if epoch is None:
            return False
        batch = Batch(
            id=new_id("batch"),
            device_id=self._device_id,
            epoch=epoch,
            attempt=1,
            snapshot_id=calibrated.row.id,
            device_start_us=decision.device_start_us,
            device_us=decision.device_us,
            members=members,
        )
        try:
            commit_batch(self._database, self._scope, batch, looked, decision, self._clock.now_us())
        except PlanOutdated:
            return False  # a job was cancelled, or the device closed or calibrated, meanwhile: look again
        self._start(batch)
        self._suspects -= {member.job.id for member in members}
        self._metrics.batches.labels(device=self._device_id).inc()
        self._metrics.batch_jobs.labels(device=self._device_id).observe(len(members))
        self._log.info("batch_committed", device=self._device_id, batch=batch.id, jobs=len(members))
        self._notices.post({tenant_topic(member.job.tenant_id) for member in members}, within_s=UNHURRIED_S)
        return True

    def _assemble(self, decision: Plan, calibrated: Calibrated) -> tuple[Member, ...]:
        with self._database.read() as connection:
            chosen = jobs.read_jobs(connection, self._scope, [placement.job_id for placement in decision.placements])
            shas = {row.program_sha for row in chosen.values()}
            programs = {sha: known for sha in shas if (known := self._programs.get(sha)) is not None}
            bodies = blobs.get_blobs(connection, sorted(shas - programs.keys()))
        programs |= {sha: Program.from_document(unpack(body)) for sha, body in bodies.items()}
        asked = {job_id: programs[row.program_sha] for job_id, row in chosen.items()}
        truth = self._fleet.truth(self._device_id, decision.device_start_us)
        compiled = self._recompiler.compile(decision, chosen, asked, calibrated)
        model, snapshot = calibrated.model, calibrated.snapshot
        return assemble(decision, chosen, asked, model, snapshot, truth, self._profile, self._in_place, compiled)

    def _suspect(self, job_ids: list[str]) -> None:
        """No batch can be made of these jobs: each is tried alone next, and one that is alone already fails, free."""
        if len(job_ids) > 1:
            self._suspects |= set(job_ids)
            return
        self._suspects -= set(job_ids)
        message = "this job was admitted but cannot be prepared to run; it is not billed"
        self._fail(tuple(job_ids), "poisonous", message)

    def _start(self, batch: Batch) -> None:
        with self._changed:
            self._inflight.add((batch.id, batch.epoch))
            if any(m.job.footprint["simulation_us"] > _LONG_US for m in batch.members):
                self._long.add((batch.id, batch.epoch))
        self._run_batch(batch)

    def _fail_unplaceable(self, job_ids: tuple[str, ...]) -> None:
        """A calibration took the only place these jobs could run: end them, free, instead of letting them wait."""
        message = "no place on the device fits this job any more; transpile it again for the current calibration"
        self._fail(job_ids, "unplaceable", message)

    def _fail(self, job_ids: tuple[str, ...], code: str, message: str) -> None:
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            devices.require_epoch(connection, self._device_id, self._lease.epoch or 0)
            rows = list(jobs.read_jobs(connection, self._scope, job_ids).values())
            fail_jobs(connection, self._scope, rows, code, message, now_us)
        self._notices.ended((row.tenant_id, row.id) for row in rows)
