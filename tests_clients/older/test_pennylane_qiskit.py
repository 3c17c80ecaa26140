"""A quantum node on the device: expectation values, their gradient by parameter shift, and counts.

Negative controls: the gradient with its sign turned; counts with a bit flipped.
"""

from __future__ import annotations

import numpy as np
import pennylane
import pytest
from bounds import distance, loss, of_distance, of_mean
from pennylane import numpy as differentiable
from qiskit import QuantumCircuit

CLIENT = "pennylane-qiskit"
ANGLE, SHOTS = 1.2, 4000


@pytest.fixture(scope="module")
def device(line):
    return pennylane.device("qiskit.remote", wires=5, backend=line, optimization_level=1)


@pytest.fixture(scope="module")
def lost(line, compiler):
    """By noise, of the circuit of all tests here."""
    circuit = QuantumCircuit(2)
    circuit.ry(ANGLE, 0)
    circuit.cx(0, 1)
    return loss(line, compiler.run(circuit))


def entangled(angle):
    pennylane.RY(angle, 0)
    pennylane.CNOT([0, 1])


@pytest.fixture(scope="module")
def node(device):
    @pennylane.set_shots(SHOTS)
    @pennylane.qnode(device, diff_method="parameter-shift")
    def expectation(angle):
        entangled(angle)
        return pennylane.expval(pennylane.PauliX(0) @ pennylane.PauliX(1))

    return expectation


def test_an_expectation_value_is_the_exact_one(node, lost):
    bound = 2 * lost + of_mean(SHOTS)
    assert abs(node(ANGLE) - np.sin(ANGLE)) < bound
    assert abs(node(-ANGLE) + np.sin(ANGLE)) < bound


def test_an_expectation_value_of_the_wrong_sign_is_seen(node, lost):
    assert abs(node(-ANGLE) - np.sin(ANGLE)) > 2 * lost + of_mean(SHOTS)


@pytest.fixture(scope="module")
def gradient(node):
    return float(pennylane.grad(node)(differentiable.array(0.3, requires_grad=True)))


def test_a_gradient_is_the_exact_one(gradient, lost):
    assert abs(gradient - np.cos(0.3)) < 2 * lost + of_mean(SHOTS)


def test_a_gradient_of_the_wrong_sign_is_seen(gradient, lost):
    assert abs(gradient + np.cos(0.3)) > 2 * lost + of_mean(SHOTS)


@pytest.fixture(scope="module")
def counts(device):
    @pennylane.set_shots(SHOTS)
    @pennylane.qnode(device)
    def sampled(angle):
        entangled(angle)
        return pennylane.counts(wires=[0, 1])

    return {str(bits): int(count) for bits, count in sampled(ANGLE).items()}


def test_counts_are_of_the_state(counts, lost):
    excited = np.sin(ANGLE / 2) ** 2
    assert distance(counts, {"00": 1 - excited, "11": excited}) < lost + of_distance(SHOTS, 4)


def test_counts_with_a_bit_flipped_are_seen(counts, lost):
    excited = np.sin(ANGLE / 2) ** 2
    assert distance(counts, {"01": 1 - excited, "10": excited}) > lost + of_distance(SHOTS, 4)
