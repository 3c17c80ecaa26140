"""What is wrong with a program is found before it is sent, and named."""

from __future__ import annotations

import math

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.circuit.classical import types

from qpu_sdk.errors import (
    CircuitTooLargeError,
    InvalidCircuitError,
    InvalidRequestError,
    LimitExceededError,
    NotISAError,
    UnsupportedInstructionError,
)
from qpu_sdk.validation import CircuitRules, check_bindings, check_register_names


def _circuit(num_qubits: int = 5) -> QuantumCircuit:
    return QuantumCircuit(num_qubits, 2)


def _check(rules: CircuitRules, circuit: QuantumCircuit, *, parametric: bool = False) -> None:
    rules.check_circuits([circuit], parametric=parametric)


def test_a_circuit_in_the_backends_instructions_passes(rules):
    circuit = _circuit()
    circuit.rz(0.3, 0)
    circuit.sx(0)
    circuit.ecr(0, 1)
    circuit.delay(100, 1, "ns")
    circuit.reset(2)
    circuit.barrier()
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(3)
    _check(rules, circuit)


def test_nothing_to_run_is_refused(rules):
    with pytest.raises(InvalidRequestError, match="no circuit"):
        rules.check_circuits([], parametric=False)


def test_something_else_than_a_circuit_is_refused(rules):
    with pytest.raises(InvalidRequestError, match="not a QuantumCircuit"):
        rules.check_circuits(["h 0"], parametric=False)


def test_the_wrong_direction_of_ecr_is_refused_and_the_right_one_named(rules):
    circuit = _circuit()
    circuit.ecr(1, 0)
    with pytest.raises(NotISAError, match=r"ecr on \(0, 1\) but not in the direction \(1, 0\)") as caught:
        _check(rules, circuit)
    assert caught.value.field == "circuits[0]"
    assert caught.value.status_code is None


def test_the_wrong_direction_inside_a_branch_is_refused(rules):
    circuit = _circuit()
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.ecr(2, 1)
    with pytest.raises(NotISAError):
        _check(rules, circuit)


def test_a_gate_of_another_basis_is_refused(rules):
    circuit = _circuit()
    circuit.h(0)
    with pytest.raises(UnsupportedInstructionError, match="no h"):
        _check(rules, circuit)


def test_a_loop_is_refused_where_there_are_none(rules):
    circuit = _circuit()
    with circuit.for_loop(range(2)):
        circuit.x(0)
    with pytest.raises(UnsupportedInstructionError, match="for_loop"):
        _check(rules, circuit)


def test_classical_variables_are_refused(rules):
    circuit = _circuit()
    circuit.add_var("a", circuit.clbits[0])
    with pytest.raises(UnsupportedInstructionError, match="variables"):
        _check(rules, circuit)
    other = _circuit()
    other.add_input("b", types.Bool())
    with pytest.raises(UnsupportedInstructionError, match="variables"):
        _check(rules, other)


def test_a_box_is_refused(rules):
    circuit = _circuit()
    with circuit.box():
        circuit.x(0)
    with pytest.raises(UnsupportedInstructionError, match="box"):
        _check(rules, circuit)


def test_an_unknown_qubit_is_refused(rules):
    with pytest.raises(NotISAError, match="6 qubits"):
        _check(rules, _circuit(6))


def test_an_unusable_qubit_is_refused(broken_line, limits):
    circuit = _circuit()
    circuit.x(4)
    with pytest.raises(NotISAError, match="no x on 4"):
        _check(CircuitRules.of(broken_line, limits), circuit)


def test_unbound_parameters_are_named(rules):
    circuit = _circuit()
    circuit.rz(Parameter("theta"), 0)
    with pytest.raises(InvalidCircuitError, match="theta"):
        _check(rules, circuit)
    _check(rules, circuit, parametric=True)


@pytest.mark.parametrize("angle", [math.nan, math.inf, np.float64("nan")])
def test_an_angle_that_is_no_number_is_refused(rules, angle):
    circuit = _circuit()
    circuit.rz(0.0, 0)
    circuit.data[0] = circuit.data[0].replace(params=[angle], operation=circuit.data[0].operation.to_mutable())
    operation = circuit.data[0].operation
    operation.params = [angle]
    circuit.data[0] = circuit.data[0].replace(operation=operation)
    with pytest.raises(InvalidCircuitError, match="angle"):
        _check(rules, circuit)


@pytest.mark.parametrize("shots", [0, -1, 100_001, 10**12])
def test_shots_outside_the_limits_are_refused(rules, shots):
    with pytest.raises(LimitExceededError, match="1 to 100000"):
        rules.check_shots(shots, "shots")


def test_too_many_circuits_are_refused(rules):
    with pytest.raises(LimitExceededError, match="300"):
        rules.check_circuits([_circuit()] * 301, parametric=False)


def test_too_many_classical_bits_are_refused(rules):
    with pytest.raises(LimitExceededError, match="classical bits"):
        _check(rules, QuantumCircuit(1, 1001))


def test_more_qubits_than_can_be_simulated_are_refused(eagle, limits):
    circuit = QuantumCircuit(127)
    circuit.x(range(25))
    with pytest.raises(CircuitTooLargeError, match="25 qubits"):
        _check(CircuitRules.of(eagle, limits), circuit)


def test_a_result_larger_than_the_limit_is_refused(rules):
    with pytest.raises(LimitExceededError, match="bytes"):
        rules.check_size(1, 10**12)
    with pytest.raises(LimitExceededError, match="executions"):
        rules.check_size(10**6, 1)


@pytest.mark.parametrize("name", ["shape", "values", "keys", "items", "ndim", "size"])
def test_register_names_a_databin_cannot_hold_are_refused(name):
    circuit = QuantumCircuit(QuantumRegister(1), ClassicalRegister(1, name))
    with pytest.raises(InvalidCircuitError, match=name):
        check_register_names([circuit])


def test_bindings_must_be_finite_and_some():
    with pytest.raises(InvalidRequestError, match="finite"):
        check_bindings(np.array([[1.0, np.nan]]), "pubs[0]")
    with pytest.raises(InvalidRequestError, match="no bindings"):
        check_bindings(np.zeros((0, 2)), "pubs[0]")
