"""Admission: from a request's bytes to a queued job, or a refusal that loses nothing.

    decode (limited child) → circuits as values → ISA check → executions → summary → price
    ── one transaction ──  idempotency, queue limit, quota reservation, fair-queueing tag, job + program + event

A request refused before the transaction leaves no trace and does not use up its idempotency key.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from qpu_backend.domain import fairshare, isa, pricing, programs
from qpu_backend.domain.errors import (
    CalibrationDrifted,
    CircuitTooLarge,
    CostCapExceeded,
    IdempotencyConflict,
    InvalidRequest,
    QueueFull,
    TooLarge,
    UnknownBackend,
)
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.observables import PauliTerm
from qpu_backend.domain.quota import Resource
from qpu_backend.engines.decoded import DecodingRequest, PubBinding
from qpu_backend.pipeline.notices import UNHURRIED_S, queue_topic, tenant_topic
from qpu_backend.stores import access, blobs, devices, events, fairness, jobs, money, quota
from qpu_backend.stores.errors import IdempotencyKeyTaken, MissingRow
from qpu_backend.stores.ids import new_id
from qpu_backend.telemetry.logs import logger
from qpu_sdk.wire.codec import digest, pack
from qpu_sdk.wire.models import ProgramKind

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qpu_backend.domain.footprint import Footprint
    from qpu_backend.domain.pricing import PriceBook
    from qpu_backend.domain.programs import Program
    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.engines.decoding_pool import DecodingPool
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.fleet import Backend, Fleet
    from qpu_backend.pipeline.notices import NoticeBoard
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.jobs import JobRow
    from qpu_backend.telemetry.metrics import Metrics
    from qpu_sdk.wire.models import JobRequest, Limits, Pub

DEFAULT_SHOTS = 1024
DEFAULT_PRECISION = 1 / 64
"""Qiskit's default of ``BackendEstimatorV2``."""

_SEED_BOUND = 2**31
"""Seeds we draw fit every simulator's integer."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that may be admitted: everything about it that needs no database."""

    backend: Backend
    program: Program
    footprint: Footprint
    canonical_digest: str
    device_us: int
    occupied_qubits: int
    fairness_qubits: int


class Admission:
    """The first stage. Safe to call from many threads."""

    def __init__(
        self,
        *,
        database: Database,
        fleet: Fleet,
        decoding: DecodingPool,
        clock: WallClock,
        notices: NoticeBoard,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._fleet = fleet
        self._decoding = decoding
        self._clock = clock
        self._notices = notices
        self._limits = limits
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
        with self._database.read() as connection:
            if idempotency_key is not None:
                earlier = jobs.find_by_idempotency_key(connection, scope, idempotency_key)
                if earlier is not None and earlier.raw_digest == raw_digest:
                    return earlier, True
            backend = self._fleet.backend(connection, order.backend)
        prepared = self.prepare(order, backend)
        body = pack(prepared.program.to_document())
        try:
            row, replayed = self._enqueue(scope, order, prepared, body, raw_digest, idempotency_key)
        except IdempotencyKeyTaken as error:  # a concurrent twin was first; it is committed now
            with self._database.read() as connection:
                twin = jobs.find_by_idempotency_key(connection, scope, error.key)
            if twin is None:
                raise
            row, replayed = _same_job(twin, prepared, error.key), True
        if not replayed:
            self._notices.post([queue_topic(row.device_id)])
            self._notices.post([tenant_topic(row.tenant_id)], within_s=UNHURRIED_S)
            self._metrics.jobs_admitted.labels(device=row.device_id).inc()
            self._log.info("job_admitted", tenant=row.tenant_id, job=row.id, device=row.device_id, shots=row.shots)
        return row, replayed

    def prepare(self, order: JobRequest, backend: Backend) -> Prepared:
        """Decode, check, expand and summarise; no database, no side effect."""
        self._check_request(order, backend)
        request = DecodingRequest(
            codec=order.circuits.codec,
            data=order.circuits.data,
            pubs=tuple(PubBinding(pub.circuit, _values(pub, index)) for index, pub in enumerate(order.pubs)),
            dt_ns=backend.model.timing.dt_ns,
        )
        decoded = self._decoding.decode(request)
        angles = [(pub.circuit, table) for pub, table in zip(order.pubs, decoded.angles, strict=True)]
        isa.check(decoded.circuits, backend.isa, widths=decoded.widths, angles=angles)
        specs = [_pub_spec(pub, table) for pub, table in zip(order.pubs, decoded.angles, strict=True)]
        program = programs.expand(
            order.program.value,
            decoded.circuits,
            specs,
            usable_qubits=backend.isa.usable_qubits,
            default_shots=DEFAULT_SHOTS,
            default_precision=DEFAULT_PRECISION,
            max_shots=min(self._limits.max_shots, backend.model.max_shots),
            max_executions=self._limits.max_executions,
        )
        summaries = backend.summarise(program)
        self._check_result_size(program)
        simulation_us = backend.simulation_us(program, summaries)
        if simulation_us > 1e6 * self._limits.max_simulation_s:
            raise CircuitTooLarge.too_long(estimate_s=simulation_us / 1e6, limit_s=self._limits.max_simulation_s)
        footprint = backend.footprint(program, summaries, order.options.rep_delay_us, simulation_us)
        identity = order.options.model_dump(mode="json") | {"backend": order.backend}
        return Prepared(
            backend=backend,
            program=program,
            footprint=footprint,
            canonical_digest=programs.canonical_digest(order.program.value, decoded.circuits, specs, identity),
            device_us=backend.stand_alone_us(footprint),
            occupied_qubits=backend.occupied_qubits(footprint, order.options.isolation),
            fairness_qubits=backend.expected_qubits(footprint, order.options.isolation),
        )

    def _enqueue(
        self,
        scope: TenantScope,
        order: JobRequest,
        prepared: Prepared,
        program_body: bytes,
        raw_digest: str,
        idempotency_key: str | None,
    ) -> tuple[JobRow, bool]:
        now_us = self._clock.now_us()
        device_id = prepared.backend.device_id
        with self._database.write() as connection:
            if idempotency_key is not None:
                earlier = jobs.find_by_idempotency_key(connection, scope, idempotency_key)
                if earlier is not None:
                    return _same_job(earlier, prepared, idempotency_key), True
            tenant = access.read_tenant(connection, scope)
            device = devices.read_device(connection, device_id)
            if device is None:
                raise UnknownBackend(order.backend)
            if order.drift_policy != "warn" and order.calibration_id not in {None, device.snapshot_id}:
                raise CalibrationDrifted(transpiled=str(order.calibration_id), current=str(device.snapshot_id))
            book, price_micro = self._price(connection, now_us, order, prepared)
            asked = {
                Resource.SHOTS: prepared.program.shots,
                Resource.DEVICE_US: prepared.device_us,
                Resource.SPEND_MICRO: price_micro,
            }
            reservation = quota.reserve(connection, scope, asked, now_us)
            cost = prepared.device_us * prepared.fairness_qubits
            previous = fairness.lock_finish_tag(connection, scope, device_id)
            unfinished = jobs.count_unfinished(connection, scope)  # under that lock: concurrent twins are counted
            if unfinished >= tenant.max_queued_jobs:
                raise QueueFull(limit=tenant.max_queued_jobs, queued=unfinished)
            start_tag, finish_tag = fairshare.tag(device.virtual_time, previous, cost, tenant.weight)
            fairness.write_finish_tag(connection, scope, device_id, finish_tag)
            (program_sha,) = blobs.put_blobs(connection, [program_body])
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
                options=order.options.model_dump(mode="json"),
                seed=seed,
                calibration_id=order.calibration_id,
                idempotency_key=idempotency_key,
                raw_digest=raw_digest,
                canonical_digest=prepared.canonical_digest,
                program_sha=program_sha,
                footprint=prepared.footprint.to_document(),
                num_circuits=len(prepared.program.angles),
                num_executions=len(prepared.program.executions),
                shots=prepared.program.shots,
                device_us=prepared.device_us,
                footprint_qubits=prepared.occupied_qubits,
                price_micro=price_micro,
                price_book=book.id,
                max_cost_micro=order.max_cost_micro,
                quota_start=reservation,
                start_tag=start_tag,
                finish_tag=finish_tag,
                fairness_cost=cost,
            )
            jobs.insert_job(connection, scope, job)
            admitted = events.NewEvent(
                job.id, scope.tenant_id, "admitted", JobState.QUEUED, now_us, None, _drift_note(order, device)
            )
            events.append_events(connection, scope, [admitted])
            row = jobs.get_job(connection, scope, job.id)
        if row is None:  # pragma: no cover - it was inserted in this transaction
            raise MissingRow("job", job.id)
        return row, False

    def _price(
        self, connection: Connection, now_us: int, order: JobRequest, prepared: Prepared
    ) -> tuple[PriceBook, int]:
        book = money.current_price_book(connection, now_us)
        if book is None:  # pragma: no cover - bootstrap publishes one
            raise MissingRow("price book", "in force now")
        price_micro = pricing.price(
            book,
            shots=prepared.program.shots,
            device_us=prepared.device_us,
            footprint_qubits=prepared.occupied_qubits,
        )
        if order.max_cost_micro is not None and price_micro > order.max_cost_micro:
            raise CostCapExceeded(price_micro=price_micro, cap_micro=order.max_cost_micro)
        return book, price_micro

    def _check_request(self, order: JobRequest, backend: Backend) -> None:
        if order.options.meas_level != 2:
            raise InvalidRequest(
                "meas_level 1 (IQ points) is not served; ask for meas_level=2", field="options.meas_level"
            )
        if not order.options.init_qubits:
            raise InvalidRequest(
                "init_qubits=False is not served: every shot starts from |0…0⟩", field="options.init_qubits"
            )
        rep_delay = order.options.rep_delay_us
        low, high = backend.model.timing.rep_delay_range_us
        if rep_delay is not None and not low <= rep_delay <= high:
            raise InvalidRequest(f"rep_delay must be {low} to {high} µs, not {rep_delay}", field="options.rep_delay_us")
        for index, pub in enumerate(order.pubs):
            shots = pub.shots or 0
            if shots > self._limits.max_shots:
                raise TooLarge("shots", limit=self._limits.max_shots, asked=shots, field=f"pubs.{index}.shots")
            estimating = order.program is ProgramKind.ESTIMATOR
            if estimating != (pub.observables is not None and pub.pairs is not None):
                needs = "needs observables and pairs" if estimating else "takes no observables"
                raise InvalidRequest(f"a pub of a {order.program} program {needs}", field=f"pubs.{index}.observables")
            if pub.precision is not None and not estimating:
                raise InvalidRequest("precision belongs to estimator pubs", field=f"pubs.{index}.precision")

    def _check_result_size(self, program: Program) -> None:
        if program.kind == "estimator":
            return
        size = sum(e.shots * -(-program.circuits[e.circuit].num_clbits // 8) for e in program.executions)
        if size > self._limits.max_result_bytes:
            raise TooLarge("bytes of result", limit=self._limits.max_result_bytes, asked=size, field="pubs")


def _same_job(earlier: JobRow, prepared: Prepared, key: str) -> JobRow:
    if prepared.canonical_digest != earlier.canonical_digest:
        raise IdempotencyConflict(key)
    return earlier


def _values(pub: Pub, index: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]] | None:
    if pub.bindings is None:
        return None
    shape = (pub.bindings.num_bindings, pub.bindings.num_parameters)
    if len(pub.bindings.data) != 8 * shape[0] * shape[1]:
        facts = f"{len(pub.bindings.data)} bytes are not float64 of shape {shape}"
        raise InvalidRequest(facts, field=f"pubs.{index}.bindings.data")
    return np.frombuffer(pub.bindings.data, dtype="<f8").reshape(shape)


def _pub_spec(pub: Pub, angles: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> programs.PubSpec:
    observables = tuple(
        tuple(PauliTerm(term.paulis, tuple(term.qubits), term.coefficient) for term in observable.terms)
        for observable in pub.observables or ()
    )
    return programs.PubSpec(
        circuit=pub.circuit,
        angles=angles,
        shots=pub.shots,
        precision=pub.precision,
        observables=observables,
        pairs=tuple(pub.pairs or ()),
    )


def _drift_note(order: JobRequest, device: devices.DeviceRow) -> str | None:
    if order.calibration_id in {None, device.snapshot_id}:
        return None
    return f"transpiled against {order.calibration_id}; the device has been calibrated since ({device.snapshot_id})"
