"""Synthesis for the device's machine model: a routed circuit that gives the distribution of the one it was made from.

Negative control: the distribution with its bits in the wrong order.
"""

from __future__ import annotations

import pytest
from bounds import distance, loss, of_distance
from bqskit import compile as synthesise
from bqskit.ext import bqskit_to_qiskit, qiskit_to_bqskit
from bqskit.ext.qiskit.models import model_from_backend
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector
from qiskit.transpiler import generate_preset_pass_manager

CLIENT = "bqskit"
SHOTS = 4000


@pytest.fixture(scope="module")
def circuit():
    whole = QuantumCircuit(3)
    whole.ry(0.9, 0)
    whole.ry(1.1, 1)
    whole.cx(0, 2)
    whole.ry(1.9, 2)
    whole.cx(0, 1)
    return whole


@pytest.fixture(scope="module")
def synthesised(line, circuit):
    """By BQSKit for the machine, then only directed by Qiskit; its qubit of each of the circuit's at the end."""
    model = model_from_backend(line)
    found, _, final = synthesise(
        qiskit_to_bqskit(circuit), model, optimization_level=1, with_mapping=True, seed=3, num_workers=1
    )
    return bqskit_to_qiskit(found), final


@pytest.fixture(scope="module")
def counted(line, synthesised):
    """Counts, and how far they may be from the distribution without noise."""
    whole, final = synthesised
    measured = QuantumCircuit(5, 3)
    measured.compose(whole, range(5), inplace=True)
    measured.measure(final, range(3))
    native = generate_preset_pass_manager(
        optimization_level=1, target=line.target, initial_layout=range(5), routing_method="none", seed_transpiler=1
    ).run(measured.decompose("ecr"))  # its gates come as definitions of their own, which Qiskit cannot turn round
    counts = line.run(native, shots=SHOTS, seed_simulator=3).result(120).get_counts()
    return counts, loss(line, native) + of_distance(SHOTS, 8)


def test_a_synthesised_circuit_gives_the_distribution_of_its_original(circuit, counted):
    counts, bound = counted
    assert distance(counts, Statevector(circuit).probabilities_dict()) < bound


def test_bits_in_the_wrong_order_are_seen(circuit, counted):
    counts, bound = counted
    ideal = Statevector(circuit).probabilities_dict()
    assert distance(counts, {bits[::-1]: share for bits, share in ideal.items()}) > bound
