"""Operator backpropagation: a Trotter circuit made shorter, and the observable longer, with the same value.

Negative control: the short circuit with the observable as it was.
"""

from __future__ import annotations

import pytest
from bounds import SIGMAS, loss
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_addon_obp import backpropagate
from qiskit_addon_obp.utils.simplify import OperatorBudget
from qiskit_addon_utils.slicing import combine_slices, slice_by_depth

CLIENT = "qiskit-addon-obp"
OBSERVABLE = SparsePauliOp("IZI")


@pytest.fixture(scope="module")
def evolution():
    """Three steps of a kicked Ising chain of three."""
    circuit = QuantumCircuit(3)
    for _ in range(3):
        circuit.rx(0.9, range(3))
        circuit.rzz(-0.6, 0, 1)
        circuit.rzz(-0.6, 1, 2)
    return circuit


@pytest.fixture(scope="module")
def shortened(evolution):
    slices = slice_by_depth(evolution, 1)
    observable, remaining, _ = backpropagate(OBSERVABLE, slices, operator_budget=OperatorBudget(max_qwc_groups=8))
    assert len(remaining) < len(slices)
    return combine_slices(remaining), observable


def measured(compiler, estimator, circuit, observable):
    compiled = compiler.run(circuit)
    found = estimator.run([(compiled, observable.apply_layout(compiled.layout))]).result(120)[0].data
    return found.evs.item(), found.stds.item()


def bound(line, compiler, shortened, deviation):
    """A propagated observable is between −1 and 1 as it was before."""
    return 2 * loss(line, compiler.run(shortened[0])) + SIGMAS * deviation


def test_the_value_is_that_of_the_whole_circuit(line, compiler, estimator, evolution, shortened):
    exact = Statevector(evolution).expectation_value(OBSERVABLE).real
    value, deviation = measured(compiler, estimator, *shortened)
    assert abs(value - exact) < bound(line, compiler, shortened, deviation)


def test_an_observable_that_was_not_propagated_is_seen(line, compiler, estimator, evolution, shortened):
    exact = Statevector(evolution).expectation_value(OBSERVABLE).real
    value, deviation = measured(compiler, estimator, shortened[0], OBSERVABLE)
    assert abs(value - exact) > bound(line, compiler, shortened, deviation)
