"""V4's reference: all tenants of a chip as one circuit on all its qubits, sampled as a matrix product.

It shares the ALAP schedule with the service and nothing else: phases are worked out here, from the definition::

    u  ──[sx]────[    ecr    ]──   an operation acts when it starts;
    v  ─────[    ecr     ]──[sx]   in each window between two boundaries on u or v the coupler adds
       |  |  |   |       |  |      φ = η·2πζτ to |11⟩ (H = 2πζ |11⟩⟨11|):
         1  1  η   η      η        η = 0 in a gate on u and v themselves, ``echo`` while either is in an ECR or CX,
                                   1 otherwise; while both are (with others) the form is ¼φ Z⊗Z instead.

Gates are perfect, and so is the readout: what is compared is the crosstalk alone. Phases are diagonal, so those of
consecutive windows are added until an operation on u or v does not commute with them.
"""

from __future__ import annotations

import math
from itertools import cycle, pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from crosstalk_pairs import FAMILIES, circuit_of, joined
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister

from qpu_backend.physics.circuit import OP_OF_CODE, Op
from qpu_backend.physics.timing import Durations, Row, schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.physics.snapshot import RegionNoise, Snapshot

ECHOED: Final = frozenset({Op.ECR, Op.CX})
PASSIVE: Final = frozenset({Op.BARRIER, Op.DELAY, Op.ID})
DIAGONAL: Final = PASSIVE | {Op.RZ, Op.CZ, Op.RZZ, Op.MEASURE}
REFUSED: Final = frozenset({Op.RESET, Op.IF})
TRUNCATION: Final = 1e-10
"""Weight of the Schmidt values that may be dropped at a bond."""

SIZES: Final = (3, 4, 5, 3, 5)
"""Qubits of one tenant after the other."""
LAYERS: Final = 6

Window = tuple[float, tuple[int, int], float, float]
"""When it closes (ns from the beginning), the two local qubits, the phase on |11⟩ and that on each qubit's |1⟩, rad."""


def joint_circuit(
    circuits: Sequence[IsaCircuit], noise: RegionNoise, order: Sequence[int] | None = None
) -> QuantumCircuit:
    """One circuit with everything that happens, measured at its end.

    Args:
        circuits: on disjoint physical qubits of ``noise``; aligned at their ends.
        noise: durations, ζ and echo; its errors are not used.
        order: physical qubits in the order in which the matrix product shall have them; ascending by default.

    Returns:
        A circuit whose classical bits are those of the circuits, one after the other.

    Raises:
        ValueError: something follows a measurement, or a circuit resets or branches.
    """
    whole = joined(circuits)
    rows: list[Row] = whole.operations.tolist()
    _check(rows)
    scheduled = schedule(whole, Durations.of(noise))
    starts: list[float] = scheduled.starts_ns.tolist()
    ends: list[float] = (scheduled.starts_ns + scheduled.lengths_ns).tolist()
    place = {q: index for index, q in enumerate(order or whole.qubits)}
    wires = [place[q] for q in whole.qubits]
    answer = QuantumCircuit(QuantumRegister(len(place), "q"), ClassicalRegister(whole.num_clbits, "c"))
    due = _Due(zz_windows(whole, noise, rows, starts, ends))
    for index in sorted(range(len(rows)), key=lambda index: (starts[index], index)):
        code, q0, q1, _, _, angle, _ = rows[index]
        if code in PASSIVE or code == Op.MEASURE:
            continue
        operands = [q for q in (q0, q1) if q >= 0]
        if code not in DIAGONAL:
            for (u, v), phase, turn in due.before(operands, starts[index]):
                answer.cp(phase, wires[u], wires[v])
                answer.p(turn, wires[u])
                answer.p(turn, wires[v])
        append(answer, OP_OF_CODE[code], [wires[q] for q in operands], angle)
    for code, q0, _, clbit, *_ in rows:  # phases that are still due change no reading
        if code == Op.MEASURE:
            answer.measure(wires[q0], clbit)
    return answer


class _Due:
    """Adds up the phases of windows, in the order of time, until something does not commute with them."""

    def __init__(self, windows: list[Window]) -> None:
        self._windows = sorted(windows, reverse=True)
        self._phases: dict[tuple[int, int], tuple[float, float]] = {}
        self._excited: set[int] = set()

    def before(self, operands: Sequence[int], time_ns: float) -> list[tuple[tuple[int, int], float, float]]:
        """Phases to be applied before an operation that begins at a time; times never go back."""
        while self._windows and self._windows[-1][0] <= time_ns:
            _, pair, phase, turn = self._windows.pop()
            known = self._phases.get(pair, (0.0, 0.0))
            self._phases[pair] = known[0] + phase, known[1] + turn
        ready = [(pair, *self._phases.pop(pair)) for pair in list(self._phases) if not {*operands}.isdisjoint(pair)]
        matters = [each for each in ready if self._excited.issuperset(each[0]) and each[1]]  # not on |0⟩
        self._excited.update(operands)
        return matters


def zz_windows(
    circuit: IsaCircuit, noise: RegionNoise, rows: Sequence[Row], starts: Sequence[float], ends: Sequence[float]
) -> list[Window]:
    """What every coupler adds in every window."""
    busy: list[list[tuple[float, float, Row]]] = [[] for _ in circuit.qubits]
    for row, opens, closes in zip(rows, starts, ends, strict=True):
        if row[0] not in PASSIVE and closes > opens:
            for q in row[1:3]:
                if q >= 0:
                    busy[q].append((opens, closes, row))
    local = {q: index for index, q in enumerate(circuit.qubits)}
    windows: list[Window] = []
    for (a, b), zz_hz in noise.zz_hz.items():
        if a not in local or b not in local:
            continue
        u, v = local[a], local[b]
        boundaries = sorted({time_ns for q in (u, v) for interval in busy[q] for time_ns in interval[:2]})
        for opens, closes in pairwise(boundaries):
            running = [_running(busy[q], 0.5 * (opens + closes)) for q in (u, v)]
            phase = _eta(running, {u, v}, noise.zz_echo) * 2e-9 * math.pi * zz_hz * (closes - opens)
            if phase:
                both = all(row is not None and row[0] in ECHOED for row in running)
                windows.append((closes, (u, v), phase, -0.5 * phase if both else 0.0))
    return windows


def _running(intervals: Sequence[tuple[float, float, Row]], time_ns: float) -> Row | None:
    return next((row for opens, closes, row in intervals if opens < time_ns < closes), None)


def _eta(running: Sequence[Row | None], pair: set[int], echo: float) -> float:
    eta = 1.0
    for row in running:
        if row is not None and set(row[1:3]) == pair:
            return 0.0
        if row is not None and row[0] in ECHOED:
            eta = echo
    return eta


def _check(rows: Sequence[Row]) -> None:
    measured: set[int] = set()
    for code, q0, q1, *_ in rows:
        if code in REFUSED or (code not in PASSIVE and measured & {q0, q1}):
            raise ValueError("only circuits that are measured once, at their end")
        if code == Op.MEASURE:
            measured.add(q0)


def append(circuit: QuantumCircuit, op: Op, qubits: list[int], angle: float) -> None:
    """Add a gate to a Qiskit circuit."""
    if op in {Op.RZ, Op.RZZ}:
        getattr(circuit, op.name.lower())(angle, *qubits)
    else:
        getattr(circuit, op.name.lower())(*qubits)


def tenants(path: Sequence[int], snapshot: Snapshot, seed: int, layers: int = LAYERS) -> tuple[IsaCircuit, ...]:
    """A path of qubits shared without buffers: tenants of :data:`SIZES` side by side, families in turn.

    Bit ``i`` of a tenant reads the ``i``-th of its qubits along the path. What is left of the path stays idle.
    """
    circuits: list[IsaCircuit] = []
    begin = 0
    for number, size in enumerate(cycle(SIZES)):
        if begin + size > len(path):
            return tuple(circuits)
        family = list(FAMILIES)[number % len(FAMILIES)]
        circuits.append(circuit_of(family, path[begin : begin + size], snapshot, (seed, number), layers))
        begin += size
    raise AssertionError


def exact(circuit: QuantumCircuit) -> NDArray[np.float64]:
    """Distribution over the classical bits of a small joint circuit, by its state vector: float64, ``(2**clbits,)``."""
    from qiskit.quantum_info import Statevector  # noqa: PLC0415 - slow, and only small cases need it

    read = {circuit.find_bit(i.clbits[0]).index: i.qubits[0] for i in circuit.data if i.operation.name == "measure"}
    probabilities = Statevector(circuit.remove_final_measurements(inplace=False)).probabilities(
        [circuit.find_bit(read[bit]).index for bit in range(circuit.num_clbits)]
    )
    return np.asarray(probabilities)


def sample(circuit: QuantumCircuit, shots: int, seed: int, truncation: float = TRUNCATION) -> NDArray[np.uint8]:
    """Shots of a joint circuit by Aer's matrix-product simulator: uint8, ``(shots, clbits)``."""
    from qiskit_aer import AerSimulator  # noqa: PLC0415 - slow

    simulator = AerSimulator(method="matrix_product_state", matrix_product_state_truncation_threshold=truncation)
    words = simulator.run(circuit, shots=shots, seed_simulator=seed, memory=True).result().get_memory()
    return np.array([[int(bit) for bit in reversed(word)] for word in words], dtype=np.uint8)
