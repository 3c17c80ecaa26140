"""Snapshots survive their document, and calibrations no device can have are refused by name."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.engines.catalogue import device_names, read_device
from qpu_backend.physics.catalog.parse import parse_device
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.errors import InvalidDevice, InvalidSnapshot, NotCalibrated
from qpu_backend.physics.snapshot import GateProperties, RegionNoise, Snapshot
from qpu_backend.physics.validation import validate_snapshot
from qpu_sdk.wire.codec import pack, unpack


def test_the_eagle_is_what_was_published(eagle):
    model, snapshot = eagle
    assert "eagle127" in device_names()
    assert (model.num_qubits, len(model.topology.edges), model.two_qubit_gate) == (127, 144, Op.ECR)
    assert "2025-02-26" in model.source
    assert "Apache-2.0" in model.licence
    assert model.timing.overhead_s == 2.0
    assert set(model.topology.edges) - set(snapshot.usable_edges) == {(24, 25)}
    assert snapshot.gate(Op.SX, (95,)).error == pytest.approx(0.14, abs=0.01)
    for q in (102, 119):
        assert snapshot.qubit(q).t2_us == 2 * snapshot.qubit(q).t1_us
    assert len(snapshot.zz_hz) == 144
    assert len(model.crosstalk.conditional.ratios) == 10


def test_a_snapshot_survives_its_document_and_keeps_its_digest(eagle):
    _, snapshot = eagle
    again = Snapshot.from_document(unpack(pack(snapshot.to_document())))
    assert again == snapshot
    assert again.digest() == snapshot.digest()
    changed = replace(snapshot, gates=snapshot.gates | {(Op.SX, (0,)): GateProperties(0.5, 60.0)})
    assert changed.digest() != snapshot.digest()


@given(st.data())
def test_a_region_sees_its_own_qubits_and_gates_and_survives_its_document(eagle, data):
    _, snapshot = eagle
    region = data.draw(st.sets(st.integers(0, 126), min_size=1, max_size=30))
    noise = RegionNoise.of(snapshot, region)
    assert list(noise.qubits) == sorted(region)
    assert noise.gates == {key: gate for key, gate in snapshot.gates.items() if set(key[1]) <= region}
    assert RegionNoise.from_document(unpack(pack(noise.to_document()))) == noise


def qubit(q, **changes):
    return lambda s: replace(s, qubits=(*s.qubits[:q], replace(s.qubits[q], **changes), *s.qubits[q + 1 :]))


def gate(key, error=0.01, duration_ns=60.0):
    return lambda s: replace(s, gates=s.gates | {key: GateProperties(error, duration_ns)})


def without(*keys):
    return lambda s: replace(s, gates={key: value for key, value in s.gates.items() if key not in keys})


REFUSALS = {
    "qubits[3].t2_us": [qubit(3, t1_us=10.0, t2_us=20.1), qubit(3, t2_us=math.nan), qubit(3, t2_us=-1.0)],
    "qubits[0].t1_us": [qubit(0, t1_us=0.0), qubit(0, t1_us=math.inf)],
    "qubits[1].prob_meas1_prep0": [qubit(1, prob_meas1_prep0=1.1), qubit(1, prob_meas1_prep0=math.nan)],
    "qubits[1].prob_meas0_prep1": [qubit(1, prob_meas0_prep1=-0.1)],
    "qubits[1].frequency_hz": [qubit(1, frequency_hz=math.inf)],
    "gates[sx 5].error": [gate((Op.SX, (5,)), error=math.nan), gate((Op.SX, (5,)), error=1.5)],
    "gates[ecr 1,0].error": [gate((Op.ECR, (1, 0)), error=-0.001)],
    "gates[sx 5].duration_ns": [gate((Op.SX, (5,)), duration_ns=-1.0), gate((Op.SX, (5,)), duration_ns=math.inf)],
    "gates[ecr 0,0]": [gate((Op.ECR, (0, 0)))],
    "gates[sx 127]": [gate((Op.SX, (127,)))],
    "gates[ecr 0,126]": [gate((Op.ECR, (0, 126)))],
    "gates[sx 7]": [without((Op.SX, (7,)))],
    "gates": [without((Op.ECR, (1, 0)), (Op.ECR, (0, 14)), (Op.ECR, (14, 0)))],
    "zz_hz[0,1]": [lambda s: replace(s, zz_hz={(0, 1): math.nan})],
    "zz_hz[1,0]": [lambda s: replace(s, zz_hz={(1, 0): 1.0})],
}


@pytest.mark.parametrize(("field", "change"), [(field, change) for field, all_ in REFUSALS.items() for change in all_])
def test_an_impossible_calibration_is_refused_by_the_name_of_its_number(eagle, field, change):
    model, snapshot = eagle
    with pytest.raises(InvalidSnapshot) as refused:
        validate_snapshot(change(snapshot), edges=model.topology.edges)
    assert refused.value.field == field
    assert field in str(refused.value)


def test_an_unusable_qubit_is_refused_when_asked_for(eagle):
    _, snapshot = eagle
    broken = replace(snapshot, qubits=(None, *snapshot.qubits[1:]))
    for ask in (lambda: broken.qubit(0), lambda: broken.qubit(127), lambda: RegionNoise.of(broken, (0, 1))):
        with pytest.raises(NotCalibrated):
            ask()
    with pytest.raises(InvalidSnapshot, match="qubit 0"):
        validate_snapshot(broken)


def test_an_unknown_device_and_a_damaged_file_are_refused():
    with pytest.raises(InvalidDevice, match="eagle127"):
        read_device("condor1121")
    with pytest.raises(InvalidDevice, match="format"):
        parse_device({})
    with pytest.raises(InvalidDevice, match="is missing"):
        parse_device({"format": 1})
