"""A backend's document becomes the Target that Qiskit's compiler needs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit, transpile
from qiskit.circuit.library import RZZGate
from qiskit.quantum_info import Operator

from qpu_sdk.target import RZZ_BOUNDS, build_target, fold_rzz
from qpu_sdk.wire.models import GateCalibration


def test_a_directed_gate_exists_only_in_the_calibrated_direction(line):
    target = build_target(line)
    assert set(target["ecr"]) == {(0, 1), (1, 2), (2, 3), (3, 4)}


def test_a_symmetric_gate_exists_in_both_directions(broken_line):
    target = build_target(broken_line)
    assert set(target["cz"]) == {(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2)}
    assert target["cz"][1, 0].error == target["cz"][0, 1].error


def test_an_unusable_qubit_is_absent_from_every_instruction(broken_line):
    target = build_target(broken_line)
    assert target.num_qubits == 5
    places = [qargs for name in target.operation_names if target[name] for qargs in target[name] if qargs]
    assert places
    assert not any(4 in qargs for qargs in places)
    assert target.qubit_properties[4].t1 is None


def test_an_unusable_qubit_is_named_and_no_other(line, broken_line):
    assert broken_line.faulty_qubits() == [4]
    assert line.faulty_qubits() == []


def test_units_are_those_of_qiskit(line):
    target = build_target(line)
    assert target.dt == pytest.approx(0.5e-9)
    assert target["sx"][0,].duration == pytest.approx(60e-9)
    assert target["measure"][0,].duration == pytest.approx(1300e-9)
    assert target["measure"][0,].error == pytest.approx(0.02)
    assert target.qubit_properties[0].t1 == pytest.approx(200e-6)
    assert target.qubit_properties[0].t2 == pytest.approx(150e-6)
    assert target.qubit_properties[0].frequency == pytest.approx(4.9e9)
    assert target.granularity == target.pulse_alignment == target.acquire_alignment == 1


def test_the_description_is_a_string_even_without_one(line):
    assert isinstance(build_target(line).description, str)


def test_delay_reset_and_if_else_are_there(line):
    target = build_target(line)
    assert {"delay", "reset", "if_else", "measure"} <= set(target.operation_names)
    assert target.instruction_supported("reset", (3,))
    assert target.instruction_supported("delay", (3,))


def test_qiskit_transpiles_for_the_whole_chip(eagle):
    target = build_target(eagle)
    circuit = QuantumCircuit(5)
    circuit.h(0)
    for qubit in range(4):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    isa = transpile(circuit, target=target, seed_transpiler=1)
    assert all(
        target.instruction_supported(item.operation.name, tuple(isa.find_bit(q).index for q in item.qubits))
        for item in isa.data
        if item.operation.name != "barrier"
    )


@pytest.fixture
def fractional(line):
    """The line with cz and rzz, as on devices with tunable couplers."""
    gates = [gate for gate in line.gates if gate.name != "ecr"]
    for name in ("cz", "rzz"):
        gates += [GateCalibration(name=name, qubits=[q, q + 1], error=2e-3, duration_ns=68.0) for q in range(4)]
    return line.model_copy(update={"gates": gates, "basis_gates": ["rz", "sx", "x", "cz", "rzz", "measure"]})


@given(st.floats(-30, 30) | st.integers(-20, 20).map(lambda quarters: quarters * math.pi / 2))
def test_any_rzz_is_one_within_bounds_and_gates_of_one_qubit(angle):
    folded, flipped, turned, phase = fold_rzz(angle)
    assert RZZ_BOUNDS[0] <= folded <= RZZ_BOUNDS[1]
    circuit = QuantumCircuit(2, global_phase=phase)
    if flipped:
        circuit.x(0)
    circuit.rzz(folded, 0, 1)
    if flipped:
        circuit.x(0)
    if turned:
        circuit.rz(math.pi, [0, 1])
    assert np.allclose(Operator(circuit).data, RZZGate(angle).to_matrix(), atol=1e-9)


@pytest.mark.parametrize("level", range(4))
def test_the_compiler_brings_every_rzz_within_bounds(fractional, level):
    target = build_target(fractional)
    rng = np.random.default_rng(level)
    for _ in range(5):
        circuit = QuantumCircuit(3)
        for _ in range(8):
            a, b = (int(q) for q in rng.choice(3, 2, replace=False))
            circuit.h(a)
            circuit.rzz(float(rng.uniform(-7, 7)), a, b)
            circuit.cp(float(rng.uniform(-3, 3)), a, b)
        isa = transpile(circuit, target=target, optimization_level=level, seed_transpiler=1)
        angles = [float(item.operation.params[0]) for item in isa.data if item.operation.name == "rzz"]
        assert angles
        assert all(RZZ_BOUNDS[0] - 1e-9 <= angle <= RZZ_BOUNDS[1] + 1e-9 for angle in angles)
        wide = QuantumCircuit(5)
        wide.compose(circuit, range(3), inplace=True)
        assert Operator.from_circuit(isa).equiv(Operator(wide))
