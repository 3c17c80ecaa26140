"""Bytes in, bytes out: what one task answers depends on that task alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit

from qpu_backend.engines.protocol import (
    RegionTask,
    SliceSpec,
    decode_report,
    join_tasks,
)
from qpu_backend.engines.worker import run_tasks
from qpu_backend.physics.circuit import ClassicalRegister, Conditional, IsaCircuit, Op, operations
from qpu_backend.physics.context import NO_CONTEXT, Context
from qpu_backend.physics.snapshot import GateProperties, QubitProperties, RegionNoise
from qpu_sdk.wire.errors import MalformedPayload

PERFECT_QUBIT = QubitProperties(1e12, 1e12, None, None, 0.0, 0.0, 1000.0)
NO_ANGLES = np.zeros((1, 0))


def perfect(num_qubits):
    gates = {(op, (q,)): GateProperties(0.0, 60.0) for op in (Op.SX, Op.X, Op.ID, Op.RESET) for q in range(num_qubits)}
    gates |= {(Op.ECR, pair): GateProperties(0.0, 600.0) for pair in permutations(range(num_qubits), 2)}
    gates |= {(Op.RZZ, pair): GateProperties(0.0, 100.0) for pair in permutations(range(num_qubits), 2)}
    return RegionNoise(dict.fromkeys(range(num_qubits), PERFECT_QUBIT), gates)


def gate(op, q0, q1=-1, *, clbit=-1, slot=-1, value=0.0, aux=-1):
    return (int(op), q0, q1, clbit, slot, value, aux)


def circuit_of(rows, num_qubits, num_clbits, **fields):
    register = ClassicalRegister("c", tuple(range(num_clbits)))
    return IsaCircuit(tuple(range(num_qubits)), num_clbits, (register,), operations(rows), **fields)


def run(*tasks):
    report = decode_report(run_tasks(join_tasks([task.to_bytes() for task in tasks])))
    assert all(task.failure is None for task in report.tasks), report
    return [[outcome.bits for outcome in task.slices] for task in report.tasks]


def echoed(eagle, translate, region, slices, *factors):
    """Pairs of gates that undo each other, so that every error shows; the last sx makes shots random."""
    _, snapshot = eagle
    circuit = QuantumCircuit(len(region), len(region))
    circuit.x(0)
    for q in range(len(region) - 1):
        pair = (q, q + 1) if (Op.ECR, (region[q], region[q + 1])) in snapshot.gates else (q + 1, q)
        circuit.ecr(*pair)
        circuit.ecr(*pair)
    circuit.sx(0)
    circuit.measure(range(len(region)), range(len(region)))
    contexts = tuple(Context(factors=np.array(each)) for each in factors) or (NO_CONTEXT,)
    return RegionTask((translate(circuit, region),), (NO_ANGLES,), RegionNoise.of(snapshot, region), slices, contexts)


def test_permuting_tasks_and_neighbours_changes_nothing(eagle, translate):
    tasks = [
        echoed(eagle, translate, region, (SliceSpec(0, 0, 200, seed), SliceSpec(0, 0, 100, seed + 1)))
        for region, seed in [((62, 72), 1), ((24, 34, 43), 1), ((98, 99, 100), 9)]
    ]
    alone = [run(task)[0] for task in tasks]
    for order in permutations(range(3)):
        together = run(*(tasks[i] for i in order))
        for place, i in enumerate(order):
            assert all(np.array_equal(a, b) for a, b in zip(together[place], alone[i], strict=True))


def test_slices_depend_on_their_own_seed_only(eagle, translate):
    one, two = SliceSpec(0, 0, 300, 5), SliceSpec(0, 0, 300, 6)
    forward = run(echoed(eagle, translate, (62, 72), (one, two, one)))[0]
    backward = run(echoed(eagle, translate, (62, 72), (two, one)))[0]
    assert np.array_equal(forward[0], backward[1])
    assert np.array_equal(forward[1], backward[0])
    assert np.array_equal(forward[0], forward[2])
    assert not np.array_equal(forward[0], forward[1])


def test_a_failing_task_leaves_the_others_alone(eagle, translate):
    good = echoed(eagle, translate, (62, 72), (SliceSpec(0, 0, 50, 1),))
    bad = replace(good, noise=RegionNoise(good.noise.qubits, {}))
    report = decode_report(run_tasks(join_tasks([bad.to_bytes(), b"nonsense", good.to_bytes()])))
    assert [task.failure is None for task in report.tasks] == [False, False, True]
    assert "not calibrated" in (report.tasks[0].failure or "")
    assert np.array_equal(report.tasks[2].slices[0].bits, run(good)[0][0])


def test_a_neighbour_that_makes_a_gate_worse_changes_counts_and_a_factor_of_one_does_not(eagle, translate):
    slices = tuple(SliceSpec(0, 0, 4000, 1, context) for context in range(3))
    alone, unit, worse = run(echoed(eagle, translate, (62, 72), slices, [], [1.0, 1.0], [1.0, 20.0]))[0]
    assert np.array_equal(alone, unit)
    assert not np.array_equal(alone, worse)


def test_each_binding_reads_its_own_angles():
    rows = [gate(Op.SX, 0), gate(Op.RZ, 0, slot=1), gate(Op.SX, 0), gate(Op.MEASURE, 0, clbit=0)]
    circuit = circuit_of(rows, 1, 1, num_slots=2)
    angles = np.array([[9.0, 0.0], [9.0, np.pi]])
    slices = (SliceSpec(0, 0, 20, 1), SliceSpec(0, 1, 20, 1))
    flipped, kept = run(RegionTask((circuit,), (angles,), perfect(1), slices))[0]
    assert flipped.all()
    assert not kept.any()


def test_rzz_turns_by_its_angle():
    rows = [gate(Op.SX, 0), gate(Op.SX, 1), gate(Op.RZZ, 0, 1, slot=0), gate(Op.SX, 0), gate(Op.SX, 1)]
    rows += [gate(Op.MEASURE, q, clbit=q) for q in range(2)]
    circuit = circuit_of(rows, 2, 2, num_slots=1)
    slices = (SliceSpec(0, 0, 50, 1), SliceSpec(0, 1, 50, 1))
    task = RegionTask((circuit,), (np.array([[0.0], [np.pi]]),), perfect(2), slices)
    zero, pi = run(task)[0]
    assert set(zero[:, 0]) == {3}
    assert set(pi[:, 0]) == {0}


@given(st.integers(1, 70), st.data())
@settings(max_examples=25, deadline=None)
def test_classical_bit_i_is_bit_i_of_the_packed_word(num_clbits, data):
    ones = data.draw(st.lists(st.booleans(), min_size=3, max_size=3))
    clbits = (
        data.draw(st.lists(st.integers(0, num_clbits - 1), min_size=3, max_size=3, unique=True))
        if num_clbits >= 3
        else [0]
    )
    rows = [gate(Op.X, q) for q, one in enumerate(ones) if one]
    rows += [gate(Op.MEASURE, q, clbit=clbit) for q, clbit in enumerate(clbits)]
    task = RegionTask((circuit_of(rows, 3, num_clbits),), (NO_ANGLES,), perfect(3), (SliceSpec(0, 0, 4, 7),))
    (bits,) = run(task)[0]
    assert bits.shape == (4, -(-num_clbits // 8))
    expected = {clbit for one, clbit in zip(ones, clbits, strict=False) if one}
    for shot in bits:
        assert {i for i in range(8 * bits.shape[1]) if shot[i // 8] >> (i % 8) & 1} == expected


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("second", [0, 1])
def test_if_else_takes_the_branch_of_its_classical_value(first, second):
    conditional = Conditional(
        (1, 0),
        2,  # clbit 1 is the low bit here: value 2 means clbit 0 is set and clbit 1 is not
        operations([gate(Op.X, 2)]),
        operations([gate(Op.X, 3), gate(Op.ECR, 2, 3), gate(Op.ECR, 2, 3)]),
    )
    rows = [gate(Op.X, q) for q, one in enumerate((first, second)) if one]
    rows += [gate(Op.MEASURE, 0, clbit=0), gate(Op.MEASURE, 1, clbit=1), gate(Op.IF, -1, aux=0)]
    rows += [gate(Op.MEASURE, 2, clbit=2), gate(Op.MEASURE, 3, clbit=3)]
    circuit = circuit_of(rows, 4, 4, conditionals=(conditional,))
    (bits,) = run(RegionTask((circuit,), (NO_ANGLES,), perfect(4), (SliceSpec(0, 0, 8, 3),)))[0]
    taken = first == 1 and second == 0
    assert set(bits[:, 0]) == {first + 2 * second + (4 if taken else 8)}


def test_conditionals_nest_and_reset_works_after_a_measurement():
    inner = Conditional((1,), 1, operations([gate(Op.X, 2)]), operations([]))
    outer = Conditional((0,), 1, operations([gate(Op.IF, -1, aux=0)]), operations([gate(Op.X, 1)]))
    rows = [gate(Op.X, 0), gate(Op.X, 1), gate(Op.MEASURE, 0, clbit=0), gate(Op.MEASURE, 1, clbit=1)]
    rows += [gate(Op.IF, -1, aux=1), gate(Op.RESET, 0), gate(Op.MEASURE, 0, clbit=2), gate(Op.MEASURE, 2, clbit=3)]
    circuit = circuit_of(rows, 3, 4, conditionals=(inner, outer))
    (bits,) = run(RegionTask((circuit,), (NO_ANGLES,), perfect(3), (SliceSpec(0, 0, 8, 3),)))[0]
    assert set(bits[:, 0]) == {0b1011}


@pytest.mark.parametrize("value", [0, 1])
def test_a_circuit_may_measure_in_branches_only(value):
    measured = Conditional((1,), value, operations([gate(Op.MEASURE, 0, clbit=0)]), operations([]))
    rows = [gate(Op.X, 0), gate(Op.IF, -1, aux=0)]
    circuit = circuit_of(rows, 1, 2, conditionals=(measured,))
    (bits,) = run(RegionTask((circuit,), (NO_ANGLES,), perfect(1), (SliceSpec(0, 0, 8, 3),)))[0]
    assert set(bits[:, 0]) == {1 - value}


def test_both_methods_draw_from_the_same_distribution(eagle, translate):
    """A harmless rz after a measurement asks for trajectories."""
    region = (24, 34, 43)
    exact = echoed(eagle, translate, region, (SliceSpec(0, 0, 10_000, 1),), [40.0, 1.0, 40.0, 1.0])
    trailing = np.append(exact.circuits[0].operations, operations([gate(Op.RZ, 0)]))
    sampled = replace(exact, circuits=(replace(exact.circuits[0], operations=trailing),))
    report = decode_report(run_tasks(join_tasks([exact.to_bytes(), sampled.to_bytes()])))
    assert [task.slices[0].method for task in report.tasks] == ["density_matrix", "trajectories"]
    here, there = (np.bincount(task.slices[0].bits[:, 0], minlength=8) / 10_000 for task in report.tasks)
    assert 0.5 * np.abs(here - there).sum() < 0.03


def test_trajectories_of_neighbouring_seeds_share_no_shots():
    """Aer alone gives shot i the seed s + i: runs with seeds 1 and 2 would be one run, shifted by a shot."""
    rows = [gate(Op.SX, q) for q in range(8)] + [gate(Op.MEASURE, q, clbit=q) for q in range(8)] + [gate(Op.RZ, 0)]
    task = RegionTask(
        (circuit_of(rows, 8, 8),), (NO_ANGLES,), perfect(8), (SliceSpec(0, 0, 60, 1), SliceSpec(0, 0, 60, 2))
    )
    one, two = run(task)[0]
    assert (one[1:] == two[:-1]).mean() < 0.2


@pytest.mark.parametrize("num_clbits", [0, 3, 9])
def test_a_circuit_that_measures_nothing_reads_zeros(num_clbits):
    for rows in ([gate(Op.X, 0)], [gate(Op.X, 0), gate(Op.DELAY, 0, value=100.0)]):
        task = RegionTask((circuit_of(rows, 1, num_clbits),), (NO_ANGLES,), perfect(1), (SliceSpec(0, 0, 5, 1),))
        (bits,) = run(task)[0]
        assert bits.shape == (5, -(-num_clbits // 8))
        assert not bits.any()


def test_too_many_qubits_are_refused_with_the_limit():
    task = RegionTask((circuit_of([gate(Op.X, 0)], 25, 1),), (NO_ANGLES,), perfect(25), (SliceSpec(0, 0, 1, 1),))
    report = decode_report(run_tasks(join_tasks([task.to_bytes()])))
    assert "reaches 24" in (report.tasks[0].failure or "")


def test_the_same_task_has_the_same_bytes_and_survives_them(eagle, translate):
    task = echoed(eagle, translate, (24, 34, 43), (SliceSpec(0, 0, 10, 1),), [1.05, 1.0])
    again = RegionTask.from_bytes(task.to_bytes())
    assert again.to_bytes() == task.to_bytes()
    assert again.noise == task.noise
    assert again.circuits[0].digest() == task.circuits[0].digest()
    with pytest.raises(MalformedPayload):
        RegionTask.from_bytes(b"\x81\xa1a\x01")
