"""Relocation is exact: the same unitary up to a global phase, the same outcomes in the same classical bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator

from qpu_backend.physics.circuit import Conditional, IsaCircuit, Op, operations
from qpu_backend.physics.errors import NotCalibrated
from qpu_backend.physics.relocate import relocate
from qpu_backend.physics.snapshot import GateProperties, QubitProperties, RegionNoise

PHYSICAL = 9


def gate(op, q0=-1, q1=-1, *, clbit=-1, slot=-1, value=0.0, aux=-1):
    return (int(op), q0, q1, clbit, slot, value, aux)


@st.composite
def placed_circuits(draw):
    n = draw(st.integers(1, 4))
    backend_qubits = tuple(sorted(draw(st.permutations(range(6)))[:n]))
    region = draw(st.permutations(range(PHYSICAL)))[:6]
    rows = []
    for _ in range(draw(st.integers(0, 10))):
        op = draw(st.sampled_from([Op.RZ, Op.SX, Op.X, Op.ECR, Op.CX, Op.CZ, Op.RZZ]))
        q0, *others = draw(st.permutations(range(n)))
        value = draw(st.floats(-3, 3)) if op in {Op.RZ, Op.RZZ} else 0.0
        if op in {Op.RZ, Op.SX, Op.X}:
            rows.append(gate(op, q0, value=value))
        elif others:
            rows.append(gate(op, q0, others[0], value=value))
    circuit = IsaCircuit(backend_qubits, 0, (), operations(rows))
    directions = {}
    for a in range(PHYSICAL):
        for b in range(a):
            pair = draw(st.sampled_from([(a, b), (b, a)]))
            directions |= {(op, pair): GateProperties(0.0, 100.0) for op in (Op.ECR, Op.CX, Op.CZ, Op.RZZ)}
    return (
        circuit,
        region,
        RegionNoise({q: QubitProperties(1, 1, None, None, 0, 0, 1) for q in range(PHYSICAL)}, directions),
    )


def unitary(circuit, where):
    """On ``len(where)`` qubits; the circuit's local qubit i acts on ``where[i]``."""
    spelled = QuantumCircuit(len(where))
    for code, q0, q1, _, _, value, _ in circuit.operations.tolist():
        op, qubits = Op(code), [where[q] for q in (q0, q1) if q >= 0]
        angles = [value] if op in {Op.RZ, Op.RZZ} else []
        getattr(spelled, op.name.lower())(*angles, *qubits)
    return Operator(spelled)


@given(placed_circuits())
@settings(deadline=None)
def test_relocation_is_exact_and_uses_calibrated_directions_only(placed):
    circuit, region, calibration = placed
    moved = relocate(circuit, region, calibration)
    physical = [region[q] for q in circuit.qubits]
    assert moved.qubits == tuple(sorted(physical))
    identity = list(range(circuit.num_qubits))
    where = [moved.qubits.index(q) for q in physical]
    assert unitary(moved, identity).equiv(unitary(circuit, where))
    for code, q0, q1, *_ in moved.operations.tolist():
        if q1 >= 0:
            pair = (moved.qubits[q0], moved.qubits[q1])
            symmetric = Op(code) in {Op.CZ, Op.RZZ}
            assert (Op(code), pair) in calibration.gates or (symmetric and (Op(code), pair[::-1]) in calibration.gates)


def eagle_like():
    return RegionNoise({}, {(Op.ECR, (7, 3)): GateProperties(0.0, 1.0)})


def test_measurements_slots_barriers_and_branches_move_along():
    conditional = Conditional((0,), 1, operations([gate(Op.X, 1)]), operations([gate(Op.ECR, 0, 1)]))
    rows = [gate(Op.RZ, 1, slot=0), gate(Op.BARRIER, aux=0), gate(Op.MEASURE, 0, clbit=0), gate(Op.IF, aux=0)]
    circuit = IsaCircuit((0, 1), 1, (), operations(rows), ((0, 1),), (conditional,), 1)
    moved = relocate(circuit, (7, 3), eagle_like())
    assert moved.qubits == (3, 7)
    assert moved.operations["q0"].tolist() == [0, -1, 1, -1]
    assert moved.operations["slot"].tolist() == [0, -1, -1, -1]
    assert moved.groups == ((0, 1),)
    assert moved.conditionals[0].then_body["q0"].tolist() == [0]
    assert moved.conditionals[0].else_body[["q0", "q1"]].tolist() == [(1, 0)]
    turned = relocate(circuit, (3, 7), eagle_like()).conditionals[0].else_body
    assert [tuple(row) for row in turned[turned["code"] == Op.ECR][["q0", "q1"]].tolist()] == [(1, 0)]
    assert (turned["code"] == Op.SX).sum() == 4


def test_uncoupled_qubits_and_repeated_qubits_are_refused():
    circuit = IsaCircuit((0, 1), 0, (), operations([gate(Op.ECR, 0, 1)]))
    with pytest.raises(NotCalibrated):
        relocate(circuit, (7, 4), eagle_like())
    with pytest.raises(ValueError, match="twice"):
        relocate(circuit, (7, 7), eagle_like())


def test_relocating_home_changes_nothing():
    circuit = IsaCircuit((3, 7), 0, (), operations([gate(Op.ECR, 1, 0), gate(Op.RZ, 0, value=0.3)]))
    home = relocate(circuit, range(10), eagle_like())
    assert home.digest() == circuit.digest()
    assert np.array_equal(home.operations, circuit.operations)
