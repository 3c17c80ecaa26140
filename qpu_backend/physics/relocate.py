"""Moving a circuit to other qubits: relabelling, with gates turned where only the other direction is calibrated."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.circuit import (
    OPERATION,
    SYMMETRIC_GATES,
    TWO_QUBIT_GATES,
    Conditional,
    IsaCircuit,
    Op,
    Operations,
)
from qpu_backend.physics.errors import NotCalibrated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpu_backend.physics.snapshot import RegionNoise, Snapshot
    from qpu_backend.physics.timing import Row

_QUARTER: Final = math.pi / 2

# Up to a global phase, and read left to right:
#
#   ECR(a→b)  =  a: ─[S·√X·S†]─┐         ┌─[H]─        CX(a→b)  =  a: ─[H]─┐        ┌─[H]─
#                              ├ECR(b→a)─┤                                 ├CX(b→a)─┤
#                b: ─[S†·√X·S]─┘         └─[H]─                    b: ─[H]─┘        └─[H]─
#
# with S = rz(π/2) and H = rz(π/2)·√X·rz(π/2).
_HADAMARD: Final = (_QUARTER, None, _QUARTER)
_BEFORE: Final = {
    Op.ECR: ((_QUARTER, None, -_QUARTER), (-_QUARTER, None, _QUARTER)),
    Op.CX: (_HADAMARD, _HADAMARD),
}
_AFTER: Final = {Op.ECR: (_HADAMARD, _HADAMARD), Op.CX: (_HADAMARD, _HADAMARD)}


def relocate(circuit: IsaCircuit, region: Sequence[int], calibration: Snapshot | RegionNoise) -> IsaCircuit:
    """The same circuit on physical qubits.

    Args:
        circuit: on a backend's qubits.
        region: physical qubit of each backend qubit; all different.
        calibration: which directions of two-qubit gates exist.

    Returns:
        A circuit whose ``qubits`` are physical (ascending: local qubits are renumbered), equal to the given one up to a
        global phase. Two-qubit gates keep their order; an ECR or CX that is only calibrated the other way round is
        turned, at the price of four ``sx``.

    Raises:
        NotCalibrated: two qubits are not coupled in either direction.
        ValueError: the region names a qubit twice.
    """
    physical = [int(region[q]) for q in circuit.qubits]
    order = sorted(physical)
    if len(set(order)) != len(order):
        raise ValueError("the region names a qubit twice")
    local_of = {q: local for local, q in enumerate(order)}
    renumber = np.array([*(local_of[q] for q in physical), -1], dtype=np.int16)  # index −1 stays −1
    qubits = tuple(order)

    def moved(operations: Operations) -> Operations:
        renumbered = operations.copy()
        renumbered["q0"] = renumber[operations["q0"]]
        renumbered["q1"] = renumber[operations["q1"]]
        return _turned(renumbered, qubits, calibration)

    return replace(
        circuit,
        qubits=qubits,
        operations=moved(circuit.operations),
        groups=tuple(tuple(sorted(int(renumber[q]) for q in group)) for group in circuit.groups),
        conditionals=tuple(
            Conditional(c.clbits, c.value, moved(c.then_body), moved(c.else_body)) for c in circuit.conditionals
        ),
    )


def _turned(operations: Operations, qubits: tuple[int, ...], calibration: Snapshot | RegionNoise) -> Operations:
    """Replace gates of which only the other direction is calibrated."""
    backwards: dict[tuple[Op, int, int], bool] = {}
    rows: list[Row] = operations.tolist()
    for code, q0, q1, *_ in rows:
        if code in TWO_QUBIT_GATES:
            key = (Op(code), q0, q1)
            if key not in backwards:
                backwards[key] = _is_backwards(Op(code), (qubits[q0], qubits[q1]), calibration)
    if not any(backwards.values()):
        return operations
    turned: list[Row] = []
    for row in rows:
        code, q0, q1, clbit, slot, value, aux = row
        if code in TWO_QUBIT_GATES and backwards[Op(code), q0, q1]:
            op = Op(code)
            turned += [*_dress(q0, _BEFORE[op][0]), *_dress(q1, _BEFORE[op][1])]
            turned.append((code, q1, q0, clbit, slot, value, aux))
            turned += [*_dress(q0, _AFTER[op][0]), *_dress(q1, _AFTER[op][1])]
        else:
            turned.append(row)
    return np.array(turned, dtype=OPERATION)


def _is_backwards(op: Op, pair: tuple[int, int], calibration: Snapshot | RegionNoise) -> bool:
    if (op, pair) in calibration.gates:
        return False
    if (op, pair[::-1]) in calibration.gates:
        return op not in SYMMETRIC_GATES
    raise NotCalibrated(op.name.lower(), pair)


def _dress(qubit: int, angles: tuple[float | None, ...]) -> list[Row]:
    """Rz by each angle, and sx for ``None``."""
    return [
        (int(Op.SX), qubit, -1, -1, -1, 0.0, -1) if angle is None else (int(Op.RZ), qubit, -1, -1, -1, angle, -1)
        for angle in angles
    ]
