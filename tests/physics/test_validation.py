"""Numbers no device can have are refused by name, and those in the wrong unit with the unit they look like."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.engines.catalogue import device_names, read_device
from qpu_backend.physics.catalog.parse import parse_device
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.errors import InvalidDevice, InvalidSnapshot
from qpu_backend.physics.snapshot import GateProperties
from qpu_backend.physics.validation import validate_snapshot, validate_timing

LINE5 = json.loads((resources.files("qpu_backend.physics.catalog") / "line5.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def line():
    return read_device("line5")


def changed(snapshot, q, **changes):
    return replace(
        snapshot, qubits=(*snapshot.qubits[:q], replace(snapshot.qubits[q], **changes), *snapshot.qubits[q + 1 :])
    )


def with_gate(snapshot, key, error=0.01, duration_ns=60.0):
    return replace(snapshot, gates=snapshot.gates | {key: GateProperties(error, duration_ns)})


def refusal(model, snapshot):
    with pytest.raises(InvalidSnapshot) as refused:
        validate_snapshot(snapshot, edges=model.topology.edges)
    return refused.value


@pytest.mark.parametrize("name", device_names())
def test_every_device_of_the_catalogue_is_valid(name):
    model, snapshot = read_device(name)
    assert validate_snapshot(snapshot, edges=model.topology.edges) is snapshot
    assert validate_timing(model.timing) is model.timing


WRONG_UNITS = [
    ("t1_us", 2e-4, "seconds"),
    ("t1_us", 2.4e5, "nanoseconds"),
    ("t2_us", 1.5e-4, "seconds"),
    ("t2_us", 1.5e-2, "milliseconds"),
    ("readout_duration_ns", 1.3e-6, "seconds"),
    ("readout_duration_ns", 1.3, "microseconds"),
    ("frequency_hz", 4.9, "GHz"),
    ("frequency_hz", 4900.0, "MHz"),
    ("frequency_hz", 3.1e10, "rad/s"),
    ("anharmonicity_hz", -0.31, "GHz"),
    ("anharmonicity_hz", -310.0, "MHz"),
]


@pytest.mark.parametrize(("attribute", "value", "unit"), WRONG_UNITS)
def test_a_number_in_the_wrong_unit_is_refused_with_the_unit_it_looks_like(line, attribute, value, unit):
    model, snapshot = line
    refused = refusal(model, changed(snapshot, 3, **{attribute: value}))
    assert refused.field == f"qubits[3].{attribute}"
    assert refused.reason.endswith(f"it looks like {unit}")


@pytest.mark.parametrize(("key", "name"), [((Op.SX, (2,)), "sx 2"), ((Op.CX, (1, 2)), "cx 1,2")])
@pytest.mark.parametrize(("value", "unit"), [(6e-8, "seconds"), (0.3, "microseconds"), (3e8, "picoseconds")])
def test_a_gate_that_lasts_seconds_is_refused_with_the_unit_it_looks_like(line, key, name, value, unit):
    model, snapshot = line
    refused = refusal(model, with_gate(snapshot, key, duration_ns=value))
    assert (refused.field, refused.reason.rsplit(" ", 1)[1]) == (f"gates[{name}].duration_ns", unit)


def test_times_in_milliseconds_show_when_all_of_them_are_so_short(line):
    model, snapshot = line
    one = changed(snapshot, 0, t1_us=0.2, t2_us=0.1)
    assert validate_snapshot(one, edges=model.topology.edges) is one  # one qubit may be that bad
    scaled = [replace(q, t1_us=q.t1_us / 1e3, t2_us=q.t2_us / 1e3) for q in snapshot.qubits]
    refused = refusal(model, replace(snapshot, qubits=tuple(scaled)))
    assert refused.field == "qubits[0].t1_us"
    assert "milliseconds" in refused.reason


@given(st.floats(allow_nan=True, allow_infinity=True).filter(lambda x: not 0 <= x <= 1), st.integers(0, 4))
def test_an_error_is_a_probability(line, value, q):
    model, snapshot = line
    for attribute in ("prob_meas1_prep0", "prob_meas0_prep1"):
        assert refusal(model, changed(snapshot, q, **{attribute: value})).field == f"qubits[{q}].{attribute}"
    assert refusal(model, with_gate(snapshot, (Op.SX, (q,)), error=value)).field == f"gates[sx {q}].error"


def test_an_error_above_one_looks_like_per_cent(line):
    model, snapshot = line
    assert "per cent" in refusal(model, with_gate(snapshot, (Op.CX, (0, 1)), error=1.5)).reason
    assert "per cent" not in refusal(model, with_gate(snapshot, (Op.CX, (0, 1)), error=-0.5)).reason


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_refused_wherever_they_are(line, value):
    model, snapshot = line
    fields = ("t1_us", "t2_us", "frequency_hz", "anharmonicity_hz", "readout_duration_ns")
    for attribute in fields:
        assert refusal(model, changed(snapshot, 1, **{attribute: value})).field == f"qubits[1].{attribute}"
    assert refusal(model, with_gate(snapshot, (Op.X, (1,)), duration_ns=value)).field == "gates[x 1].duration_ns"
    assert refusal(model, replace(snapshot, zz_hz={(0, 1): value})).field == "zz_hz[0,1]"


def test_t2_is_at_most_twice_t1(line):
    model, snapshot = line
    t1_us = snapshot.qubits[4].t1_us
    good = changed(snapshot, 4, t2_us=2 * t1_us)
    assert validate_snapshot(good, edges=model.topology.edges) is good
    assert refusal(model, changed(snapshot, 4, t2_us=2.001 * t1_us)).field == "qubits[4].t2_us"


def test_zz_lies_on_couplers_and_is_in_hertz(line):
    model, snapshot = line
    assert refusal(model, replace(snapshot, zz_hz={(0, 2): 4e4})).field == "zz_hz[0,2]"
    assert refusal(model, replace(snapshot, zz_hz={(0, 1): -6e-5})).reason.endswith("looks like GHz")
    assert refusal(model, replace(snapshot, zz_hz={(0, 1): 0.06})).reason.endswith("looks like MHz")
    uncoupled = replace(snapshot, zz_hz={(0, 1): 0.0})
    assert validate_snapshot(uncoupled, edges=model.topology.edges) is uncoupled


def test_a_device_in_pieces_is_refused_and_so_is_one_without_couplings(line):
    model, snapshot = line
    cut = {key: gate for key, gate in snapshot.gates.items() if key[1] not in {(2, 3), (3, 2)}}
    refused = refusal(model, replace(snapshot, gates=cut))
    assert (refused.field, "[3, 4] cannot be reached from 0" in refused.reason) == ("gates", True)
    none = {key: gate for key, gate in snapshot.gates.items() if len(key[1]) == 1}
    assert "no two-qubit gate" in refusal(model, replace(snapshot, gates=none)).reason


def test_a_direction_may_be_missing_but_not_lie_where_no_coupler_is(line):
    model, snapshot = line
    one_way = {key: gate for key, gate in snapshot.gates.items() if key != (Op.CX, (1, 0))}
    assert validate_snapshot(replace(snapshot, gates=one_way), edges=model.topology.edges).gates == one_way
    assert refusal(model, with_gate(snapshot, (Op.CX, (0, 2)))).field == "gates[cx 0,2]"
    without = [edge for edge in model.topology.edges if edge != (3, 4)]
    with pytest.raises(InvalidSnapshot, match=r"gates\[cx 3,4\] is not on a coupler"):
        validate_snapshot(snapshot, edges=without)


CLOCKS = [
    ({"dt_ns": 5e-10}, "timing.dt_ns", "seconds"),
    ({"dt_ns": 0.0}, "timing.dt_ns", "outside"),
    ({"dt_ns": math.nan}, "timing.dt_ns", "finite"),
    ({"granularity": 0}, "timing.granularity", "at least 1"),
    ({"rep_delay_us": 2.5e-4}, "timing.rep_delay_us", "seconds"),
    ({"rep_delay_us": 501.0}, "timing.rep_delay_us", "range"),
    ({"rep_delay_range_us": (-1.0, 500.0)}, "timing.rep_delay_us", "range"),
    ({"overhead_s": 2e4}, "timing.overhead_s", "milliseconds"),
]


@pytest.mark.parametrize(("changes", "field", "said"), CLOCKS)
def test_a_clock_no_device_has_is_refused(line, changes, field, said):
    with pytest.raises(InvalidDevice) as refused:
        validate_timing(replace(line[0].timing, **changes))
    assert refused.value.field == field
    assert said in refused.value.reason


DAMAGED = [
    ({"couplers": None}, "model"),
    ({"num_qubits": 0}, "num_qubits"),
    ({"num_qubits": 6}, "qubits"),
    ({"coupler": "elastic"}, "coupler"),
    ({"two_qubit_gates": {"iswap": []}}, "two_qubit_gates.iswap"),
    ({"one_qubit_gates": {"cx": []}}, "one_qubit_gates.cx"),
    ({"two_qubit_gate": "sx"}, "two_qubit_gates.sx"),
    ({"timing": LINE5["timing"] | {"dt_ns": 5e-10}}, "timing.dt_ns"),
    ({"measured_at": "yesterday"}, "calibration"),
    ({"couplers": LINE5["couplers"][:-1]}, "gates[cx 3,4]"),
]


@pytest.mark.parametrize(("changes", "field"), DAMAGED)
def test_a_damaged_file_is_refused_by_the_name_of_its_entry(changes, field):
    with pytest.raises((InvalidDevice, InvalidSnapshot)) as refused:
        parse_device(LINE5 | changes)
    assert refused.value.field == field


@pytest.mark.parametrize("entry", sorted(LINE5.keys() - {"positions", "format"}))
def test_a_missing_entry_is_named(entry):
    with pytest.raises(InvalidDevice) as refused:
        parse_device({key: value for key, value in LINE5.items() if key != entry})
    assert refused.value.field == entry
    assert "is missing" in refused.value.reason
