"""Static ZZ and errors of frame: the phases of a program against a brute-force walk through time."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_backend.physics.channels import UNITARIES
from qpu_backend.physics.circuit import IsaCircuit, Op, operations
from qpu_backend.physics.context import Context, Ghost, Kick
from qpu_backend.physics.phases import GhostPhase, Jump, Phase, Smear, Turn
from qpu_backend.physics.program import Flip, Step, noisy_program
from qpu_backend.physics.snapshot import GateProperties, QubitProperties, RegionNoise
from qpu_backend.physics.timing import Durations, schedule

QUBIT = QubitProperties(1e9, 1e9, 5e9, -3e8, 0.0, 0.0, 1000.0)
ECHO = 0.6
LENGTH = {Op.SX: 60.0, Op.X: 60.0, Op.RZ: 0.0, Op.ECR: 660.0, Op.CZ: 90.0, Op.ID: 60.0}
ZZ = {(0, 1): 60e3, (1, 2): -85e3, (0, 3): 40e3}


def noise(zz=None, detuning=None):
    gates = {(op, (q,)): GateProperties(0.0, LENGTH[op]) for op in (Op.SX, Op.X, Op.RZ, Op.ID) for q in range(4)}
    for a, b in ((0, 1), (1, 2), (0, 3), (2, 3)):
        for op in (Op.ECR, Op.CZ):
            gates |= {(op, pair): GateProperties(0.0, LENGTH[op]) for pair in ((a, b), (b, a))}
    return RegionNoise(dict.fromkeys(range(4), QUBIT), gates, zz or {}, ECHO, detuning or {})


def circuit(rows, measured=True):
    full = [(int(op), a, b, -1, -1, value, -1) for op, a, b, value in rows]
    full += [(int(Op.MEASURE), q, -1, q, -1, 0.0, -1) for q in range(4) if measured]
    return IsaCircuit((0, 1, 2, 3), 4, (), operations(full))


@st.composite
def rows(draw):
    found = [(Op.SX, q, -1, 0.0) for q in range(4)]
    for _ in range(draw(st.integers(1, 12))):
        op = draw(st.sampled_from([Op.SX, Op.X, Op.RZ, Op.DELAY, Op.ECR, Op.CZ]))
        if op in {Op.ECR, Op.CZ}:
            a, b = draw(st.sampled_from([(0, 1), (2, 1), (0, 3), (3, 2)]))
            found.append((op, a, b, 0.0))
        else:
            value = draw(st.floats(-3, 3)) if op is Op.RZ else float(draw(st.integers(0, 900)))
            found.append((op, draw(st.integers(0, 3)), -1, value if op in {Op.RZ, Op.DELAY} else 0.0))
    return found


def apply(state, matrix, qubits):
    """``state``: one axis a qubit; the first operand is the least significant of the matrix."""
    k = len(qubits)
    tensor = matrix.reshape((2,) * (2 * k))
    axes = [k + (k - 1 - i) for i in range(k)]
    moved = np.tensordot(tensor, state, axes=(axes, list(qubits)))
    return np.moveaxis(moved, range(k), [qubits[k - 1 - i] for i in range(k)])


def rz(angle):
    return np.diag([np.exp(-0.5j * angle), np.exp(0.5j * angle)])


def cp(angle):
    return np.diag([1, 1, 1, np.exp(1j * angle)])


def z_terms(angle, one, both):
    """exp(−iθ (−Z₁ − Z₂)·one − iθ Z₁Z₂·both): ½πζ (1 − Z₁ − Z₂ + Z₁Z₂) after echoes."""
    z1, z2 = np.array([1, -1, 1, -1]), np.array([1, 1, -1, -1])
    return np.diag(np.exp(1j * angle * (-one * (z1 + z2) + both * z1 * z2)))


def unitary(op, value):
    return rz(value) if op is Op.RZ else UNITARIES[op]


def zero():
    state = np.zeros((2,) * 4, complex)
    state[0, 0, 0, 0] = 1
    return state


def by_program(steps):
    state = zero()
    for step in steps:
        match step:
            case Phase(qubits, angle):
                state = apply(state, cp(angle), qubits)
            case Turn(qubit, angle):
                state = apply(state, rz(angle), (qubit,))
            case Step(op=Op.DELAY) | Step(op=Op.MEASURE):
                pass
            case Step():
                state = apply(state, unitary(step.op, step.value), step.qubits)
    return np.abs(state) ** 2


def by_time(given_circuit, device):
    """Cut time at every beginning and end of every operation; an operation acts when it begins."""
    scheduled = schedule(given_circuit, Durations.of(device))
    acts = [
        (start, start + length, Op(row[0]), tuple(q for q in row[1:3] if q >= 0), row[5])
        for row, start, length in zip(
            given_circuit.operations.tolist(), scheduled.starts_ns, scheduled.lengths_ns, strict=True
        )
        if row[0] not in {Op.BARRIER, Op.DELAY}
    ]
    times = sorted({t for act in acts for t in act[:2]} | {0.0, scheduled.duration_ns})
    state = zero()
    for now, after in [*pairwise(times), (times[-1], times[-1])]:
        for start, _, op, qubits, value in acts:
            if start == now and op is not Op.MEASURE:
                state = apply(state, unitary(op, value), qubits)
        for (a, b), zz_hz in device.zz_hz.items():
            running = [(op, set(qubits)) for start, end, op, qubits, _ in acts if start <= now < end]
            flipped = {q for op, qubits in running if op is Op.ECR for q in qubits}
            turned = 0.5 * math.pi * zz_hz * 1e-9 * (after - now)
            if not any({a, b} == qubits for _, qubits in running):
                one = 0.0 if {a, b} <= flipped else ECHO if {a, b} & flipped else 1.0
                both = ECHO if {a, b} & flipped else 1.0
                state = apply(state, z_terms(turned, one, both), (a, b))
        for q, hz in device.detuning_hz.items():
            state = apply(state, rz(2e-9 * math.pi * hz * (after - now)), (q,))
    return np.abs(state) ** 2


@settings(deadline=None)
@given(rows())
def test_zz_inside_a_region_is_the_walk_through_time(found):
    device = noise(ZZ)
    given_circuit = circuit(found)
    assert np.allclose(by_program(noisy_program(given_circuit, device)), by_time(given_circuit, device), atol=1e-12)


@settings(deadline=None)
@given(rows(), st.lists(st.floats(-3e4, 3e4), min_size=4, max_size=4))
def test_errors_of_frame_are_the_walk_through_time(found, detunings):
    device = noise(ZZ, dict(enumerate(detunings)))
    given_circuit = circuit(found)
    assert np.allclose(by_program(noisy_program(given_circuit, device)), by_time(given_circuit, device), atol=1e-12)


def test_a_ramsey_fringe_moves_by_the_zeta_of_the_edge():
    """sx – wait – sx beside a neighbour in |1⟩ and in |0⟩: the fringes differ by 2πζτ."""
    device, tau = noise({(0, 1): 60e3}), 2000.0
    waiting = [(Op.SX, 0, -1, 0.0), (Op.DELAY, 0, -1, tau), (Op.RZ, 0, -1, math.pi / 2), (Op.SX, 0, -1, 0.0)]
    beside = circuit([(Op.X, 1, -1, 0.0), (Op.DELAY, 1, -1, 2 * tau), *waiting])
    alone = circuit(waiting)
    shift = 2e-9 * math.pi * 60e3 * (tau + LENGTH[Op.SX])
    for chosen, angle in ((alone, 0.0), (beside, shift)):
        excited = by_program(noisy_program(chosen, device))[1].sum()
        assert excited == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 2 + angle), abs=1e-9)


def test_without_anything_to_build_up_the_program_is_in_program_order():
    found = [(Op.SX, 2, -1, 0.0), (Op.ECR, 0, 1, 0.0), (Op.SX, 3, -1, 0.0)]
    steps = noisy_program(circuit(found, measured=False), noise())
    assert [step.qubits for step in steps if step.op is not Op.DELAY] == [(2,), (0, 1), (3,)]


def test_phases_that_nothing_follows_are_left_out():
    steps = noisy_program(circuit([(Op.SX, 0, -1, 0.0), (Op.SX, 1, -1, 0.0), (Op.DELAY, 0, -1, 500.0)]), noise(ZZ))
    assert not any(isinstance(step, Phase) for step in steps)


def ghost(**changes):
    values = {
        "opens_ns": np.array([3000.0, 1500.0]),
        "start": 0.25,
        "stays": np.array([1.0, 0.5]),
        "rises": np.array([0.0, 0.125]),
        "echoed": np.array([False, True]),
        "couplings": ((0, 50e3),),
    }
    return Ghost(**(values | changes))


def _waiting():
    """Qubit 0: sx, 2000 ns, sx; then a measurement of 1000 ns."""
    return circuit([(Op.SX, 0, -1, 0.0), (Op.DELAY, 0, -1, 2000.0), (Op.SX, 0, -1, 0.0)])


def test_a_ghost_phase_is_cut_where_the_ghost_jumps():
    steps = noisy_program(_waiting(), noise(), Context(ghosts=(ghost(),)))
    phases = [step for step in steps if isinstance(step, (GhostPhase, Jump))]
    duration = 60.0 + 2000.0 + 60.0 + 1000.0
    before = duration - 1500.0  # since the first sx began, at 0
    after = 60.0 + 2000.0 - before
    scale = 2e-9 * math.pi * 50e3
    assert phases == [
        GhostPhase(0, 0, pytest.approx(scale * before)),
        Jump(0, 0.5, 0.125),
        GhostPhase(0, 0, pytest.approx(scale * ECHO_OF_NOBODY * after)),
    ]


ECHO_OF_NOBODY = ECHO
"""η of a window in which only the ghost's own qubit is in an echoed gate."""


def test_a_ghost_without_memory_draws_a_new_bit_each_window():
    steps = noisy_program(_waiting(), noise(), Context(ghosts=(ghost(independent=True),)))
    smears = [step for step in steps if isinstance(step, Smear)]
    assert not any(isinstance(step, (Jump, GhostPhase)) for step in steps)
    assert [smear.excited for smear in smears] == [0.25, 0.25 * 0.5 + 0.75 * 0.125]
    assert all(smear.angle_rad > 0 for smear in smears)


def test_kicks_flip_even_a_fresh_qubit_but_turn_only_one_that_is_used():
    kicks = (Kick(1, 2500.0, 0.3, 0.0), Kick(1, 2400.0, 0.0, 1e-3), Kick(0, 1200.0, 0.2, 0.0))
    steps = noisy_program(_waiting(), noise(), Context(kicks=kicks))
    assert [step for step in steps if isinstance(step, (Turn, Flip))] == [Flip(1, 1e-3), Turn(0, 0.2)]
    idle = [step for step in steps if isinstance(step, Step) and step.op is Op.DELAY and step.qubits == (1,)]
    assert sum(step.value for step in idle) == pytest.approx(1400.0)  # from the flip to the measurement


def test_a_start_that_is_excited_comes_first():
    steps = noisy_program(_waiting(), noise(ZZ), Context(start=np.array([0.0, 0.01, 0.0, 0.0])))
    assert steps[0] == Flip(1, 0.01)
    assert any(isinstance(step, Phase) and set(step.qubits) == {0, 1} for step in steps)


def test_factors_follow_the_program_whatever_the_order_of_time():
    found = [(Op.ECR, 0, 1, 0.0), (Op.DELAY, 0, -1, 5000.0), (Op.SX, 3, -1, 0.0), (Op.ECR, 3, 2, 0.0)]
    for device in (noise(), noise(ZZ)):
        steps = noisy_program(circuit(found), device)
        orders = {step.qubits: step.order for step in steps if isinstance(step, Step) and len(step.qubits) == 2}
        assert orders == {(0, 1): 0, (3, 2): 1}
