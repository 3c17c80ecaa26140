"""A circuit of four qubits, cut in two halves, run in pieces and put together: its exact expectation values.

Negative control: the pieces put together with the signs of their coefficients lost.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from bounds import SIGMAS, loss
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import PauliList, Statevector
from qiskit_addon_cutting import (
    generate_cutting_experiments,
    partition_problem,
    reconstruct_expectation_values,
)

from qpu_sdk import SamplerV2

CLIENT = "qiskit-addon-cutting"
SHOTS = 2000
OBSERVABLES = PauliList(["ZZII", "IIZZ", "IZZI", "ZZZZ", "IXXI"])


@pytest.fixture(scope="module")
def circuit():
    whole = QuantumCircuit(4)
    for qubit in range(4):
        whole.ry(0.4 + 0.2 * qubit, qubit)
    whole.cx(0, 1)
    whole.cx(2, 3)
    whole.rzz(0.9, 1, 2)
    for qubit in range(4):
        whole.rx(0.3, qubit)
    return whole


@pytest.fixture(scope="module")
def pieces(line, compiler, circuit):
    """Results of all pieces, coefficients, observables by half, and the losses of both halves by coefficient."""
    problem = partition_problem(circuit, partition_labels="AABB", observables=OBSERVABLES)
    experiments, coefficients = generate_cutting_experiments(
        problem.subcircuits, problem.subobservables, num_samples=math.inf
    )
    compiled = {half: compiler.run(circuits) for half, circuits in experiments.items()}
    sampler = SamplerV2(line, options={"seed_simulator": 3})
    results = {half: sampler.run(circuits, shots=SHOTS).result(240) for half, circuits in compiled.items()}
    lost = [
        np.reshape([loss(line, one) for one in circuits], (len(coefficients), -1)).max(axis=1)
        for circuits in compiled.values()
    ]
    return results, coefficients, problem.subobservables, sum(lost)


@pytest.fixture(scope="module")
def exact(circuit):
    state = Statevector(circuit)
    return np.array([state.expectation_value(one).real for one in OBSERVABLES])


@pytest.fixture(scope="module")
def bound(pieces):
    """Of a sum of products of two measured means: by weight, noise of both halves, and chance of both."""
    _, coefficients, _, lost = pieces
    weights = np.abs([coefficient for coefficient, _ in coefficients])
    return 2 * weights @ lost + SIGMAS * math.sqrt(2 * np.sum(weights**2) / SHOTS)


def test_the_pieces_make_the_whole(pieces, exact, bound):
    results, coefficients, observables, _ = pieces
    values = reconstruct_expectation_values(results, coefficients, observables)
    assert np.max(np.abs(values - exact)) < bound


def test_lost_signs_are_seen(pieces, exact, bound):
    results, coefficients, observables, _ = pieces
    unsigned = [(abs(coefficient), kind) for coefficient, kind in coefficients]
    values = reconstruct_expectation_values(results, unsigned, observables)
    assert np.max(np.abs(values - exact)) > bound
