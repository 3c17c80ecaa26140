"""The devices of the catalogue, and how facts become one: what failed is left out, what is missing is said."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
from generate_devices import GRID20, LINE5, draw

from qpu_backend.engines.catalogue import device_names, read_device
from qpu_backend.physics.catalog.compose import ASSUMED_ZZ_HZ, Facts, catalogue_text, compose
from qpu_backend.physics.catalog.parse import parse_device
from qpu_backend.physics.circuit import TWO_QUBIT_GATES, Op
from qpu_backend.physics.crosstalk import draw_outliers

FOLDER = resources.files("qpu_backend.physics.catalog")
DEVICES = {
    # qubits, couplers, usable couplers, gates, kind of coupler, ordinary ρ, median |ζ| in kHz
    "eagle127": (127, 144, 143, {Op.ECR}, "fixed", 1.0, 62),
    "heron156": (156, 176, 173, {Op.CZ, Op.RZZ}, "tunable", 1.15, 4),
    "falcon27": (27, 28, 28, {Op.CX}, "fixed", 1.0, 52),
    "grid20": (20, 31, 31, {Op.CZ}, "tunable", 1.6, 10),
    "line5": (5, 4, 4, {Op.CX}, "fixed", 1.0, 40),
}
TIMING = {
    "dt_ns": 0.5,
    "granularity": 8,
    "pulse_alignment": 8,
    "acquire_alignment": 8,
    "rep_delay_us": 250.0,
    "rep_delay_range_us": [0.0, 500.0],
    "overhead_s": 2.0,
}
GATE = [0.001, 50.0]


def document(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def test_the_catalogue_is_complete():
    assert set(device_names()) == set(DEVICES)


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_is_what_the_table_says(name):
    num_qubits, couplers, usable, gates, coupler, ordinary, zz_khz = DEVICES[name]
    model, snapshot = read_device(name)
    assert (model.name, model.num_qubits, len(model.topology.edges)) == (name, num_qubits, couplers)
    assert len(snapshot.usable_edges) == usable
    assert set(model.basis) & TWO_QUBIT_GATES == gates
    assert model.two_qubit_gate in gates
    assert (model.coupler, model.crosstalk.conditional.ordinary_ratio) == (coupler, ordinary)
    assert set(snapshot.zz_hz) == set(model.topology.edges)
    assert np.median(np.abs(list(snapshot.zz_hz.values()))) == pytest.approx(1e3 * zz_khz, rel=0.15)
    assert model.crosstalk.conditional.ratios == draw_outliers(model.topology, num_qubits)
    assert model.licence.startswith("Apache-2.0")
    assert list(model.notes) == document(name)["notes"]


def test_gates_of_tunable_couplers_spill_no_microwaves():
    for name, (*_, coupler, _, _) in DEVICES.items():
        model, _ = read_device(name)
        assert (model.crosstalk.drive.rabi_2q_hz == 0.0) == (coupler == "tunable")
        assert model.crosstalk.drive.rabi_1q_hz > 0


def test_a_drawn_device_says_so_and_is_what_its_script_draws():
    for design in (GRID20, LINE5):
        model, snapshot = read_device(design.name)
        assert "synthetic" in model.source
        assert f"seed {design.seed}" in model.source
        assert any("Log-normal" in note for note in model.notes)
        assert catalogue_text(draw(design)) == (FOLDER / f"{design.name}.json").read_text(encoding="utf-8")
        assert draw(replace(design, seed=design.seed + 1)) != draw(design)
        assert all(q.t2_us <= 1.9 * q.t1_us * 1.0001 for q in snapshot.qubits)
        for a, b in model.topology.edges:
            detuning_hz = abs(snapshot.qubits[a].frequency_hz - snapshot.qubits[b].frequency_hz)
            assert detuning_hz > 3e7, "neighbours collide"


def test_the_grid_is_square_and_the_line_a_line():
    grid, _ = read_device("grid20")
    assert {(a, b) for a, b in grid.topology.edges} == {
        (q, q + step) for q in range(20) for step in (1, 5) if q + step < 20 and (step == 5 or q % 5 != 4)
    }
    line, _ = read_device("line5")
    assert line.topology.edges == ((0, 1), (1, 2), (2, 3), (3, 4))


@pytest.mark.parametrize("name", DEVICES)
def test_positions_put_coupled_qubits_side_by_side(name):
    found = document(name)
    places = [tuple(place) for place in found["positions"]]
    assert len(set(places)) == found["num_qubits"]
    for a, b, _ in found["couplers"]:
        assert sum(abs(x - y) for x, y in zip(places[a], places[b], strict=True)) == 1


@pytest.mark.parametrize("name", DEVICES)
def test_a_file_is_written_in_one_way(name):
    assert catalogue_text(document(name)) == (FOLDER / f"{name}.json").read_text(encoding="utf-8")


def facts(num_qubits=4, **changes):
    pairs = [(q, q + 1) for q in range(num_qubits - 1)]
    known = {
        "name": "chip",
        "description": "",
        "source": "a test",
        "licence": "none",
        "measured_at": "2026-01-01T00:00:00+00:00",
        "couplers": pairs,
        "coupler": "fixed",
        "qubits": [[100.0, 90.0, 5e9, -3e8, 0.01, 0.02, 1000.0]] * num_qubits,
        "one_qubit_gates": {name: [GATE] * num_qubits for name in ("rz", "sx", "x")},
        "two_qubit_gates": {"cx": [(a, b, 0.01, 300.0) for a, b in pairs]},
        "zz_hz": dict.fromkeys(pairs, -50000.0),
        "timing": TIMING,
        "ordinary_ratio": 1.0,
    }
    return Facts(**known | changes)


def noted(made, *words):
    return any(all(word in note for word in words) for note in made["notes"])


def test_complete_facts_need_no_excuse():
    made = compose(facts())
    model, snapshot = parse_device(made)
    assert [note for note in made["notes"] if "Conditional" not in note] == []
    assert (model.two_qubit_gate, snapshot.usable_qubits, len(snapshot.zz_hz)) == (Op.CX, (0, 1, 2, 3), 3)


def test_a_t2_beyond_twice_t1_is_truncated_and_noted():
    rows = [[100.0, 90.0, 5e9, -3e8, 0.01, 0.02, 1000.0], [50.0, 130.0, 5e9, -3e8, 0.01, 0.02, 1000.0]]
    made = compose(facts(2, qubits=rows))
    assert (made["qubits"][0][1], made["qubits"][1][1]) == (90.0, 100.0)
    assert noted(made, "T2 of qubit 1", "130.0")
    assert rows[1][1] == 130.0


def test_a_failed_gate_is_left_out_and_a_qubit_without_its_gates_is_unusable():
    sx = [GATE, GATE, GATE, [1.0, 50.0]]
    cx = [(0, 1, 0.01, 300.0), (1, 0, 1.0, 300.0), (1, 2, 0.01, 300.0), (2, 3, 0.01, 300.0)]
    made = compose(facts(one_qubit_gates={"rz": [GATE] * 4, "sx": sx, "x": [GATE] * 4}, two_qubit_gates={"cx": cx}))
    model, snapshot = parse_device(made)
    assert snapshot.usable_qubits == (0, 1, 2)
    assert {key for key in snapshot.gates if key[0] is Op.CX} == {(Op.CX, (0, 1)), (Op.CX, (1, 2))}
    assert model.topology.edges == ((0, 1), (1, 2), (2, 3))
    assert noted(made, "cx on 1→0")
    assert noted(made, "Qubit 3 is unusable", "sx")


def test_an_error_above_one_is_not_taken_for_a_failure():
    made = compose(facts(two_qubit_gates={"cx": [(0, 1, 1.5, 300.0), (1, 2, 0.01, 300.0), (2, 3, 0.01, 300.0)]}))
    assert [0, 1, 1.5, 300.0] in [list(row) for row in made["two_qubit_gates"]["cx"]]


def test_qubits_cut_off_from_the_rest_are_unusable_but_a_device_in_halves_is_not_mended():
    stranded = compose(facts(two_qubit_gates={"cx": [(0, 1, 0.01, 300.0), (1, 2, 0.01, 300.0)]}))
    assert [row is None for row in stranded["qubits"]] == [False, False, False, True]
    assert noted(stranded, "qubits 3")
    halves = compose(facts(two_qubit_gates={"cx": [(0, 1, 0.01, 300.0), (2, 3, 0.01, 300.0)]}))
    assert None not in halves["qubits"]


def test_a_symmetric_gate_is_kept_once_unless_its_directions_differ():
    both = [(0, 1, 0.01, 68.0), (1, 0, 0.01, 68.0), (1, 2, 0.01, 68.0), (2, 1, 0.02, 68.0), (2, 3, 0.01, 68.0)]
    made = compose(facts(two_qubit_gates={"cz": both}, coupler="tunable"))
    assert [row[:2] for row in made["two_qubit_gates"]["cz"]] == [(0, 1), (1, 2), (2, 1), (2, 3)]
    directed = compose(facts(two_qubit_gates={"cx": both}))
    assert len(directed["two_qubit_gates"]["cx"]) == 5


@pytest.mark.parametrize("coupler", ASSUMED_ZZ_HZ)
def test_where_zz_is_not_measured_it_is_assumed_and_noted(coupler):
    made = compose(facts(zz_hz={(0, 1): -123.0, (1, 2): 0.0}, coupler=coupler))
    assumed_hz = ASSUMED_ZZ_HZ[coupler]
    assert made["couplers"] == [[0, 1, -123.0], [1, 2, assumed_hz], [2, 3, assumed_hz]]
    assert noted(made, "ZZ is not measured on 1-2, 2-3", "assumed")
    assert noted(compose(facts(zz_hz={}, coupler=coupler)), "every coupler", "assumed")
