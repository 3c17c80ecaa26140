"""The truth: a function of its first snapshot, a secret and time, within physical limits, repaired by calibrating."""

from __future__ import annotations

import dataclasses
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_backend.engines.catalogue import read_device
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.drift import (
    ERROR_BOUND,
    QUANTUM_US,
    TWO_QUBIT_ERROR_BOUND,
    Drift,
    quantised_us,
)
from qpu_backend.physics.fluctuations import DAY_US, GATE_BREAK, HOUR_US, T1, T1_DROP, TABLE
from qpu_backend.physics.snapshot import GateProperties, QubitProperties, Snapshot
from qpu_backend.physics.validation import COHERENCE_TIME, validate_snapshot

SECRET = b"a secret"
TIMES_US = st.integers(0, 2_000 * DAY_US)


@cache
def drift_of_eagle() -> Drift:
    _, snapshot = read_device("eagle127")
    return Drift(snapshot, SECRET)


def logs(drift: Drift, t_us: int, calibrated_us: int | None = None) -> dict[object, float]:
    """Every parameter's ln x / x(0)."""
    base, now = drift.base, drift.truth(t_us, t_us if calibrated_us is None else calibrated_us).snapshot
    found: dict[object, float] = {}
    for q in base.usable_qubits:
        for name in ("t1_us", "t2_us", "prob_meas1_prep0", "prob_meas0_prep1"):
            found[name, q] = math.log(getattr(now.qubit(q), name) / getattr(base.qubit(q), name))
    for key, gate in base.gates.items():
        if gate.error:
            found[key] = math.log(now.gates[key].error / gate.error)
    return found


def same(one, other) -> bool:
    return one.snapshot == other.snapshot and one.detuning_hz == other.detuning_hz


# --- a function of time -----------------------------------------------------------------------------------------------


def test_at_first_the_truth_is_the_first_snapshot_to_the_digit():
    drift = drift_of_eagle()
    truth = drift.truth(0, 0)
    assert truth.snapshot == drift.base
    assert not truth.detuning_hz


@pytest.mark.parametrize("days", [0.5, 3.0, 700.0])
def test_the_truth_is_a_device(days):
    t_us = round(days * DAY_US)
    validate_snapshot(drift_of_eagle().truth(t_us, 0).snapshot)


@settings(deadline=None, max_examples=10)
@given(times=st.lists(TIMES_US, min_size=2, max_size=4, unique=True), data=st.data())
def test_the_truth_does_not_remember_what_was_asked_before(times, data):
    drift = drift_of_eagle()
    first = {t: drift.truth(t, t // 2) for t in times}
    for t in data.draw(st.permutations(times)):
        assert same(drift.truth(t, t // 2), first[t])
    fresh = Drift(drift.base, SECRET)
    assert same(fresh.truth(times[-1], times[-1] // 2), first[times[-1]])
    assert first[times[0]].snapshot != first[times[1]].snapshot


def test_another_secret_or_another_device_is_another_course():
    base = drift_of_eagle().base
    elsewhere = dataclasses.replace(base, device="twin")
    courses = [
        logs(drift, 3 * DAY_US)
        for drift in (drift_of_eagle(), Drift(base, b"another secret"), Drift(elsewhere, SECRET))
    ]
    names = list(courses[0])
    rows = np.array([[course[name] for name in names] for course in courses])
    assert abs(np.corrcoef(rows)[np.triu_indices(3, 1)]).max() < 0.2


def test_a_part_of_the_device_drifts_as_in_the_whole():
    """Without every second qubit and the couplers there, what is left is what it was."""
    whole = drift_of_eagle()
    gone = set(range(64, 127))
    less = dataclasses.replace(
        whole.base,
        qubits=tuple(None if q in gone else each for q, each in enumerate(whole.base.qubits)),
        gates={key: gate for key, gate in whole.base.gates.items() if not gone & set(key[1])},
    )
    part = Drift(less, SECRET)
    for day in range(1, 6):
        t_us = day * DAY_US + 7 * HOUR_US
        some, every = logs(part, t_us), logs(whole, t_us)
        broken = [name for name in some if some[name] != every[name]]
        assert len(broken) <= 1  # a qubit at the rim breaks another coupler than it did
        detuned = part.truth(t_us, 0).detuning_hz
        assert detuned == {q: hz for q, hz in whole.truth(t_us, 0).detuning_hz.items() if q not in gone}


def test_both_directions_of_a_coupler_and_all_gates_of_a_qubit_drift_together():
    qubit = QubitProperties(200.0, 150.0, 5e9, -3e8, 0.01, 0.02, 1000.0)
    gates = {(op, (q,)): GateProperties(2e-4, 50.0) for op in (Op.SX, Op.X, Op.ID) for q in range(2)}
    gates |= {(Op.RZ, (q,)): GateProperties(0.0, 0.0) for q in range(2)}
    gates |= {(op, pair): GateProperties(4e-3, 300.0) for op in (Op.CZ, Op.RZZ) for pair in ((0, 1), (1, 0))}
    pair = Drift(Snapshot("pair", 1, 0, 0, (qubit, qubit), gates, {}), SECRET)
    for day in range(1, 40):
        found = logs(pair, day * DAY_US)
        assert len({found[op, edge] for op in (Op.CZ, Op.RZZ) for edge in ((0, 1), (1, 0))}) == 1
        for q in range(2):
            assert len({found[op, (q,)] for op in (Op.SX, Op.X, Op.ID)}) == 1
            assert found["prob_meas1_prep0", q] == found["prob_meas0_prep1", q]
        assert pair.truth(day * DAY_US, 0).snapshot.gates[Op.RZ, (0,)].error == 0.0


def test_without_drift_the_truth_is_the_first_snapshot_at_all_times():
    base = drift_of_eagle().base
    for drift in (Drift(base, SECRET, enabled=False), Drift(base, SECRET, scale=0.0)):
        truth = drift.truth(12 * DAY_US, DAY_US)
        assert truth.snapshot.qubits == base.qubits
        assert truth.snapshot.gates == base.gates
        assert not truth.detuning_hz
    assert Drift(base, SECRET, enabled=False).truth(12 * DAY_US, DAY_US).snapshot is base


def test_the_scale_multiplies_every_deviation():
    base = drift_of_eagle().base
    once, half = (Drift(base, SECRET, scale=scale) for scale in (1.0, 0.5))
    full, less = logs(once, DAY_US), logs(half, DAY_US)
    names = [name for name in full if isinstance(name[0], str) and name[0] != "t2_us"]
    assert [less[name] for name in names] == pytest.approx([0.5 * full[name] for name in names])
    detuned, less_detuned = (drift.truth(DAY_US, 0).detuning_hz for drift in (once, half))
    assert less_detuned == pytest.approx({q: 0.5 * hz for q, hz in detuned.items()})


def test_the_truth_moves_as_far_as_the_table_says():
    """T1 of 127 qubits from a day to one four days later; the median is not moved by telegraph events."""
    drift = drift_of_eagle()
    moved = [
        after["t1_us", q] - before["t1_us", q]
        for day in range(10, 70, 6)
        for before, after in [(logs(drift, day * DAY_US), logs(drift, (day + 4) * DAY_US))]
        for q in range(127)
    ]
    line = TABLE[T1]
    variance = 2 * (line.slow_sd**2 * (1 - math.exp(-4 / line.slow_days)) + line.white_sd**2)
    quartile = np.median(np.abs(moved)) / 0.67449
    assert quartile == pytest.approx(math.sqrt(variance), rel=0.07)


# --- limits -----------------------------------------------------------------------------------------------------------

PROBABILITY = st.floats(0.0, 0.5)


@st.composite
def small_devices(draw: st.DrawFn) -> Snapshot:
    """Three qubits in a line with any numbers a device can have."""
    qubits = []
    for _ in range(3):
        t1_us = draw(st.floats(0.02, 2e4))
        t2_us = min(2 * t1_us, draw(st.floats(0.02, 2e4)))
        qubits.append(QubitProperties(t1_us, t2_us, 5e9, None, draw(PROBABILITY), draw(PROBABILITY), 1000.0))
    gates = {(op, (q,)): GateProperties(draw(PROBABILITY), 50.0) for op in (Op.RZ, Op.SX, Op.X) for q in range(3)}
    gates |= {(Op.ECR, (q, q + 1)): GateProperties(draw(st.floats(0.0, 0.75)), 500.0) for q in range(2)}
    return Snapshot("small", 1, 0, 0, tuple(qubits), gates, {(0, 1): 4e4})


@settings(deadline=None, max_examples=100)
@given(base=small_devices(), t_us=TIMES_US, scale=st.floats(0.0, 10.0), secret=st.binary(max_size=8), back=TIMES_US)
def test_physical_limits_hold(base, t_us, scale, secret, back):
    truth = Drift(base, secret, scale=scale).truth(t_us, max(0, t_us - back))
    for qubit in truth.snapshot.qubits:
        assert qubit is not None
        assert qubit.t2_us <= 2 * qubit.t1_us
        assert COHERENCE_TIME.holds(qubit.t1_us)
        assert COHERENCE_TIME.holds(qubit.t2_us)
        assert min(qubit.prob_meas1_prep0, qubit.prob_meas0_prep1) >= 0
        assert max(qubit.prob_meas1_prep0, qubit.prob_meas0_prep1) <= ERROR_BOUND
    for (op, _), gate in truth.snapshot.gates.items():
        assert 0 <= gate.error <= (TWO_QUBIT_ERROR_BOUND if op is Op.ECR else ERROR_BOUND)
    assert truth.snapshot.zz_hz == base.zz_hz
    assert all(math.isfinite(hz) and hz for hz in truth.detuning_hz.values())


# --- calibrating ----------------------------------------------------------------------------------------------------


def events(drift: Drift, qubits: int):
    """The first event of this kind, in the first hundred days, on a place where nothing else happens around it."""
    found = [event for day in range(100) for event in drift._telegraph.of_day(day) if len(event.qubits) == qubits]
    return found[3]


def test_a_gate_that_broke_before_the_calibration_is_repaired_and_one_that_breaks_after_it_is_not():
    drift = drift_of_eagle()
    event = events(drift, 2)
    (key,) = [key for key in drift.base.gates if set(key[1]) == set(event.qubits)]
    middle = round((event.starts_us + event.ends_us) / 2)
    assert GATE_BREAK[0] <= event.factor
    whole, broken = (drift.truth(middle, t).snapshot.gates[key].error for t in (middle, int(event.starts_us) - 1))
    assert broken == pytest.approx(min(whole * event.factor, TWO_QUBIT_ERROR_BOUND))
    assert drift.truth(middle, 0).snapshot.gates[key].error == broken
    after = round(event.ends_us) + 1
    assert drift.truth(after, 0).snapshot.gates[key].error == drift.truth(after, after).snapshot.gates[key].error


def test_a_calibration_repairs_no_t1():
    drift = drift_of_eagle()
    event = events(drift, 1)
    (q,) = event.qubits
    start, end = round(event.starts_us), round(event.ends_us)
    inside = [drift.truth(t, t).snapshot.qubit(q) for t in (start + 60_000_000, end - 60_000_000)]
    outside = [drift.truth(t, 0).snapshot.qubit(q) for t in (start - 60_000_000, end + 60_000_000)]
    ratio = np.mean([qubit.t1_us for qubit in outside]) / np.mean([qubit.t1_us for qubit in inside])
    assert event.factor / 1.7 < ratio < event.factor * 1.7
    assert T1_DROP[0] <= event.factor
    assert all(qubit.t2_us <= 2 * qubit.t1_us for qubit in inside)


def test_detuning_is_what_the_frequency_moved_since_the_calibration():
    drift = drift_of_eagle()
    then, now = 3 * DAY_US, 9 * DAY_US
    before, after = (drift.truth(t, t).snapshot for t in (then, now))
    assert drift.truth(now, now).detuning_hz == {}
    detuning = drift.truth(now, then).detuning_hz
    for q in range(127):
        moved = (after.qubit(q).frequency_hz or 0) - (before.qubit(q).frequency_hz or 0)
        assert detuning[q] == pytest.approx(moved, abs=1e-3)
    sd = np.std(list(detuning.values()))
    assert 7_000 < sd < 23_000


@given(t_us=TIMES_US, calibrated_us=TIMES_US)
def test_a_minute_has_one_truth_and_a_calibration_begins_a_new_one(t_us, calibrated_us):
    calibrated_us = min(t_us, calibrated_us)
    at = quantised_us(t_us, calibrated_us)
    assert calibrated_us <= at <= t_us
    assert t_us - at < QUANTUM_US
    assert at in {calibrated_us, t_us // QUANTUM_US * QUANTUM_US}
