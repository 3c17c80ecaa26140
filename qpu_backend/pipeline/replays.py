"""Replays: a job's stored record runs once more, as it was or as if nobody else had been on the chip.

A record, one for each leg of the job, holds everything that it needs, so a replay takes no device time, moves no clock,
is not billed and stores nothing: it borrows a worker. What is computed is remembered for a while, and asking for what
is being computed joins it. An exact replay tells what the result told; one without neighbours tells nothing of them.
"""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.deferral import Choice
from qpu_backend.domain.errors import IllegalTransition, NotFound
from qpu_backend.domain.legs import Legs
from qpu_backend.domain.privacy import CoTenants
from qpu_backend.domain.programs import Program
from qpu_backend.domain.retention import ResultArchived
from qpu_backend.engines.alone import alone, executions_of
from qpu_backend.engines.protocol import RegionTask, decode_report, join_tasks
from qpu_backend.engines.worker import run_tasks
from qpu_backend.pipeline.batching import Batch, Member
from qpu_backend.pipeline.execution import MemberOutcome
from qpu_backend.pipeline.mitigated import published_in
from qpu_backend.pipeline.parts import Part
from qpu_backend.pipeline.postprocessing import result_of
from qpu_backend.pipeline.recent import Recent
from qpu_backend.stores import batches, blobs, jobs
from qpu_backend.stores.errors import MissingRow
from qpu_backend.stores.retention import MARKER_SHA
from qpu_sdk.wire.codec import unpack
from qpu_sdk.wire.errors import MalformedPayload
from qpu_sdk.wire.results import decode_result, encode_result

if TYPE_CHECKING:
    from concurrent.futures import Executor

    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.stores.batches import PlacedJob
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.jobs import JobRow
    from qpu_sdk.wire.results import JobResult

_REMEMBERED_BYTES: Final = 16 << 20
"""Of workers' answers."""

_Key = tuple[str, bytes]
"""Tenant and digest of the record that runs: how fast one is answered must not tell what others have asked."""


class ReplaysBusy(Exception):
    """No further replay is computed now: enough of them are, for this tenant or for this process."""


class ReplayFailed(Exception):
    """What computed the replay ended before it answered."""


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """A replay that was asked for.

    Attributes:
        alone: whether the neighbours are left out.
        batches: that of each leg, with the job as its only member.
        recorded: the job's result.
    """

    alone: bool
    batches: tuple[Batch, ...]
    recorded: JobResult

    @property
    def members(self) -> list[Member]:
        """The job in each of its legs."""
        return [batch.members[0] for batch in self.batches]

    @property
    def records(self) -> list[bytes]:
        """What runs: bytes of a :class:`~qpu_backend.engines.protocol.RegionTask` for each leg."""
        return [member.record for member in self.members]

    @property
    def key(self) -> _Key:
        digests = b"".join(hashlib.sha256(record).digest() for record in self.records)
        return self.members[0].job.tenant_id, hashlib.sha256(digests).digest()


class Replays:
    """Computes replays on the executor that runs the batches, few at a time. Safe to call from many threads."""

    def __init__(self, database: Database, executor: Executor, *, at_once: int) -> None:
        """Nothing runs yet.

        Args:
            database: where the records are.
            executor: the workers.
            at_once: how many replays may take a worker from the batches; each tenant has one at most.
        """
        self._database = database
        self._executor = executor
        self._at_once = at_once
        self._lock = threading.Lock()
        self._running: dict[_Key, Future[bytes]] = {}
        self._recent: Recent[_Key, bytes] = Recent(_REMEMBERED_BYTES)

    @property
    def busy(self) -> bool:
        """Whether a worker is computing a replay."""
        with self._lock:
            return bool(self._running)

    def find(self, scope: TenantScope, job_id: str, *, without_neighbours: bool) -> Replay | JobRow:
        """What is to run, or the job that has no result to replay.

        Raises:
            NotFound: the tenant has no such job.
            ResultArchived: the service keeps records for a limited time, and that is over.
            IllegalTransition: its record was written by a release whose records this one does not run.
        """
        with self._database.read() as connection:
            row = jobs.get_job(connection, scope, job_id)
            if row is None:
                raise NotFound("job", job_id)
            if row.result_sha is None:
                return row
            placed = batches.legs_of_job(connection, scope, job_id)
            if len(placed) != row.num_legs:
                raise MissingRow("placement", job_id)
            shas = [one.placement.record_sha for one in placed]
            if row.archived_at_us is not None or MARKER_SHA in shas:
                raise ResultArchived(f"what job {job_id} would be replayed from")
            bodies = blobs.get_blobs(connection, [row.program_sha, row.result_sha, *shas])
        recorded = decode_result(bodies[row.result_sha])
        program = Program.from_document(unpack(bodies[row.program_sha]))
        try:
            tasks = [RegionTask.from_bytes(bodies[sha]) for sha in shas]
        except MalformedPayload as error:
            raise IllegalTransition(state=f"{row.state} under an earlier release", asked="replay") from error
        caveats = tuple(recorded.metadata.get("warnings", ()))
        ran: list[Batch] = []
        for one, task in zip(placed, tasks, strict=True):
            member = replace(_member(row, one, program, alone(task) if without_neighbours else task), caveats=caveats)
            member = replace(member, choices=_choices(recorded, len(ran) if row.num_legs > 1 else None))
            member = replace(member, readout=published_in(recorded.metadata))
            if without_neighbours:
                member = replace(member, co_tenants=CoTenants.NONE.value, crosstalk_loss=0.0, ghosts=(0, 0))
            ran.append(_batch(row, one, member))
        return Replay(without_neighbours, tuple(ran), recorded)

    def start(self, replay: Replay) -> Future[bytes]:
        """The workers' answer, or the promise of it.

        Raises:
            ReplaysBusy: it has to wait, and nobody remembers that it was asked for.
            ReplayFailed: no worker takes it.
        """
        key = replay.key
        with self._lock:
            if (running := self._running.get(key)) is not None:
                return running
            if (known := self._recent.get(key)) is not None:
                answered: Future[bytes] = Future()
                answered.set_result(known)
                return answered
            busy = [tenant for (tenant, _), each in self._running.items() if not each.done()]
            if len(busy) >= self._at_once or key[0] in busy:
                raise ReplaysBusy
            try:
                future = self._executor.submit(run_tasks, join_tasks(replay.records))
            except Exception as error:
                raise ReplayFailed from error
            self._running[key] = future
        future.add_done_callback(lambda ended: self._end(key, ended))
        return future

    def _end(self, key: _Key, future: Future[bytes]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._recent.put(key, future.result(), len(future.result()))
        with self._lock:
            del self._running[key]

    @staticmethod
    def package(replay: Replay, answered: Future[bytes]) -> bytes:
        """The replay as a result, from a future that is done.

        Its metadata has ``replay``: ``alone``, and ``exact``: whether what computed it is what computed the result and,
        with the neighbours there, whether every shot is the same.

        Raises:
            ReplayFailed: the workers gave no answer.
        """
        try:
            report = decode_report(answered.result())
        except Exception as error:
            raise ReplayFailed from error
        failures = [task.failure for task in report.tasks if task.failure is not None]
        if failures:
            raise ReplayFailed(failures[0])
        outcomes = [MemberOutcome(task.slices, task.cpu_us, None, report.fingerprint) for task in report.tasks]
        parts = [
            Part.of(batch, member, outcome)
            for batch, member, outcome in zip(replay.batches, replay.members, outcomes, strict=True)
        ]
        first = replay.members[0]
        result = result_of(first.job, first.program, parts)
        exact = all(report.fingerprint == versions for versions in _versions(replay.recorded))
        exact = exact and (replay.alone or _same_shots(result, replay.recorded))
        told = result.metadata | {"replay": {"alone": replay.alone, "exact": exact}}
        return encode_result(replace(result, metadata=told))


def _same_shots(one: JobResult, other: JobResult) -> bool:
    return encode_result(replace(one, metadata={})) == encode_result(replace(other, metadata={}))


def _versions(recorded: JobResult) -> list[dict[str, str] | None]:
    """What computed the result, or each leg of it."""
    metadata = recorded.metadata
    return [leg["versions"] for leg in metadata["legs"]] if "legs" in metadata else [metadata.get("versions")]


def _choices(recorded: JobResult, leg: int | None) -> tuple[Choice, ...]:
    """Which compilation each circuit of a deferred layout was, as the result told it."""
    metadata = recorded.metadata if leg is None else recorded.metadata["legs"][leg]
    return tuple(
        Choice(told["on"], told["predicted_success"]["shape"], told["predicted_success"]["region"])
        for told in metadata.get("compiled", ())
    )


def _member(row: JobRow, placed: PlacedJob, program: Program, task: RegionTask) -> Member:
    placement = placed.placement
    first = 0 if row.legs is None else Legs.from_document(dict(row.legs)).leg(placement.leg).first_execution
    return Member(
        job=row,
        program=program,
        region=tuple(placement.region),
        record=task.to_bytes(),
        slice_executions=tuple(first + execution for execution in executions_of(task)),
        co_tenants=placement.co_tenants,
        crosstalk_loss=placement.crosstalk_loss or 0.0,
        fairness_cost=placement.fairness_cost,
        leg=placement.leg,
    )


def _batch(row: JobRow, placed: PlacedJob, member: Member) -> Batch:
    return Batch(
        id=placed.placement.batch_id,
        device_id=row.device_id,
        epoch=0,
        attempt=placed.attempt,
        snapshot_id=placed.snapshot_id,
        device_start_us=placed.device_start_us,
        device_us=row.device_us,
        members=(member,),
    )
