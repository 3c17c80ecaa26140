"""Admission: from a request's bytes to a queued job, or a refusal that loses nothing.

    analyse (see ``analysis.py``) → footprint, device time
    ── one transaction ──  idempotency, queue limit, price, quota reservation, fair-queueing tag, job + program + event

A request refused before the transaction leaves no trace and does not use up its idempotency key.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from qpu_backend.domain import fairshare, isa, pricing, programs
from qpu_backend.domain.errors import (
    CalibrationDrifted,
    CostCapExceeded,
    DomainError,
    IdempotencyConflict,
    InvalidRequest,
    QueueFull,
    TooLarge,
    UnknownBackend,
)
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.lanes import lane_of
from qpu_backend.domain.quota import Resource
from qpu_backend.pipeline.notices import UNHURRIED_S, queue_topic, tenant_topic
from qpu_backend.pipeline.promising import promise_start
from qpu_backend.pipeline.sessions import join
from qpu_backend.stores import access, blobs, devices, events, fairness, jobs, money, quota, snapshots
from qpu_backend.stores.errors import IdempotencyKeyTaken, MissingRow
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
    from qpu_backend.domain.pricing import PriceBook
    from qpu_backend.domain.programs import Program
    from qpu_backend.domain.tenancy import SystemScope, TenantScope
    from qpu_backend.pipeline.analysis import Analysis, Analyst
    from qpu_backend.pipeline.backends import Backend
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.fleet import Fleet
    from qpu_backend.pipeline.notices import NoticeBoard
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.jobs import JobRow
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
        limits: Limits,
        lanes: Mapping[str, Lane],
        system: SystemScope,
        clock: WallClock,
        notices: NoticeBoard,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._fleet = fleet
        self._analyst = analyst
        self._limits = limits
        self._lanes = dict(lanes)
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
            prepared = self._checked(scope, order)
        except DomainError:  # what was admitted once is answered, even if it would be refused by now
            earlier = self._admitted(scope, idempotency_key, raw_digest)
            if earlier is None:
                raise
            return earlier, True
        try:
            row, replayed = self._enqueue(scope, order, prepared, raw_digest, idempotency_key)
        except IdempotencyKeyTaken as error:  # a concurrent twin was first; it is committed now
            with self._database.read() as connection:
                twin = jobs.find_by_idempotency_key(connection, scope, error.key)
            if twin is None:
                raise
            row, replayed = _same_job(twin, prepared, error.key), True
        if not replayed:
            self._notices.admitted(row.tenant_id, row.id)
            self._notices.post([queue_topic(row.device_id)])
            self._notices.post([tenant_topic(row.tenant_id)], within_s=UNHURRIED_S)
            self._metrics.jobs_admitted.labels(device=row.device_id).inc()
            self._log.info("job_admitted", tenant=row.tenant_id, job=row.id, device=row.device_id, shots=row.shots)
        return row, replayed

    def _checked(self, scope: TenantScope, order: JobRequest) -> Prepared:
        with self._database.read() as connection:
            backend = self._fleet.backend(connection, order.backend, scope)
            pinned = self._pinned(connection, order, backend)
        prepared = self.prepare(scope, order, pinned or backend)
        if pinned is not None:
            _check_still_there(prepared.analysis, backend)
        return prepared

    def _admitted(self, scope: TenantScope, idempotency_key: str | None, raw_digest: str) -> JobRow | None:
        """The job that the same bytes under the same key made."""
        if idempotency_key is None:
            return None
        with self._database.read() as connection:
            earlier = jobs.find_by_idempotency_key(connection, scope, idempotency_key)
        return earlier if earlier is not None and earlier.raw_digest == raw_digest else None

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
        raw_digest: str,
        idempotency_key: str | None,
    ) -> tuple[JobRow, bool]:
        now_us = self._clock.now_us()
        device_id = prepared.analysis.backend.device_id
        with self._database.write() as connection:
            if idempotency_key is not None:
                earlier = jobs.find_by_idempotency_key(connection, scope, idempotency_key)
                if earlier is not None:
                    return _same_job(earlier, prepared, idempotency_key), True
            tenant = access.read_tenant(connection, scope)
            device = devices.read_device(connection, device_id)
            if device is None:
                raise UnknownBackend(order.backend)
            lane = lane_of(self._lanes, order.options.lane, tenant.name)
            chip = prepared.analysis.backend.calibrated.device_view({})
            start_by_us = promise_start(connection, self._system, lane, chip, prepared.device_us)
            if order.drift_policy == "refuse" and order.calibration_id not in {None, device.snapshot_id}:
                raise CalibrationDrifted(transpiled=str(order.calibration_id), current=str(device.snapshot_id))
            book, price_micro = self._price(connection, now_us, order, prepared)
            asked = {
                Resource.SHOTS: prepared.analysis.program.shots,
                Resource.DEVICE_US: prepared.device_us,
                Resource.SPEND_MICRO: price_micro,
            }
            weight = lane.weight_of(tenant.weight)
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
            legs = prepared.legs(order.options.isolation, weight)
            cost = prepared.device_us * prepared.fairness_qubits if legs is None else legs.cost(0)
            previous = fairness.lock_finish_tag(connection, scope, device_id, lane.name)
            unfinished = jobs.count_unfinished(connection, scope)  # under that lock: concurrent twins are counted
            if unfinished >= tenant.max_queued_jobs:
                raise QueueFull(limit=tenant.max_queued_jobs, queued=unfinished)
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
                price_micro=price_micro,
                price_book=book.id,
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
            row = jobs.insert_job(connection, scope, job)
            admitted = events.NewEvent(
                job.id, scope.tenant_id, "admitted", JobState.QUEUED, now_us, None, _drift_note(order, device)
            )
            events.append_events(connection, scope, [admitted])
        return row, False

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

    def _price(
        self, connection: Connection, now_us: int, order: JobRequest, prepared: Prepared
    ) -> tuple[PriceBook, int]:
        book = money.current_price_book(connection, now_us)
        if book is None:  # pragma: no cover - bootstrap publishes one
            raise MissingRow("price book", "in force now")
        price_micro = pricing.price(
            book,
            shots=prepared.analysis.program.shots,
            device_us=prepared.device_us,
            footprint_qubits=prepared.occupied_qubits,
        )
        if order.max_cost_micro is not None and price_micro > order.max_cost_micro:
            raise CostCapExceeded(price_micro=price_micro, cap_micro=order.max_cost_micro)
        return book, price_micro

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


def _same_job(earlier: JobRow, prepared: Prepared, key: str) -> JobRow:
    if prepared.canonical_digest != earlier.canonical_digest:
        raise IdempotencyConflict(key)
    return earlier


def _drift_note(order: JobRequest, device: devices.DeviceRow) -> str | None:
    if order.calibration_id in {None, device.snapshot_id}:
        return None
    note = f"transpiled against {order.calibration_id}; the device has been calibrated since ({device.snapshot_id})"
    return f"{note}; checked against the former, as asked" if order.drift_policy == "pin" else note
