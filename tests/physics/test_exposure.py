"""Windows of ZZ as the estimates see them: the same ones that the program of a circuit has."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_backend.physics.circuit import Conditional, IsaCircuit, Op, operations
from qpu_backend.physics.context import Ghost
from qpu_backend.physics.exposure import Exposure, loss_per_area, mean_areas, phase_loss, zz_area
from qpu_backend.physics.phases import Phase
from qpu_backend.physics.program import noisy_program
from qpu_backend.physics.snapshot import GateProperties, QubitProperties, RegionNoise
from qpu_backend.physics.timing import Durations, schedule

ECHO = 0.6
LENGTH = {Op.SX: 60.0, Op.X: 60.0, Op.RZ: 0.0, Op.ECR: 660.0, Op.CZ: 90.0}
COUPLED = [(0, 1), (1, 2), (2, 3)]
QUBIT = QubitProperties(1e9, 1e9, None, None, 0.0, 0.0, 1000.0)


def device(zz_hz=60e3):
    gates = {(op, (q,)): GateProperties(0.0, LENGTH[op]) for op in (Op.SX, Op.X, Op.RZ) for q in range(4)}
    for a, b in COUPLED:
        for op in (Op.ECR, Op.CZ):
            gates |= {(op, pair): GateProperties(0.0, LENGTH[op]) for pair in ((a, b), (b, a))}
    return RegionNoise(dict.fromkeys(range(4), QUBIT), gates, dict.fromkeys(COUPLED, zz_hz), ECHO)


def row(op, a, b=-1, value=0.0, clbit=-1, aux=-1):
    return (int(op), a, b, clbit, -1, value, aux)


def circuit(rows, **fields):
    return IsaCircuit(
        (0, 1, 2, 3), 4, (), operations([*rows, *(row(Op.MEASURE, q, clbit=q) for q in range(4))]), **fields
    )


@st.composite
def many_rows(draw):
    found = []
    for _ in range(draw(st.integers(1, 14))):
        op = draw(st.sampled_from([Op.SX, Op.X, Op.RZ, Op.DELAY, Op.ECR, Op.CZ]))
        if op in {Op.ECR, Op.CZ}:
            found.append(row(op, *draw(st.permutations(draw(st.sampled_from(COUPLED))))))
        else:
            found.append(row(op, draw(st.integers(0, 3)), value=float(draw(st.integers(0, 900)))))
    return found


def seen_by_program(one, noise):
    """Per coupler, ∫ η dt of every phase on |11⟩ that the program has."""
    times = {pair: [] for pair in COUPLED}
    for happening in noisy_program(one, noise):
        if isinstance(happening, Phase):
            pair = tuple(sorted(happening.qubits))
            times[pair].append(happening.angle_rad / (2e-9 * math.pi * noise.zz_hz[pair]))
    return times


def check_windows(one):
    """A window loses as much as |11⟩⟨11| for all of its time, and no less than ZZ alone would."""
    noise = device()
    exposure = Exposure(one, schedule(one, Durations.of(noise)))
    scheduled = schedule(one, Durations.of(noise))
    for pair, times in seen_by_program(one, noise).items():
        windows = np.array([tau for tau in exposure.windows_ns(*pair, ECHO) if tau > 1e-4])
        whole = np.array([tau for tau in times if tau > 1e-4])
        assert np.all(windows <= whole + 1e-6)
        assert np.all(windows >= whole / math.sqrt(3) - 1e-6)
        if not both_are_echoed(one, scheduled, pair):
            assert np.allclose(windows, whole, atol=1e-6)


def both_are_echoed(one, scheduled, pair):
    """Whether each of a pair is in an ECR with a third at some time."""
    spans = [
        [
            (start, start + length)
            for r, start, length in zip(
                one.operations.tolist(), scheduled.starts_ns.tolist(), scheduled.lengths_ns.tolist(), strict=True
            )
            if r[0] == Op.ECR and q in r[1:3] and other not in r[1:3]
        ]
        for q, other in (pair, pair[::-1])
    ]
    return any(max(a[0], b[0]) < min(a[1], b[1]) for a in spans[0] for b in spans[1])


def test_a_window_in_which_both_are_echoed_loses_as_zz_alone():
    """(0 ecr 1) beside (2 ecr 3), with and without a wait as long as the gates before them."""
    for wait_ns in (0.0, 660.0):
        beside = [row(op, q, value=wait_ns * (op is Op.DELAY)) for q in range(4) for op in (Op.SX, Op.DELAY)]
        one = circuit([*beside, row(Op.ECR, 0, 1), row(Op.ECR, 3, 2), *(row(Op.SX, q) for q in range(4))])
        exposure = Exposure(one, schedule(one, Durations.of(device())))
        before, during = exposure.windows_ns(1, 2, ECHO)
        assert before == pytest.approx(60.0 + wait_ns)  # an ECR turns round what was there
        turned = 0.5 * math.pi * 1e-9 * 60e3 * ECHO * 660.0
        unitary = np.diag(np.exp(1j * turned * np.array([1, -1, -1, 1])))
        alike = 2e-9 * math.pi * 60e3 * during
        assert phase_loss(alike) == pytest.approx(1 - abs(np.trace(unitary) / 4) ** 2, rel=1e-2)


@settings(deadline=None)
@given(many_rows())
def test_the_windows_are_those_of_the_simulated_program(found):
    check_windows(circuit(found))


def test_a_branch_ends_the_windows_of_its_qubits():
    body = operations([row(Op.X, 1)])
    either = Conditional((0,), 1, body, operations([]))
    found = [*(row(Op.SX, q) for q in range(4)), row(Op.MEASURE, 0, clbit=0), row(Op.IF, -1, aux=0), row(Op.SX, 2)]
    check_windows(circuit(found, conditionals=(either,)))


def test_a_phase_costs_its_process_infidelity():
    for angle in (0.1, 1.0, math.pi, 5.0):
        unitary = np.diag([1, 1, 1, np.exp(1j * angle)])
        assert phase_loss(angle) == pytest.approx(1 - abs(np.trace(unitary) / 4) ** 2)


def test_area_times_its_price_is_the_loss_of_small_phases_and_half_of_the_most_for_long_ones():
    windows = np.array([100.0, 300.0])
    exact = sum(phase_loss(2e-9 * math.pi * 60e3 * tau) for tau in windows)
    price = float(loss_per_area(np.array([60e3]))[0])
    assert zz_area(windows) * price == pytest.approx(exact, rel=0.01)
    assert zz_area(windows, 60e3) * price == pytest.approx(exact, rel=0.01)
    long = zz_area(np.array([1e6]), 60e3) * price
    assert long == pytest.approx(0.75 / 2)
    assert zz_area(np.array([1e6])) * price > 100


def test_areas_are_means_over_the_circuits_and_left_out_where_there_is_none():
    waiting = circuit([row(op, q, value=1000.0 * (op is Op.DELAY)) for q in (0, 1) for op in (Op.SX, Op.DELAY, Op.SX)])
    short = IsaCircuit((2, 3), 1, (), operations([row(Op.MEASURE, 0, clbit=0)]))
    durations = Durations.of(device())
    ((pair, area),) = mean_areas([waiting], durations, COUPLED, 0.0, ECHO)
    assert pair == (0, 1)
    assert area == pytest.approx(1060.0**2)
    assert mean_areas([waiting, short], durations, COUPLED, 0.0, ECHO) == ((pair, pytest.approx(area / 2)),)
    assert mean_areas([waiting] * 100, durations, COUPLED, 0.0, ECHO) == ((pair, pytest.approx(area)),)


def ghost(start=1.0, *, echoed=False, opens=(5000.0,), stays=(1.0,), rises=(0.0,)):
    flags = np.full(len(opens), echoed)
    return Ghost(np.array(opens), start, np.array(stays), np.array(rises), flags, ((0, 60e3),))


def test_a_ghost_costs_what_a_turn_about_z_costs_that_happens_as_often_as_it_is_there():
    waiting = circuit([row(Op.SX, 0), row(Op.DELAY, 0, value=2000.0), row(Op.SX, 0)])
    exposure = Exposure(waiting, schedule(waiting, Durations.of(device())))
    angle = 2e-9 * math.pi * 60e3 * 2060.0
    assert exposure.ghost_loss(ghost(), ECHO) == pytest.approx(math.sin(angle / 2) ** 2)
    assert exposure.ghost_loss(ghost(0.25), ECHO) == pytest.approx(0.25 * math.sin(angle / 2) ** 2)
    assert exposure.ghost_loss(ghost(echoed=True), ECHO) == pytest.approx(math.sin(ECHO * angle / 2) ** 2)


def test_a_ghost_that_comes_later_or_meets_a_turned_qubit_costs_less():
    waiting = circuit([row(Op.SX, 0), row(Op.DELAY, 0, value=2000.0), row(Op.SX, 0)])
    turned = circuit([row(Op.SX, 0), *[row(Op.DELAY, 0, value=970.0), row(Op.X, 0)] * 2, row(Op.SX, 0)])
    at_rest = circuit([row(Op.DELAY, 0, value=2000.0), row(Op.SX, 0)])
    all_the_time, half, resting, refocused = (
        Exposure(one, schedule(one, Durations.of(device()))).ghost_loss(felt, ECHO)
        for one, felt in (
            (waiting, ghost()),
            (waiting, ghost(0.0, opens=(5000.0, 2060.0), stays=(1.0, 1.0), rises=(0.0, 1.0))),
            (at_rest, ghost()),
            (turned, ghost()),
        )
    )
    assert resting == 0.0
    assert 0.0 < half < all_the_time
    assert 0.0 < refocused < all_the_time
