"""What neighbours leave on a circuit: ghosts keep excitations and correlations, laws hold, predictions are monotone."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.physics.circuit import IsaCircuit, Op, operations
from qpu_backend.physics.context import NO_CONTEXT, Context, Occupation, Profile
from qpu_backend.physics.crosstalk import leaked_excitation, readout_blur
from qpu_backend.physics.device import NO_CROSSTALK, Crosstalk, Drive, ResetLeakage, SharedReadout, StaticZZ
from qpu_backend.physics.drive import PULSE, kicks_of, stark_and_flip
from qpu_backend.physics.fidelity import added_loss
from qpu_backend.physics.ghosts import Felt, ghosts_of, transitions, windows_of
from qpu_backend.physics.neighbours import PlacedCircuit, context_of, near, own_start, wanted
from qpu_backend.physics.snapshot import GateProperties, QubitProperties, Snapshot
from qpu_backend.physics.topology import Topology
from qpu_sdk.wire.codec import pack, unpack

LINE = Topology.of(12, [(q, q + 1) for q in range(11)])
NO_ECHOES = np.zeros((0, 2))
EVERYTHING = Crosstalk(reset=ResetLeakage(resets=0))


def calibration():
    qubits = tuple(QubitProperties(200.0, 150.0, 5e9 + 5e7 * (q % 3), -3e8, 0.01, 0.02, 1200.0) for q in range(12))
    gates = {(op, (q,)): GateProperties(2e-4, 60.0) for op in (Op.SX, Op.X, Op.RZ) for q in range(12)}
    gates |= {(Op.ECR, (q, q + 1)): GateProperties(7e-3, 600.0) for q in range(11)}
    return Snapshot("line", 1, 0, 0, qubits, gates, {(q, q + 1): 60e3 for q in range(11)})


SNAPSHOT = calibration()


def chain(first, layers=3, extra_ns=0.0):
    """Three qubits from ``first`` on: sx, gates, measurements."""
    rows = [(int(Op.SX), q, -1, -1, -1, 0.0, -1) for q in range(3)]
    for _ in range(layers):
        rows += [(int(Op.ECR), q, q + 1, -1, -1, 0.0, -1) for q in range(2)]
    rows += [(int(Op.DELAY), q, -1, -1, -1, extra_ns, -1) for q in range(3) if extra_ns]
    rows += [(int(Op.MEASURE), q, -1, q, -1, 0.0, -1) for q in range(3)]
    return PlacedCircuit.of(IsaCircuit((first, first + 1, first + 2), 3, (), operations(rows)), SNAPSHOT)


@st.composite
def occupations(draw, duration=5000.0):
    k = draw(st.integers(1, 8))
    excited = np.array(draw(st.lists(st.floats(0, 1), min_size=k, max_size=k)))
    share = np.array(draw(st.lists(st.floats(0, 1), min_size=k - 1, max_size=k - 1)))
    low = np.maximum(0.0, excited[:-1] + excited[1:] - 1)
    both = low + share * (np.minimum(excited[:-1], excited[1:]) - low)
    opens = np.sort(np.array(draw(st.lists(st.integers(1, 4999), min_size=k - 1, max_size=k - 1, unique=True))))[::-1]
    return Occupation(np.concatenate([[duration], opens]).astype(float), excited, both)


@given(occupations())
def test_jumps_keep_the_excitation_of_every_interval_and_the_correlation_to_the_next(occupation):
    stays, rises = transitions(occupation)
    now = occupation.excited[0]
    for k in range(1, len(stays)):
        assert now * stays[k] == pytest.approx(occupation.both[k - 1], abs=1e-9)
        now = now * stays[k] + (1 - now) * rises[k]
        assert now == pytest.approx(occupation.excited[k], abs=1e-9)
    assert (stays[0], rises[0]) == (1.0, 0.0)


@given(occupations(), st.floats(500, 9000))
def test_a_ghost_is_its_neighbour_since_the_victim_began(occupation, duration):
    felt = Felt(3, occupation, np.array([[900.0, 300.0]]))
    found = ghosts_of(StaticZZ(), {(2, 3): 60e3}, (1, 2), duration, [felt], 10)
    if not found:  # never excited while the victim runs
        alive = np.append(occupation.opens_ns[1:], 0.0) < duration
        assert occupation.excited[alive].max() <= 2e-3
        return
    (ghost,) = found
    assert ghost.opens_ns[0] == duration
    assert (np.diff(ghost.opens_ns) < 0).all()
    assert ghost.couplings == ((1, 60e3),)
    for opens, excited, echoed in zip(ghost.opens_ns, ghost.excited(), ghost.echoed, strict=True):
        inside = opens - 1e-6
        interval = int(np.searchsorted(-occupation.opens_ns, -inside)) - 1
        expected = occupation.excited[interval] if interval >= 0 else 0.0
        assert excited == pytest.approx(expected, abs=0.02)
        assert echoed == (300.0 < inside < 900.0)


def test_an_impossible_correlation_is_clipped_before_it_becomes_a_jump():
    occupation = Occupation(np.array([100.0, 50.0]), np.array([0.9, 0.9]), np.array([0.5]))
    stays, rises = transitions(occupation)
    assert 0.9 * stays[1] + 0.1 * rises[1] == pytest.approx(0.9)  # clipping P(1|0) instead would give 0.6
    assert 0.9 * stays[1] == pytest.approx(0.8)


def test_the_ghosts_that_matter_least_lose_their_memory():
    steady = Occupation(np.array([4000.0]), np.array([0.5]), np.zeros(0))
    zz = {(0, 1): 10e3, (2, 3): 90e3, (4, 5): 50e3}
    felts = [Felt(q, steady, NO_ECHOES) for q in (1, 3, 5)]
    for max_exact, kept in ((3, {1, 3, 5}), (2, {3, 5}), (1, {3}), (0, set()), (-2, set())):
        ghosts = ghosts_of(StaticZZ(), zz, (0, 2, 4), 4000.0, felts, max_exact)
        exact = {q for q, ghost in zip((1, 3, 5), ghosts, strict=True) if not ghost.independent}
        assert exact == kept
        assert Context(ghosts=ghosts).num_demoted == 3 - len(kept)


def test_neighbours_in_zero_uncoupled_ones_and_a_switch_leave_no_ghost():
    ground = Occupation(np.array([4000.0]), np.array([0.0]), np.zeros(0))
    excited = Occupation(np.array([4000.0]), np.array([1.0]), np.zeros(0))
    zz = {(0, 1): 60e3}
    assert ghosts_of(StaticZZ(), zz, (0,), 4000.0, [Felt(1, ground, NO_ECHOES)], 9) == ()
    assert ghosts_of(StaticZZ(), zz, (0,), 4000.0, [Felt(2, excited, NO_ECHOES)], 9) == ()
    assert ghosts_of(StaticZZ(enabled=False), zz, (0,), 4000.0, [Felt(1, excited, NO_ECHOES)], 9) == ()
    (ghost,) = ghosts_of(StaticZZ(scale=2.0), zz, (0,), 4000.0, [Felt(1, excited, NO_ECHOES)], 9)
    assert windows_of(ghost, 0.6)[0].sum() == pytest.approx(2e-9 * math.pi * 120e3 * 4000.0)


@given(st.floats(1e4, 5e6), st.floats(1e6, 5e8), st.floats(10, 1000))
def test_a_drive_off_resonance_is_the_rabi_formula(rabi, detuning, time):
    angle, flip = stark_and_flip(rabi, detuning, time)
    h = math.pi * np.array([[detuning, rabi], [rabi, -detuning]])  # in the drive's frame
    energies, vectors = np.linalg.eigh(h)
    evolved = vectors @ np.diag(np.exp(-1e-9j * time * energies)) @ vectors.conj().T
    assert flip == pytest.approx(abs(evolved[1, 0]) ** 2, abs=1e-9)
    if rabi < 0.05 * detuning:
        beyond = -2 * np.angle(evolved[0, 0] * np.exp(1e-9j * math.pi * detuning * time))
        folded = math.remainder(angle - beyond, 2 * math.pi)
        assert abs(folded) < 0.02 * max(1e-3, angle) + 2 * flip**0.5 * rabi / detuning + 1e-3


def test_pulses_reach_two_couplers_far_with_less_each_time():
    pulse = np.array([(5, 5, 900.0, 840.0, False)], dtype=PULSE)
    drive = Drive(spill=0.5)
    frequencies = dict.fromkeys(range(12), 5e9)  # all on resonance: a flip of sin²(½τΩ)
    kicks = kicks_of(drive, LINE, frequencies, (2, 3, 4), 2000.0, [pulse])
    expected = [round(math.sin(math.pi * m * 8e6 * 60e-9) ** 2, 5) for m in (0.15, 0.5)]
    assert [(k.qubit, k.at_ns, k.angle_rad) for k in kicks] == [(1, 900.0, 0.0), (2, 900.0, 0.0)]
    assert [k.flip for k in kicks] == pytest.approx(expected, abs=1e-5)
    assert kicks_of(drive, LINE, frequencies, (2, 3, 4), 500.0, [pulse]) == ()  # it was over before we began
    assert kicks_of(drive, LINE, frequencies | {4: None, 3: None}, (2, 3, 4), 2000.0, [pulse]) == ()
    assert kicks_of(replace(drive, enabled=False), LINE, frequencies, (2, 3, 4), 2000.0, [pulse]) == ()


def test_qubits_read_together_blur_each_other_by_their_excitation():
    readout = SharedReadout(group=4, offset=0.001, slope=0.002)
    blur = readout_blur(readout, (2, 3, 4), {2, 4}, {1: 0.5, 5: 1.0, 6: 0.0, 9: 1.0})
    assert blur[:, 0].tolist() == pytest.approx([0.002, 0.0, 0.004])  # 3 is not read, 9 is of another group
    assert (blur[:, 0] == blur[:, 1]).all()
    assert not readout_blur(replace(readout, enabled=False), (2,), {2}, {1: 1.0}).any()


def test_what_the_shot_before_has_left():
    reset = ResetLeakage(resets=0, failure=0.01, thermal=0.005)
    assert leaked_excitation(reset, 1.0, 250.0, 232.0) == pytest.approx(0.005 + 0.34, abs=1e-3)
    assert leaked_excitation(replace(reset, resets=1), 1.0, 250.0, 232.0) == pytest.approx(0.005 + 0.0034, abs=1e-5)
    assert leaked_excitation(reset, 1.0, 2e6, 232.0) == pytest.approx(0.005)  # across batches: 2 s
    scrubbed = {leaked_excitation(reset, before, 250.0, 232.0, scrubbed=True) for before in (0.0, 0.3, 1.0)}
    assert len(scrubbed) == 1  # whoever was there, it cannot be read
    assert scrubbed.pop() == pytest.approx(0.005 + 1e-4 * 0.5 * 0.34, abs=1e-6)
    assert leaked_excitation(replace(reset, enabled=False), 1.0, 250.0, 232.0) == 0.0


def test_a_circuit_starts_in_what_it_left_behind():
    placed = chain(0)
    final = Profile({}, np.array([0.5, 1.0, 0.0]))
    start = own_start(EVERYTHING, SNAPSHOT, placed, 250.0, final)
    assert start.tolist() == pytest.approx([0.5 * math.exp(-1.25), math.exp(-1.25), 0.0], abs=1e-4)
    assert own_start(Crosstalk(), SNAPSHOT, placed, 250.0, final).size == 0  # two active resets leave nothing


def profile_of(placed, seed):
    rng = np.random.default_rng(seed)
    times = np.array([placed.summary.duration_ns, 1500.0])
    occupations = {
        local: Occupation(times, np.array([0.0, p]), np.array([0.0])) for local, p in enumerate(rng.uniform(0.2, 1, 3))
    }
    return Profile(occupations, rng.uniform(0.2, 1, 3))


@pytest.mark.parametrize("seed", range(5))
def test_another_neighbour_never_lowers_the_predicted_error(seed):
    victim, one, other = chain(4), chain(1, layers=seed + 1), chain(7, extra_ns=100.0 * seed)
    losses = []
    for beside in ([], [one], [one, other]):
        felt = [(placed, profile_of(placed, seed)) for placed in beside]
        context = context_of(EVERYTHING, LINE, SNAPSHOT, victim, felt, np.zeros(0))
        losses.append(added_loss(victim.circuit, SNAPSHOT, context))
        assert pack(Context.from_document(unpack(pack(context.to_document()))).to_document()) == pack(
            context.to_document()
        )
    assert losses[0] == 0.0
    assert losses[0] < losses[1] < losses[2]


def test_with_every_mechanism_off_neighbours_leave_nothing():
    victim, one = chain(4), chain(1)
    context = context_of(NO_CROSSTALK, LINE, SNAPSHOT, victim, [(one, profile_of(one, 1))], np.zeros(0))
    assert context.is_nothing
    assert pack(context.to_document()) == pack(NO_CONTEXT.to_document())
    assert not near(NO_CROSSTALK, LINE, (4, 5, 6), (1, 2, 3))
    assert wanted(NO_CROSSTALK, LINE, SNAPSHOT, one, [victim]) is None


def test_only_what_is_felt_is_asked_for():
    quiet = Crosstalk(readout=SharedReadout(enabled=False), drive=Drive(enabled=False))
    victim, beside, apart = chain(4), chain(1), chain(8)
    assert wanted(quiet, LINE, SNAPSHOT, beside, [victim]) == (2,)  # of qubits 1, 2, 3 the last one
    assert wanted(quiet, LINE, SNAPSHOT, apart, [victim]) is None
    assert wanted(Crosstalk(), LINE, SNAPSHOT, apart, [victim]) == ()  # 6 | 8 share the second group of six
    assert near(Crosstalk(), LINE, (4, 5, 6), (8, 9, 10))
    assert not near(quiet, LINE, (4, 5, 6), (8, 9, 10))
