"""The reference of V4: by hand, against every window on its own, against the service, and as a matrix product."""

from __future__ import annotations

import math
from dataclasses import replace

import joint_mps
import numpy as np
import pytest
import simulate
from crosstalk_pairs import Writer, circuit_of, line, region_noise, suite, without_errors
from distributions import sampled, shot_noise, tvd
from qiskit.quantum_info import Operator, Statevector

from qpu_backend.physics.circuit import Op
from qpu_backend.physics.timing import Durations, schedule

LINE = line(6, zz_hz=60e3)
UNION = region_noise(LINE, range(6), echo=0.6)
PAIRS = suite(LINE)


def ramsey(wait_ns, *, excited, path=(0, 1)):
    """Qubit 0 in |+⟩ beside qubit 1 in |0⟩ or |1⟩ for a time; ⟨X⟩ = cos of the phase between them."""
    writer = Writer(path, LINE)
    if excited:
        writer.x(path[1])
        writer.delay(60.0 + wait_ns, path[1])
    writer.h(path[0])
    writer.delay(wait_ns, path[0])
    writer.h(path[0])
    return writer.measured()


@pytest.mark.parametrize("excited", [False, True])
def test_an_idle_window_turns_a_qubit_by_2_pi_zeta_tau_if_its_neighbour_is_excited(excited):
    read = joint_mps.exact(joint_mps.joint_circuit([ramsey(2000.0, excited=excited)], UNION))
    between_pulses_s = (60 + 2000) * 1e-9
    angle = 2 * math.pi * 60e3 * between_pulses_s * excited
    assert read[0::2].sum() == pytest.approx(math.cos(angle / 2) ** 2, abs=1e-12)


def windows_of(circuit):
    scheduled = schedule(circuit, Durations.of(UNION))
    ends = scheduled.starts_ns + scheduled.lengths_ns
    return joint_mps.zz_windows(
        circuit, UNION, circuit.operations.tolist(), scheduled.starts_ns.tolist(), ends.tolist()
    )


def test_a_gate_has_no_zz_of_its_own_and_less_with_its_neighbours():
    writer = Writer((0, 1, 2), LINE)
    writer.sx(2)
    writer.ecr(0, 1)
    writer.delay(660.0, 2)
    windows = windows_of(writer.measured())
    during_gate = {pair: angle for closes, pair, angle, _ in windows if angle and closes <= 60.0 + 660.0 + 1e-6}
    full = 2e-9 * math.pi * 60e3 * 660.0
    assert (0, 1) not in during_gate
    assert during_gate[1, 2] == pytest.approx(0.6 * full)


@pytest.mark.parametrize("number", [0, 25, 50, 104])
def test_adding_up_phases_changes_nothing(number):
    """Every window applied when it closes, on the state vector, nothing merged and nothing left out."""
    pair = PAIRS[number]
    whole = pair.together()
    rows = whole.operations.tolist()
    starts = schedule(whole, Durations.of(UNION)).starts_ns.tolist()
    moments = [(closes, 0, place) for place, (closes, *_) in enumerate(windows_of(whole))]
    moments += [(start, 1, place) for place, start in enumerate(starts) if rows[place][0] not in {Op.DELAY, Op.MEASURE}]
    state, gates = Statevector.from_label("0" * 6), joint_mps.joint_circuit([pair.victim, pair.neighbour], UNION)
    windows = windows_of(whole)
    for _, kind, place in sorted(moments):
        if kind == 0:
            _, (u, v), phase, turn = windows[place]
            diagonal = np.exp(1j * np.array([0.0, turn, turn, phase + 2 * turn]))
            state = state.evolve(Operator(np.diag(diagonal)), [u, v])
        else:
            code, q0, q1, _, _, angle, _ = rows[place]
            single = gates.copy_empty_like()
            joint_mps.append(single, Op(code), [q for q in (q0, q1) if q >= 0], angle)
            state = state.evolve(single.data[0].operation, [q for q in (q0, q1) if q >= 0])
    np.testing.assert_allclose(joint_mps.exact(gates), state.probabilities(), atol=1e-10)


@pytest.mark.parametrize("number", [3, 44, 71, 99])
def test_the_service_has_the_same_zz_inside_a_region(number):
    pair = PAIRS[number]
    reference = joint_mps.exact(joint_mps.joint_circuit([pair.victim, pair.neighbour], UNION))
    np.testing.assert_allclose(simulate.distribution(pair.together(), without_errors(UNION)), reference, atol=1e-9)


def test_the_matrix_product_samples_the_exact_distribution():
    pair = PAIRS[60]
    joint = joint_mps.joint_circuit([pair.victim, pair.neighbour], UNION)
    exact, shots = joint_mps.exact(joint), 8192
    assert tvd(sampled(joint_mps.sample(joint, shots, seed=1), range(6)), exact) < 1.5 * shot_noise(exact, shots)
    without_zz = joint_mps.exact(joint_mps.joint_circuit([pair.victim, pair.neighbour], replace(UNION, zz_hz={})))
    assert tvd(without_zz, exact) > 3 * shot_noise(exact, shots)


def test_the_order_of_the_chain_changes_no_bit():
    circuits = [circuit_of("su2", (2, 1, 0), LINE, (1,)), circuit_of("qaoa", (3, 4, 5), LINE, (2,))]
    one = joint_mps.exact(joint_mps.joint_circuit(circuits, UNION))
    other = joint_mps.exact(joint_mps.joint_circuit(circuits, UNION, order=(5, 3, 1, 0, 2, 4)))
    np.testing.assert_allclose(one, other, atol=1e-12)


def test_tenants_fill_a_path_side_by_side():
    snapshot = line(20)
    circuits = joint_mps.tenants(range(20), snapshot, seed=1)
    assert [q for circuit in circuits for q in circuit.qubits] == list(range(20))
    assert [circuit.num_qubits for circuit in circuits] == list(joint_mps.SIZES)


def test_something_after_a_measurement_is_refused():
    writer = Writer((0,), LINE)
    writer.measured()
    writer.x(0)
    with pytest.raises(ValueError, match="at their end"):
        joint_mps.joint_circuit([writer.measured()], UNION)
