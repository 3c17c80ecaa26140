"""Folding: a circuit that does the same with more noise, because each two-qubit gate is undone and done again.

    G  →  G · (G⁻¹ · G)ᵏ        noise factor 1 + 2k

ecr, cz and cx are their own inverses. An rzz is undone by one of the same angle between two x: native angles are not
negative.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.circuit import OPERATION, TWO_QUBIT_GATES, Conditional, IsaCircuit, Op, Operations

if TYPE_CHECKING:
    from qpu_backend.physics.timing import Row


_CODES: Final = np.array([int(op) for op in TWO_QUBIT_GATES])


def folded(circuit: IsaCircuit, factor: int) -> IsaCircuit:
    """The circuit with every two-qubit gate ``factor`` times, an odd number; bodies of ``if_else`` too."""
    if factor == 1:
        return circuit
    return replace(
        circuit,
        operations=_folded(circuit.operations, factor // 2),
        conditionals=tuple(
            Conditional(c.clbits, c.value, _folded(c.then_body, factor // 2), _folded(c.else_body, factor // 2))
            for c in circuit.conditionals
        ),
    )


def size_of_folded(circuit: IsaCircuit, factor: int) -> int:
    """Operations of the folded circuit, which is not made."""
    bodies = [circuit.operations, *(body for c in circuit.conditionals for body in (c.then_body, c.else_body))]
    more = 0
    for body in bodies:
        codes = body["code"]
        turned = int((codes == Op.RZZ).sum())
        more += 2 * int(np.isin(codes, _CODES).sum()) + 2 * turned
    return circuit.num_operations + factor // 2 * more


def _folded(operations: Operations, pairs: int) -> Operations:
    rows: list[Row] = []
    for row in operations.tolist():
        rows.append(row)
        if row[0] == Op.RZZ:
            flip = (int(Op.X), row[1], -1, -1, -1, 0.0, -1)
            rows += [flip, row, flip, row] * pairs
        elif row[0] in TWO_QUBIT_GATES:
            rows += [row] * (2 * pairs)
    return np.array(rows, dtype=OPERATION)
