"""AerSimulator.from_backend: it imitates the device by the published calibration, and both give the same counts.

Negative control: Aer without noise.
"""

from __future__ import annotations

import math

import pytest
from bounds import distance, of_distance
from qiskit import QuantumCircuit, transpile
from qiskit_aer import AerSimulator

from qpu_sdk import QPUProvider

CLIENT = "qiskit-aer"
SHOTS = 40_000


@pytest.fixture(scope="module")
def chip():
    """The whole device of a service whose circuits do nothing to each other: Aer's model has none of that."""
    with QPUProvider.embedded(workers=1, devices={"eagle127": {"drift": False, "crosstalk": False}}) as provider:
        yield provider.backend("eagle127")


@pytest.fixture(scope="module")
def circuit(chip):
    """A GHZ state made and unmade several times: without noise all bits are 0."""
    step = QuantumCircuit(3)
    step.h(0)
    step.cx(0, 1)
    step.cx(1, 2)
    whole = QuantumCircuit(3)
    for _ in range(4):
        whole.compose(step, inplace=True)
        whole.barrier()
        whole.compose(step.inverse(), inplace=True)
        whole.barrier()
    whole.measure_all()
    return transpile(whole, chip, initial_layout=[0, 1, 2], optimization_level=0)


@pytest.fixture(scope="module")
def counts(chip, circuit):
    return chip.run(circuit, shots=SHOTS, seed_simulator=3).result(120).get_counts()


@pytest.fixture(scope="module")
def bound(chip, circuit):
    """Chance in the difference of two samples, and what Aer's model leaves out: relaxation of qubits that wait."""
    return 1 - math.exp(-chip.predict_success(circuit)[0].idling) + math.sqrt(2) * of_distance(SHOTS, 8)


def test_the_device_and_its_imitation_agree(chip, circuit, counts, bound):
    imitated = AerSimulator.from_backend(chip).run(circuit, shots=SHOTS, seed_simulator=4).result().get_counts()
    assert distance(counts, imitated) < bound


def test_an_imitation_without_noise_is_seen(circuit, counts, bound):
    ideal = AerSimulator().run(circuit, shots=SHOTS, seed_simulator=4).result().get_counts()
    assert distance(counts, ideal) > bound
