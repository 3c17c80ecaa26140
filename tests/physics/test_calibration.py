"""Calibrating: what is published is a device, near the truth, and now and then nothing."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_backend.physics.calibration import (
    FREQUENCY_SD_HZ,
    UNUSABLE_GATE,
    UNUSABLE_QUBIT,
    ZZ_SD,
    CalibrationFailed,
    duration_us,
    measure,
)
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.drift import Drift, Truth
from qpu_backend.physics.fluctuations import DAY_US, SAMPLING_SD, T1, TABLE
from qpu_backend.physics.snapshot import GateProperties, QubitProperties, Snapshot
from qpu_backend.physics.validation import validate_snapshot

SECRET = b"a secret"


def calibrated(truth: Truth, at_us: int, number: int = 2) -> Snapshot:
    """A calibration that succeeds."""
    for later in range(100):
        found = measure(truth, SECRET, number, device_time_us=at_us + later, measured_at_us=7)
        if isinstance(found, Snapshot):
            return found
    raise AssertionError("a hundred failures in a row")


def test_a_snapshot_says_what_it_is(eagle):
    _, base = eagle
    found = measure(Drift(base, SECRET).truth(DAY_US, DAY_US), SECRET, 5, device_time_us=DAY_US, measured_at_us=99)
    assert isinstance(found, Snapshot)
    assert (found.device, found.number, found.device_time_us, found.measured_at_us) == ("eagle127", 5, DAY_US, 99)
    assert Snapshot.from_document(found.to_document()) == found


def test_measuring_has_the_stated_errors_and_no_bias(eagle):
    _, base = eagle
    truth = Truth(base)
    found = [calibrated(truth, day * DAY_US) for day in range(1, 21)]
    logs: dict[str, list[float]] = {}
    for one in found:
        for q in range(127):
            for name in ("t1_us", "prob_meas1_prep0", "prob_meas0_prep1"):
                measured, true = getattr(one.qubit(q), name), getattr(base.qubit(q), name)
                logs.setdefault(name, []).append(math.log(measured / true))
            moved_hz = (one.qubit(q).frequency_hz or 0) - (base.qubit(q).frequency_hz or 0)
            logs.setdefault("frequency", []).append(moved_hz * SAMPLING_SD / FREQUENCY_SD_HZ)
        for key, gate in base.gates.items():
            if key[0] in {Op.SX, Op.ECR}:
                logs.setdefault(key[0].name, []).append(math.log(one.gates[key].error / gate.error))
            assert key[0] is not Op.RZ or one.gates[key].error == 0
        for edge, hz in base.zz_hz.items():
            logs.setdefault("zz", []).append((one.zz_hz[edge] / hz - 1) * SAMPLING_SD / ZZ_SD)
    assert len(logs) == 7
    for name, errors in logs.items():
        n = len(errors)
        assert abs(np.mean(errors)) < 4.5 * SAMPLING_SD / math.sqrt(n), name
        assert abs(np.var(errors) / SAMPLING_SD**2 - 1) < 4.5 * math.sqrt(2 / n), name
    independent = np.corrcoef([logs[name] for name in ("t1_us", "prob_meas1_prep0", "prob_meas0_prep1", "SX")])
    assert abs(independent[np.triu_indices(4, 1)]).max() < 4.5 / math.sqrt(127 * 20)


def test_published_snapshots_spread_as_the_table_says(eagle):
    """T1 of 127 qubits over sixty daily snapshots, as in the fit; quartiles, which telegraph events hardly move."""
    _, base = eagle
    drift = Drift(base, SECRET)
    days = [calibrated(drift.truth(day * DAY_US, day * DAY_US), day * DAY_US) for day in range(60)]
    logs = np.log(
        [[snapshot.qubit(q).t1_us if snapshot.qubits[q] else np.nan for q in range(127)] for snapshot in days]
    )
    low, high = np.nanquantile(logs - np.nanmedian(logs, axis=0), [0.25, 0.75])
    assert (high - low) / 1.349 == pytest.approx(TABLE[T1].sd, rel=0.08)


def test_a_calibration_is_a_function_of_its_truth_its_secret_and_its_time(eagle):
    _, base = eagle
    truth = Truth(base)

    def one(secret: bytes = SECRET, at_us: int = 5) -> Snapshot | CalibrationFailed:
        return measure(truth, secret, 2, device_time_us=at_us, measured_at_us=7)

    assert one() == one()
    t1 = [
        snapshot.qubit(0).t1_us for snapshot in (one(), one(b"other"), one(at_us=6)) if isinstance(snapshot, Snapshot)
    ]
    assert len(set(t1)) == 3


def test_less_than_one_calibration_in_a_hundred_fails():
    small = line([GateProperties(0.01, 500.0)] * 2)
    attempts = [measure(Truth(small), SECRET, 2, device_time_us=t, measured_at_us=0) for t in range(3_000)]
    failures = [attempt for attempt in attempts if isinstance(attempt, CalibrationFailed)]
    assert 0.001 < len(failures) / len(attempts) < 0.01
    assert all(failure.reason for failure in failures)
    assert len({attempt.number for attempt in attempts if isinstance(attempt, Snapshot)}) == 1


def test_calibrating_takes_minutes_of_device_time(eagle):
    model, _ = eagle
    assert 60 < duration_us(model) / 1e6 < 600
    slower = dataclasses.replace(model, timing=dataclasses.replace(model.timing, rep_delay_us=500.0))
    assert duration_us(slower) > 1.5 * duration_us(model)


# --- what is not published --------------------------------------------------------------------------------------------


def line(couplers: list[GateProperties | None], *, readout: float = 0.01, bad: int = 0) -> Snapshot:
    """Qubits in a line, closed to a ring by a good coupler when there are more than two; qubit ``bad`` reads badly."""
    n = len(couplers) + 1
    qubits = [QubitProperties(200.0, 150.0, 5e9, None, 0.01, 0.01, 1000.0) for _ in range(n)]
    qubits[bad] = dataclasses.replace(qubits[bad], prob_meas1_prep0=readout, prob_meas0_prep1=readout)
    gates = {(op, (q,)): GateProperties(2e-4, 50.0) for op in (Op.RZ, Op.SX, Op.X) for q in range(n)}
    gates |= {(Op.ECR, (q, q + 1)): gate for q, gate in enumerate(couplers) if gate is not None}
    return Snapshot("line", 1, 0, 0, tuple(qubits), gates, {})


def ring(couplers: list[GateProperties | None], **facts) -> Snapshot:
    """As :func:`line`, closed by a good coupler."""
    opened = line(couplers, **facts)
    closing = {(Op.ECR, (0, len(couplers))): GateProperties(0.01, 500.0)}
    return dataclasses.replace(opened, gates={**opened.gates, **closing})


GOOD, BROKEN = GateProperties(0.01, 500.0), GateProperties(0.7, 500.0)


def test_a_broken_coupler_is_left_out_where_there_is_a_way_round():
    found = calibrated(Truth(ring([GOOD, BROKEN, GOOD])), 0)
    assert found.usable_edges == ((0, 1), (0, 3), (2, 3))
    assert BROKEN.error > UNUSABLE_GATE


@pytest.mark.parametrize("worse_first", [False, True])
def test_of_two_broken_couplers_of_which_one_is_needed_the_worse_goes(worse_first):
    bad, worse = GateProperties(0.6, 500.0), GateProperties(0.75, 500.0)
    couplers = [worse, GOOD, bad] if worse_first else [bad, GOOD, worse]
    found = calibrated(Truth(ring(couplers)), 0)
    assert min(found.gate(Op.ECR, edge).error for edge in ((0, 3), (1, 2))) < UNUSABLE_GATE
    assert found.usable_edges == (((0, 3), (1, 2), (2, 3)) if worse_first else ((0, 1), (0, 3), (1, 2)))


def test_a_broken_coupler_that_holds_the_device_together_stays():
    assert calibrated(Truth(line([GOOD, BROKEN, GOOD])), 0).usable_edges == ((0, 1), (1, 2), (2, 3))


def test_a_qubit_that_cannot_be_read_is_left_out_with_its_gates_unless_others_hang_on_it():
    dead = UNUSABLE_QUBIT + 0.05
    inside = calibrated(Truth(ring([GOOD, GOOD, GOOD], readout=dead, bad=1)), 0)
    assert inside.usable_qubits == (0, 2, 3)
    assert not any(1 in qubits for _, qubits in inside.gates)
    assert calibrated(Truth(line([GOOD, GOOD, GOOD], readout=dead, bad=1)), 0).usable_qubits == (0, 1, 2, 3)
    assert calibrated(Truth(line([GOOD, GOOD, GOOD], readout=dead, bad=3)), 0).usable_qubits == (0, 1, 2)


PROBABILITY = st.floats(0.0, 0.5)


@settings(deadline=None, max_examples=100)
@given(
    errors=st.lists(st.floats(0.0, 0.75), min_size=2, max_size=5),
    reads=st.lists(PROBABILITY, min_size=6, max_size=6),
    turns=st.lists(PROBABILITY, min_size=6, max_size=6),
    t1_us=st.floats(0.01, 2e4),
    closed=st.booleans(),
    at_us=st.integers(0, 10_000 * DAY_US),
)
def test_whatever_is_published_is_a_device(errors, reads, turns, t1_us, closed, at_us):
    made = (ring if closed else line)([GateProperties(error, 500.0) for error in errors])
    qubits = tuple(
        QubitProperties(t1_us, t1_us, None, None, reads[q], reads[q], 1000.0) for q in range(made.num_qubits)
    )
    gates = {
        key: GateProperties(turns[key[1][0]], 50.0) if len(key[1]) == 1 else gate for key, gate in made.gates.items()
    }
    found = measure(
        Truth(dataclasses.replace(made, qubits=qubits, gates=gates)), SECRET, 2, device_time_us=at_us, measured_at_us=0
    )
    if isinstance(found, Snapshot):
        validate_snapshot(found, edges=made.usable_edges)
        assert found.gates.keys() <= made.gates.keys()
    else:
        assert found.reason


def test_numbers_of_no_device_are_not_published():
    short = line([GOOD, GOOD])
    qubits = tuple(QubitProperties(0.5, 0.5, None, None, 0.01, 0.01, 1000.0) for _ in range(3))
    found = measure(Truth(dataclasses.replace(short, qubits=qubits)), SECRET, 2, device_time_us=0, measured_at_us=0)
    assert isinstance(found, CalibrationFailed)
    assert "t1_us" in found.reason
