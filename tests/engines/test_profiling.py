"""A profile is what copying the qubit to fresh bits would show; a ghost made of it stands for the real neighbour."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import regions
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_backend.engines.prepared import Prepared
from qpu_backend.engines.profiling import profile_of
from qpu_backend.engines.protocol import ProfileTask, decode_profiles, join_tasks
from qpu_backend.engines.region import RegionPiece
from qpu_backend.engines.superoperators import superoperators
from qpu_backend.engines.worker import run_profiles
from qpu_backend.physics.channels import UNITARIES, unitary_channel
from qpu_backend.physics.circuit import Op, operations
from qpu_backend.physics.context import NO_CONTEXT, Context
from qpu_backend.physics.device import StaticZZ
from qpu_backend.physics.ghosts import Felt, ghosts_of, transitions
from qpu_backend.physics.program import Step
from qpu_backend.physics.timing import Durations, schedule

COPY = unitary_channel(UNITARIES[Op.CX])
OPENS = {Op.SX, Op.X, Op.ID, Op.ECR, Op.CX, Op.CZ, Op.RZZ, Op.RESET}
NOBODY = np.zeros(0)


def profile(circuit, noise, qubits, *, angles=regions.NO_ANGLES, start=NOBODY):
    return profile_of(ProfileTask(circuit, angles, noise, start, tuple(qubits)))


def random_circuit(seed, num_qubits, noise, depth=25):
    return regions.circuit_of(regions.random_rows(np.random.default_rng(seed), num_qubits, depth), noise)


def pieces_of(prepared: Prepared):
    """Each happening of a program alone, as superoperators."""
    for news in prepared.program:
        one = prepared_with(prepared, (news,))
        yield news, list(superoperators(one, []))


def prepared_with(prepared: Prepared, program):
    other = object.__new__(Prepared)
    for name in ("circuit", "context", "ghosts", "method", "qubits", "_factors"):
        setattr(other, name, getattr(prepared, name))
    other.program = program
    return other


def long_lived(noise):
    """T1 and T2 so long that idling is not cut, which ``copied`` knows nothing of."""
    qubits = {q: replace(one, t1_us=20 * one.t1_us, t2_us=20 * one.t2_us) for q, one in noise.qubits.items()}
    return replace(noise, qubits=qubits)


def copied(circuit, noise, v, window):
    """The definition: copy v to a fresh ancilla in one interval and to another in the next, and read both, by Aer.

    Returns:
        P(1 in the first one), P(1 in both).
    """
    n = circuit.num_qubits
    happenings, opened = [], 0
    if window == 0:
        happenings.append(((v, n), COPY))
    for news, pieces in pieces_of(regions.prepare(circuit, noise)):
        # what has happened before the beginning belongs to the first interval
        happenings += pieces
        if isinstance(news, Step) and news.op in OPENS and v in news.qubits:
            opened += 1
            if opened == window:
                happenings.append(((v, n), COPY))
            if opened == window + 1:
                happenings.append(((v, n + 1), COPY))
                break
    _, only_first, _, twice = regions.run_on_aer(happenings, n + 2, (n, n + 1)).tolist()  # index: first + 2·second
    return only_first + twice, twice


def within_bounds(twice, before, after):
    """The first copy takes coherence away, so that both chances need not fit to the second one undisturbed."""
    return min(max(twice, 0.0, before + after - 1.0), before, after)


@pytest.mark.parametrize("seed", range(8))
def test_p_and_c_are_those_of_two_copies(seed):
    """There is no ZZ here that the relaxed part would miss."""
    num_qubits = 2 + seed % 2
    noise = long_lived(regions.line(num_qubits, seed=seed))
    circuit = random_circuit(seed, num_qubits, noise)
    occupations = profile(circuit, noise, range(num_qubits)).occupations
    for v, occupation in occupations.items():
        assert len(occupation.excited) > 3
        for window, (chance, after, both) in enumerate(
            zip(occupation.excited, occupation.excited[1:], occupation.both, strict=False)
        ):
            once, twice = copied(circuit, noise, v, window)
            assert chance == pytest.approx(once, abs=1e-9)
            assert both == pytest.approx(within_bounds(twice, chance, after), abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_beside_zz_c_is_exact_but_for_what_relaxes_in_one_interval(seed):
    noise = long_lived(regions.line(3, 80e3, seed=seed, detuned=True))
    circuit = random_circuit(seed, 3, noise)
    for v, occupation in profile(circuit, noise, range(3)).occupations.items():
        for window in range(0, len(occupation.both), 3):
            once, twice = copied(circuit, noise, v, window)
            before, after = occupation.excited[window : window + 2]
            assert before == pytest.approx(once, abs=1e-9)
            assert occupation.both[window] == pytest.approx(within_bounds(twice, before, after), abs=1e-3)


def test_intervals_open_where_the_qubits_own_operations_begin():
    noise = regions.line(2)
    rows = [(Op.X, 0), (Op.SX, 1), (Op.RZ, 0, 1.0), (Op.CX, 0, 1), (Op.DELAY, 0, 500.0), (Op.X, 0)]
    circuit = regions.circuit_of(rows, noise)
    first, second = profile(circuit, noise, (0, 1)).occupations.values()
    # from the end: readout 1000, X 60, delay 500, CX 500, SX or X 60
    assert first.opens_ns.tolist() == [2120.0, 2120.0, 2060.0, 1060.0]
    assert second.opens_ns.tolist() == [2120.0, 2120.0, 2060.0]
    assert first.excited == pytest.approx([0.0, 1.0, 1.0, 0.0], abs=0.03)
    assert first.both == pytest.approx([0.0, 1.0, 0.0], abs=0.03)
    assert second.excited == pytest.approx([0.0, 0.5, 0.5], abs=0.03)
    assert second.both == pytest.approx([0.0, 0.25 * 0], abs=0.03)  # X on the control swaps 0 and 1


def test_long_idling_is_cut_where_a_fiftieth_more_has_relaxed():
    noise = regions.line(1)
    t1_ns = 1e3 * noise.qubits[0].t1_us
    wait_ns = 0.5 * t1_ns
    circuit = regions.circuit_of([(Op.X, 0), (Op.DELAY, 0, wait_ns), (Op.X, 0)], noise)
    occupation = profile(circuit, noise, (0,)).occupations[0]
    began_ns, ended_ns = occupation.opens_ns[1] - 60.0, occupation.opens_ns[-1]
    assert began_ns - ended_ns == pytest.approx(wait_ns)
    cuts = occupation.opens_ns[2:-1]
    assert len(cuts) == int((1 - math.exp(-0.5)) / 0.02)
    start = occupation.excited[1]
    assert occupation.excited[2:-1] == pytest.approx(start * np.exp(-(began_ns - cuts) / t1_ns))
    assert np.abs(np.diff(occupation.excited[1:-1])).max() == pytest.approx(0.02 * start)
    assert occupation.both[1:-1] == pytest.approx(occupation.excited[2:-1])  # it only falls
    lost = 1 - math.exp(-0.5)
    assert occupation.excited[-1] == pytest.approx(1 - start * (1 - lost), abs=1e-3)  # the error of the last X
    assert occupation.both[-1] == pytest.approx(
        occupation.excited[-2] * (1 - (1 - lost) / (1 - 0.02 * len(cuts))), abs=1e-3
    )


@given(st.integers(0, 2**32), st.integers(1, 4), st.booleans())
@settings(max_examples=30)
def test_a_ghost_made_of_a_profile_is_as_excited_as_the_qubit(seed, num_qubits, coupled):
    rng = np.random.default_rng(seed)
    noise = regions.line(num_qubits, 90e3 if coupled else 0.0, seed=seed, detuned=coupled)
    circuit = random_circuit(seed, num_qubits, noise)
    found = profile(circuit, noise, range(num_qubits), start=rng.uniform(0, 0.3, num_qubits))
    for occupation in found.occupations.values():
        before, after = occupation.excited[:-1], occupation.excited[1:]
        assert (np.diff(occupation.opens_ns) <= 0).all()
        assert (np.maximum(0.0, before + after - 1.0) - 1e-12 <= occupation.both).all()
        assert (occupation.both <= np.minimum(before, after) + 1e-12).all()
        stays, rises = transitions(occupation)
        assert before * stays[1:] + (1 - before) * rises[1:] == pytest.approx(after, abs=1e-9)
        assert ((stays >= 0) & (stays <= 1) & (rises >= 0) & (rises <= 1)).all()
    assert ((found.final >= -1e-12) & (found.final <= 1 + 1e-12)).all()


def test_the_final_excitation_is_what_a_perfect_reader_reads():
    noise = regions.line(3, 60e3)
    circuit = random_circuit(5, 3, noise, 40)
    start = np.array([0.2, 0.0, 0.1])
    chances = regions.aer_probabilities(regions.prepare(circuit, noise, Context(start=start))).reshape(2, 2, 2)
    found = profile(circuit, noise, (1,), start=start)
    assert found.final == pytest.approx([chances[:, :, 1].sum(), chances[:, 1].sum(), chances[1].sum()], abs=1e-9)
    assert found.occupations[1].excited[0] == 0.0
    assert profile(circuit, noise, (0,), start=start).occupations[0].excited[0] == 0.2


def test_bindings_are_averaged():
    noise = regions.line(2)
    circuit = regions.circuit_of([(Op.SX, 0), (Op.RZ, 0, "0"), (Op.SX, 0), (Op.CX, 0, 1)], noise)
    angles = np.array([[0.5 * math.pi], [1.2], [2.0]])  # far from where the bounds of C bind
    single = [profile(circuit, noise, (0, 1), angles=angles[[row]]) for row in range(3)]
    together = profile(circuit, noise, (0, 1), angles=angles)
    assert single[1].final[0] > single[0].final[0] + 0.1 > single[2].final[0] + 0.2
    assert together.final == pytest.approx(np.mean([one.final for one in single], axis=0))
    for v in (0, 1):
        for name in ("excited", "both"):
            apart = np.mean([getattr(one.occupations[v], name) for one in single], axis=0)
            assert getattr(together.occupations[v], name) == pytest.approx(apart)


@pytest.mark.parametrize("why", ["too many qubits", "something after a measurement"])
def test_past_the_exact_methods_every_operation_randomises(why):
    num_qubits = 11 if why == "too many qubits" else 2
    noise = regions.line(num_qubits)
    rows = [(Op.X, 0), (Op.RZ, 0, 1.0), (Op.CX, 0, 1), (Op.SX, 1)]
    circuit = regions.circuit_of(rows, noise)
    if num_qubits == 2:
        trailing = operations([(int(Op.X), 0, -1, -1, -1, 0.0, -1)])
        circuit = replace(circuit, operations=np.append(circuit.operations, trailing))
    start = np.zeros(num_qubits)
    start[0] = 0.1
    found = profile(circuit, noise, (0, 1), start=start)
    first, second = found.occupations[0], found.occupations[1]
    more = [0.5] * (num_qubits == 2)
    assert first.excited.tolist() == [0.1, 0.5, 0.5, *more]
    assert first.both.tolist() == [0.05, 0.25, *(0.5 * p for p in more)]
    assert second.excited.tolist() == [0.0, 0.5, 0.5]
    assert second.both.tolist() == [0.0, 0.25]
    duration_ns = schedule(circuit, Durations.of(noise)).duration_ns
    assert (first.opens_ns[0], second.opens_ns[0]) == (duration_ns, duration_ns)
    assert found.final.tolist() == [0.5, 0.5] + [0.0] * (num_qubits - 2)


def test_profiles_cross_to_a_worker_and_back():
    noise = regions.line(3, 60e3)
    tasks = [
        ProfileTask(random_circuit(seed, 3, noise), regions.NO_ANGLES, noise, np.array([0.1, 0.0, 0.2]), (0, 2))
        for seed in range(2)
    ]
    answered = decode_profiles(run_profiles(join_tasks([task.to_bytes() for task in tasks])))
    for task, found in zip(tasks, answered, strict=True):
        expected = profile_of(task)
        assert np.array_equal(found.final, expected.final)
        assert list(found.occupations) == [0, 2]
        for v in (0, 2):
            for name in ("opens_ns", "excited", "both"):
                assert np.array_equal(getattr(found.occupations[v], name), getattr(expected.occupations[v], name))


# --- ghosts against real neighbours ---------------------------------------------------------------------------


def layers(rng, kind, wires, depth=10):
    """Ten layers of one-qubit rotations and ECR on a line of three: any, near Clifford, or mostly waiting."""
    rows = []
    for layer in range(depth):
        for q in wires:
            if kind == "waiting":
                if rng.random() < 0.3 or layer == 0:
                    rows.append((Op.SX, q))
                rows.append((Op.DELAY, q, float(rng.uniform(200, 700))))
                continue
            for _ in range(2):
                angle = rng.uniform(-np.pi, np.pi) if kind == "any" else 0.5 * np.pi * rng.integers(4)
                rows += [(Op.RZ, q, float(angle)), (Op.SX, q)]
        if kind != "waiting":
            a = wires[0] + layer % 2
            rows.append((Op.ECR, a, a + 1))
    return rows


def test_ghosts_stand_for_neighbours():
    """V2 in small: 3 + 3 qubits, 36 kHz on the coupler between; the exact answer is one region of six."""
    zz_hz = 36e3
    union = regions.line(6, errors=True, seed=1)
    union = replace(union, zz_hz={(q, q + 1): zz_hz for q in range(5)}, zz_echo=1.0)
    noises = [cut(union, wires) for wires in (range(3), range(3, 6))]
    beside, ignored = [], []
    kinds = ["any", "clifford", "waiting"]
    for number, (one, other) in enumerate((a, b) for a in kinds for b in kinds):
        rng = np.random.default_rng(number)
        own, theirs = layers(rng, one, range(3)), layers(rng, other, range(3))
        both = own + [(op, *(item + 3 if isinstance(item, int) else item for item in rest)) for op, *rest in theirs]
        exact = RegionPiece(regions.prepare(regions.circuit_of(both, union), union)).probabilities([])
        exact = exact.reshape(8, 8).sum(axis=0)
        victim, neighbour = regions.circuit_of(own, noises[0]), regions.circuit_of(theirs, noises[1])
        felt = Felt(3, profile(neighbour, noises[1], (0,)).occupations[0], np.zeros((0, 2)))
        duration_ns = schedule(victim, Durations.of(noises[0])).duration_ns
        ghosts = ghosts_of(StaticZZ(echo=1.0), {(2, 3): zz_hz}, (0, 1, 2), duration_ns, [felt], 4)
        for context, distances in ((Context(ghosts=ghosts), beside), (NO_CONTEXT, ignored)):
            found = RegionPiece(regions.prepare(victim, noises[0], context)).probabilities([])
            distances.append(0.5 * np.abs(found - exact).sum())
    assert np.mean(beside) <= 0.003
    assert np.mean(ignored) >= 10 * np.mean(beside)


def cut(noise, wires):
    inside = set(wires)
    return replace(
        noise,
        qubits={q: noise.qubits[q] for q in wires},
        gates={key: gate for key, gate in noise.gates.items() if inside.issuperset(key[1])},
        zz_hz={edge: hz for edge, hz in noise.zz_hz.items() if inside.issuperset(edge)},
    )
