"""A circuit as what happens to its qubits, in order: gates, idling, measurements. What every engine reads.

Idle time comes from the ALAP schedule. Neighbouring idles and explicit delays are one step, because relaxation for t₁
and then for t₂ is relaxation for t₁ + t₂; a qubit that nothing has touched yet is in |0⟩ and idles for free.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from qpu_backend.physics.circuit import OP_OF_CODE, TWO_QUBIT_GATES, IsaCircuit, Op, Operations
from qpu_backend.physics.context import NO_CONTEXT, Context, Kick
from qpu_backend.physics.errors import NotCalibrated
from qpu_backend.physics.phases import DIAGONAL, GhostPhase, Jump, Phase, Phases, Smear, Turn
from qpu_backend.physics.snapshot import GateProperties, RegionNoise
from qpu_backend.physics.timing import Durations, Row, Schedule, branches_of, schedule_operations, wires_of

_NOTHING_NS: Final = 1e-6
"""Gaps below this are rounding."""

PERFECT: Final = GateProperties(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happens.

    Attributes:
        op: what; :attr:`Op.DELAY` is idling.
        qubits: local qubits, in operand order; empty for :attr:`Op.IF`.
        gate: calibrated error and duration.
        value: angle in rad (unless ``slot ≥ 0``), or idle time in ns.
        slot: column of the table of angles, or −1.
        clbit: where a measurement goes, or −1.
        order: position among the circuit's two-qubit gates, to find its factor, or −1.
        conditional: index into the circuit's conditionals, or −1.
        branches: steps when the condition holds, and when it does not.
    """

    op: Op
    qubits: tuple[int, ...]
    gate: GateProperties = PERFECT
    value: float = 0.0
    slot: int = -1
    clbit: int = -1
    order: int = -1
    conditional: int = -1
    branches: tuple[tuple[Step, ...], tuple[Step, ...]] | None = None


@dataclass(frozen=True, slots=True)
class Flip:
    """A bit flip of a local qubit, with a probability."""

    qubit: int
    probability: float


Happening = Step | Phase | GhostPhase | Smear | Turn | Flip | Jump
"""Everything that can happen in a program."""


def noisy_program(circuit: IsaCircuit, noise: RegionNoise, context: Context = NO_CONTEXT) -> tuple[Happening, ...]:
    """What happens to a relocated circuit.

    Args:
        circuit: on physical qubits.
        noise: covers them.
        context: what its neighbours do.

    Raises:
        NotCalibrated: the region does not offer one of the operations.
    """
    durations = Durations.of(noise)
    scheduled = schedule_operations(circuit, circuit.operations, durations)
    writer = _Writer(circuit, noise, durations)
    rows: list[Row] = circuit.operations.tolist()
    phases = Phases(
        circuit.qubits,
        rows,
        scheduled.starts_ns.tolist(),
        scheduled.lengths_ns.tolist(),
        scheduled.duration_ns,
        noise,
        context,
    )
    excited = [Flip(q, p) for q, p in enumerate(context.start.tolist()) if p > 0]
    touched = {flip.qubit for flip in excited}
    everything = tuple(range(circuit.num_qubits))
    if not phases.any and not context.kicks:
        steps = writer.write(circuit.operations, scheduled, everything, scheduled.duration_ns, touched)
        return (*excited, *steps)
    return (*excited, *writer.write_in_time(rows, scheduled, phases, context, touched))


@dataclass(slots=True)
class _Writer:
    """Carries the counter of two-qubit gates through nested branches; lives only inside :func:`noisy_program`."""

    circuit: IsaCircuit
    noise: RegionNoise
    durations: Durations
    order: int = 0
    known: dict[tuple[int, int, int], GateProperties] = field(
        default_factory=dict[tuple[int, int, int], GateProperties]
    )

    def write(
        self, operations: Operations, scheduled: Schedule, qubits: tuple[int, ...], length_ns: float, touched: set[int]
    ) -> tuple[Step, ...]:
        """Steps of a list of operations that ends together with a block of ``length_ns``; updates ``touched``."""
        steps: list[Step] = []
        offset = length_ns - scheduled.duration_ns
        free_at = dict.fromkeys(qubits, 0.0)
        starts: list[float] = scheduled.starts_ns.tolist()
        lengths: list[float] = scheduled.lengths_ns.tolist()
        for row, start, length in zip(operations.tolist(), starts, lengths, strict=True):
            if row[0] in {Op.BARRIER, Op.DELAY}:
                continue  # waiting is what the gaps say
            opens = start + offset
            operands = self._operands(row)
            for q in operands:
                steps += _idle(q, opens - free_at[q], touched)
                free_at[q] = opens + length
            steps.append(self._happen(row, operands, length, touched))
            touched.update(operands)
        for q in qubits:
            steps += _idle(q, length_ns - free_at[q], touched)
        return tuple(steps)

    def write_in_time(
        self, rows: list[Row], scheduled: Schedule, phases: Phases, context: Context, touched: set[int]
    ) -> list[Happening]:
        """The same for a whole circuit, in the order of time, with what builds up between operations."""
        starts: list[float] = scheduled.starts_ns.tolist()
        lengths: list[float] = scheduled.lengths_ns.tolist()
        gates: dict[int, Step] = {}
        for index, row in enumerate(rows):  # factors follow the program's order, not that of time
            if row[0] not in {Op.BARRIER, Op.DELAY}:
                gates[index] = self._happen(row, self._operands(row), lengths[index], touched=None)
        timeline = _Timeline(phases, context, touched, [0.0] * self.circuit.num_qubits)
        agenda: list[tuple[float, int, int, Jump | Kick | None]] = [
            *((starts[index], 1, index, None) for index in gates),
            *((time_ns, 0, number, jump) for number, (time_ns, jump) in enumerate(phases.jumps())),
            *((scheduled.duration_ns - kick.at_ns, 0, number, kick) for number, kick in enumerate(context.kicks)),
        ]
        for time_ns, _, index, news in sorted(agenda, key=lambda entry: entry[:3]):
            if isinstance(news, Jump):
                timeline.jump(time_ns, news)
            elif isinstance(news, Kick):
                timeline.kick(time_ns, news)
            else:
                diagonal = rows[index][0] in DIAGONAL
                timeline.act(time_ns, lengths[index], self._operands(rows[index]), gates[index], diagonal=diagonal)
        timeline.end(scheduled.duration_ns)
        return timeline.steps

    def _operands(self, row: Row) -> tuple[int, ...]:
        if row[0] == Op.IF:
            return tuple(wire for wire in wires_of(self.circuit, row) if wire < self.circuit.num_qubits)
        return (row[1],) if row[2] < 0 else (row[1], row[2])

    def _happen(self, row: Row, operands: tuple[int, ...], length_ns: float, touched: set[int] | None) -> Step:
        """``touched``: qubits that have left |0⟩; ``None`` if all may have."""
        if row[0] == Op.IF:
            return self._conditional(row[6], operands, length_ns, set(operands) if touched is None else touched)
        return self._step(row, operands)

    def _step(self, row: Row, operands: tuple[int, ...]) -> Step:
        code, q0, q1, clbit, slot, value, _ = row
        if code == Op.MEASURE:
            return Step(Op.MEASURE, operands, clbit=clbit)
        order = -1
        if code in TWO_QUBIT_GATES:
            order, self.order = self.order, self.order + 1
        key = (code, q0, q1)
        if key not in self.known:
            self.known[key] = self._calibrated(OP_OF_CODE[code], operands)
        return Step(OP_OF_CODE[code], operands, self.known[key], value, slot, order=order)

    def _calibrated(self, op: Op, operands: tuple[int, ...]) -> GateProperties:
        try:
            return self.noise.gate(op, tuple(self.circuit.qubits[q] for q in operands))
        except NotCalibrated:
            if op is Op.RZ:  # a change of frame: free wherever nobody says otherwise
                return PERFECT
            raise

    def _conditional(self, conditional: int, operands: tuple[int, ...], length_ns: float, touched: set[int]) -> Step:
        bodies = branches_of(self.circuit, conditional)
        taken, not_taken = (
            self.write(
                body,
                schedule_operations(self.circuit, body, self.durations),
                operands,
                length_ns,
                set(touched),
            )
            for body in bodies
        )
        return Step(Op.IF, (), conditional=conditional, branches=(taken, not_taken))


def _idle(q: int, gap_ns: float, touched: set[int]) -> tuple[Step, ...]:
    return (Step(Op.DELAY, (q,), value=gap_ns),) if q in touched and gap_ns > _NOTHING_NS else ()


@dataclass(slots=True)
class _Timeline:
    """Operations, jumps and kicks of one circuit, as they come; lives only inside :meth:`_Writer.write_in_time`."""

    phases: Phases
    context: Context
    touched: set[int]
    free_at: list[float]
    steps: list[Happening] = field(default_factory=list[Happening])

    def act(self, time_ns: float, length_ns: float, operands: tuple[int, ...], step: Step, *, diagonal: bool) -> None:
        """An operation begins, and so acts."""
        for q in operands:
            self.steps += _idle(q, time_ns - self.free_at[q], self.touched)
            self.free_at[q] = time_ns + length_ns
            if not diagonal:
                self.steps += self.phases.before(q, time_ns, self.touched)
        for q in operands:
            self.phases.touch(q, time_ns, self.touched)
        self.touched.update(operands)
        self.steps.append(step)

    def jump(self, time_ns: float, jump: Jump) -> None:
        """A ghost changes; one without memory has nothing to remember, and only its window ends."""
        self.steps += self.phases.before_jump(jump.ghost, time_ns, self.touched)
        if not self.context.ghosts[jump.ghost].independent:
            self.steps.append(jump)

    def kick(self, time_ns: float, kick: Kick) -> None:
        """A pulse next door. On a qubit that is still in |0⟩ only its flip counts, and it is in |0⟩ no more."""
        if kick.angle_rad and kick.qubit in self.touched:
            self.steps.append(Turn(kick.qubit, kick.angle_rad))
        if kick.flip:
            self.steps += self.phases.before(kick.qubit, time_ns, self.touched)
            if kick.qubit not in self.touched:
                self.phases.touch(kick.qubit, time_ns, self.touched)
                self.free_at[kick.qubit] = time_ns
                self.touched.add(kick.qubit)
            self.steps.append(Flip(kick.qubit, kick.flip))

    def end(self, time_ns: float) -> None:
        """The common end."""
        for q, free in enumerate(self.free_at):
            self.steps += _idle(q, time_ns - free, self.touched)
