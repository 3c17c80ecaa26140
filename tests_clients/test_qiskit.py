"""BackendSamplerV2 and BackendEstimatorV2: correlations of a GHZ state.

Negative control: the same state with one sign turned.
"""

from __future__ import annotations

import pytest
from bounds import distance, loss, of_distance, of_mean
from qiskit import QuantumCircuit
from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2
from qiskit.quantum_info import SparsePauliOp

CLIENT = "qiskit"
STABILISERS = ("IIIZZ", "IZZII", "XXXXX", "YXXXY")
SIGNS = (1, 1, 1, -1)


def ghz(*, turned=False):
    circuit = QuantumCircuit(5)
    circuit.h(0)
    for qubit in range(4):
        circuit.cx(qubit, qubit + 1)
    if turned:
        circuit.z(0)
    return circuit


@pytest.fixture(scope="module")
def errors(line, compiler):
    """Of each stabiliser, how far it is from its value, and how far it may be."""

    def measured(circuit):
        compiled = compiler.run(circuit)
        observables = [SparsePauliOp(label).apply_layout(compiled.layout) for label in STABILISERS]
        (pub,) = (
            BackendEstimatorV2(backend=line, options={"seed_simulator": 5})
            .run([(compiled, observables)], precision=1 / 50)
            .result()
        )
        bound = 2 * loss(line, compiled) + of_mean(2500)
        return [abs(value - sign) for value, sign in zip(pub.data.evs, SIGNS, strict=True)], bound

    return measured


def test_stabilisers_have_their_signs(errors):
    found, bound = errors(ghz())
    assert max(found) < bound


def test_a_turned_sign_is_seen(errors):
    found, bound = errors(ghz(turned=True))
    assert max(found[:2]) < bound
    assert min(found[2:]) > bound


@pytest.fixture(scope="module")
def sampled(line, compiler):
    """Counts, and how far they may be from the distribution without noise."""
    circuit = ghz()
    circuit.measure_all()
    compiled = compiler.run(circuit)
    (pub,) = BackendSamplerV2(backend=line, options={"seed_simulator": 5}).run([compiled], shots=2000).result()
    counts = pub.data.meas.get_counts()
    return counts, loss(line, compiled) + of_distance(2000, 2**5)


def test_samples_are_of_the_state(sampled):
    counts, bound = sampled
    assert distance(counts, {"00000": 0.5, "11111": 0.5}) < bound


def test_a_flipped_bit_is_seen(sampled):
    counts, bound = sampled
    assert distance(counts, {"00001": 0.5, "11110": 0.5}) > bound
