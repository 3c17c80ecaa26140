"""A folded circuit does the same with so many times the two-qubit gates."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spelled import counted, native_circuits, row, unitary

from qpu_backend.domain.folding import folded, size_of_folded
from qpu_backend.physics.circuit import TWO_QUBIT_GATES, Conditional, IsaCircuit, Op, operations


@given(native_circuits(waiting=True), st.sampled_from([1, 3, 5, 7]))
@settings(deadline=None)
def test_folding_is_the_identity_on_the_ideal(circuit, factor):
    made = folded(circuit, factor)
    assert unitary(made).equiv(unitary(circuit))
    assert size_of_folded(circuit, factor) == made.num_operations
    assert counted(made, *TWO_QUBIT_GATES) == factor * counted(circuit, *TWO_QUBIT_GATES)
    assert all(0 <= value <= 1.5 for code, *_, value, _ in made.operations.tolist() if code == Op.RZZ)


@pytest.mark.parametrize("factor", [3, 5])
def test_branches_are_folded_too(factor):
    branch = Conditional((0,), 1, operations([row(Op.CZ, 0, 1)]), operations([row(Op.X, 0)]))
    rows = [row(Op.MEASURE, 0, clbit=0), row(Op.IF, aux=0)]
    circuit = IsaCircuit((0, 1), 1, (), operations(rows), (), (branch,))
    made = folded(circuit, factor)
    assert made.num_operations == 2 + factor + 1
    assert size_of_folded(circuit, factor) == made.num_operations
    assert made.conditionals[0].then_body["code"].tolist() == [Op.CZ] * factor
    assert made.conditionals[0].else_body["code"].tolist() == [Op.X]
