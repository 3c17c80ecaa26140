"""A circuit as what happens to its qubits, in order: gates, idling, measurements. What every engine reads.

Idle time comes from the ALAP schedule. Neighbouring idles and explicit delays are one step, because relaxation for t₁
and then for t₂ is relaxation for t₁ + t₂; a qubit that nothing has touched yet is in |0⟩ and idles for free.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from qpu_backend.physics.circuit import OP_OF_CODE, TWO_QUBIT_GATES, IsaCircuit, Op, Operations
from qpu_backend.physics.errors import NotCalibrated
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


def noisy_program(circuit: IsaCircuit, noise: RegionNoise) -> tuple[Step, ...]:
    """Steps of a relocated circuit.

    Args:
        circuit: on physical qubits.
        noise: covers them.

    Raises:
        NotCalibrated: the region does not offer one of the operations.
    """
    durations = Durations.of(noise)
    scheduled = schedule_operations(circuit, circuit.operations, durations)
    writer = _Writer(circuit, noise, durations)
    everything = tuple(range(circuit.num_qubits))
    return writer.write(circuit.operations, scheduled, everything, scheduled.duration_ns, set())


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

        def idle_until(q: int, time_ns: float) -> None:
            gap = time_ns - free_at[q]
            if q in touched and gap > _NOTHING_NS:
                steps.append(Step(Op.DELAY, (q,), value=gap))

        for row, start, length in zip(operations.tolist(), starts, lengths, strict=True):
            code, q0, q1 = row[0], row[1], row[2]
            if code in {Op.BARRIER, Op.DELAY}:
                continue  # waiting is what the gaps say
            opens = start + offset
            operands = (q0,) if q1 < 0 else (q0, q1)
            if code == Op.IF:
                operands = tuple(wire for wire in wires_of(self.circuit, row) if wire < self.circuit.num_qubits)
            for q in operands:
                idle_until(q, opens)
                free_at[q] = opens + length
            if code == Op.IF:
                steps.append(self._conditional(row[6], operands, length, touched))
            else:
                steps.append(self._step(row, operands))
            touched.update(operands)
        for q in qubits:
            idle_until(q, length_ns)
        return tuple(steps)

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
