"""Zero-noise extrapolation of randomised benchmarking; readout mitigation: less than half of the error is left.

Negative controls: scaled circuits that are not scaled; the confusion matrix of a readout that is perfect.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from bounds import SIGMAS
from mitiq import MeasurementResult, Observable, PauliString, zne
from mitiq.benchmarks import generate_rb_circuits
from mitiq.raw import execute as execute_raw
from mitiq.rem import execute_with_rem, generate_tensored_inverse_confusion_matrix
from qiskit import QuantumCircuit, transpile

CLIENT = "mitiq"
SHOTS = 8000
FACTORS = (1.0, 2.0, 3.0)


def left_over(error, deviation, raw_error):
    """Whether less than half of an error is left."""
    return abs(error) < abs(raw_error) / 2 + SIGMAS * deviation


@pytest.fixture(scope="module")
def benchmark():
    """Cliffords of two qubits that together do nothing: without noise both bits are 0."""
    return generate_rb_circuits(2, 12, return_type="qiskit", seed=2)[0]


@pytest.fixture(scope="module")
def ground(chip):
    """An executor as mitiq wants it: the probability that both bits of a circuit are 0."""

    def executor(circuit: QuantumCircuit) -> float:
        measured = circuit.copy()
        measured.measure_all()
        compiled = transpile(measured, chip, initial_layout=[0, 1], optimization_level=0)
        counts = chip.run(compiled, shots=SHOTS, seed_simulator=9).result(120).get_counts()
        return counts.get("00", 0) / SHOTS

    return executor


@pytest.fixture(scope="module")
def raw_error(benchmark, ground):
    """Of the probability, without mitigation and without the readout's part, which no scaling of gates shows."""
    nothing = QuantumCircuit(2)
    return ground(nothing) - ground(benchmark)


def extrapolated_error(benchmark, ground, scale_noise):
    factory = zne.inference.LinearFactory(FACTORS)
    value = zne.execute_with_zne(benchmark, ground, factory=factory, scale_noise=scale_noise)
    return ground(QuantumCircuit(2)) - value


def deviation():
    """Of a straight line's value at 0: each point's weight there times its own deviation, at a share of 0.8."""
    factors = np.array(FACTORS)
    weights = np.linalg.pinv(np.vander(factors, 2))[-1]
    return math.sqrt((np.sum(weights**2) + 1) * 0.16 / SHOTS)


def test_extrapolation_takes_away_most_of_the_error(benchmark, ground, raw_error):
    assert raw_error > 4 * SIGMAS * deviation() / 2
    error = extrapolated_error(benchmark, ground, zne.scaling.fold_gates_at_random)
    assert left_over(error, deviation(), raw_error)


def test_extrapolation_from_what_was_not_scaled_is_seen(benchmark, ground, raw_error):
    error = extrapolated_error(benchmark, ground, lambda circuit, _: circuit)
    assert not left_over(error, deviation(), raw_error)


@pytest.fixture(scope="module")
def readout(chip):
    """Two qubits in 1, what each is read with by the calibration, and an executor that gives bits."""
    qubits = (0, 1)
    circuit = QuantumCircuit(2)
    circuit.x([0, 1])
    matrices = []
    for qubit in qubits:
        calibration = chip.document.qubits[qubit]
        zero, one = calibration.prob_meas1_prep0, calibration.prob_meas0_prep1
        matrices.append(np.array([[1 - zero, one], [zero, 1 - one]]))

    def executor(circuit: QuantumCircuit) -> MeasurementResult:
        compiled = transpile(circuit, chip, initial_layout=list(qubits), optimization_level=0)
        memory = chip.run(compiled, shots=SHOTS, seed_simulator=9, memory=True).result(120).get_memory()
        return MeasurementResult([[int(bit) for bit in reversed(shot)] for shot in memory], qubit_indices=(0, 1))

    return circuit, matrices, executor


OBSERVABLE = Observable(PauliString("ZI"), PauliString("IZ"))
"""In the state with both qubits in 1: −2."""


@pytest.mark.parametrize("perfect", [False, True], ids=["published", "perfect"])
def test_readout_mitigation_takes_away_most_of_the_error_by_the_published_errors_only(readout, perfect):
    circuit, matrices, executor = readout
    raw = float(np.real(execute_raw(circuit, executor, OBSERVABLE)))
    chosen = [np.eye(2)] * 2 if perfect else matrices
    inverse = generate_tensored_inverse_confusion_matrix(2, chosen)
    mitigated = execute_with_rem(circuit, executor, OBSERVABLE, inverse_confusion_matrix=inverse)
    deviation = math.sqrt(sum(4 * matrix[0, 1] for matrix in matrices) / SHOTS)
    assert raw + 2 > 3 * SIGMAS * deviation / 2
    assert left_over(float(np.real(mitigated)) + 2, deviation, raw + 2) is not perfect
