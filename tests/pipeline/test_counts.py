"""What a job measures: a function of the job, its place and its context, and of nothing else."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparseObservable

from qpu_sdk.wire.circuits import encode_bindings, encode_observable
from qpu_sdk.wire.models import Pub

SIDE_BY_SIDE = [(0, 1, 2), (4, 5, 6), (8, 9, 10), (20, 21, 22)]
"""Lines on the top rows of the chip with one idle qubit between them."""


def neighbourly(make, *regions, shots=400):
    """The same long circuit on several regions: many two-qubit gates at the same time."""
    orders = []
    for number, region in enumerate(regions):
        circuit = QuantumCircuit(127, len(region))
        for _ in range(12):
            for a, b in itertools.pairwise(region):
                circuit.ecr(*make.directed(a, b))
            circuit.sx(region)
        circuit.measure(region, range(len(region)))
        orders.append(make.sample(circuit, backend="eagle127", shots=shots, seed=100 + number))
    return orders


def run_together(lab, orders):
    with lab.queueing():
        ids = [lab.submit(lab.tenant(), order) for order in orders]
    lab.ended(*ids)
    assert len(lab.batches(*ids)) == 1
    return ids


def test_without_crosstalk_counts_do_not_depend_on_the_neighbours(new_lab, make):
    """P13."""
    lab = new_lab(device={"crosstalk": False, "buffer": 0})
    orders = neighbourly(make, *SIDE_BY_SIDE)
    together = [lab.shots(job_id) for job_id in run_together(lab, orders)]
    reordered = [lab.shots(job_id) for job_id in run_together(lab, orders[::-1])][::-1]
    alone = [lab.shots(run_together(lab, [order])[0]) for order in orders]
    for one, other, third in zip(together, reordered, alone, strict=True):
        assert np.array_equal(one, other)
        assert np.array_equal(one, third)
    assert not np.array_equal(together[0], together[1])


def test_with_crosstalk_neighbours_change_what_they_touch_and_say_so(new_lab, make):
    """Two regions that touch, no buffer, strong crosstalk: the same seed gives other counts than alone."""
    only_conditional = {"conditional": 30.0, "zz": 0, "drive": 0, "readout": 0, "reset": 0}
    lab = new_lab(device={"crosstalk": only_conditional, "buffer": 0})
    model = lab.service.door.fleet.backend
    with lab.database.read() as connection:
        calibrated = model(connection, "eagle127").calibrated
    usable = {frozenset(q) for _, q in calibrated.snapshot.gates if len(q) == 2}
    (edge_a, edge_b) = next(
        pair
        for pair, ratio in calibrated.model.crosstalk.conditional.ratios.items()
        if ratio > 2 and all(frozenset(edge) in usable for edge in pair)
    )
    orders = neighbourly(make, edge_a, edge_b, shots=2000)
    beside = run_together(lab, orders)
    alone = run_together(lab, orders[:1])
    assert not np.array_equal(lab.shots(beside[0])[0], lab.shots(alone[0])[0])
    assert lab.result(beside[0]).metadata["crosstalk_loss"] > 0
    assert lab.result(alone[0]).metadata["crosstalk_loss"] == 0
    again = run_together(lab, orders)
    assert np.array_equal(lab.shots(beside[0])[0], lab.shots(again[0])[0])


def test_a_long_execution_goes_on_in_later_rounds_and_gets_exactly_its_shots(lab, make):
    mixed = make.sample(make.ghz(), make.ghz(3), make.ghz(4), shots=(1000, 30, 250), seed=3)
    short = make.sample(make.ghz(), make.ghz(2), shots=(70, 70), seed=4)
    first, second = run_together(lab, [mixed, short])
    assert [bits.shape for bits in lab.shots(first)] == [(1, 1000, 1), (1, 30, 1), (1, 250, 1)]
    assert [bits.shape for bits in lab.shots(second)] == [(1, 70, 1), (1, 70, 1)]
    (alone,) = run_together(lab, [mixed])
    pieces = zip(lab.shots(first), lab.shots(alone), strict=True)
    assert all(np.array_equal(one, other) for one, other in pieces)


def test_every_binding_of_a_parametric_circuit_gets_its_own_shots(lab, make):
    theta = Parameter("t")
    circuit = QuantumCircuit(5, 1)
    circuit.sx(0)
    circuit.rz(theta, 0)
    circuit.sx(0)
    circuit.measure(0, 0)
    angles = np.array([[0.0], [np.pi], [np.pi / 2]])
    pub = Pub(circuit=0, shots=500, bindings=encode_bindings(angles))
    (bits,) = lab.shots(lab.submit(lab.tenant(), make.sample(circuit, pubs=[pub], seed=9)))
    assert bits.shape == (3, 500, 1)
    ones = bits.mean(axis=(1, 2))
    assert ones[0] > 0.9
    assert ones[1] < 0.1
    assert 0.4 < ones[2] < 0.6


def test_the_estimator_estimates(lab, make):
    circuit = QuantumCircuit(5)
    circuit.sx(0)
    circuit.sx(0)  # |1⟩
    circuit.rz(np.pi / 2, 1)
    circuit.sx(1)
    circuit.rz(np.pi / 2, 1)  # |+⟩
    observables = [
        encode_observable(SparseObservable.from_label(label)) for label in ("IIIIZ", "IIIXI", "IIIXZ", "IIIII")
    ]
    pub = Pub(circuit=0, shots=2000, observables=observables, pairs=[(0, 0), (0, 1), (0, 2), (0, 3)])
    order = make.sample(circuit, pubs=[pub], program="estimator", seed=5)
    job_id = lab.submit(lab.tenant(), order)
    (estimate,) = lab.result(job_id).pubs
    assert estimate.evs == pytest.approx([-1, 1, -1, 1], abs=0.15)
    assert estimate.evs[3] == 1
    assert (estimate.stds[:3] > 0).all()
    assert estimate.shots == 2000
    again = lab.result(lab.submit(lab.tenant(), order)).pubs[0]
    assert np.array_equal(again.evs, estimate.evs)


def test_a_job_without_a_seed_is_told_which_one_it_got(lab, make):
    job_id = lab.submit(lab.tenant(), make.sample(make.ghz(), shots=300))
    seed = lab.result(job_id).metadata["seed"]
    again = lab.submit(lab.tenant(), make.sample(make.ghz(), shots=300, seed=seed))
    assert np.array_equal(lab.shots(job_id)[0], lab.shots(again)[0])
