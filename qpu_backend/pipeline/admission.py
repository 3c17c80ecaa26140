"""Admission: from a request's bytes to a queued job, or a refusal that loses nothing.

    analyse (see ``analysis.py``) → footprint, device time
    ── one transaction ──  idempotency, price, quota reservation, rate, queue limits, fair-queueing tag, job + event

A request refused before the transaction leaves no trace and does not use up its idempotency key.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from qpu_backend.domain import fairshare, isa, programs
from qpu_backend.domain.errors import (
    CalibrationDrifted,
    DomainError,
    IdempotencyConflict,
    InvalidRequest,
    TooLarge,
    UnknownBackend,
)
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.quota import Resource
from qpu_backend.pipeline.notices import UNHURRIED_S, queue_topic, tenant_topic
from qpu_backend.pipeline.policing import count_submission, require_pace, require_policy, require_queue
from qpu_backend.pipeline.pricing import Work
from qpu_backend.pipeline.promising import promise_start
from qpu_backend.pipeline.sessions import join
from qpu_backend.stores import blobs, devices, events, fairness, jobs, policies, quota, snapshots
from qpu_backend.stores.errors import IdempotencyKeyTaken
from qpu_backend.stores.ids import new_id
from qpu_backend.telemetry.logs import logger
from qpu_sdk.wire.codec import digest
from qpu_sdk.wire.models import Isolation, ProgramKind
from qpu_sdk.wire.results import BYTES_OF_A_POINT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from qpu_backend.domain.footprint import Footprint
    from qpu_backend.domain.lanes import Lane
    from qpu_backend.domain.legs import Legs
    from qpu_backend.domain.programs import Program
    from qpu_backend.domain.tenancy import SystemScope, TenantScope
    from qpu_backend.pipeline.analysis import Analysis, Analyst
    from qpu_backend.pipeline.attempts import Attempts
    from qpu_backend.pipeline.backends import Backend
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.fleet import Fleet
    from qpu_backend.pipeline.notices import NoticeBoard
    from qpu_backend.pipeline.pricing import Pricing
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.jobs import JobRow
    from qpu_backend.stores.policies import Standing
    from qpu_backend.telemetry.metrics import Metrics
    from qpu_sdk.wire.models import JobRequest, Limits

_SEED_BOUND = 2**31
"""Seeds we draw fit every simulator's integer."""

_IN_BITS: Final = {
    ProgramKind.SAMPLER: "a sampler answers in bits",
    ProgramKind.ESTIMATOR: "an estimator computes from bits",
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that may be admitted: everything about it that needs no database."""

    analysis: Analysis
    footprint: Footprint
    canonical_digest: str
    device_us: int
    occupied_qubits: int
    fairness_qubits: int

    @property
    def work(self) -> Work:
        """What its price follows from."""
        return Work(self.canonical_digest, self.analysis.program.shots, self.device_us, self.occupied_qubits)

    def session_qubits(self) -> int | None:
        """What a session on the device would hold with this job; ``None`` on a virtual backend."""
        backend = self.analysis.backend
        return None if backend.shape is not None else backend.expected_qubits(self.footprint, Isolation.SHARED)

    def legs(self, isolation: Isolation, weight: int) -> Legs | None:
        """How it is cut, where it is too long for one batch."""
        return self.analysis.backend.legs(self.footprint, isolation, weight)


class Admission:
    """The first stage. Safe to call from many threads."""

    def __init__(
        self,
        *,
        database: Database,
        fleet: Fleet,
        analyst: Analyst,
        attempts: Attempts,
        limits: Limits,
        lanes: Mapping[str, Lane],
        pricing: Pricing,
        system: SystemScope,
        clock: WallClock,
        notices: NoticeBoard,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._fleet = fleet
        self._analyst = analyst
        self._attempts = attempts
        self._limits = limits
        self._lanes = dict(lanes)
        self._pricing = pricing
        self._system = system
        self._clock = clock
        self._notices = notices
        self._metrics = metrics
        self._log = logger("admission")

    def admit(
        self, scope: TenantScope, order: JobRequest, raw: bytes, idempotency_key: str | None
    ) -> tuple[JobRow, bool]:
        """Queue the job, or answer the one that this idempotency key already made.

        Returns:
            The job, and whether it existed before.

        Raises:
            DomainError: the request is refused; nothing is stored.
        """
        raw_digest = digest(raw)
        try:
            prepared, standing = self._checked(scope, order, len(raw))
        except DomainError:  # what was admitted once is answered, even if it would be refused by now
            earlier = self._earlier(scope, idempotency_key)
            if earlier is None or earlier.raw_digest != raw_digest:
                raise
            return earlier, True
        try:
            row = self._enqueue(scope, order, prepared, standing, raw_digest, idempotency_key)
        except (IdempotencyKeyTaken, DomainError):  # asked only now: hardly any submission is a repeat
            earlier = self._earlier(scope, idempotency_key)
            if earlier is None:
                raise
            return _same_job(earlier, prepared), True
        self._notices.admitted(row.tenant_id, row.id, row.device_id)
        self._notices.post([queue_topic(row.device_id)])
        self._notices.post([tenant_topic(row.tenant_id)], within_s=UNHURRIED_S)
        self._metrics.jobs_admitted.labels(device=row.device_id).inc()
        self._log.info("job_admitted", tenant=row.tenant_id, job=row.id, device=row.device_id, shots=row.shots)
        return row, False

    def check(self, scope: TenantScope, order: JobRequest, size: int) -> Prepared:
        """Whether a request of so many bytes may be admitted, as far as that can be said without the queue.

        Raises:
            DomainError: it may not.
        """
        return self._checked(scope, order, size)[0]

    def _checked(self, scope: TenantScope, order: JobRequest, size: int) -> tuple[Prepared, Standing]:
        """As :meth:`check`, with how the principal stands."""
        with self._database.read() as connection:
            standing = policies.read_standing(connection, scope)
            now_us = self._clock.now_us()
            require_pace(standing, scope, size, now_us)
            self._attempts.count(scope, standing.policies, now_us)
            backend = self._fleet.backend(connection, order.backend, scope)
            pinned = self._pinned(connection, order, backend)
        require_policy(standing, self._lanes, order.options)
        standing.policies.require_slice(backend.name.slice)
        prepared = self.prepare(scope, order, pinned or backend)
        if pinned is not None:
            _check_still_there(prepared.analysis, backend)
        standing.policies.require_circuits(len(prepared.analysis.program.angles))
        return prepared, standing

    def _earlier(self, scope: TenantScope, idempotency_key: str | None) -> JobRow | None:
        """The job that this key made."""
        if idempotency_key is None:
            return None
        with self._database.read() as connection:
            return jobs.find_by_idempotency_key(connection, scope, idempotency_key)

    def prepare(self, scope: TenantScope, order: JobRequest, backend: Backend) -> Prepared:
        """Analyse the request, and say what it will take; no database, no side effect."""
        self._check_options(order, backend)
        analysis = self._analyst.analyse(scope.tenant_id, order, backend)
        if order.options.meas_level == 1:
            self._check_points(analysis.program)
        options = order.options
        footprint = backend.footprint(
            analysis.program, analysis.summaries, options.rep_delay_us, analysis.simulation_us
        )
        identity = options.model_dump(mode="json") | {"backend": order.backend}
        return Prepared(
            analysis=analysis,
            footprint=footprint,
            canonical_digest=programs.canonical_digest(analysis.digest, identity),
            device_us=backend.stand_alone_us(footprint),
            occupied_qubits=backend.occupied_qubits(footprint, options.isolation),
            fairness_qubits=backend.expected_qubits(footprint, options.isolation),
        )

    def _enqueue(
        self,
        scope: TenantScope,
        order: JobRequest,
        prepared: Prepared,
        standing: Standing,
        raw_digest: str,
        idempotency_key: str | None,
    ) -> JobRow:
        now_us = self._clock.now_us()
        device_id = prepared.analysis.backend.device_id
        with self._database.write() as connection:
            device = devices.read_device(connection, device_id)
            if device is None:
                raise UnknownBackend(order.backend)
            lane = require_policy(standing, self._lanes, order.options)
            chip = prepared.analysis.backend.calibrated.device_view({})
            start_by_us = promise_start(connection, self._system, lane, chip, prepared.device_us)
            require_undrifted(order, device)
            priced = self._pricing.price(connection, scope, order, prepared.work, now_us)
            asked = {
                Resource.SHOTS: prepared.analysis.program.shots,
                Resource.DEVICE_US: prepared.device_us,
                Resource.SPEND_MICRO: priced.price_micro,
            }
            weight = lane.weight_of(standing.tenant.weight)
            if order.options.session is not None:
                join(
                    connection,
                    scope,
                    order.options.session,
                    backend=order.backend,
                    qubits=prepared.session_qubits(),
                    lane=lane.name,
                    weight=weight,
                    now_us=now_us,
                )
            reservation = quota.reserve(connection, scope, asked, now_us)
            count_submission(connection, scope, standing, now_us)
            legs = prepared.legs(order.options.isolation, weight)
            cost = prepared.device_us * prepared.fairness_qubits if legs is None else legs.cost(0)
            previous = fairness.lock_finish_tag(connection, scope, device_id, lane.name)
            require_queue(connection, scope, standing)  # under that lock: concurrent twins are counted
            start_tag, finish_tag = fairshare.tag(device.virtual_time, previous, cost, weight)
            fairness.write_finish_tag(connection, scope, device_id, lane.name, finish_tag)
            (program_sha,) = blobs.put_blobs(connection, [prepared.analysis.body])
            seed = order.options.seed if order.options.seed is not None else secrets.randbelow(_SEED_BOUND)
            job = jobs.NewJob(
                id=new_id("job"),
                tenant_id=scope.tenant_id,
                principal_id=scope.principal_id,
                device_id=device_id,
                backend=order.backend,
                program=order.program.value,
                created_at_us=now_us,
                tags=list(order.tags),
                options=order.options.model_dump(mode="json") | {"drift_policy": order.drift_policy},
                seed=seed,
                calibration_id=order.calibration_id,
                idempotency_key=idempotency_key,
                raw_digest=raw_digest,
                canonical_digest=prepared.canonical_digest,
                program_sha=program_sha,
                footprint=(prepared.footprint if legs is None else legs.footprint(prepared.footprint, 0)).to_document(),
                legs=None if legs is None else legs.to_document(),
                num_legs=1 if legs is None else legs.number,
                num_circuits=len(prepared.analysis.program.angles),
                num_executions=len(prepared.analysis.program.executions),
                shots=prepared.analysis.program.shots,
                device_us=prepared.device_us,
                footprint_qubits=prepared.occupied_qubits,
                price_micro=priced.price_micro,
                price_book=priced.price_book,
                quote_id=priced.quote_id,
                max_cost_micro=order.max_cost_micro,
                quota_start=reservation,
                start_tag=start_tag,
                finish_tag=finish_tag,
                fairness_cost=cost,
                lane=lane.name,
                start_by_us=start_by_us,
                slice=prepared.analysis.backend.name.slice,
                session_id=order.options.session,
            )
            row = jobs.insert_job(connection, scope, job, event_seq=1)
            admitted = events.NewEvent(
                job.id, scope.tenant_id, "admitted", JobState.QUEUED, now_us, None, _drift_note(order, device)
            )
            events.append_first(connection, scope, admitted)
        return row

    def _pinned(self, connection: Connection, order: JobRequest, backend: Backend) -> Backend | None:
        """The backend with the calibration that the job asks to be checked against, where that is no longer the newest.

        Raises:
            CalibrationDrifted: it is no calibration of this device.
        """
        current, asked = backend.calibrated.row, order.calibration_id
        if order.drift_policy != "pin" or asked in {None, current.id}:
            return None
        row = snapshots.read_snapshot(connection, str(asked))
        if row is None or row.device_id != backend.device_id:
            reason = "it is not known here"
            raise CalibrationDrifted(transpiled=str(asked), current=current.id, reason=reason)
        return self._fleet.past_backend(connection, backend.name, row)

    def _check_options(self, order: JobRequest, backend: Backend) -> None:
        if order.options.meas_level == 1 and order.program is not ProgramKind.CIRCUITS:
            raise InvalidRequest(
                f"meas_level 1 (IQ points) is for programs of circuits: {_IN_BITS[order.program]}",
                field="options.meas_level",
            )
        if order.options.layout == "deferred" and backend.shape is None:
            raise InvalidRequest(
                f"layout 'deferred' needs qubits that are not fixed, and those of {backend.name} are: submit to a "
                f"virtual QPU, e.g. {backend.name}:line-5",
                field="options.layout",
            )
        if not order.options.init_qubits:
            raise InvalidRequest(
                "init_qubits=False is not served: every shot starts from |0…0⟩", field="options.init_qubits"
            )
        rep_delay = order.options.rep_delay_us
        low, high = backend.model.timing.rep_delay_range_us
        if rep_delay is not None and not low <= rep_delay <= high:
            raise InvalidRequest(f"rep_delay must be {low} to {high} µs, not {rep_delay}", field="options.rep_delay_us")

    def _check_points(self, program: Program) -> None:
        """What measurement level 1 cannot do. Not part of an analysis, which is remembered without its options."""
        if any(circuit.conditionals for circuit in program.circuits):
            raise InvalidRequest(
                "meas_level 1 (IQ points) does not go with if_else: its condition needs bits while the circuit runs",
                field="options.meas_level",
            )
        # Means are taken of every shot's points, so these have to fit into memory even where only their mean is sent.
        size = sum(
            BYTES_OF_A_POINT * execution.shots * program.circuits[execution.circuit].num_clbits
            for execution in program.executions
        )
        if size > self._limits.max_result_bytes:
            limit = self._limits.max_result_bytes
            raise TooLarge("bytes of IQ points", limit=limit, asked=size, field="pubs")


def _check_still_there(analysis: Analysis, current: Backend) -> None:
    """Refuse a job of an older calibration that uses what the device no longer offers."""
    then = analysis.backend.calibrated.row
    unlimited = replace(current.isa, max_clbits=2**31, max_operations=2**31)  # sizes are checked already
    try:
        isa.check(analysis.program.circuits, unlimited)
    except isa.NotIsa as error:
        raise CalibrationDrifted(transpiled=then.id, current=current.calibrated.row.id, reason=str(error)) from error


def _same_job(earlier: JobRow, prepared: Prepared) -> JobRow:
    if prepared.canonical_digest != earlier.canonical_digest:
        raise IdempotencyConflict(str(earlier.idempotency_key))
    return earlier


def require_undrifted(order: JobRequest, device: devices.DeviceRow) -> None:
    """Refuse a job that minds that the device has been calibrated since its circuits were transpiled.

    Raises:
        CalibrationDrifted: it has.
    """
    if order.drift_policy == "refuse" and order.calibration_id not in {None, device.snapshot_id}:
        raise CalibrationDrifted(transpiled=str(order.calibration_id), current=str(device.snapshot_id))


def _drift_note(order: JobRequest, device: devices.DeviceRow) -> str | None:
    if order.calibration_id in {None, device.snapshot_id}:
        return None
    note = f"transpiled against {order.calibration_id}; the device has been calibrated since ({device.snapshot_id})"
    return f"{note}; checked against the former, as asked" if order.drift_policy == "pin" else note
