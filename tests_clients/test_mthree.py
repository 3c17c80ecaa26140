"""Calibration of readout on the device, and correction of the counts of a GHZ state.

Negative controls: the published errors of other qubits; counts corrected as if of other qubits.
"""

from __future__ import annotations

import math

import mthree
import numpy as np
import pytest
from bounds import SIGMAS
from qiskit import QuantumCircuit, transpile

CLIENT = "mthree"
QUBITS = (0, 1, 2, 3)
SHOTS = 10_000
MARGIN = 0.1
"""Of readout beside others, relative."""


@pytest.fixture(scope="module")
def mitigation(chip):
    found = mthree.M3Mitigation(chip)
    found.cals_from_system(range(12), shots=SHOTS, method="independent", async_cal=False)
    return found


def errors(matrix):
    return matrix[1, 0], matrix[0, 1]


def is_published(chip, qubit, matrix):
    calibration = chip.document.qubits[qubit]
    published = calibration.prob_meas1_prep0, calibration.prob_meas0_prep1
    return all(
        abs(value - error) < SIGMAS * math.sqrt(error / SHOTS) + MARGIN * error
        for value, error in zip(errors(matrix), published, strict=True)
    )


def test_the_calibration_is_the_published_one(chip, mitigation):
    assert all(is_published(chip, qubit, mitigation.single_qubit_cals[qubit]) for qubit in QUBITS)


def test_the_calibration_of_another_qubit_is_seen(chip, mitigation):
    worst = int(np.argmax([qubit.prob_meas0_prep1 for qubit in chip.document.qubits[:12]]))
    best = int(np.argmin([qubit.prob_meas0_prep1 for qubit in chip.document.qubits[:12]]))
    assert not is_published(chip, best, mitigation.single_qubit_cals[worst])


def test_it_knows_which_qubit_is_out_of_order(provider):
    heron = provider.backend("heron156")
    (broken,) = heron.properties().faulty_qubits()
    found = mthree.M3Mitigation(heron)
    around = [broken - 2, broken - 1, broken + 1, broken + 2]
    with pytest.raises(mthree.exceptions.M3Error, match=rf"inoperable qubits: \[{broken}\]"):
        found.cals_from_system([*around, broken], shots=SHOTS, method="independent", async_cal=False)
    found.cals_from_system(around, shots=SHOTS, method="independent", async_cal=False)
    assert all(is_published(heron, qubit, found.single_qubit_cals[qubit]) for qubit in around)


@pytest.fixture(scope="module")
def excited(chip):
    """Counts of the best-read and the worst-read qubit in 1, and those qubits."""
    readout = [qubit.prob_meas0_prep1 for qubit in chip.document.qubits[:12]]
    qubits = [int(np.argmin(readout)), int(np.argmax(readout))]
    circuit = QuantumCircuit(2)
    circuit.x([0, 1])
    circuit.measure_all()
    compiled = transpile(circuit, chip, initial_layout=qubits, optimization_level=1)
    return chip.run(compiled, shots=SHOTS, seed_simulator=5).result(120).get_counts(), qubits


def mean_error(mitigation, counts, qubits):
    """Of ⟨Z⟩ of the worst-read qubit, which is −1, after correction, and its deviation."""
    corrected = mitigation.apply_correction(counts, qubits, return_mitigation_overhead=True)
    value, deviation = corrected.expval_and_stddev("ZI")
    return abs(value + 1), deviation


def test_correction_takes_the_error_away(mitigation, excited):
    counts, qubits = excited
    raw = abs(mthree.utils.expval(counts, "ZI") + 1)
    error, deviation = mean_error(mitigation, counts, qubits)
    bound = SIGMAS * deviation + MARGIN * raw
    assert raw > bound
    assert error < bound


def test_correction_for_permuted_qubits_is_seen(mitigation, excited):
    counts, qubits = excited
    raw = abs(mthree.utils.expval(counts, "ZI") + 1)
    error, deviation = mean_error(mitigation, counts, qubits[::-1])
    assert error > SIGMAS * deviation + MARGIN * raw
