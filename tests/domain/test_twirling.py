"""A twirled circuit does the same, and the average over twirls has no coherent error."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit.circuit.library import CXGate, CZGate, ECRGate, RZZGate
from qiskit.quantum_info import PTM, Operator, random_unitary
from spelled import chain, counted, native_circuits, row, unitary

from qpu_backend.domain import synthesis
from qpu_backend.domain.synthesis import PAULIS, synthesised
from qpu_backend.domain.twirling import TWIRLED_GATES, after, twirled
from qpu_backend.physics.circuit import IsaCircuit, Op, operations
from qpu_backend.physics.timing import Durations, schedule

GATES = {Op.ECR: ECRGate(), Op.CX: CXGate(), Op.CZ: CZGate()}


def draw(seed=7):
    return np.random.default_rng(seed)


def bits_of(packed, count):
    return np.unpackbits(packed, bitorder="little", count=count)


@given(native_circuits(waiting=True), st.integers(0, 2**32))
@settings(deadline=None)
def test_twirled_gates_do_the_same(circuit, seed):
    made, flips = twirled(circuit, draw(seed), gates=True, flips=None)
    assert unitary(made).equiv(unitary(circuit))
    assert made.operations[np.isin(made.operations["code"], [5, 6, 7, 8, 9, 0])].tolist() == (
        circuit.operations[np.isin(circuit.operations["code"], [5, 6, 7, 8, 9, 0])].tolist()
    )
    assert not flips.any()


@given(native_circuits(measured=True), st.data())
@settings(deadline=None)
def test_twirled_readout_gives_the_same_bits_once_they_are_flipped_back(circuit, data):
    n = circuit.num_qubits
    asked = np.array(data.draw(st.lists(st.booleans(), min_size=n, max_size=n)))
    made, flips = twirled(circuit, draw(), gates=False, flips=asked)
    assert bits_of(flips, n).astype(bool).tolist() == asked.tolist()
    places = np.arange(2**n) ^ int(sum(int(flip) << q for q, flip in enumerate(asked)))
    before, now = (np.abs(unitary(one).data[:, 0]) ** 2 for one in (circuit, made))
    assert now[places] == pytest.approx(before, abs=1e-9)


def test_a_qubit_that_goes_on_is_flipped_back_after_its_readout():
    rows = [row(Op.X, 0), row(Op.MEASURE, 0, clbit=0), row(Op.SX, 0), row(Op.SX, 0), row(Op.MEASURE, 0, clbit=1)]
    circuit = IsaCircuit((0,), 2, (), operations(rows))
    for first, second in itertools.product([False, True], repeat=2):
        made, flips = twirled(circuit, draw(), gates=False, flips=np.array([first, second]))
        state, read = np.array([1.0, 0.0], dtype=complex), []
        for code, *_, value, _ in made.operations.tolist():
            if code == Op.MEASURE:
                read.append(round(abs(state[1]) ** 2))
            else:
                state = synthesis.unitary(Op(code), value) @ state
        assert [bit ^ flip for bit, flip in zip(read, bits_of(flips, 2), strict=True)] == [1, 0]


@pytest.mark.parametrize("op", sorted(TWIRLED_GATES))
def test_an_average_over_all_twirls_leaves_only_pauli_errors(op):
    noisy = Operator(GATES[op]) @ Operator(RZZGate(0.3)) @ Operator(random_unitary(4, seed=3)).power(0.05)
    total = np.zeros((16, 16))
    for first, second in itertools.product(range(4), repeat=2):
        left, right = (np.kron(PAULIS[b], PAULIS[a]) for a, b in ((first, second), after(op, first, second)))
        error = Operator(GATES[op]).adjoint().data @ right @ noisy.data @ left
        total += np.real(PTM(Operator(error)).data) / 16
    assert total == pytest.approx(np.diag(np.diag(total)), abs=1e-9)
    assert np.diag(total).min() < 0.99


@given(st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_any_unitary_of_a_qubit_is_at_most_two_sx(seed):
    wanted = random_unitary(2, seed=seed).data
    made = np.eye(2)
    gates = synthesised(wanted)
    for op, angle in gates:
        made = synthesis.unitary(op, angle) @ made
    assert Operator(made).equiv(Operator(wanted))
    assert sum(op is not Op.RZ for op, _ in gates) <= 2


@pytest.mark.parametrize("pauli", range(4))
def test_a_pauli_costs_no_pulse_where_there_was_one(pauli):
    sx = synthesis.unitary(Op.SX, 0.0)
    for matrix in (PAULIS[pauli] @ sx, sx @ PAULIS[pauli]):
        assert [op for op, _ in synthesised(matrix) if op is not Op.RZ] == [Op.SX]
    assert len([op for op, _ in synthesised(PAULIS[pauli]) if op is not Op.RZ]) == pauli // 2


def test_a_twirled_layer_with_gates_between_lasts_no_longer():
    rows = [*(row(op, q) for _ in range(3) for q in (0, 1) for op in (Op.SX, Op.RZ, Op.SX)), row(Op.ECR, 0, 1)]
    circuit = IsaCircuit((0, 1), 0, (), operations(rows + rows[:6]))
    durations = Durations.of(chain(2))
    times = {schedule(twirled(circuit, draw(k), gates=True, flips=None)[0], durations).duration_ns for k in range(20)}
    assert max(times) <= schedule(circuit, durations).duration_ns


def test_bound_angles_are_left_where_they_are():
    rows = [row(Op.SX, 0), row(Op.RZ, 0, slot=0), row(Op.ECR, 0, 1), row(Op.RZ, 1, slot=1)]
    circuit = IsaCircuit((0, 1), 0, (), operations(rows), num_slots=2)
    for seed in range(10):
        made, _ = twirled(circuit, draw(seed), gates=True, flips=None)
        assert [slot for slot in made.operations["slot"].tolist() if slot >= 0] == [0, 1]
    assert counted(made, Op.ECR) == 1


def test_the_same_seed_gives_the_same_twirls_and_another_one_others():
    circuit = IsaCircuit((0, 1), 0, (), operations([row(Op.ECR, 0, 1)] * 10))
    made = [twirled(circuit, draw(seed), gates=True, flips=None)[0].digest() for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
