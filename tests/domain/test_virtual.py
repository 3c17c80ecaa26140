"""Shapes on devices: every place offers all that the shape publishes; what has no place is refused with a reason."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from qpu_backend.domain.shapes import parse_shape
from qpu_backend.domain.virtual import shape_of
from qpu_backend.engines.catalogue import device_names, read_device
from qpu_backend.physics.circuit import TWO_QUBIT_GATES, Op
from qpu_backend.physics.exposure import loss_per_area
from qpu_backend.physics.fidelity import LogErrors, process_loss
from qpu_backend.physics.validation import validate_snapshot


def shape(name, model, snapshot):
    return shape_of(name, model, snapshot, LogErrors.of(snapshot))


def works(snapshot, op, a, b):
    return (op, (a, b)) in snapshot.gates or (op, (b, a)) in snapshot.gates


HEAVY_HEX = ("eagle127", "heron156", "falcon27")
SHAPES = [
    *((device, "line-4") for device in device_names()),
    *((device, name) for device in (*HEAVY_HEX, "grid20") for name in ("tee-2-2-1", "eye-1-1-1-1-1", "ring-12")),
    *(("grid20", name) for name in ("grid-2-3", "eye-2-1-0-1-1", "ring-4")),
]


@pytest.mark.parametrize(("device", "name"), SHAPES)
def test_every_place_has_every_gate_that_the_shape_publishes(device, name):
    model, snapshot = read_device(device)
    pairs = parse_shape(name).pairs
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # medians of nothing
        found = shape(name, model, snapshot)
    published = {op for op, _ in found.snapshot.gates if op in TWO_QUBIT_GATES}
    assert published == {op for op, _ in snapshot.gates if op in TWO_QUBIT_GATES}
    assert (
        {qubits for op, qubits in found.snapshot.gates if op in TWO_QUBIT_GATES} == set(pairs) == {*found.table.pairs}
    )
    for place in found.table.regions.tolist():
        for a, b in pairs:
            assert all(works(snapshot, op, place[a], place[b]) for op in published)
    assert validate_snapshot(found.snapshot, edges=pairs) is found.snapshot


@pytest.mark.parametrize(("device", "entangler"), [("eagle127", Op.ECR), ("falcon27", Op.CX)])
def test_numbers_of_a_shape_are_medians_over_its_places_pair_by_pair(device, entangler):
    model, snapshot = read_device(device)
    errors = LogErrors.of(snapshot)
    found = shape("tee-2-2-1", model, snapshot)
    places = found.table.regions.tolist()
    for row, (a, b) in enumerate(found.table.pairs):
        losses = [errors.edge[place[a], place[b]] for place in places]
        gate = found.snapshot.gates[entangler, (a, b)]
        assert gate.error == pytest.approx(-np.expm1(-np.median(losses)))
        directed = [(place[a], place[b]) for place in places] + [(place[b], place[a]) for place in places]
        durations = [
            snapshot.gates[entangler, pair].duration_ns for pair in directed if (entangler, pair) in snapshot.gates
        ]
        assert gate.duration_ns == np.median(durations)
        assert found.table.losses[row] == pytest.approx(process_loss(np.array(losses), 2))
    for i in range(6):
        sx = [snapshot.gates[Op.SX, (place[i],)] for place in places]
        assert found.snapshot.gates[Op.SX, (i,)].error == np.median([gate.error for gate in sx])
        assert found.snapshot.qubits[i].t1_us == np.median([snapshot.qubits[place[i]].t1_us for place in places])


def test_static_zz_is_weighed_on_the_pairs_of_the_shape():
    model, snapshot = read_device("eagle127")
    found = shape("tee-2-2-1", model, snapshot)
    strength = {frozenset(pair): abs(zz_hz) for pair, zz_hz in snapshot.zz_hz.items()}
    zz_hz = np.array(
        [
            [
                model.crosstalk.zz.scale * strength[frozenset((place[a], place[b]))]
                for place in found.table.regions.tolist()
            ]
            for a, b in found.table.pairs
        ]
    )
    assert found.zz_hz == pytest.approx(np.median(zz_hz))
    assert found.table.losses[-len(found.table.pairs) :] == pytest.approx(loss_per_area(zz_hz))


@pytest.mark.parametrize(
    ("device", "name", "why"),
    [
        ("line5", "line-20", "the longest line there is line-5"),
        ("line5", "tee-2-2-1", "there is no tee on it"),
        ("eagle127", "ring-6", "the rings there are ring-12, ring-20"),
        ("eagle127", "eye-2-1-2-1-1", "there is no eye with a bridge of 2 on it"),
        ("falcon27", "tee-7-6-6", "the largest tee within it that does is tee-7-6-5"),
        ("grid20", "grid-2-10", "the largest grid within it that does is grid-2-5"),
        ("grid20", "tee-17-1-1", "the largest tee within it that does is tee-16-1-1"),
    ],
)
def test_a_shape_without_a_place_is_refused_with_what_there_is(device, name, why):
    with pytest.raises(ValueError, match="fits nowhere") as refusal:
        shape(name, *read_device(device))
    assert str(refusal.value) == f"{name} fits nowhere on {device}: {why}"
    if not why.startswith("there is no"):
        assert shape(why.split()[-1], *read_device(device)).regions > 0


def test_what_is_out_of_order_is_no_part_of_a_place_and_not_of_what_a_refusal_names():
    model, snapshot = read_device("line5")
    broken = replace(
        snapshot,
        qubits=(*snapshot.qubits[:3], None, snapshot.qubits[4]),
        gates={key: gate for key, gate in snapshot.gates.items() if 3 not in key[1]},
    )
    assert shape("line-3", model, broken).table.regions.tolist() == [[0, 1, 2], [2, 1, 0]]
    with pytest.raises(ValueError, match="the longest line there is line-3"):
        shape("line-4", model, broken)


def test_what_the_places_take_up_in_memory_is_known():
    found = shape("tee-2-2-1", *read_device("eagle127"))
    regions = 6 * 2 * len(found.table.regions)
    assert regions < found.nbytes < 100 * regions


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
