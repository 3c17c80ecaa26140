"""What mitigation makes of a program: more executions, so that price, quota, legs and quotes follow by themselves.

::

    one execution ──► factors × randomisations        (folded, then twirled; the shots are dealt out to randomisations)
    one job       ──► two executions more for each set of qubits that are read together, of ten at most

The two prepare 0101… and 1010…: each bit is read once in 0 and once in 1, with about half of its neighbours in 1, as in
circuits that answer anything. Pulses in idle windows wait until it is known where the circuits run.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.domain.assignment import LARGEST_MATRIX
from qpu_backend.domain.errors import InvalidRequest, TooLarge
from qpu_backend.domain.folding import folded, size_of_folded
from qpu_backend.domain.mitigation import FIELD, Treatment
from qpu_backend.domain.programs import Execution
from qpu_backend.domain.reading_sets import ReadingSets
from qpu_backend.domain.twirling import twirled
from qpu_backend.physics.circuit import IsaCircuit, Op, operations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from qpu_backend.domain.mitigation import Mitigation
    from qpu_backend.domain.programs import Program

MAX_OPERATIONS: Final = 200_000
"""Of all the circuits that mitigation makes of a job's, as many as a job's own may have by default: placing them takes
the dispatcher some 20 µs each, with pulses 40."""
MAX_MITIGATED_BITS: Final = 14
"""Bits of a circuit whose errors of readout can be inverted: that takes 2ⁿ numbers."""
MAX_INVERSION_US: Final = 10e6
"""Processor time that inverting all of a job's readings may take, by :func:`inversion_us`."""
_SOLVING_US: Final = 4_000.0
"""Of a matrix too large to be quick, or of the steps that go without it."""
_PATTERNS: Final = 2
_WHAT_IS_MADE: Final = "operations of all folded and twirled circuits"


def treat(program: Program, mitigation: Mitigation, *, max_executions: int, max_shots: int) -> Program:
    """The program with everything that mitigation runs.

    Args:
        program: as the client asked for it.
        mitigation: possible for its kind.
        max_executions: of the job.
        max_shots: of an execution.

    Raises:
        InvalidRequest: it does not go with these circuits or shots.
        TooLarge: more executions, shots or operations than the limits.
    """
    bits = [bits_of(circuit) for circuit in program.circuits]
    _require_suitable(program, mitigation, [len(one) for one in bits], max_shots)
    dealt = _dealt(program, mitigation, max_executions)
    read = [frozenset(qubit for _, qubit in one) for one in bits]
    learns = mitigation.readout is not None and mitigation.readout.source == "executions"
    sets = ReadingSets(read if learns else ())
    treated = sum(len(dealt[execution.pub, execution.shots]) for execution in program.executions)
    asked = treated * len(mitigation.factors) + _PATTERNS * len(sets.parts)
    if asked > max_executions:
        raise TooLarge("executions", limit=max_executions, asked=asked, field=FIELD)
    _require_few_operations(program, mitigation, dealt)
    variants = _Variants(program, mitigation)
    executions: list[Execution] = []
    factor_of: list[int] = []
    for execution in program.executions:
        shots = dealt[execution.pub, execution.shots]
        for factor in range(len(mitigation.factors)):
            for randomization, part in enumerate(shots):
                circuit = variants.variant(execution.circuit, factor, randomization)
                turn = factor * len(shots) + randomization
                executions.append(replace(execution, circuit=circuit, shots=part, turn=turn))
                factor_of.append(factor)
    homes = [sets.home(one) for one in read]
    set_of = [homes[circuit] for circuit in variants.made_of]
    angles = program.angles
    if learns and mitigation.readout is not None:
        for number, qubits in enumerate(sets.parts):
            for pattern in range(_PATTERNS):
                circuit = variants.prepared(qubits, pattern)
                executions.append(Execution(len(program.angles), circuit, 0, number, mitigation.readout.shots, pattern))
                factor_of.append(-1)
                set_of.append(sets.home(frozenset(qubits)))
        angles = (*angles, np.zeros((1, 0)))
    return replace(
        program,
        circuits=tuple(variants.circuits),
        angles=angles,
        executions=tuple(executions),
        treatment=Treatment(
            mitigation=mitigation,
            factor_of=np.array(factor_of, dtype=np.int32),
            flips=_stacked(variants.flips),
            sets=tuple(sets.parts),
            set_of=np.array(set_of, dtype=np.int32),
        ),
    )


def inversion_us(num_bits: int, num_means: int = 0) -> float:
    """Processor time of inverting what one execution read, in µs, and of as many means of it.

    Within a factor of three from 2 to 14 bits where bits are misread one time in twenty; more errors take more steps.
    Beyond :data:`LARGEST_MATRIX` strings each mean is solved for alone.
    """
    all_strings = 2.0**num_bits
    each_us = 300.0 + 0.15 * num_bits * all_strings + (_SOLVING_US if all_strings > LARGEST_MATRIX else 0.0)
    once_us = 1_000.0 + 0.3 * num_bits * all_strings + (_SOLVING_US if all_strings >= LARGEST_MATRIX else 0.0)
    return once_us + num_means * each_us


def bits_of(circuit: IsaCircuit) -> tuple[tuple[int, int], ...]:
    """``(classical bit, backend qubit)`` of each bit that is measured into, ascending; of several the last one."""
    measured = circuit.operations[circuit.operations["code"] == Op.MEASURE]
    clbits: list[int] = measured["clbit"].tolist()
    read: list[int] = measured["q0"].tolist()
    last = dict(zip(clbits, read, strict=True))
    return tuple((clbit, circuit.qubits[local]) for clbit, local in sorted(last.items()))


def _require_suitable(program: Program, mitigation: Mitigation, bits: Sequence[int], max_shots: int) -> None:
    asked = (
        (mitigation.twirls_readout, "twirling of measurements", f"{FIELD}.twirling.enable_measure"),
        (mitigation.readout is not None, "readout mitigation", f"{FIELD}.measure"),
    )
    for wanted, what, field in asked:
        if wanted and any(circuit.conditionals for circuit in program.circuits):
            raise InvalidRequest(
                f"{what} does not go with if_else: its condition reads bits while the circuit runs", field=field
            )
    if mitigation.readout is None:
        return
    widest = max(bits)
    if widest > MAX_MITIGATED_BITS:
        field = f"{FIELD}.measure"
        raise TooLarge("bits of a circuit with readout mitigation", limit=MAX_MITIGATED_BITS, asked=widest, field=field)
    means = [plan.means() for plan in program.plans]
    total_us = len(mitigation.factors) * sum(
        inversion_us(bits[e.circuit], len(means[e.pub].get((e.binding, e.basis), ())) if means else 0)
        for e in program.executions
    )
    if total_us > MAX_INVERSION_US:
        what, field = "ms of inverting what is read", f"{FIELD}.measure"
        raise TooLarge(what, limit=round(1e-3 * MAX_INVERSION_US), asked=round(1e-3 * total_us), field=field)
    if mitigation.readout.source == "executions" and mitigation.readout.shots > max_shots:
        field = f"{FIELD}.measure.shots"
        raise TooLarge("shots", limit=max_shots, asked=mitigation.readout.shots, field=field)


def _dealt(program: Program, mitigation: Mitigation, max_executions: int) -> dict[tuple[int, int], tuple[int, ...]]:
    """The shots of each randomisation, by pub and shots of an execution; no more than there may be executions."""
    twirling = mitigation.twirling
    dealt: dict[tuple[int, int], tuple[int, ...]] = {}
    asked = 0
    for execution in program.executions:
        key = (execution.pub, execution.shots)
        if key not in dealt:
            dealt[key] = (key[1],) if twirling is None else twirling.deal(key[1], f"pub {key[0]}")
        asked += len(dealt[key]) * len(mitigation.factors)
        if asked > max_executions:
            raise TooLarge("executions", limit=max_executions, asked=asked, field=FIELD)
    return dealt


def _require_few_operations(
    program: Program, mitigation: Mitigation, dealt: Mapping[tuple[int, int], Sequence[int]]
) -> None:
    """Of everything that is about to be folded and twirled, before any of it is: that alone may take minutes."""
    most = [0] * len(program.circuits)
    for execution in program.executions:
        most[execution.circuit] = max(most[execution.circuit], len(dealt[execution.pub, execution.shots]))
    asked = sum(
        randomizations * sum(size_of_folded(circuit, factor) for factor in mitigation.factors)
        for circuit, randomizations in zip(program.circuits, most, strict=True)
    )
    if asked > MAX_OPERATIONS:
        raise TooLarge(_WHAT_IS_MADE, limit=MAX_OPERATIONS, asked=asked, field=FIELD)


class _Variants:
    """The circuits that are run, each once, with the bits that each flips."""

    def __init__(self, program: Program, mitigation: Mitigation) -> None:
        self._program = program
        self._mitigation = mitigation
        self._index: dict[tuple[int, int, int], int] = {}
        self._operations = 0
        self.made_of: list[int] = []
        """The program's circuit that each variant is one of."""
        self.circuits: list[IsaCircuit] = []
        self.flips: list[NDArray[np.uint8]] = []

    def variant(self, circuit: int, factor: int, randomization: int) -> int:
        """A circuit of the program with more noise, twirled."""
        key = (circuit, factor, randomization)
        if key not in self._index:
            self._index[key] = len(self.circuits)
            self.made_of.append(circuit)
            self._add(*self._made(*key))
        return self._index[key]

    def prepared(self, qubits: tuple[int, ...], pattern: int) -> int:
        """Each second of some qubits flipped, and all of them read."""
        rows: list[tuple[int, int, int, int, int, float, int]] = []
        flips = np.array([(position + pattern) % 2 for position in range(len(qubits))], dtype=np.uint8)
        for local, flip in enumerate(flips.tolist()):
            if flip:
                rows.append((int(Op.X), local, -1, -1, -1, 0.0, -1))
            rows.append((int(Op.MEASURE), local, -1, local, -1, 0.0, -1))
        self._add(IsaCircuit(qubits, len(qubits), (), operations(rows)), np.packbits(flips, bitorder="little"))
        return len(self.circuits) - 1

    def _add(self, circuit: IsaCircuit, flips: NDArray[np.uint8]) -> None:
        self._operations += circuit.num_operations
        if self._operations > MAX_OPERATIONS:
            raise TooLarge(_WHAT_IS_MADE, limit=MAX_OPERATIONS, asked=self._operations, field=FIELD)
        self.circuits.append(circuit)
        self.flips.append(flips)

    def _made(self, circuit: int, factor: int, randomization: int) -> tuple[IsaCircuit, NDArray[np.uint8]]:
        made = folded(self._program.circuits[circuit], self._mitigation.factors[factor])
        twirling = self._mitigation.twirling
        if twirling is None:
            return made, np.zeros(-(-made.num_clbits // 8), dtype=np.uint8)
        flips = self._flips_of(made, circuit, randomization) if twirling.measure else None
        rng = np.random.default_rng([self._mitigation.seed, 0, circuit, factor, randomization])
        return twirled(made, rng, gates=twirling.gates, flips=flips)

    def _flips_of(self, made: IsaCircuit, circuit: int, randomization: int) -> NDArray[np.bool_]:
        """Drawn for two randomisations together, of which one flips what the other does not."""
        pair, second = divmod(randomization, 2)
        rng = np.random.default_rng([self._mitigation.seed, 1, circuit, pair])
        measurements = int((made.operations["code"] == Op.MEASURE).sum())
        return (rng.integers(2, size=measurements) ^ second).astype(np.bool_)


def _stacked(flips: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    width = max((len(one) for one in flips), default=0)
    return np.array([np.pad(one, (0, width - len(one))) for one in flips], dtype=np.uint8).reshape(len(flips), width)
