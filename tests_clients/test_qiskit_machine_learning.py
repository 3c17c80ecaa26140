"""A quantum kernel on the sampler, a neural network and its gradient on the estimator: both as computed exactly.

Negative controls: the kernel of shuffled points; the gradient with its sign turned.
"""

from __future__ import annotations

import numpy as np
import pytest
from bounds import loss, of_mean, of_share
from qiskit.circuit import ParameterVector, QuantumCircuit
from qiskit.circuit.library import zz_feature_map
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit_machine_learning.gradients import ParamShiftEstimatorGradient
from qiskit_machine_learning.kernels import FidelityQuantumKernel
from qiskit_machine_learning.neural_networks import EstimatorQNN
from qiskit_machine_learning.state_fidelities import ComputeUncompute
from sklearn.svm import SVC

from qpu_sdk import EstimatorV2, SamplerV2

CLIENT = "qiskit-machine-learning"
POINTS = np.array([[0.2, 0.3], [0.4, 0.1], [1.6, 2.4], [1.9, 2.2]])
LABELS = np.array([0, 0, 1, 1])


@pytest.fixture(scope="module")
def feature_map():
    return zz_feature_map(2, reps=1)


@pytest.fixture(scope="module")
def exact(feature_map):
    """The kernel of all points: how alike their states are."""
    states = [Statevector(feature_map.assign_parameters(point)).data for point in POINTS]
    return np.abs(np.conj(states) @ np.transpose(states)) ** 2


@pytest.fixture(scope="module")
def kernel(line, compiler, feature_map):
    """Measured, and how far its entries may be from the exact ones."""
    sampler = SamplerV2(line, options={"seed_simulator": 11, "default_shots": 2000})
    fidelity = ComputeUncompute(sampler, pass_manager=compiler)
    found = FidelityQuantumKernel(feature_map=feature_map, fidelity=fidelity, enforce_psd=False).evaluate(POINTS)
    overlap = compiler.run(feature_map.compose(feature_map.inverse()))
    return found, loss(line, overlap) + of_share(2000)


def test_a_kernel_is_the_exact_one_and_classifies(kernel, exact):
    found, bound = kernel
    assert np.max(np.abs(found - exact)) < bound
    assert np.array_equal(SVC(kernel="precomputed").fit(found, LABELS).predict(found), LABELS)


def test_the_kernel_of_shuffled_points_is_seen(kernel, exact):
    found, bound = kernel
    assert np.max(np.abs(found - exact[:, [2, 3, 0, 1]])) > bound


@pytest.fixture(scope="module")
def network(line, compiler):
    """Value and gradient of a network, measured and exact, and how far apart they may be."""
    inputs, weights = ParameterVector("x", 1), ParameterVector("w", 2)
    circuit = QuantumCircuit(2)
    circuit.ry(inputs[0], 0)
    circuit.ry(weights[0], 0)
    circuit.cx(0, 1)
    circuit.ry(weights[1], 1)
    compiled = compiler.run(circuit)
    estimator = EstimatorV2(line, options={"seed_simulator": 11, "default_precision": 0.02})
    trained = EstimatorQNN(
        circuit=compiled,
        estimator=estimator,
        observables=SparsePauliOp("ZI").apply_layout(compiled.layout),
        input_params=inputs,
        weight_params=weights,
        gradient=ParamShiftEstimatorGradient(estimator, pass_manager=compiler),
        default_precision=0.02,
    )
    x, v, w = 0.4, 0.5, 0.3
    value = trained.forward([x], [v, w]).item()
    _, gradient = trained.backward([x], [v, w])
    exact = [np.cos(x + v) * np.cos(w), -np.sin(x + v) * np.cos(w), -np.cos(x + v) * np.sin(w)]
    return np.array([value, *np.ravel(gradient)]), np.array(exact), 2 * loss(line, compiled) + of_mean(2500)


def test_a_network_and_its_gradient_are_the_exact_ones(network):
    found, exact, bound = network
    assert np.max(np.abs(found - exact)) < bound


def test_a_gradient_of_the_wrong_sign_is_seen(network):
    found, exact, bound = network
    assert np.max(np.abs(found[1:] + exact[1:])) > bound
