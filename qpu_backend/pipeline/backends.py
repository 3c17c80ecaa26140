"""A device with one of its calibrations, and a backend on it: what a tenant's circuits are checked against."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpu_backend.domain.decoupling import decoupled
from qpu_backend.domain.errors import CircuitTooLarge
from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.legs import cut
from qpu_backend.domain.quarantine import IN_SERVICE
from qpu_backend.domain.rounds import Need, stand_alone_us
from qpu_backend.domain.slices import Slice, mask_within
from qpu_backend.domain.views import MAX_LOSS, DeviceView
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.errors import TooLarge
from qpu_backend.physics.exposure import mean_areas
from qpu_backend.physics.method import choose_method, cost_estimate_us
from qpu_backend.physics.timing import CircuitSummary, Durations, summarise
from qpu_backend.physics.topology import mask_of
from qpu_sdk.wire.models import Isolation

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from qpu_backend.domain.backends import BackendName
    from qpu_backend.domain.isa import IsaTarget
    from qpu_backend.domain.legs import Legs
    from qpu_backend.domain.placement import EmbeddingTable
    from qpu_backend.domain.programs import Program
    from qpu_backend.domain.proximity import Proximity
    from qpu_backend.domain.quarantine import Quarantine
    from qpu_backend.domain.virtual import Shape
    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.physics.fidelity import LogErrors
    from qpu_backend.physics.snapshot import Snapshot
    from qpu_backend.stores.snapshots import SnapshotRow


_FREE = frozenset({Op.RZ, Op.BARRIER})
"""Operations whose simulation costs nothing worth counting."""
_AREAS_OF = 16
"""How many of a program's circuits are looked at for what ZZ does to them."""


@dataclass(frozen=True, slots=True)
class DevicePolicy:
    """How the operator wants a device shared; see :class:`qpu_backend.config.DeviceSection`."""

    buffer: int = 1
    stretch: float = 0.5
    batch_jobs: int = 40
    max_loss: float = MAX_LOSS
    quantum_s: float = 30.0
    session_share: float = 0.25
    hold_patience_s: float = 60.0
    drift: bool = True
    drift_scale: float = 1.0
    backfill_s: float = 10.0
    slices: tuple[Slice, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Calibrated:
    """A device with one of its snapshots, and what follows from the two."""

    model: DeviceModel
    policy: DevicePolicy
    snapshot: Snapshot
    row: SnapshotRow
    errors: LogErrors
    proximity: Proximity
    quarantine: Quarantine = IN_SERVICE

    @property
    def usable_mask(self) -> int:
        return mask_of(self.snapshot.usable_qubits)

    def mask_of_place(self, name: BackendName) -> int:
        """The qubits that a backend's jobs may run on, as far as they work: a slice's, or those of no slice."""
        return self.usable_mask & mask_within(self.policy.slices, name.slice, self.model.topology.num_qubits)

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
            max_loss=policy.max_loss,
            proximity=self.proximity,
            readout_group=self.model.crosstalk.readout.group,
            hold_patience_us=round(1e6 * policy.hold_patience_s),
            longest_us=round(1e6 * (timing.overhead_s + policy.quantum_s)),
            backfill_us=round(1e6 * policy.backfill_s),
            quarantine=self.quarantine,
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
        return [summarise(circuit, durations) for circuit in self._as_run(program, program.circuits)]

    def _as_run(self, program: Program, circuits: Sequence[IsaCircuit]) -> Sequence[IsaCircuit]:
        """Some of its circuits with the pulses that they get in their idle windows, by the published durations."""
        if program.treatment is None or (sequence := program.treatment.mitigation.decoupling) is None:
            return circuits
        durations, step_ns = Durations.of(self.snapshot), self.model.timing.pulse_step_ns
        return [decoupled(circuit, durations, sequence, step_ns) for circuit in circuits]

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
        some = self._as_run(program, program.circuits[:: -(-len(program.circuits) // _AREAS_OF)])
        return mean_areas(some, durations, self.shape.table.pairs, self.shape.zz_hz, echo)

    def stand_alone_us(self, footprint: Footprint) -> int:
        """Device time of the job alone, in one piece: what is quoted, metered and priced."""
        return stand_alone_us(round(1e6 * self.model.timing.overhead_s), self._rep_delay_ns(footprint), footprint.needs)

    def legs(self, footprint: Footprint, isolation: Isolation, weight: int) -> Legs | None:
        """How the job is cut; ``None`` where it runs in one piece."""
        return cut(
            footprint,
            rep_delay_ns=self._rep_delay_ns(footprint),
            overhead_us=round(1e6 * self.model.timing.overhead_s),
            quantum_us=round(1e6 * self.calibrated.policy.quantum_s),
            fairness_qubits=self.expected_qubits(footprint, isolation),
            weight=weight,
        )

    def _rep_delay_ns(self, footprint: Footprint) -> int:
        default_ns = round(1000 * self.model.timing.rep_delay_us)
        return default_ns if footprint.rep_delay_ns is None else footprint.rep_delay_ns

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
