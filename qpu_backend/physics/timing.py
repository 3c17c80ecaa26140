"""When each operation happens, and what a circuit amounts to: the ALAP schedule and the summary everyone plans with.

Everything is as late as possible, counted from the common end of the round::

    q0  ──────[sx][   ecr   ]········[ measure ]┤
    q1  ··········[   ecr   ][  ecr ][ measure ]┤      · idle: the qubit relaxes
    q2  ·····················[  ecr ][ measure ]┤

Without control flow this is Qiskit's ``ALAPScheduleAnalysis``. ``if_else`` is one block as long as its longest branch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qpu_backend.physics.circuit import OP_OF_CODE, TWO_QUBIT_GATES, IsaCircuit, Op, Operations
from qpu_backend.physics.errors import NotCalibrated

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from qpu_backend.physics.snapshot import RegionNoise, Snapshot

SUMMARY_VERSION: Final = 1

Row = tuple[int, int, int, int, int, float, int]
"""One operation as Python numbers: ``(code, q0, q1, clbit, slot, value, aux)``."""

_TIMELESS: Final = frozenset({Op.BARRIER, Op.RZ})
_PASSIVE: Final = frozenset({Op.BARRIER, Op.RZ, Op.DELAY})
"""Operations that leave a fresh qubit in |0⟩."""


@dataclass(frozen=True, slots=True)
class Durations:
    """How long operations last, in ns, by the *backend's* qubits.

    Attributes:
        calibration: where they are written.
        region: physical qubit of each backend qubit; ``None`` where the two are the same.
    """

    calibration: Snapshot | RegionNoise
    region: tuple[int, ...] | None = None

    @classmethod
    def of(cls, snapshot: Snapshot | RegionNoise, region: Sequence[int] | None = None) -> Durations:
        """Durations on a region; the default region is the whole device, as it is."""
        return cls(snapshot, None if region is None else tuple(region))

    def duration_ns(self, op: Op, qubits: tuple[int, ...]) -> float:
        """Duration of an operation on backend qubits.

        A gate calibrated in the other direction only takes that direction's time, without the one-qubit gates that
        :func:`qpu_backend.physics.relocate.relocate` puts around it.

        Raises:
            NotCalibrated: the device does not offer it there.
        """
        if op in _TIMELESS:
            return 0.0
        physical = qubits if self.region is None else tuple(self.region[q] for q in qubits)
        if op is Op.MEASURE:
            return self.calibration.qubit(physical[0]).readout_duration_ns
        try:
            return self.calibration.gate(op, physical).duration_ns
        except NotCalibrated:
            if op not in TWO_QUBIT_GATES:
                raise
            return self.calibration.gate(op, physical[::-1]).duration_ns


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """Start and length of each operation of one list.

    Attributes:
        starts_ns: float64, ``(num_operations,)``, from the beginning of the list.
        lengths_ns: same shape.
        duration_ns: of the whole list.
    """

    starts_ns: NDArray[np.float64]
    lengths_ns: NDArray[np.float64]
    duration_ns: float


def schedule(circuit: IsaCircuit, durations: Durations) -> Schedule:
    """ALAP schedule of a circuit.

    Raises:
        NotCalibrated: the device does not offer one of the operations.
    """
    return schedule_operations(circuit, circuit.operations, durations)


def schedule_operations(circuit: IsaCircuit, operations: Operations, durations: Durations) -> Schedule:
    """ALAP schedule of the circuit's operations or of the body of one of its conditionals."""
    rows: list[Row] = operations.tolist()
    n = circuit.num_qubits
    from_end = [0.0] * (n + circuit.num_clbits)
    ends: list[float] = [0.0] * len(rows)
    lengths: list[float] = [0.0] * len(rows)
    known: dict[tuple[int, int, int], float] = {}
    for index in range(len(rows) - 1, -1, -1):
        row = rows[index]
        code, q0, q1, clbit, _, value, aux = row
        if code == Op.IF:
            length = max(
                schedule_operations(circuit, body, durations).duration_ns for body in branches_of(circuit, aux)
            )
        elif code == Op.DELAY:
            length = value
        elif (code, q0, q1) in known:
            length = known[code, q0, q1]
        else:
            operands = (circuit.qubits[q0],) if q1 < 0 else (circuit.qubits[q0], circuit.qubits[q1])
            length = 0.0 if code in _TIMELESS else durations.duration_ns(OP_OF_CODE[code], operands)
            known[code, q0, q1] = length
        if q0 >= 0 and q1 < 0 and clbit < 0:  # the common case, short
            from_end[q0] = starts = from_end[q0] + length
        else:
            wires = wires_of(circuit, row)
            starts = max((from_end[wire] for wire in wires), default=0.0) + length
            for wire in wires:
                from_end[wire] = starts
        ends[index], lengths[index] = starts, length
    total = max(from_end, default=0.0)
    return Schedule(total - np.array(ends), np.array(lengths), total)


def branches_of(circuit: IsaCircuit, conditional: int) -> tuple[Operations, Operations]:
    """The two bodies of a conditional: taken, not taken."""
    return circuit.conditionals[conditional].then_body, circuit.conditionals[conditional].else_body


def wires_of(circuit: IsaCircuit, row: Row) -> tuple[int, ...]:
    """Local qubits of an operation, then its classical bits as ``num_qubits + clbit``."""
    code, q0, q1, clbit, _, _, aux = row
    n = circuit.num_qubits
    if code == Op.BARRIER:
        return circuit.groups[aux]
    if code == Op.IF:
        wires = {n + bit for bit in circuit.conditionals[aux].clbits}
        for body in branches_of(circuit, aux):
            for inner in body.tolist():
                wires.update(wires_of(circuit, inner))
        return tuple(sorted(wires))
    qubits = (q0,) if q1 < 0 else (q0, q1)
    return qubits if clbit < 0 else (*qubits, n + clbit)


def two_qubit_gates(circuit: IsaCircuit) -> Iterator[Row]:
    """Every two-qubit gate: program order, a conditional's taken branch before the other. Factors follow this order."""
    yield from _two_qubit_gates(circuit, circuit.operations)


def _two_qubit_gates(circuit: IsaCircuit, operations: Operations) -> Iterator[Row]:
    for row in operations.tolist():
        if row[0] in TWO_QUBIT_GATES:
            yield row
        elif row[0] == Op.IF:
            for body in branches_of(circuit, row[6]):
                yield from _two_qubit_gates(circuit, body)


def has_mid_circuit(circuit: IsaCircuit) -> bool:
    """Whether anything but a barrier or a delay follows a measurement of its qubit, or a classical bit decides."""
    measured: set[int] = set()
    for code, q0, q1, *_ in circuit.operations.tolist():
        if code == Op.IF or ((q0 in measured or q1 in measured) and code not in {Op.BARRIER, Op.DELAY}):
            return True
        if code == Op.MEASURE:
            measured.add(q0)
    return False


@dataclass(frozen=True, slots=True, eq=False)
class CircuitSummary:
    """What planning, pricing and crosstalk need to know of a circuit, at its longest branch.

    Attributes:
        qubits: backend qubit of each local qubit.
        duration_ns: of the ALAP schedule.
        gate_counts: operations by kind.
        edge_counts: two-qubit gates by ordered pair of local qubits.
        sx_counts: int64, ``(n,)``: sx, x and id per local qubit.
        idle_ns: float64, ``(n,)``: time between a local qubit's first gate and its end in which nothing acts on it.
        measured: local qubits that are measured, ascending.
        windows: float64, ``(k, 5)``: one row per two-qubit gate in the order of :func:`two_qubit_gates`: operation
            index (``−1 − index`` for a gate that is not in the longest branch), the two local qubits, and the times at
            which it opens and closes in ns *before the end* of the circuit (opens > closes).
        has_mid_circuit: see :func:`has_mid_circuit`.
    """

    qubits: tuple[int, ...]
    duration_ns: float
    gate_counts: Mapping[Op, int]
    edge_counts: tuple[tuple[tuple[int, int], int], ...]
    sx_counts: NDArray[np.int64]
    idle_ns: NDArray[np.float64]
    measured: tuple[int, ...]
    windows: NDArray[np.float64]
    has_mid_circuit: bool

    @property
    def num_qubits(self) -> int:
        return len(self.qubits)

    def to_document(self) -> dict[str, Any]:
        """A plain structure of numbers, lists and arrays."""
        return {
            "summary_version": SUMMARY_VERSION,
            "qubits": list(self.qubits),
            "duration_ns": self.duration_ns,
            "gate_counts": [[int(op), count] for op, count in sorted(self.gate_counts.items())],
            "edge_counts": [[a, b, count] for (a, b), count in self.edge_counts],
            "sx_counts": self.sx_counts,
            "idle_ns": self.idle_ns,
            "measured": list(self.measured),
            "windows": self.windows,
            "has_mid_circuit": self.has_mid_circuit,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> CircuitSummary:
        """Inverse of :meth:`to_document`.

        Raises:
            ValueError: another version.
        """
        if document.get("summary_version") != SUMMARY_VERSION:
            raise ValueError(f"not a version {SUMMARY_VERSION} summary: {document.get('summary_version')!r}")
        return cls(
            qubits=tuple(document["qubits"]),
            duration_ns=document["duration_ns"],
            gate_counts={Op(code): count for code, count in document["gate_counts"]},
            edge_counts=tuple(((a, b), count) for a, b, count in document["edge_counts"]),
            sx_counts=document["sx_counts"],
            idle_ns=document["idle_ns"],
            measured=tuple(document["measured"]),
            windows=document["windows"],
            has_mid_circuit=document["has_mid_circuit"],
        )


class _Tally:
    """Counts of one pass over a circuit; lives only inside :func:`summarise`."""

    def __init__(self, circuit: IsaCircuit, durations: Durations) -> None:
        self.circuit = circuit
        self.durations = durations
        self.gate_counts: dict[Op, int] = {}
        self.edge_counts: dict[tuple[int, int], int] = {}
        self.sx_counts = np.zeros(circuit.num_qubits, dtype=np.int64)
        self.measured: set[int] = set()
        self.windows: list[tuple[float, float, float, float, float]] = []

    def add(
        self, operations: Operations, scheduled: Schedule, before_end_ns: float, index: int | None, taken: bool
    ) -> None:
        """Count operations whose list begins ``before_end_ns`` before the end of the circuit."""
        starts: list[float] = scheduled.starts_ns.tolist()
        lengths: list[float] = scheduled.lengths_ns.tolist()
        for position, (row, start, length) in enumerate(zip(operations.tolist(), starts, lengths, strict=True)):
            code, q0, q1, _, _, _, aux = row
            outer = position if index is None else index
            opens = before_end_ns - start
            if code in TWO_QUBIT_GATES:
                self.windows.append((outer if taken else -1 - outer, q0, q1, opens, opens - length))
            if taken:
                self._count(OP_OF_CODE[code], q0, q1)
            if code == Op.IF:
                self._add_branches(aux, opens - length, outer, taken)

    def _count(self, op: Op, q0: int, q1: int) -> None:
        self.gate_counts[op] = self.gate_counts.get(op, 0) + 1
        if op in TWO_QUBIT_GATES:
            self.edge_counts[q0, q1] = self.edge_counts.get((q0, q1), 0) + 1
        elif op in {Op.SX, Op.X, Op.ID}:
            self.sx_counts[q0] += 1
        elif op is Op.MEASURE:
            self.measured.add(q0)

    def _add_branches(self, conditional: int, closes: float, index: int, taken: bool) -> None:
        bodies = branches_of(self.circuit, conditional)
        schedules = [schedule_operations(self.circuit, body, self.durations) for body in bodies]
        longest = 0 if schedules[0].duration_ns >= schedules[1].duration_ns else 1
        for branch, (body, scheduled) in enumerate(zip(bodies, schedules, strict=True)):
            self.add(body, scheduled, closes + scheduled.duration_ns, index, taken and branch == longest)


def summarise(circuit: IsaCircuit, durations: Durations) -> CircuitSummary:
    """Schedule a circuit and count what it uses.

    Raises:
        NotCalibrated: the device does not offer one of the operations.
    """
    scheduled = schedule(circuit, durations)
    tally = _Tally(circuit, durations)
    tally.add(circuit.operations, scheduled, scheduled.duration_ns, None, taken=True)
    return CircuitSummary(
        qubits=circuit.qubits,
        duration_ns=scheduled.duration_ns,
        gate_counts=dict(sorted(tally.gate_counts.items())),
        edge_counts=tuple(sorted(tally.edge_counts.items())),
        sx_counts=tally.sx_counts,
        idle_ns=_idle_ns(circuit, scheduled),
        measured=tuple(sorted(tally.measured)),
        windows=np.array(tally.windows, dtype=np.float64).reshape(-1, 5),
        has_mid_circuit=has_mid_circuit(circuit),
    )


def _idle_ns(circuit: IsaCircuit, scheduled: Schedule) -> NDArray[np.float64]:
    """Per local qubit: last end − first start − busy time. Explicit delays are idle time; an IF is busy throughout."""
    n = circuit.num_qubits
    first = np.full(n, np.inf)
    last, busy = np.zeros(n), np.zeros(n)
    starts: list[float] = scheduled.starts_ns.tolist()
    lengths: list[float] = scheduled.lengths_ns.tolist()
    for row, start, length in zip(circuit.operations.tolist(), starts, lengths, strict=True):
        if row[0] not in _PASSIVE:
            for wire in wires_of(circuit, row):
                if wire < n:
                    first[wire] = min(first[wire], start)
                    last[wire] = start + length
                    busy[wire] += length
    used = np.isfinite(first)
    idle = np.zeros(n)
    idle[used] = np.maximum(0.0, last[used] - first[used] - busy[used])
    return idle
