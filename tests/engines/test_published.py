"""The catalogue's published devices hold the numbers of the package they come from."""

from __future__ import annotations

import json
from importlib import resources
from importlib.metadata import version

import pytest
from extract_calibration import extract, static_zz
from qiskit_ibm_runtime import fake_provider

from qpu_backend.engines.catalogue import read_device
from qpu_backend.physics.catalog.compose import catalogue_text
from qpu_backend.physics.circuit import TWO_QUBIT_GATES, Op

PUBLISHED = {"eagle127": "FakeBrisbane", "heron156": "FakeBoston", "falcon27": "FakeHanoiV2"}


@pytest.fixture(scope="module", params=PUBLISHED)
def device(request):
    """Model, snapshot, and the fake backend."""
    return *read_device(request.param), getattr(fake_provider, PUBLISHED[request.param])()


def test_every_number_of_a_qubit_is_the_published_one(device):
    _, snapshot, backend = device
    properties = backend.properties()
    for q in snapshot.usable_qubits:
        ours, theirs = snapshot.qubit(q), {name: value for name, (value, _) in properties.qubit_property(q).items()}
        assert ours.t1_us == pytest.approx(1e6 * theirs["T1"], rel=1e-12)
        assert ours.t2_us == pytest.approx(1e6 * min(theirs["T2"], 2 * theirs["T1"]), rel=1e-12)
        assert (ours.prob_meas1_prep0, ours.prob_meas0_prep1) == (
            theirs["prob_meas1_prep0"],
            theirs["prob_meas0_prep1"],
        )
        assert ours.readout_duration_ns == pytest.approx(1e9 * theirs["readout_length"], rel=1e-12)
        for attribute, name in (("frequency_hz", "frequency"), ("anharmonicity_hz", "anharmonicity")):
            value = getattr(ours, attribute)
            assert value == (pytest.approx(theirs[name], rel=1e-12) if name in theirs else None)


def test_every_gate_is_the_published_one_and_none_is_missing_that_works(device):
    model, snapshot, backend = device
    published = {
        (Op[gate.gate.upper()], tuple(gate.qubits)): {p.name: p.value for p in gate.parameters}
        for gate in backend.properties().gates
        if gate.gate.upper() in Op.__members__ and gate.gate != "measure"
    }
    for (op, qubits), ours in snapshot.gates.items():
        theirs = published[op, qubits]
        assert ours.error == theirs.get("gate_error", 0.0)
        assert ours.duration_ns == theirs["gate_length"]  # they publish ns
    usable = set(snapshot.usable_qubits)
    for (op, qubits), theirs in published.items():
        if set(qubits) <= usable and theirs.get("gate_error") != 1 and op in model.basis:
            assert snapshot.gate(op, qubits).error == theirs.get("gate_error", 0.0)
    assert {q for q in range(model.num_qubits) if q not in usable} == {
        qubits[0] for (op, qubits), theirs in published.items() if op is Op.SX and theirs["gate_error"] == 1
    }


def test_the_couplers_and_the_clock_are_the_published_ones(device):
    model, snapshot, backend = device
    configuration = backend.configuration()
    assert set(model.topology.edges) == {tuple(sorted(pair)) for pair in configuration.coupling_map}
    assert model.timing.dt_ns == pytest.approx(1e9 * backend.dt, rel=1e-12)
    assert model.timing.granularity == backend.target.granularity
    assert model.timing.rep_delay_us == pytest.approx(1e6 * configuration.default_rep_delay)
    two_qubit = {op for op, _ in snapshot.gates if op in TWO_QUBIT_GATES}
    assert model.two_qubit_gate.name.lower() in configuration.basis_gates
    assert two_qubit <= {Op.RZZ, model.two_qubit_gate}


def test_every_zz_is_the_published_one_and_the_rest_are_said_to_be_assumed(device):
    model, snapshot, backend = device
    published = {row.name: 1e9 * row.value for row in backend.properties().general if row.name.startswith("zz_")}
    assumed = []
    for (a, b), zz_hz in snapshot.zz_hz.items():
        theirs = published.get(f"zz_{a}{b}", published.get(f"zz_{b}{a}"))
        if theirs:
            assert zz_hz == pytest.approx(theirs, abs=1e-3)
        else:
            assumed.append(f"{a}-{b}")
            assert zz_hz == {"fixed": 60e3, "tunable": 4e3}[model.coupler]
    said = [note for note in model.notes if "ZZ is not measured" in note]
    assert len(said) == bool(assumed)
    assert all(name in said[0] for name in assumed)


def test_source_date_and_licence_are_named(device):
    model, _, backend = device
    assert str(backend.properties().last_update_date.date()) in model.source
    assert backend.properties().backend_name in model.source
    assert "qiskit-ibm-runtime" in model.source
    assert "Apache-2.0" in model.licence


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_file_is_what_the_script_extracts(name):
    path = resources.files("qpu_backend.physics.catalog") / f"{name}.json"
    text = path.read_text(encoding="utf-8")
    extracted = extract(PUBLISHED[name], name)
    installed = f"qiskit-ibm-runtime {version('qiskit-ibm-runtime')}:"
    assert installed in extracted["source"]
    extracted["source"] = json.loads(text)["source"]  # the version may be a later one
    assert catalogue_text(extracted) == text


def row(name, value, unit="GHz"):
    return {"name": name, "value": value, "unit": unit}


def test_a_name_that_fits_two_couplers_is_left_out_and_noted():
    couplers, notes = [(1, 12), (2, 11), (3, 4)], []
    found = static_zz([row("zz_112", 1e-6), row("zz_121", 2e-6), row("zz_34", -3e-6)], couplers, notes)
    assert found == {(1, 12): 2000.0, (3, 4): -3000.0}
    assert notes == ["zz_112 may be the ZZ of 1-12 and 2-11: left out."]


def test_names_of_no_coupler_are_ignored_and_either_order_is_read():
    notes = []
    rows = [row("zz_56", 1e-6), row("jq_34", 1.0), row("zz_43", 4.0, "kHz"), row("lf_4", 0.9, "")]
    assert static_zz(rows, [(3, 4), (5, 7)], notes) == {(3, 4): 4000.0}
    assert notes == []


def test_values_that_contradict_each_other_are_left_out_and_noted():
    notes = []
    rows = [row("zz_34", 1e-6), row("zz_43", 2e-6), row("zz_45", 5e-6), row("zz_54", 5e-6)]
    assert static_zz(rows, [(3, 4), (4, 5)], notes) == {(4, 5): 5000.0}
    assert notes == ["ZZ of 3-4 is published with different values: left out."]
