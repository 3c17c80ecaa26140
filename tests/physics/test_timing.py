"""The schedule is Qiskit's; the summary counts what is there."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.converters import circuit_to_dag
from qiskit.transpiler import InstructionDurations
from qiskit.transpiler.passes import ALAPScheduleAnalysis

from qpu_backend.physics.circuit import ClassicalRegister, Conditional, IsaCircuit, Op, operations
from qpu_backend.physics.snapshot import GateProperties, QubitProperties, Snapshot
from qpu_backend.physics.timing import (
    CircuitSummary,
    Durations,
    has_mid_circuit,
    schedule,
    summarise,
    two_qubit_gates,
)
from qpu_sdk.wire.codec import pack, unpack

N = 4
REGION = (2, 0, 3, 1)
"""Backend qubit i sits on physical qubit REGION[i]."""


def snapshot():
    qubits = tuple(QubitProperties(100.0, 80.0 + q, None, None, 0.01, 0.02, 1000.0 + 40 * q) for q in range(N))
    gates = {(op, (q,)): GateProperties(0.001, 60.0 + 4 * q) for op in (Op.SX, Op.X, Op.ID) for q in range(N)}
    gates |= {(Op.RZ, (q,)): GateProperties(0.0, 0.0) for q in range(N)}
    gates |= {(Op.ECR, (a, b)): GateProperties(0.01, 500.0 + 20 * a) for a in range(N) for b in range(N) if a < b}
    return Snapshot("test", 1, 0, 0, qubits, gates, {})


SNAPSHOT = snapshot()


def gate(op, q0=-1, q1=-1, *, clbit=-1, value=0.0, aux=-1):
    return (int(op), q0, q1, clbit, -1, value, aux)


@st.composite
def programs(draw):
    rows, groups = [], []
    for _ in range(draw(st.integers(0, 14))):
        op = draw(st.sampled_from([Op.RZ, Op.SX, Op.X, Op.ECR, Op.ECR, Op.DELAY, Op.BARRIER, Op.MEASURE]))
        q0, q1 = draw(st.permutations(range(N)))[:2]
        if op is Op.ECR:
            rows.append(gate(op, q0, q1))
        elif op is Op.BARRIER:
            groups.append(tuple(sorted(draw(st.sets(st.integers(0, N - 1), min_size=1)))))
            rows.append(gate(op, aux=len(groups) - 1))
        elif op is Op.DELAY:
            rows.append(gate(op, q0, value=float(draw(st.integers(0, 900)))))
        elif op is Op.MEASURE:
            rows.append(gate(op, q0, clbit=draw(st.integers(0, 1))))
        else:
            rows.append(gate(op, q0))
    return IsaCircuit((0, 1, 2, 3), 2, (ClassicalRegister("c", (0, 1)),), operations(rows), tuple(groups))


def qiskit_schedule(circuit):
    """Start times and duration by Qiskit's own pass."""
    spelled = QuantumCircuit(N, circuit.num_clbits)
    durations = InstructionDurations(dt=1e-9)
    for code, q0, q1, clbit, _, value, aux in circuit.operations.tolist():
        op = Op(code)
        if op is Op.BARRIER:
            spelled.barrier(list(circuit.groups[aux]))
        elif op is Op.MEASURE:
            spelled.measure(q0, clbit)
        elif op is Op.DELAY:
            spelled.delay(int(value), q0, "dt")
        elif op is Op.RZ:
            spelled.rz(value, q0)
        elif op is Op.ECR:
            spelled.ecr(q0, q1)
        else:
            getattr(spelled, op.name.lower())(q0)
    for i, q in enumerate(REGION):
        lengths = {"rz": 0, "sx": 60 + 4 * q, "x": 60 + 4 * q, "measure": 1000 + 40 * q}
        durations.update([(name, [i], length, "dt") for name, length in lengths.items()])
        durations.update([("ecr", [i, j], 500 + 20 * min(q, p), "dt") for j, p in enumerate(REGION) if i != j])
    dag = circuit_to_dag(spelled)
    analysis = ALAPScheduleAnalysis(durations)
    analysis.property_set["time_unit"] = "dt"
    analysis.run(dag)
    starts = analysis.property_set["node_start_time"]
    return list(dag.op_nodes()), starts


@given(programs())
@settings(deadline=None)
def test_alap_is_qiskits(circuit):
    ours = schedule(circuit, Durations.of(SNAPSHOT, REGION))
    nodes, starts = qiskit_schedule(circuit)
    theirs = sorted((node.op.name, tuple(q._index for q in node.qargs), starts[node]) for node in nodes)
    mine = []
    for row, start in zip(circuit.operations.tolist(), ours.starts_ns.tolist(), strict=True):
        op, q0, q1, aux = Op(row[0]), row[1], row[2], row[6]
        qubits = circuit.groups[aux] if op is Op.BARRIER else tuple(q for q in (q0, q1) if q >= 0)
        mine.append((op.name.lower(), qubits, start))
    assert sorted(mine) == theirs


@given(programs())
def test_windows_count_from_the_end_and_counts_agree_with_the_program(circuit):
    durations = Durations.of(SNAPSHOT, REGION)
    scheduled, summary = schedule(circuit, durations), summarise(circuit, durations)
    gates = list(two_qubit_gates(circuit))
    assert len(summary.windows) == len(gates)
    for row, (index, q0, q1, opens, closes) in zip(gates, summary.windows.tolist(), strict=True):
        assert (row[1], row[2]) == (q0, q1)
        assert opens == pytest.approx(scheduled.duration_ns - scheduled.starts_ns[int(index)])
        assert opens - closes == pytest.approx(scheduled.lengths_ns[int(index)])
        assert closes >= 0
    assert sum(count for _, count in summary.edge_counts) == len(gates)
    assert summary.gate_counts.get(Op.ECR, 0) == len(gates)
    assert sum(summary.gate_counts.values()) == len(circuit.operations)
    assert (summary.idle_ns >= 0).all()
    assert summary.duration_ns == scheduled.duration_ns


@given(programs())
def test_a_summary_survives_its_document(circuit):
    summary = summarise(circuit, Durations.of(SNAPSHOT, REGION))
    data = pack(summary.to_document())
    assert pack(CircuitSummary.from_document(unpack(data)).to_document()) == data


def dynamic(then_body, else_body):
    conditional = Conditional((0,), 1, operations(then_body), operations(else_body))
    rows = [gate(Op.MEASURE, 0, clbit=0), gate(Op.IF, aux=0), gate(Op.MEASURE, 1, clbit=1)]
    register = ClassicalRegister("c", (0, 1))
    return IsaCircuit((0, 1, 2), 2, (register,), operations(rows), (), (conditional,))


def test_a_conditional_lasts_as_long_as_its_longest_branch_whichever_that_is():
    short, long = [gate(Op.X, 1)], [gate(Op.ECR, 1, 2), gate(Op.X, 1)]
    one = summarise(dynamic(short, long), Durations.of(SNAPSHOT))
    other = summarise(dynamic(long, short), Durations.of(SNAPSHOT))
    assert one.duration_ns == other.duration_ns == 1000 + (520 + 64) + 1040
    assert one.has_mid_circuit
    assert one.edge_counts == other.edge_counts == (((1, 2), 1),)
    assert one.windows.tolist() == other.windows.tolist() == [[1.0, 1.0, 2.0, 1040 + 64 + 520, 1040 + 64]]


def test_gates_of_the_shorter_branch_suffer_but_do_not_act():
    both = summarise(dynamic([gate(Op.ECR, 1, 2)], [gate(Op.ECR, 1, 2)] * 2), Durations.of(SNAPSHOT))
    assert both.windows[:, 0].tolist() == [-2.0, 1.0, 1.0]
    assert both.gate_counts[Op.ECR] == 2


def test_only_what_follows_a_measurement_is_mid_circuit():
    measured = [gate(Op.SX, 0), gate(Op.MEASURE, 0, clbit=0)]
    for tail, expected in [
        ([], False),
        ([gate(Op.X, 1)], False),
        ([gate(Op.DELAY, 0, value=100.0)], False),
        ([gate(Op.MEASURE, 1, clbit=1)], False),
        ([gate(Op.RZ, 0)], True),
        ([gate(Op.ECR, 1, 0)], True),
        ([gate(Op.MEASURE, 0, clbit=1)], True),
        ([gate(Op.RESET, 0)], True),
    ]:
        circuit = IsaCircuit((0, 1), 2, (), operations(measured + tail))
        assert has_mid_circuit(circuit) is expected, tail
