"""Its local mode: Session, SamplerV2 and EstimatorV2 of the runtime, on this backend.

Negative control: the state with one sign turned.
"""

from __future__ import annotations

import pytest
from bounds import distance, loss, of_distance, of_mean
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import Batch, EstimatorV2, SamplerV2, Session

CLIENT = "qiskit-ibm-runtime"
SHOTS = 2500
BELL = {"ZZ": 1, "XX": 1, "YY": -1}


def bell(*, turned):
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    if turned:
        circuit.z(1)
    return circuit


def inside(line, compiler, *, turned):
    """Whether each expectation value is as near as it may be, to that of the state that was not turned."""
    compiled = compiler.run(bell(turned=turned))
    observables = [SparsePauliOp(label).apply_layout(compiled.layout) for label in BELL]
    with Session(backend=line) as session:
        estimator = EstimatorV2(mode=session, options={"default_shots": SHOTS})
        estimator.options.simulator.seed_simulator = 3
        found = estimator.run([(compiled, observables)]).result()[0].data.evs
    bound = 2 * loss(line, compiled) + of_mean(SHOTS)
    return [abs(value - exact) < bound for value, exact in zip(found, BELL.values(), strict=True)]


def test_expectation_values_in_a_session_are_those_of_the_state(line, compiler):
    assert inside(line, compiler, turned=False) == [True, True, True]


def test_a_turned_sign_is_seen(line, compiler):
    assert inside(line, compiler, turned=True) == [True, False, False]


@pytest.fixture(scope="module")
def sampled(line, compiler):
    """Counts, and how far they may be from the distribution without noise."""
    circuit = bell(turned=False)
    circuit.measure_all()
    compiled = compiler.run(circuit)
    with Batch(backend=line) as batch:
        sampler = SamplerV2(mode=batch)
        sampler.options.simulator.seed_simulator = 3
        counts = sampler.run([compiled], shots=SHOTS).result()[0].data.meas.get_counts()
    return counts, loss(line, compiled) + of_distance(SHOTS, 4)


def test_samples_in_a_batch_are_of_the_state(sampled):
    counts, bound = sampled
    assert distance(counts, {"00": 0.5, "11": 0.5}) < bound


def test_a_flipped_bit_is_seen(sampled):
    counts, bound = sampled
    assert distance(counts, {"01": 0.5, "10": 0.5}) > bound
