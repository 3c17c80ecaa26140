"""Circuits as values, spelled out for Qiskit: the strategies that draw them, and what they do."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator

from qpu_backend.physics.circuit import IsaCircuit, Op, operations
from qpu_backend.physics.snapshot import GateProperties, QubitProperties, RegionNoise

PULSE_NS, GATE_NS, READOUT_NS = 60.0, 660.0, 1300.0
ANGLES = {Op.RZ, Op.RZZ}
SILENT = {Op.BARRIER, Op.DELAY}


def row(op, q0=-1, q1=-1, *, clbit=-1, slot=-1, value=0.0, aux=-1):
    return (int(op), q0, q1, clbit, slot, value, aux)


def unitary(circuit):
    """Of the circuit without its measurements; delays and barriers do nothing."""
    spelled = QuantumCircuit(circuit.num_qubits)
    for code, q0, q1, _, _, value, _ in circuit.operations.tolist():
        op = Op(code)
        if op in SILENT or op is Op.MEASURE:
            continue
        getattr(spelled, op.name.lower())(*([value] if op in ANGLES else []), *(q for q in (q0, q1) if q >= 0))
    return Operator(spelled)


def counted(circuit, *ops):
    """How many operations of these kinds."""
    return int(np.isin(circuit.operations["code"], [int(op) for op in ops]).sum())


def chain(num_qubits):
    """Calibration of a line: ecr and the like from the lower to the higher number."""
    pairs = [(q, q + 1) for q in range(num_qubits - 1)]
    gates = {(op, pair): GateProperties(0.0, GATE_NS) for pair in pairs for op in (Op.ECR, Op.CX, Op.CZ, Op.RZZ)} | {
        (op, (q,)): GateProperties(0.0, PULSE_NS) for q in range(num_qubits) for op in (Op.SX, Op.X, Op.ID)
    }
    return RegionNoise({q: QubitProperties(1, 1, None, None, 0, 0, READOUT_NS) for q in range(num_qubits)}, gates)


@st.composite
def native_circuits(draw, *, waiting=False, measured=False):
    """On a line of up to four qubits; with barriers and delays, and with every qubit read at its end."""
    n = draw(st.integers(2, 4))
    rows, groups = [], []
    kinds = [Op.RZ, Op.SX, Op.X, Op.ECR, Op.CX, Op.CZ, Op.RZZ, *([Op.BARRIER, Op.DELAY] if waiting else [])]
    for _ in range(draw(st.integers(0, 12))):
        op = draw(st.sampled_from(kinds))
        qubit = draw(st.integers(0, n - 2))
        if op is Op.BARRIER:
            groups.append(tuple(sorted(draw(st.sets(st.integers(0, n - 1), min_size=2)))))
            rows.append(row(op, aux=len(groups) - 1))
        elif op is Op.DELAY:
            rows.append(row(op, qubit, value=4.0 * draw(st.integers(0, 600))))
        elif op in {Op.RZ, Op.SX, Op.X}:
            rows.append(row(op, draw(st.integers(0, n - 1)), value=draw(st.floats(-3, 3)) if op is Op.RZ else 0.0))
        else:
            rows.append(row(op, qubit, qubit + 1, value=draw(st.floats(0, 1.5)) if op is Op.RZZ else 0.0))
    if measured:
        rows += [row(Op.MEASURE, q, clbit=q) for q in range(n)]
    return IsaCircuit(tuple(range(n)), n if measured else 0, (), operations(rows), tuple(groups))
