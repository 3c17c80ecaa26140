"""Admission: from a request's bytes to a queued job, or a refusal that loses nothing.

    analyse (see ``analysis.py``) → footprint, device time
    ── one transaction, for all that come at the same time (see ``enqueueing.py``) ──
    price, quota reservation, rate, queue limits, fair-queueing tag, job + event

A request that is refused leaves no trace and does not use up its idempotency key. That the key has made a job before is
asked only once a request was refused or its job could not be stored under the key: then the earlier job is the answer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from qpu_backend.domain import isa, programs
from qpu_backend.domain.errors import (
    CalibrationDrifted,
    DomainError,
    IdempotencyConflict,
    InvalidRequest,
    TooLarge,
)
from qpu_backend.pipeline.combining import Combiner
from qpu_backend.pipeline.enqueueing import MOST, Submission
from qpu_backend.pipeline.notices import UNHURRIED_S, queue_topic, tenant_topic
from qpu_backend.pipeline.policing import require_pace, require_policy
from qpu_backend.pipeline.prepared import Prepared
from qpu_backend.stores import devices, jobs, policies, snapshots
from qpu_backend.stores.errors import IdempotencyKeyTaken, MissingRow
from qpu_backend.telemetry.logs import logger
from qpu_sdk.wire.codec import digest
from qpu_sdk.wire.models import ProgramKind
from qpu_sdk.wire.results import BYTES_OF_A_POINT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from qpu_backend.domain.lanes import Lane
    from qpu_backend.domain.programs import Program
    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.pipeline.analysis import Analysis, Analyst
    from qpu_backend.pipeline.attempts import Attempts
    from qpu_backend.pipeline.backends import Backend
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.enqueueing import Enqueueing
    from qpu_backend.pipeline.fleet import Fleet
    from qpu_backend.pipeline.notices import NoticeBoard
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.devices import DeviceRow
    from qpu_backend.stores.jobs import JobRow
    from qpu_backend.stores.policies import Standing
    from qpu_backend.telemetry.metrics import Metrics
    from qpu_sdk.wire.models import JobRequest, Limits

_SAID_SINCE: Final = frozenset({"mitigation", "pub_shapes"})
"""Options that earlier releases did not know: left out of a job's identity where nothing is asked, so that a job of
before is still found by its key."""
_IN_BITS: Final = {
    ProgramKind.SAMPLER: "a sampler answers in bits",
    ProgramKind.ESTIMATOR: "an estimator computes from bits",
}


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
        enqueueing: Enqueueing,
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
        self._enqueueing = enqueueing
        self._standings = Combiner(self._read, MOST)
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
        prepared: Prepared | None = None
        try:
            with self._enqueueing.expected():
                prepared, lane, standing = self._checked(scope, order, len(raw))
                submission = Submission(scope, order, prepared, lane, standing, raw_digest, idempotency_key)
                row = self._enqueueing.admit(submission)
        except (IdempotencyKeyTaken, DomainError):  # asked only now: hardly any submission is a repeat
            earlier = self._earlier(scope, idempotency_key)
            if earlier is None:
                raise
            if prepared is not None:
                return _same_job(earlier, prepared), True
            if earlier.raw_digest != raw_digest:
                raise
            return earlier, True  # what was admitted once is answered, even if it would be refused by now
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

    def _checked(self, scope: TenantScope, order: JobRequest, size: int) -> tuple[Prepared, Lane, Standing]:
        """As :meth:`check`, with the job's lane and how the principal stands."""
        standing, device = self._standings.ask((scope, self._fleet.device_of(order.backend)))
        now_us = self._clock.now_us()
        require_pace(standing, scope, size, now_us)
        self._attempts.count(scope, standing.policies, now_us)
        backend, pinned = self._fleet.backend_on(order.backend, device, standing.tenant.name), None
        if backend is None or order.drift_policy == "pin":
            with self._database.read() as connection:
                backend = self._fleet.backend(connection, order.backend, scope)
                pinned = self._pinned(connection, order, backend)
        lane = require_policy(standing, self._lanes, order.options)
        standing.policies.require_slice(backend.name.slice)
        prepared = self.prepare(scope, order, pinned or backend)
        if pinned is not None:
            _check_still_there(prepared.analysis, backend)
        standing.policies.require_circuits(prepared.analysis.program.num_pubs)
        return prepared, lane, standing

    def _read(
        self, asked: Sequence[tuple[TenantScope, str | None]]
    ) -> list[tuple[Standing, DeviceRow | None] | Exception]:
        """How principals stand, and the devices that they ask for, as of now."""
        with self._database.look() as connection:
            standings = policies.read_standings(connection, [scope for scope, _ in asked])
            rows = devices.read_devices(connection, {device_id for _, device_id in asked if device_id is not None})
        found = [standings.get((scope.tenant_id, scope.principal_id)) for scope, _ in asked]
        return [
            MissingRow("principal", scope.principal_id) if standing is None else (standing, rows.get(device_id or ""))
            for (scope, device_id), standing in zip(asked, found, strict=True)
        ]

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
        said = options.model_dump(mode="json")
        identity = {name: said[name] for name in said if said[name] is not None or name not in _SAID_SINCE}
        return Prepared(
            analysis=analysis,
            footprint=footprint,
            canonical_digest=programs.canonical_digest(analysis.digest, identity | {"backend": order.backend}),
            device_us=backend.stand_alone_us(footprint),
            occupied_qubits=backend.occupied_qubits(footprint, options.isolation),
            fairness_qubits=backend.expected_qubits(footprint, options.isolation),
        )

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
