"""qiskit-experiments, unmodified: it measures what the snapshot publishes, from bits and from IQ points.

On a service of its own, because the device drifts from its first snapshot with every second of device time.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit_experiments.data_processing import DataProcessor, DiscriminatorNode, MemoryToCounts, Probability
from qiskit_experiments.library import T1, CorrelatedReadoutError, LocalReadoutError, T2Hahn, T2Ramsey
from qiskit_experiments.library.characterization.analysis.t1_analysis import T1KerneledAnalysis

from qpu_sdk import QPUProvider

QUBIT = 0
MARGIN = 0.1
"""For what drifts away while these tests run, and for the bias of a fit."""
POINTS = {"meas_level": 1, "meas_return": "single"}
LEVELS = pytest.mark.parametrize("level", [{}, POINTS], ids=["bits", "points"])


@pytest.fixture(scope="module")
def device():
    """The whole chip, as its first snapshot says."""
    with QPUProvider.embedded() as provider:
        yield provider.backend("eagle127")


@pytest.fixture(scope="module")
def calibration(device):
    return device.document.qubits[QUBIT]


def finished(experiment, **options):
    data = experiment.run(backend_run=True, seed_simulator=3, **options).block_for_results(timeout=240)
    assert data.status().value != "error", data.errors()
    return data


def measured(data, name):
    """The fitted value and its uncertainty."""
    result = data.analysis_results(name, dataframe=True).iloc[0]
    assert result.quality == "good"
    return result.value.nominal_value, result.value.std_dev


def discriminated(device, experiment, outcome):
    """Bits made from IQ points by the published discriminator, and how often they are ``outcome``."""
    nodes = [DiscriminatorNode([device.discriminator(QUBIT)]), MemoryToCounts(), Probability(outcome)]
    experiment.analysis.set_options(data_processor=DataProcessor("memory", nodes))
    return experiment


def agrees(value, deviation, published):
    return abs(value - published) < 4 * deviation + MARGIN * published


def test_published_discriminators_misread_what_was_prepared_with_the_published_errors(device):
    qubits, shots = range(5), 20_000
    ground = QuantumCircuit(5, 5)
    excited = ground.copy()
    excited.x(qubits)
    for circuit in (ground, excited):
        circuit.measure(qubits, qubits)
    result = device.run([ground, excited], shots=shots, **POINTS).result(60)
    for qubit in qubits:
        line, published = device.discriminator(qubit), device.document.qubits[qubit]
        for bit, error, centre in (
            (0, published.prob_meas1_prep0, line.centre_0),
            (1, published.prob_meas0_prep1, line.centre_1),
        ):
            points = result.get_memory(bit)[:, qubit]
            misread = np.mean(line.bits(points) != bit)
            assert abs(misread - error) < 5 * math.sqrt(error / shots) + MARGIN * error
            assert abs(points.mean() - centre) < 0.1 * line.sigma


def test_local_readout_errors_are_the_published_ones(device):
    qubits, shots = (0, 1, 2, 3), 20_000
    mitigator = finished(LocalReadoutError(qubits, backend=device), shots=shots).analysis_results(dataframe=True)
    for qubit in qubits:
        matrix = mitigator.iloc[0].value.assignment_matrix([qubit])
        published = device.document.qubits[qubit]
        for found, error in ((matrix[1, 0], published.prob_meas1_prep0), (matrix[0, 1], published.prob_meas0_prep1)):
            assert abs(found - error) < 5 * math.sqrt(error / shots) + MARGIN * error


def test_correlated_readout_errors_are_products_of_the_published_ones(device):
    qubits, shots = (0, 1), 20_000
    results = finished(CorrelatedReadoutError(qubits, backend=device), shots=shots).analysis_results(dataframe=True)
    matrix = results.iloc[0].value.assignment_matrix()
    first, second = (
        np.array(
            [
                [1 - q.prob_meas1_prep0, q.prob_meas0_prep1],
                [q.prob_meas1_prep0, 1 - q.prob_meas0_prep1],
            ]
        )
        for q in (device.document.qubits[qubit] for qubit in qubits)
    )
    expected = np.kron(second, first)
    assert np.all(np.abs(matrix - expected) < 5 * np.sqrt(expected / shots) + MARGIN * np.minimum(expected, 0.1))


def test_a_relaxation_time_is_found_from_mean_points_by_their_principal_axis(device, calibration):
    published = 1e-6 * calibration.t1_us
    experiment = T1((QUBIT,), delays=np.linspace(1e-6, 3 * published, 12).tolist(), backend=device)
    experiment.analysis = T1KerneledAnalysis()
    assert agrees(*measured(finished(experiment, shots=2000, meas_level=1, meas_return="avg"), "T1"), published)


@LEVELS
def test_a_relaxation_time_is_the_published_one(device, calibration, level):
    published = 1e-6 * calibration.t1_us
    experiment = T1((QUBIT,), delays=np.linspace(1e-6, 3 * published, 12).tolist(), backend=device)
    if level:
        discriminated(device, experiment, "1")
    assert agrees(*measured(finished(experiment, shots=2000, **level), "T1"), published)


@LEVELS
def test_an_echo_time_is_the_published_one(device, calibration, level):
    published = 1e-6 * calibration.t2_us
    experiment = T2Hahn((QUBIT,), delays=np.linspace(1e-6, 3 * published, 16).tolist(), backend=device)
    if level:
        discriminated(device, experiment, "0")
    assert agrees(*measured(finished(experiment, shots=4000, **level), "T2"), published)


@LEVELS
def test_a_ramsey_time_is_the_published_one(device, calibration, level):
    published = 1e-6 * calibration.t2_us
    delays = np.linspace(1e-6, 2 * published, 40).tolist()
    experiment = T2Ramsey((QUBIT,), delays=delays, osc_freq=2.5 / published, backend=device)
    if level:
        discriminated(device, experiment, "0")
    assert agrees(*measured(finished(experiment, shots=1000, **level), "T2star"), published)
