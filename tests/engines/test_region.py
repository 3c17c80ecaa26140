"""The region engine is Aer with ghosts as qubits; its channels are the formulas; ghosts stand for real neighbours."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import regions
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_backend.engines.aer import AerEngine
from qpu_backend.engines.protocol import RegionTask, SliceSpec
from qpu_backend.engines.region import ChoosingEngine, RegionEngine, RegionPiece
from qpu_backend.physics.channels import smear_diagonal
from qpu_backend.physics.circuit import Op, operations
from qpu_backend.physics.context import NO_CONTEXT, Context, Ghost, Kick
from qpu_backend.physics.errors import TooLarge
from qpu_backend.physics.transfer import diagonal_transfer, pauli_transfer

TIMELESS = dict.fromkeys(regions.LENGTH_NS, 0.0)


def ghost(start, couplings, *, stays=(), rises=(), opens=(), independent=False):
    """One that has been there all the time; further intervals open at ``opens``."""
    return Ghost(
        opens_ns=np.array([1e9, *opens]),
        start=start,
        stays=np.array([1.0, *stays]),
        rises=np.array([0.0, *rises]),
        echoed=np.zeros(1 + len(opens), dtype=bool),
        couplings=couplings,
        independent=independent,
    )


def random_region(seed, num_qubits, num_ghosts, depth=40):
    rng = np.random.default_rng(seed)
    noise = regions.line(num_qubits, 60e3 * (seed % 3 > 0), seed=seed, detuned=seed % 2 == 0)
    circuit = regions.circuit_of(regions.random_rows(rng, num_qubits, depth, slots=3), noise)
    return circuit, noise, regions.random_context(rng, circuit, noise, num_ghosts), rng.uniform(-3, 3, (2, 3))


# --- equal to Aer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(16))
def test_probabilities_are_those_of_aer_with_ghosts_as_qubits(seed):
    circuit, noise, context, angles = random_region(seed, 1 + seed % 5, seed % 4)
    prepared = regions.prepare(circuit, noise, context, angles)
    piece = RegionPiece(prepared)
    for binding in angles.tolist():
        expected = regions.aer_probabilities(prepared, binding)
        assert np.abs(piece.probabilities(binding) - expected).max() < 1e-9


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("depth", [8, 40])
def test_without_ghosts_the_shots_are_aers_too(seed, depth):
    """Also where Aer leaves qubits out that nothing measured depends on."""
    circuit, noise, context, angles = random_region(seed, 2 + seed % 4, 0, depth)
    measured = np.flatnonzero(circuit.operations["code"] == Op.MEASURE)
    circuits = [replace(circuit, operations=np.delete(circuit.operations, measured[k:])) for k in range(len(measured))]
    circuits.append(replace(circuit, operations=np.delete(circuit.operations, measured[0])))
    slices = tuple(SliceSpec(c, c % 2, 400, seed + 2**62) for c in range(len(circuits)))
    task = RegionTask(tuple(circuits), (angles,) * len(circuits), noise, slices, (context,))
    for ours, aers in zip(RegionEngine().run(task), AerEngine().run(task), strict=True):
        assert np.array_equal(ours.bits, aers.bits)
        assert (ours.method, aers.method) == ("region", "density_matrix")


def test_each_binding_of_a_circuit_has_its_own_distribution():
    noise = regions.line(2, 60e3)
    circuit = regions.circuit_of([(Op.SX, 0), (Op.SX, 1), (Op.RZ, 0, "0"), (Op.RZZ, 0, 1, "1"), (Op.SX, 0)], noise)
    angles = np.array([[0.3, 0.0], [1.3, 0.0], [0.3, 1.0]])
    task = RegionTask((circuit,), (angles,), noise, tuple(SliceSpec(0, b, 3000, 1) for b in (0, 1, 2, 0)))
    first, turned, coupled, again = (outcome.bits for outcome in ChoosingEngine().run(task))
    assert np.array_equal(first, again)
    assert (first != turned).mean() > 0.05
    assert (first != coupled).mean() > 0.02


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(0, 4))
@settings(max_examples=40)
def test_probabilities_are_a_distribution(seed, num_qubits, num_ghosts):
    circuit, noise, context, angles = random_region(seed, num_qubits, num_ghosts, depth=25)
    piece = RegionPiece(regions.prepare(circuit, noise, context, angles))
    chances = piece.probabilities(angles[0].tolist())
    assert chances.min() >= -1e-12
    assert chances.sum() == pytest.approx(1.0, abs=1e-12)


def test_large_states_are_computed_like_small_ones():
    """Beyond a size the tensor lives in buffers; a region of two lines that never meet is the product of both."""
    rng = np.random.default_rng(0)
    noise = regions.line(6, 60e3)
    noise = replace(noise, zz_hz={edge: hz for edge, hz in noise.zz_hz.items() if edge != (2, 3)})
    left, right = (regions.random_rows(rng, 3, 40) for _ in range(2))
    moved = [(op, *(item + 3 if isinstance(item, int) else item for item in rest)) for op, *rest in right]
    whole = regions.circuit_of(left + moved, noise)
    context = regions.random_context(rng, whole, noise, 0)
    ghosts = tuple(
        ghost(0.3, ((q, 1e5),), stays=[0.9, 0.2], rises=[0.4, 0.1], opens=[3000.0, 700.0]) for q in (0, 2, 4)
    )
    context = replace(context, factors=np.ones(0), ghosts=ghosts)
    everything = RegionPiece(regions.prepare(whole, noise, context)).probabilities([])
    assert np.abs(everything - regions.aer_probabilities(regions.prepare(whole, noise, context))).max() < 1e-9


# --- which engine ---------------------------------------------------------------------------------------------


def test_each_circuit_is_run_by_the_engine_that_its_method_asks_for():
    noise, coupled = regions.line(2), regions.line(2, 60e3)
    rows = [(Op.SX, 0), (Op.SX, 1), (Op.DELAY, 0, 900.0), (Op.CX, 0, 1), (Op.SX, 0)]
    circuit = regions.circuit_of(rows, noise)
    trailing = replace(
        circuit, operations=np.append(circuit.operations, operations([(int(Op.RZ), 0, -1, -1, -1, 0.0, -1)]))
    )
    felt = Context(ghosts=(ghost(0.5, ((0, 60e3),)),))
    forgotten = Context(ghosts=(ghost(0.5, ((0, 60e3),), independent=True),))
    cases = [
        (circuit, noise, NO_CONTEXT, "density_matrix"),
        (circuit, noise, forgotten, "density_matrix"),
        (circuit, noise, felt, "region"),
        (circuit, coupled, NO_CONTEXT, "region"),
        (trailing, coupled, felt, "trajectories"),
    ]
    for chosen, seen, context, method in cases:
        task = RegionTask((chosen,), (regions.NO_ANGLES,), seen, (SliceSpec(0, 0, 10, 1),), (context,))
        assert ChoosingEngine().run(task)[0].method == method
    with pytest.raises(TooLarge):
        RegionEngine().run(RegionTask((trailing,), (regions.NO_ANGLES,), coupled, (SliceSpec(0, 0, 10, 1),)))


def test_a_neighbour_that_stays_in_0_changes_no_shot():
    noise = regions.line(3, 60e3)
    circuit = regions.circuit_of(regions.random_rows(np.random.default_rng(3), 3, 40), noise)
    quiet = Context(ghosts=(ghost(0.0, ((0, 60e3), (2, 90e3)), stays=[0.5], rises=[0.0], opens=[800.0]),))
    loud = Context(ghosts=(ghost(1.0, ((0, 60e3), (2, 90e3))),))
    slices = tuple(SliceSpec(0, 0, 2000, 9, context) for context in range(3))
    task = RegionTask((circuit,), (regions.NO_ANGLES,), noise, slices, (NO_CONTEXT, quiet, loud))
    alone, beside_quiet, beside_loud = (outcome.bits for outcome in ChoosingEngine().run(task))
    assert np.array_equal(alone, beside_quiet)
    assert not np.array_equal(alone, beside_loud)


@pytest.mark.parametrize("seed", range(3))
def test_trajectories_beside_ghosts_draw_from_the_distribution_of_the_region_engine(seed):
    circuit, noise, context, angles = random_region(seed + 1, 3, 2, depth=30)
    trailing = replace(
        circuit, operations=np.append(circuit.operations, operations([(int(Op.RZ), 0, -1, -1, -1, 0.0, -1)]))
    )
    shots = 8000
    task = RegionTask(
        (circuit, trailing), (angles, angles), noise, tuple(SliceSpec(c, 0, shots, 4) for c in (0, 1)), (context,)
    )
    exact, sampled = ChoosingEngine().run(task)
    assert sampled.method == "trajectories"
    here, there = (np.bincount(outcome.bits[:, 0], minlength=8) / shots for outcome in (exact, sampled))
    assert 0.5 * np.abs(here - there).sum() < 0.03  # of two samples of 8 outcomes: 0.013 on average


@pytest.mark.parametrize("way", ["region", "density_matrix", "trajectories"])
@pytest.mark.parametrize(
    ("context", "read"),
    [
        (NO_CONTEXT, 1),
        (Context(ghosts=(ghost(1.0, ((0, 5e5),)),)), 0),
        (Context(ghosts=(ghost(1.0, ((0, 5e5),), independent=True),)), 0),
        (Context(ghosts=(ghost(0.0, ((0, 5e5),)),)), 1),
        (Context(ghosts=(ghost(1.0, ((0, 5e5),), stays=[0.0], rises=[0.0], opens=[2000.0]),)), 1),
        (Context(ghosts=(ghost(0.0, ((0, 5e5),), stays=[0.0], rises=[1.0], opens=[2000.0]),)), 0),
        (Context(ghosts=(ghost(0.0, ((0, 5e5),)), ghost(1.0, ((0, 5e5),)))), 0),
        (Context(kicks=(Kick(0, 1500.0, math.pi, 0.0),)), 0),
        (Context(kicks=(Kick(0, 1500.0, 0.0, 1.0),)), 0),
        (Context(kicks=(Kick(0, 500.0, 0.0, 1.0),)), 1),
        (Context(start=np.array([1.0])), 0),
        (Context(readout=np.array([[0.0, 1.0]])), 0),
    ],
)
def test_ramsey_beside_certain_neighbours_is_certain_by_every_way(way, context, read):
    """π/2, 1 µs, π/2: it reads 1, unless a phase of π or a flip comes in between."""
    noise = regions.line(1, errors=False, lengths=TIMELESS)
    circuit = regions.circuit_of([(Op.SX, 0), (Op.DELAY, 0, 1000.0), (Op.SX, 0)], noise)
    if way == "trajectories":
        trailing = operations([(int(Op.RZ), 0, -1, -1, -1, 0.0, -1)])
        circuit = replace(circuit, operations=np.append(circuit.operations, trailing))
    engine = RegionEngine() if way == "region" else AerEngine()
    task = RegionTask((circuit,), (regions.NO_ANGLES,), noise, (SliceSpec(0, 0, 40, 3),), (context,))
    (outcome,) = engine.run(task)
    assert outcome.method == way
    assert set(outcome.bits[:, 0].tolist()) == {read}


def test_what_follows_a_measurement_does_not_change_it():
    noise = regions.line(1, errors=False)
    noise = replace(noise, qubits={0: replace(noise.qubits[0], t1_us=1.0, t2_us=1.0)})
    rows = [(int(Op.X), 0, -1, -1, -1, 0.0, -1), (int(Op.MEASURE), 0, -1, 0, -1, 0.0, -1)]
    rows.append((int(Op.DELAY), 0, -1, -1, -1, 1e6, -1))
    circuit = replace(regions.circuit_of([], noise), operations=operations(rows))
    task = RegionTask((circuit,), (regions.NO_ANGLES,), noise, (SliceSpec(0, 0, 50, 1),))
    for engine in (AerEngine(), RegionEngine()):
        assert engine.run(task)[0].bits.mean() > 0.8


def test_readout_beside_others_is_worse_in_both_engines_and_stays_a_probability():
    noise = regions.line(2)
    circuit = regions.circuit_of([(Op.X, 0)], noise)
    extra = Context(readout=np.array([[0.0, 0.4], [0.3, 0.0]]))
    absurd = Context(readout=np.array([[0.0, 7.0], [7.0, 0.0]]))
    slices = tuple(SliceSpec(0, 0, 4000, 2, context) for context in range(3))
    task = RegionTask((circuit,), (regions.NO_ANGLES,), noise, slices, (NO_CONTEXT, extra, absurd))
    for engine in (AerEngine(), RegionEngine()):
        none, some, all_wrong = (
            np.unpackbits(o.bits, axis=1, bitorder="little")[:, :2].mean(axis=0) for o in engine.run(task)
        )
        assert some - none == pytest.approx([-0.4, 0.3], abs=0.04)
        assert all_wrong.tolist() == [0.0, 1.0]


# --- V1, V3: the channels are the formulas --------------------------------------------------------------------


def transfer_of(context, rows, noise, probabilities):
    """Process tomography of a one-qubit circuit with perfect gates that take no time: its Pauli transfer matrix."""
    read = {"x": [(Op.RZ, 0, -math.pi / 2), (Op.SX, 0), (Op.RZ, 0, math.pi)], "y": [(Op.SX, 0)], "z": []}
    made = {"0": [], "1": [(Op.X, 0)], "+": [(Op.SX, 0), (Op.RZ, 0, math.pi / 2)], "i": [(Op.X, 0), (Op.SX, 0)]}

    def value(prepared, basis):
        circuit = regions.circuit_of([*made[prepared], *rows, *read[basis]], noise)
        chances = probabilities(regions.prepare(circuit, noise, context))
        sign = -1 if basis == "x" else 1
        return sign * float(chances[0] - chances[1])

    found = np.zeros((4, 4))
    found[0, 0] = 1.0
    for row, basis in enumerate("xyz", start=1):
        up, down, plus, right = (value(prepared, basis) for prepared in "01+i")
        found[row] = [(up + down) / 2, plus - (up + down) / 2, right - (up + down) / 2, (up - down) / 2]
    return found


ENGINES = {
    "region": lambda prepared: RegionPiece(prepared).probabilities([]),
    "aer": regions.aer_probabilities,
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("independent", [False, True])
@pytest.mark.parametrize(("excited", "zz_hz", "tau_ns"), [(0.3, 60e3, 900.0), (0.5, 100e3, 5000.0), (1.0, 4e3, 2e4)])
def test_v1_a_single_window_is_the_formula(engine, independent, excited, zz_hz, tau_ns):
    noise = regions.line(1, errors=False, lengths=TIMELESS)
    context = Context(ghosts=(ghost(excited, ((0, zz_hz),), independent=independent),))
    found = transfer_of(context, [(Op.DELAY, 0, tau_ns)], noise, ENGINES[engine])
    angle = 2e-9 * math.pi * zz_hz * tau_ns
    expected = pauli_transfer(np.diag(smear_diagonal(excited, angle)))
    assert np.abs(found - expected).max() < 1e-10


@pytest.mark.parametrize("engine", ENGINES)
def test_v1_a_ghost_remembers_from_window_to_window(engine):
    """Both phases have the same sign when the bit stays: not the product of two windows, which forgets."""
    noise, zz_hz, tau_ns = regions.line(1, errors=False, lengths=TIMELESS), 60e3, 2000.0
    wait = (Op.DELAY, 0, tau_ns)
    still = ghost(0.5, ((0, zz_hz),), stays=[0.9], rises=[0.2], opens=[tau_ns + 1000.0])
    found = transfer_of(Context(ghosts=(still,)), [wait, wait], noise, ENGINES[engine])
    turn = np.exp(2e-9j * math.pi * zz_hz * tau_ns)
    coherence = 0.5 * (0.8 + 0.2 * turn) + 0.5 * turn * (0.1 + 0.9 * turn)
    assert np.abs(found - diagonal_transfer(coherence, 1.0)).max() < 1e-10


@pytest.mark.parametrize("engine", ENGINES)
def test_v3_twirled_on_both_sides_zz_is_a_z_error(engine):
    """Averaged over Paulis around the window, beside a neighbour that is 1 half of the time: ½ sin²(φ/2)."""
    noise, zz_hz, tau_ns = regions.line(1, errors=False, lengths=TIMELESS), 60e3, 3000.0
    context = Context(ghosts=(ghost(0.5, ((0, zz_hz),)),))
    pauli_x, pauli_z = [(Op.X, 0)], [(Op.RZ, 0, math.pi)]
    twirled = [
        transfer_of(context, [*pauli, (Op.DELAY, 0, tau_ns), *reversed(pauli)], noise, ENGINES[engine])
        for pauli in ([], pauli_x, [*pauli_x, *pauli_z], pauli_z)
    ]
    p_z = 0.5 * math.sin(math.pi * 1e-9 * zz_hz * tau_ns) ** 2
    assert np.abs(np.mean(twirled, axis=0) - np.diag([1.0, 1 - 2 * p_z, 1 - 2 * p_z, 1.0])).max() < 1e-10


def test_v3_random_twirls_of_two_real_qubits_make_that_many_errors():
    """Ramsey of u beside v, a new Pauli on each before every window: shots, within five standard deviations."""
    rng, zz_hz, tau_ns, windows, shots = np.random.default_rng(1), 80e3, 2000.0, 4, 40
    noise = regions.line(2, errors=False, lengths=TIMELESS)
    noise = replace(noise, zz_hz={(0, 1): zz_hz})
    circuits = []
    for _ in range(150):
        rows = [(Op.SX, 0), (Op.SX, 1), (Op.RZ, 1, float(rng.choice([0.0, math.pi])))]
        for _ in range(windows):
            flips = [q for q in (0, 1) if rng.random() < 0.5]
            rows += [(Op.X, q) for q in flips] + [(Op.DELAY, q, tau_ns) for q in (0, 1)] + [(Op.X, q) for q in flips]
            rows += [(Op.SX, 1), (Op.RZ, 1, float(rng.uniform(-3, 3))), (Op.SX, 1)]  # v is random in the next one
        # whoever flips u and not v turns the sign of the phase: so does the average over signs
        circuits.append(regions.circuit_of([*rows, (Op.RZ, 0, math.pi), (Op.SX, 0)], noise))
    task = RegionTask(
        tuple(circuits),
        (regions.NO_ANGLES,) * len(circuits),
        noise,
        tuple(SliceSpec(number, 0, shots, number + 1) for number in range(len(circuits))),
    )
    wrong = np.concatenate([outcome.bits[:, 0] & 1 for outcome in ChoosingEngine().run(task)])
    p_z = 0.5 * math.sin(math.pi * 1e-9 * zz_hz * tau_ns) ** 2
    expected = 0.5 * (1.0 - (1.0 - 2.0 * p_z) ** windows)
    deviation = math.sqrt(expected * (1 - expected) / len(wrong))
    assert abs(wrong.mean() - expected) < 5 * deviation
    assert abs(wrong.mean()) > 20 * deviation
