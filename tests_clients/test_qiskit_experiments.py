"""T1 and LocalReadoutError: they measure what the calibration publishes.

Negative control: what it publishes of another qubit.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from bounds import SIGMAS
from qiskit_experiments.library import T1, LocalReadoutError

CLIENT = "qiskit-experiments"
QUBIT = 0
SHOTS = 4000
MARGIN = 0.05
"""Bias of a fit, and of readout beside others, relative."""


@pytest.fixture(scope="module")
def relaxation(chip):
    """T1 of a qubit in s, measured, with its uncertainty."""
    published = chip.qubit_properties(QUBIT).t1
    experiment = T1((QUBIT,), delays=np.linspace(1e-6, 3 * published, 10).tolist(), backend=chip)
    data = experiment.run(shots=SHOTS, backend_run=True, seed_simulator=3).block_for_results(timeout=240)
    assert data.status().value != "error", data.errors()
    value = data.analysis_results("T1", dataframe=True).iloc[0].value
    return value.nominal_value, value.std_dev


@pytest.fixture(scope="module")
def readout(chip):
    """Errors of a qubit's readout, measured: 1 for 0, and 0 for 1."""
    data = LocalReadoutError((QUBIT, 1), backend=chip).run(backend_run=True, shots=SHOTS, seed_simulator=3)
    mitigator = data.block_for_results(timeout=240).analysis_results(dataframe=True).iloc[0].value
    matrix = mitigator.assignment_matrix([QUBIT])
    return matrix[1, 0], matrix[0, 1]


def is_relaxation_of(chip, qubit, measured):
    value, deviation = measured
    published = chip.qubit_properties(qubit).t1
    return abs(value - published) < SIGMAS * deviation + MARGIN * published


def is_readout_of(chip, qubit, measured):
    calibration = chip.document.qubits[qubit]
    published = calibration.prob_meas1_prep0, calibration.prob_meas0_prep1
    return all(
        abs(value - error) < SIGMAS * math.sqrt(error / SHOTS) + MARGIN * error
        for value, error in zip(measured, published, strict=True)
    )


def test_the_relaxation_time_is_the_published_one(chip, relaxation):
    assert is_relaxation_of(chip, QUBIT, relaxation)


def test_the_relaxation_time_is_not_another_qubits(chip, relaxation):
    times = [chip.qubit_properties(qubit).t1 for qubit in range(chip.num_qubits)]
    other = int(np.argmax(np.abs(np.log(np.array(times) / times[QUBIT]))))
    assert not is_relaxation_of(chip, other, relaxation)


def test_readout_errors_are_the_published_ones(chip, readout):
    assert is_readout_of(chip, QUBIT, readout)


def test_readout_errors_are_not_another_qubits(chip, readout):
    errors = [qubit.prob_meas0_prep1 for qubit in chip.document.qubits]
    assert not is_readout_of(chip, int(np.argmax(errors)), readout)
