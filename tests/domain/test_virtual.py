"""Shapes on devices with several two-qubit gates: a place offers all that the shape publishes."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from qpu_backend.domain.backends import line_pairs
from qpu_backend.domain.virtual import shape_of
from qpu_backend.engines.catalogue import device_names, read_device
from qpu_backend.physics.circuit import TWO_QUBIT_GATES, Op
from qpu_backend.physics.fidelity import LogErrors
from qpu_backend.physics.validation import validate_snapshot


def shape(name, model, snapshot):
    return shape_of(name, model, snapshot, LogErrors.of(snapshot))


def works(snapshot, op, a, b):
    return (op, (a, b)) in snapshot.gates or (op, (b, a)) in snapshot.gates


@pytest.mark.parametrize("name", device_names())
def test_every_place_has_every_gate_that_the_shape_publishes(name):
    model, snapshot = read_device(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # medians of nothing
        found = shape("line-4", model, snapshot)
    published = {op for op, _ in found.snapshot.gates if op in TWO_QUBIT_GATES}
    assert published == {op for op, _ in snapshot.gates if op in TWO_QUBIT_GATES}
    for place in found.table.regions.tolist():
        for a, b in line_pairs(4):
            assert all(works(snapshot, op, place[a], place[b]) for op in published)
    assert validate_snapshot(found.snapshot, edges=line_pairs(4)) is found.snapshot


def test_a_coupler_that_lacks_one_of_the_gates_is_no_place():
    model, snapshot = read_device("heron156")
    assert works(snapshot, Op.CZ, 77, 85)
    assert not works(snapshot, Op.RZZ, 77, 85)
    pairs = {tuple(sorted(place)) for place in shape("line-2", model, snapshot).table.regions.tolist()}
    assert (77, 85) not in pairs
    assert len(pairs) == len(snapshot.usable_edges) - 1


def test_a_gate_that_most_couplers_lack_is_not_offered():
    model, snapshot = read_device("heron156")
    few = {key: gate for key, gate in snapshot.gates.items() if key[0] is not Op.RZZ or max(key[1]) < 20}
    found = shape("line-2", model, replace(snapshot, gates=few))
    assert {op for op, _ in found.snapshot.gates if op in TWO_QUBIT_GATES} == {Op.CZ}
    assert found.regions == len(snapshot.usable_edges)


def test_what_is_not_published_stays_so_and_a_zero_is_a_number():
    model, snapshot = read_device("heron156")
    assert all(q.frequency_hz is None for q in shape("line-3", model, snapshot).snapshot.qubits)
    model, snapshot = read_device("line5")
    perfect = replace(snapshot, qubits=tuple(replace(q, prob_meas1_prep0=0.0) for q in snapshot.qubits))
    assert [q.prob_meas1_prep0 for q in shape("line-3", model, perfect).snapshot.qubits] == [0.0] * 3
    frequencies = [q.frequency_hz for q in snapshot.qubits]
    found = [q.frequency_hz for q in shape("line-5", model, snapshot).snapshot.qubits]
    assert found == pytest.approx(list(np.median([frequencies, frequencies[::-1]], axis=0)))
