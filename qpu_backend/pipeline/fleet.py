"""The devices as this process knows them: model, current calibration, and the backends that tenants see on them.

Everything here follows from a device's snapshot, so it is built once a snapshot and shared by all threads. Shapes are
enumerated when somebody first asks for them.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpu_backend.domain.backends import BackendName, parse_backend
from qpu_backend.domain.errors import CircuitTooLarge, UnknownBackend
from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.isa import IsaTarget
from qpu_backend.domain.proximity import Proximity
from qpu_backend.domain.rounds import Need, stand_alone_us
from qpu_backend.domain.views import DeviceView
from qpu_backend.domain.virtual import Shape, shape_of
from qpu_backend.physics.circuit import TWO_QUBIT_GATES, Op
from qpu_backend.physics.drift import Drift, Truth, quantised_us
from qpu_backend.physics.errors import TooLarge
from qpu_backend.physics.exposure import mean_areas
from qpu_backend.physics.fidelity import LogErrors
from qpu_backend.physics.method import choose_method, cost_estimate_us
from qpu_backend.physics.snapshot import Snapshot
from qpu_backend.physics.timing import CircuitSummary, Durations, summarise
from qpu_backend.physics.topology import mask_of
from qpu_backend.pipeline.recent import Recent
from qpu_backend.stores import blobs, devices, snapshots
from qpu_sdk.wire.codec import unpack
from qpu_sdk.wire.models import Isolation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

    from qpu_backend.domain.placement import EmbeddingTable
    from qpu_backend.domain.programs import Program
    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.stores.devices import DeviceRow
    from qpu_backend.stores.snapshots import SnapshotRow

_ALWAYS = frozenset({Op.BARRIER, Op.DELAY, Op.MEASURE, Op.RESET, Op.IF})
"""Operations every device has beside its basis gates."""

_FREE = frozenset({Op.RZ, Op.BARRIER})
"""Operations whose simulation costs nothing worth counting."""

_REMEMBERED_TRUTHS = 16
_REMEMBERED_PAST = 8
"""Backends as of older snapshots; one of a long shape has some MB of places."""


@dataclass(frozen=True, slots=True)
class DevicePolicy:
    """How the operator wants a device shared; see :class:`qpu_backend.config.DeviceSection`."""

    buffer: int = 1
    stretch: float = 0.5
    batch_jobs: int = 40
    drift: bool = True
    drift_scale: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A device with one of its snapshots, and what follows from the two."""

    model: DeviceModel
    policy: DevicePolicy
    snapshot: Snapshot
    row: SnapshotRow
    errors: LogErrors
    proximity: Proximity

    @property
    def usable_mask(self) -> int:
        return mask_of(self.snapshot.usable_qubits)

    def device_view(self, embeddings: Mapping[str, EmbeddingTable]) -> DeviceView:
        """The chip for the planner, as if nobody held or had booked any of it."""
        timing, policy = self.model.timing, self.policy
        return DeviceView(
            name=self.model.name,
            topology=self.model.topology,
            usable_mask=self.usable_mask,
            embeddings=embeddings,
            overhead_us=round(1e6 * timing.overhead_s),
            rep_delay_us=timing.rep_delay_us,
            buffer=1 if policy.buffer else 0,
            stretch=policy.stretch,
            max_jobs=policy.batch_jobs,
            proximity=self.proximity,
            readout_group=self.model.crosstalk.readout.group,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Backend:
    """What a tenant's circuits are checked against: the device itself, or a shape on it.

    Attributes:
        name: as the tenant names it.
        calibrated: the device behind it.
        shape: ``None`` for the device itself.
        snapshot: the numbers it is published with.
        isa: the instructions it takes.
    """

    name: BackendName
    calibrated: Calibrated
    shape: Shape | None
    snapshot: Snapshot
    isa: IsaTarget
    max_simulated_qubits: int

    @property
    def device_id(self) -> str:
        return self.name.device

    @property
    def model(self) -> DeviceModel:
        return self.calibrated.model

    def summarise(self, program: Program) -> list[CircuitSummary]:
        """Schedule and count every circuit of a program."""
        durations = Durations.of(self.snapshot)
        return [summarise(circuit, durations) for circuit in program.circuits]

    def require_simulable(self, summaries: Iterable[CircuitSummary]) -> None:
        """Refuse what no simulation method reaches, before it is accepted.

        Raises:
            CircuitTooLarge: names the circuit and the bound.
        """
        for index, summary in enumerate(summaries):
            if summary.num_qubits > self.max_simulated_qubits:
                raise CircuitTooLarge.too_wide(index, summary.num_qubits, self.max_simulated_qubits)
            try:
                choose_method(summary.num_qubits, summary.has_mid_circuit)
            except TooLarge as error:
                raise CircuitTooLarge.too_wide(index, error.num_qubits, error.limit) from error

    def simulation_us(self, program: Program, summaries: list[CircuitSummary]) -> int:
        """Processor time that simulating the job is expected to take, over all its executions.

        Raises:
            CircuitTooLarge: a circuit that no simulation method reaches.
        """
        self.require_simulable(summaries)
        per_shots: dict[tuple[int, int], float] = {}
        total = 0.0
        for execution in program.executions:
            key = (execution.circuit, execution.shots)
            if key not in per_shots:
                summary = summaries[execution.circuit]
                method = choose_method(summary.num_qubits, summary.has_mid_circuit)
                gates = sum(count for op, count in summary.gate_counts.items() if op not in _FREE)
                per_shots[key] = cost_estimate_us(method, summary.num_qubits, gates, execution.shots)
            total += per_shots[key]
        return round(total)

    def footprint(
        self, program: Program, summaries: list[CircuitSummary], rep_delay_us: float | None, simulation_us: int = 0
    ) -> Footprint:
        """What the planner needs to know of the job; counts are means over its circuits."""
        circuits = len(summaries)
        edges: dict[tuple[int, int], float] = {}
        sx: dict[int, float] = {}
        idle: dict[int, float] = {}
        measured: set[int] = set()
        for summary in summaries:
            for (a, b), count in summary.edge_counts:
                pair = (summary.qubits[a], summary.qubits[b])
                key = (min(pair), max(pair))
                edges[key] = edges.get(key, 0.0) + count / circuits
            for local, qubit in enumerate(summary.qubits):
                sx[qubit] = sx.get(qubit, 0.0) + float(summary.sx_counts[local]) / circuits
                idle[qubit] = idle.get(qubit, 0.0) + float(summary.idle_ns[local]) / circuits
            measured |= {summary.qubits[local] for local in summary.measured}
        qubits = tuple(sorted(sx))
        runs = [(1, e.shots, round(summaries[e.circuit].duration_ns)) for e in program.executions]
        return Footprint(
            shape=self.name.shape,
            qubits=qubits,
            edge_counts=tuple(sorted(edges.items())),
            sx_counts=tuple(sx[qubit] for qubit in qubits),
            measured=tuple(sorted(measured)),
            idle_ns=tuple(idle[qubit] for qubit in qubits),
            needs=_run_lengths(runs),
            rep_delay_ns=None if rep_delay_us is None else round(1000 * rep_delay_us),
            simulation_us=simulation_us,
            zz_areas=self._zz_areas(program),
        )

    def _zz_areas(self, program: Program) -> tuple[tuple[tuple[int, int], float], ...]:
        if self.shape is None or not self.shape.zz_hz:
            return ()
        durations, echo = Durations.of(self.snapshot), self.model.crosstalk.zz.echo
        return mean_areas(program.circuits, durations, self.shape.table.pairs, self.shape.zz_hz, echo)

    def stand_alone_us(self, footprint: Footprint) -> int:
        """Device time of the job alone: what is quoted, metered and priced."""
        timing = self.model.timing
        default_ns = round(1000 * timing.rep_delay_us)
        rep_delay_ns = default_ns if footprint.rep_delay_ns is None else footprint.rep_delay_ns
        return stand_alone_us(round(1e6 * timing.overhead_s), rep_delay_ns, footprint.needs)

    def expected_qubits(self, footprint: Footprint, isolation: Isolation) -> int:
        """Qubits that fairness will charge it for, as far as is known: its region and, where there is one, a buffer."""
        occupied = self.occupied_qubits(footprint, isolation)
        if isolation is Isolation.EXCLUSIVE or not self.calibrated.policy.buffer:
            return occupied
        if self.shape is not None:
            return self.shape.usual_qubits_with_buffer
        mask = mask_of(footprint.qubits)
        return (self.calibrated.usable_mask & (mask | self.model.topology.neighbour_mask(mask))).bit_count()

    def occupied_qubits(self, footprint: Footprint, isolation: Isolation) -> int:
        """Qubits nobody else can use meanwhile: the region; the whole chip for an exclusive job."""
        if isolation is Isolation.EXCLUSIVE:
            return len(self.calibrated.snapshot.usable_qubits)
        return len(footprint.qubits) if self.shape is None else self.shape.table.regions.shape[1]


def _run_lengths(runs: list[tuple[int, int, int]]) -> tuple[Need, ...]:
    needs: list[Need] = []
    for count, shots, duration_ns in runs:
        if needs and needs[-1][1:] == (shots, duration_ns):
            needs[-1] = Need(needs[-1][0] + count, shots, duration_ns)
        else:
            needs.append(Need(count, shots, duration_ns))
    return tuple(needs)


class Fleet:
    """All devices of the service. Safe to call from many threads."""

    def __init__(
        self,
        models: Mapping[str, tuple[DeviceModel, DevicePolicy]],
        *,
        max_clbits: int,
        max_operations: int,
        max_simulated_qubits: int,
        drift_secret: bytes,
    ) -> None:
        self._models = dict(models)
        self._max_clbits = max_clbits
        self._max_operations = max_operations
        self._max_simulated_qubits = max_simulated_qubits
        self._lock = threading.Lock()
        self._current: dict[str, Calibrated] = {}
        self._backends: dict[tuple[str, str], Backend] = {}
        self._past: Recent[tuple[str, str], Backend] = Recent(_REMEMBERED_PAST)
        self._drift_secret = drift_secret
        self._drifts: dict[str, Drift] = {}
        self._truths: Recent[tuple[str, int, int], Truth] = Recent(_REMEMBERED_TRUTHS)

    @property
    def device_ids(self) -> tuple[str, ...]:
        return tuple(self._models)

    def refresh(self, connection: Connection, device: DeviceRow) -> Calibrated:
        """The device with its current snapshot, read from the database if this process does not know it yet."""
        current = self._current.get(device.id)
        if current is not None and current.row.id == device.snapshot_id:
            return current
        row = snapshots.read_snapshot(connection, device.snapshot_id or "")
        if row is None:
            raise UnknownBackend(device.id, "it has not been calibrated yet")
        calibrated = self.calibrated_as_of(connection, row)
        drift = self._drifts.get(device.id) or self._drift(connection, device.id)
        with self._lock:
            self._drifts[device.id] = drift
            self._current[device.id] = calibrated
            self._backends = {key: value for key, value in self._backends.items() if value.device_id != device.id}
        return calibrated

    def calibrated_as_of(self, connection: Connection, row: SnapshotRow) -> Calibrated:
        """The device with any of its published snapshots."""
        model, policy = self._models[row.device_id]
        snapshot = Snapshot.from_document(unpack(blobs.get_blob(connection, row.blob_sha)))
        proximity = Proximity.of(snapshot, model.crosstalk)
        return Calibrated(model, policy, snapshot, row, LogErrors.of(snapshot), proximity)

    def calibrated(self, device_id: str) -> Calibrated:
        """The device as it was last refreshed."""
        return self._current[device_id]

    def drift(self, device_id: str) -> Drift:
        """How the device drifts from its first snapshot on, once it was refreshed."""
        return self._drifts[device_id]

    def truth(self, device_id: str, device_time_us: int) -> Truth:
        """What the device, as it was last refreshed, really is for a batch that starts at a device time.

        Operators' processes only: nothing of it is for tenants but what they measure.
        """
        calibrated_us = self._current[device_id].row.device_time_us
        key = (device_id, quantised_us(device_time_us, calibrated_us), calibrated_us)
        known = self._truths.get(key)
        if known is None:
            known = self._drifts[device_id].truth(*key[1:])
            self._truths.put(key, known, 1)
        return known

    def _drift(self, connection: Connection, device_id: str) -> Drift:
        _, policy = self._models[device_id]
        row = snapshots.first_snapshot(connection, device_id)
        if row is None:
            raise UnknownBackend(device_id, "it has not been calibrated yet")
        base = Snapshot.from_document(unpack(blobs.get_blob(connection, row.blob_sha)))
        return Drift(base, self._drift_secret, enabled=policy.drift, scale=policy.drift_scale)

    def backend(self, connection: Connection, name: str) -> Backend:
        """The backend of that name with the device's current calibration.

        Raises:
            UnknownBackend: no such device or shape, or the shape does not fit on it.
        """
        parsed = parse_backend(name)
        device = devices.read_device(connection, parsed.device) if parsed.device in self._models else None
        if device is None:
            raise UnknownBackend(name, f"devices are {', '.join(self._models)}")
        calibrated = self.refresh(connection, device)
        return self._known(parsed, calibrated)

    def _known(self, name: BackendName, calibrated: Calibrated) -> Backend:
        """The backend with this calibration, built when somebody first asks for it."""
        key = (str(name), calibrated.row.id)
        known = self._backends.get(key)
        if known is None:
            known = self.backend_as_of(name, calibrated)
            with self._lock:
                self._backends[key] = known
        return known

    def past_backend(self, connection: Connection, name: BackendName, row: SnapshotRow) -> Backend:
        """The backend as it was published with a snapshot of its device."""
        key = (str(name), row.id)
        known = self._backends.get(key) or self._past.get(key)
        if known is None:
            known = self.backend_as_of(name, self.calibrated_as_of(connection, row))
            self._past.put(key, known, 1)
        return known

    def backend_as_of(self, name: BackendName, calibrated: Calibrated) -> Backend:
        """The backend with any of its device's snapshots."""
        shape = None
        if name.shape is not None:
            try:
                shape = shape_of(name.shape, calibrated.model, calibrated.snapshot, calibrated.errors)
            except ValueError as error:
                raise UnknownBackend(str(name), str(error)) from error
        snapshot = calibrated.snapshot if shape is None else shape.snapshot
        isa = self._isa(calibrated.model, snapshot)
        return Backend(name, calibrated, shape, snapshot, isa, self._max_simulated_qubits)

    def device_view(self, device_id: str, shapes: Iterable[str]) -> DeviceView:
        """The chip for the planner, with the shapes that the queue asks for."""
        calibrated = self._current[device_id]
        tables = {shape: self._table(device_id, shape, calibrated) for shape in shapes}
        return calibrated.device_view({shape: table for shape, table in tables.items() if table is not None})

    def _table(self, device_id: str, shape: str, calibrated: Calibrated) -> EmbeddingTable | None:
        try:
            found = self._known(BackendName(device_id, shape), calibrated).shape
        except UnknownBackend:  # it fitted when the job was admitted, and a calibration took a qubit since
            return None
        return None if found is None else found.table

    def _isa(self, model: DeviceModel, snapshot: Snapshot) -> IsaTarget:
        edges: dict[Op, set[tuple[int, int]]] = {}
        for op, qubits in snapshot.gates:
            if op in TWO_QUBIT_GATES:
                edges.setdefault(op, set()).add((qubits[0], qubits[1]))
        return IsaTarget(
            num_qubits=snapshot.num_qubits,
            basis=frozenset(model.basis) | _ALWAYS,
            edges={op: frozenset(pairs) for op, pairs in edges.items()},
            usable_qubits=frozenset(snapshot.usable_qubits),
            max_clbits=self._max_clbits,
            max_operations=self._max_operations,
        )
