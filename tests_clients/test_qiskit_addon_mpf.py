"""A multi-product formula: short Trotter circuits on the device, combined to the value of the exact evolution.

Negative control: the same circuits with the coefficients in the wrong order.
"""

from __future__ import annotations

import numpy as np
import pytest
from bounds import SIGMAS, loss
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.quantum_info import SparsePauliOp
from qiskit.synthesis import SuzukiTrotter
from qiskit_addon_mpf.static import setup_static_lse
from scipy.linalg import expm

from qpu_sdk import EstimatorV2

CLIENT = "qiskit-addon-mpf"
STEPS, TIME, PRECISION = (1, 2), 1.2, 0.01
MODEL = SparsePauliOp.from_list([("ZZ", 1.0), ("XI", 0.7), ("IX", 0.7)])
OWN_ERROR = 0.06
"""Of the formula, without noise."""
OBSERVABLE = SparsePauliOp("ZZ")


@pytest.fixture(scope="module")
def exact():
    state = expm(-1j * TIME * MODEL.to_matrix())[:, 0]
    return float(np.real(np.conj(state) @ OBSERVABLE.to_matrix() @ state))


@pytest.fixture(scope="module")
def coefficients():
    return setup_static_lse(list(STEPS), order=2, symmetric=True).solve()


@pytest.fixture(scope="module")
def trotter(line, compiler):
    """Value of each Trotter circuit, and the loss of each."""
    circuits = []
    for steps in STEPS:
        circuit = QuantumCircuit(2)
        circuit.append(PauliEvolutionGate(MODEL, TIME, synthesis=SuzukiTrotter(order=2, reps=steps)), range(2))
        circuits.append(compiler.run(circuit))
    estimator = EstimatorV2(line, options={"seed_simulator": 3})
    pubs = [(circuit, OBSERVABLE.apply_layout(circuit.layout)) for circuit in circuits]
    results = estimator.run(pubs, precision=PRECISION).result(120)
    return np.array([result.data.evs for result in results]), [loss(line, circuit) for circuit in circuits]


@pytest.fixture(scope="module")
def bound(trotter, coefficients):
    _, lost = trotter
    noise = 2 * np.abs(coefficients) @ lost
    return noise + SIGMAS * PRECISION * np.linalg.norm(coefficients) + OWN_ERROR


def test_the_combination_has_the_exact_value(trotter, coefficients, exact, bound):
    values, _ = trotter
    assert abs(coefficients @ values - exact) < bound


def test_coefficients_in_the_wrong_order_are_seen(trotter, coefficients, exact, bound):
    values, _ = trotter
    assert abs(coefficients[::-1] @ values - exact) > bound
