"""Pulses in idle windows: the same unitary, the same length, every operation at its time, and phases turned round."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from spelled import PULSE_NS, chain, counted, native_circuits, row, unitary

from qpu_backend.domain import decoupling
from qpu_backend.domain.decoupling import decoupled
from qpu_backend.physics.circuit import IsaCircuit, Op, operations
from qpu_backend.physics.timing import Durations, schedule

STEP_NS = 4.0
WINDOW_NS = 4000.0


def times(circuit, durations, *, ops=None):
    """``(start, code, qubits)`` of operations."""
    scheduled = schedule(circuit, durations)
    rows = zip(circuit.operations.tolist(), scheduled.starts_ns.tolist(), strict=True)
    return [(round(start, 6), r[0], r[1:3]) for r, start in rows if ops is None or Op(r[0]) in ops]


@given(native_circuits(waiting=True, measured=True), st.sampled_from(["XX", "XY4"]))
@settings(deadline=None, max_examples=150)
def test_pulses_change_neither_what_a_circuit_does_nor_when(circuit, sequence):
    durations = Durations.of(chain(circuit.num_qubits))
    made = decoupled(circuit, durations, sequence, STEP_NS)
    assert unitary(made).equiv(unitary(circuit))
    assert schedule(made, durations).duration_ns == pytest.approx(schedule(circuit, durations).duration_ns, abs=1e-6)
    kept = {Op.SX, Op.ECR, Op.CX, Op.CZ, Op.RZZ, Op.MEASURE}
    assert times(made, durations, ops=kept) == times(circuit, durations, ops=kept)
    every = times(made, durations, ops={Op.X})
    assert all(entry in every for entry in times(circuit, durations, ops={Op.X}))
    assert all(start % STEP_NS == pytest.approx(0.0, abs=1e-6) for start, *_ in every)


def waiting(*qubits, length=WINDOW_NS):
    """Qubits in superposition that wait together."""
    rows = [row(Op.SX, q) for q in qubits] + [row(Op.DELAY, q, value=length) for q in qubits]
    return IsaCircuit(qubits, 0, (), operations([*rows, *(row(Op.SX, q) for q in qubits)]))


def frame(made, durations, qubit):
    """Sign of Z on a qubit over time, in steps, from the first sx to the last; 0 in a pulse."""
    length = schedule(made, durations).duration_ns
    signs = np.ones(round(length / STEP_NS))
    for start, code, (q0, _) in times(made, durations):
        first = round(start / STEP_NS)
        if code == Op.X and q0 == qubit:
            signs[first + round(PULSE_NS / STEP_NS) :] *= -1
            signs[first : first + round(PULSE_NS / STEP_NS)] = 0
    edge = round(PULSE_NS / STEP_NS)
    return signs[edge:-edge]


@pytest.mark.parametrize("sequence", ["XX", "XY4"])
def test_waiting_neighbours_are_freed_of_their_detuning_and_of_each_other(sequence):
    durations = Durations.of(chain(2))
    made = decoupled(waiting(0, 1), durations, sequence, STEP_NS)
    one, other = frame(made, durations, 0), frame(made, durations, 1)
    pulse = PULSE_NS / STEP_NS
    assert counted(made, Op.X) == {"XX": 4, "XY4": 8}[sequence]
    for signs in (one, other, one * other):
        assert abs(signs.sum()) <= 2 * pulse
    assert abs(frame(waiting(0, 1), durations, 0).sum()) > 50 * pulse


def test_a_qubit_that_has_not_begun_is_left_alone():
    begun = [row(Op.SX, 0), row(Op.DELAY, 0, value=WINDOW_NS)]
    rows = [*begun, row(Op.RZ, 1, value=0.3), row(Op.DELAY, 1, value=WINDOW_NS), row(Op.ECR, 0, 1)]
    made = decoupled(IsaCircuit((0, 1), 0, (), operations(rows)), Durations.of(chain(2)), "XX", STEP_NS)
    assert {qubits for _, _, qubits in times(made, Durations.of(chain(2)), ops={Op.X})} == {(0, -1)}


def test_a_window_without_room_for_its_pulses_is_left_alone():
    circuit = waiting(0, length=3 * PULSE_NS)
    assert decoupled(circuit, Durations.of(chain(1)), "XX", STEP_NS) is circuit
    assert counted(decoupled(waiting(0, length=4 * PULSE_NS), Durations.of(chain(1)), "XX", STEP_NS), Op.X) == 2


def test_windows_are_cut_where_a_neighbour_begins_and_ends_a_gate():
    rows = [row(Op.ECR, 0, 1), row(Op.ECR, 1, 2), row(Op.ECR, 1, 2), row(Op.SX, 1), row(Op.ECR, 0, 1)]
    made = decoupled(IsaCircuit((0, 1, 2), 0, (), operations(rows)), Durations.of(chain(3)), "XX", STEP_NS)
    assert [q for _, _, q in times(made, Durations.of(chain(3)), ops={Op.X})] == [(0, -1)] * 4


def steps_of(call):
    """Bytecodes that a call takes in the module of decoupling."""
    steps = 0

    def count(frame, event, _):
        nonlocal steps
        if frame.f_code.co_filename != decoupling.__file__:
            return None
        frame.f_trace_opcodes = True
        steps += event == "opcode"
        return count

    earlier = sys.gettrace()
    sys.settrace(count)
    try:
        call()
    finally:
        sys.settrace(earlier)
    return steps


@pytest.mark.parametrize("between", [[], [row(Op.BARRIER, -1, aux=0)], [row(Op.DELAY, 2, value=40.0)]])
def test_the_work_grows_with_the_circuit_and_no_faster(between):
    durations = Durations.of(chain(4))

    def steps(repetitions):
        rows = [row(Op.SX, 0), row(Op.SX, 3)]
        for _ in range(repetitions):
            rows += [row(Op.ECR, 1, 2), *between, row(Op.ECR, 1, 2), row(Op.ECR, 1, 2), row(Op.ECR, 0, 1)]
        circuit = IsaCircuit((0, 1, 2, 3), 0, (), operations(rows), ((0, 1, 2, 3),))
        return steps_of(lambda: decoupling.decoupled(circuit, durations, "XX", STEP_NS))

    few, many = steps(10), steps(80)
    assert many < 10 * few
