"""Whether a circuit runs as it was planned or as it was compiled again for the region where it is placed.

The second must not cost anybody anything: it lasts no longer than was planned, or than the first would there; it is
predicted to lose no more; it needs no more qubits; it measures into the same classical bits; and of no readout group
does it read more qubits than the planner has weighed for the neighbours.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import exp
from typing import TYPE_CHECKING

from qpu_backend.domain.deferral import Choice, laid_out
from qpu_backend.domain.programs import measured_in
from qpu_backend.physics.circuit import Op

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qpu_backend.domain.deferral import Deferral
    from qpu_backend.domain.programs import Program
    from qpu_backend.physics.circuit import IsaCircuit


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One circuit of a program on the physical qubits of a region.

    Attributes:
        circuit: there.
        duration_ns: there.
        has_mid_circuit: whether anything follows a measurement.
        loss: predicted −ln of its success there.
    """

    circuit: IsaCircuit
    duration_ns: float
    has_mid_circuit: bool
    loss: float

    @property
    def measured(self) -> list[int]:
        """Physical qubits that are read, in any branch."""
        local = {int(q) for body in _bodies(self.circuit) for q in body["q0"][body["code"] == Op.MEASURE]}
        return sorted(self.circuit.qubits[q] for q in local)


def rebuilt(
    program: Program,
    circuits: Sequence[IsaCircuit],
    layouts: Sequence[tuple[int, ...]],
    angles: Sequence[NDArray[np.float64]],
    chosen: Collection[int] | None = None,
) -> Program:
    """The program with abstract circuits compiled otherwise; executions, plans and classical bits stay.

    Args:
        program: with a deferral.
        circuits: each abstract circuit, compiled.
        layouts: where the qubits of each end.
        angles: of each pub, for these circuits.
        chosen: abstract circuits to exchange; ``None`` for all.

    Raises:
        ValueError: the program has no deferral.
    """
    deferral = _deferral_of(program)
    exchanged = list(program.circuits)
    done: set[int] = set()
    for execution in program.executions:
        source, variant = deferral.circuit_of[execution.pub], execution.circuit
        if variant in done or (chosen is not None and source not in chosen):
            continue
        done.add(variant)
        exchanged[variant] = circuits[source]
        if program.plans:
            basis = laid_out(program.plans[execution.pub].bases[execution.basis], layouts[source])
            exchanged[variant] = measured_in(circuits[source], basis)
    tables = tuple(
        theirs if chosen is None or source in chosen else ours
        for source, ours, theirs in zip(deferral.circuit_of, program.angles, angles, strict=True)
    )
    return replace(program, circuits=tuple(exchanged), angles=tables)


def choose(
    program: Program, planned: Sequence[Trial], compiled: Sequence[Trial], read: Mapping[int, int] | None, group: int
) -> tuple[Choice, ...]:
    """For each abstract circuit, in order, what it runs with.

    Args:
        program: with a deferral.
        planned: its circuits, relabelled.
        compiled: the same compiled for the region.
        read: how many qubits of each readout group the planner has weighed; ``None`` where nobody is there to mind.
        group: consecutive qubits in a readout group.

    Raises:
        ValueError: the program has no deferral.
    """
    deferral = _deferral_of(program)
    shots: dict[int, Counter[int]] = {}
    for execution in program.executions:
        shots.setdefault(deferral.circuit_of[execution.pub], Counter())[execution.circuit] += execution.shots
    choices: list[Choice] = []
    for source in range(max(deferral.circuit_of) + 1):
        variants = shots.get(source)
        if variants is None:  # of no pub
            choices.append(Choice("shape", None, None))
            continue
        ours, theirs = _mean_loss(variants, planned), _mean_loss(variants, compiled)
        fine = theirs <= ours and all(
            _keeps_to(planned[v], compiled[v], deferral.planned_ns[v]) and _reads_no_more(compiled[v], read, group)
            for v in variants
        )
        choices.append(Choice("region" if fine else "shape", exp(-ours), exp(-theirs)))
    return tuple(choices)


def better(one: Choice, other: Choice) -> Choice:
    """Of two choices for the same circuit the one to follow; the first where they are equally good."""
    if (one.on == "region") != (other.on == "region"):
        return one if one.on == "region" else other
    return other if (other.region_success or 0.0) > (one.region_success or 0.0) else one


def _deferral_of(program: Program) -> Deferral:
    if program.deferral is None:
        raise ValueError("the program's layout is not deferred")
    return program.deferral


def _mean_loss(shots: Counter[int], trials: Sequence[Trial]) -> float:
    return sum(count * trials[variant].loss for variant, count in shots.items()) / shots.total()


def _keeps_to(planned: Trial, compiled: Trial, planned_ns: int) -> bool:
    return (
        compiled.duration_ns <= max(planned_ns, planned.duration_ns)
        and compiled.circuit.num_qubits <= planned.circuit.num_qubits
        and compiled.has_mid_circuit <= planned.has_mid_circuit
        and compiled.circuit.num_clbits == planned.circuit.num_clbits
        and compiled.circuit.registers == planned.circuit.registers
        and _clbits(compiled.circuit) == _clbits(planned.circuit)
    )


def _reads_no_more(compiled: Trial, read: Mapping[int, int] | None, group: int) -> bool:
    if read is None or not group:
        return True
    counts = Counter(qubit // group for qubit in compiled.measured)
    return all(count <= read.get(number, 0) for number, count in counts.items())


def _clbits(circuit: IsaCircuit) -> list[int]:
    """Classical bits, ascending, each as often as something is measured into it."""
    return sorted(int(bit) for body in _bodies(circuit) for bit in body["clbit"][body["code"] == Op.MEASURE])


def _bodies(circuit: IsaCircuit) -> list[NDArray[np.void]]:
    return [circuit.operations, *(body for c in circuit.conditionals for body in (c.then_body, c.else_body))]
