"""Clients' circuits through the pool of limited children: what comes out, parameters included."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qiskit import QuantumCircuit, QuantumRegister
from qiskit.circuit import ClassicalRegister, Delay, Gate, Parameter, ParameterVector
from qiskit.circuit.classical import expr

from qpu_backend.engines.decoded import DecodingRequest, PubBinding
from qpu_backend.engines.decoding_pool import DecodingPool
from qpu_backend.engines.invalid_circuit import (
    InvalidAngle,
    InvalidBindings,
    InvalidCircuit,
    UnsupportedInstruction,
)
from qpu_backend.physics.circuit import Op

if TYPE_CHECKING:
    from collections.abc import Iterator

from orders.decoding import LIMITS, decode, decode_programs, rows, written


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodingPool]:
    with DecodingPool(1, LIMITS) as pool:
        yield pool


# --- what comes out ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [13, 14, 15, 16, 17, 18])
def test_every_supported_version_of_qpy_gives_the_same_circuit(pool: DecodingPool, version: int):
    circuit = QuantumCircuit(3, 2)
    circuit.rz(0.25, 0)
    circuit.sx(0)
    circuit.x(2)
    circuit.id(2)
    circuit.ecr(0, 2)
    circuit.barrier()
    circuit.reset(2)
    circuit.measure([0, 2], [1, 0])
    data = zlib.compress(written(circuit, circuit, version=version))
    decoded = pool.decode(DecodingRequest("qpy+zlib", data, (PubBinding(1),)))
    one = decoded.circuits[1]
    assert one.qubits == (0, 2)
    assert decoded.widths == (3, 3)
    assert one.groups == ((0, 1),)
    assert rows(one) == [
        (Op.RZ, 0, -1, -1),
        (Op.SX, 0, -1, -1),
        (Op.X, 1, -1, -1),
        (Op.ID, 1, -1, -1),
        (Op.ECR, 0, 1, -1),
        (Op.BARRIER, -1, -1, -1),
        (Op.RESET, 1, -1, -1),
        (Op.MEASURE, 0, -1, 1),
        (Op.MEASURE, 1, -1, 0),
    ]
    assert one.operations["value"][0] == 0.25
    assert decoded.angles[0].shape == (1, 0)


def test_the_same_circuit_built_twice_has_one_digest_although_its_bytes_differ(pool: DecodingPool):
    def built(name: str) -> QuantumCircuit:
        angle = Parameter("a")
        circuit = QuantumCircuit(QuantumRegister(4, name), ClassicalRegister(4, "c"), name=name, metadata={"by": name})
        circuit.rz(angle * 2, 3)
        circuit.barrier(3, 1)
        circuit.cz(1, 3)
        circuit.measure(range(4), range(4))
        return circuit

    first, second = built("one"), built("two")
    assert written(first) != written(second)
    values = np.array([[0.5]])
    assert (
        decode(pool, first, values=values).circuits[0].digest()
        == decode(pool, second, values=values).circuits[0].digest()
    )


def test_the_order_of_a_barriers_qubits_does_not_count(pool: DecodingPool):
    digests: set[str] = set()
    for order in ([0, 1, 2], [2, 0, 1]):
        circuit = QuantumCircuit(3)
        circuit.x([0, 1, 2])
        circuit.barrier(order)
        circuit.x([0, 1, 2])
        digests.add(decode(pool, circuit).circuits[0].digest())
    assert len(digests) == 1


def test_register_names_are_preserved_whatever_they_are(pool: DecodingPool):
    names = ["shape", "values", "keys", "items", "ndim", "size", "ψ meas", "c-0"]
    circuit = QuantumCircuit(QuantumRegister(1), *(ClassicalRegister(2, name) for name in names))
    circuit.measure(0, 3)
    one = decode(pool, circuit).circuits[0]
    assert [register.name for register in one.registers] == names
    assert [register.clbits for register in one.registers] == [(2 * k, 2 * k + 1) for k in range(len(names))]


@pytest.mark.parametrize(
    ("length", "length_ns"), [("3s", 3e9), ("3ms", 3e6), ("3us", 3e3), ("3ns", 3.0), ("0.5ns", 0.5), ("3dt", 1.5)]
)
def test_delays_of_every_unit_become_nanoseconds(pool: DecodingPool, length: str, length_ns: float):
    program = f'OPENQASM 3.0; include "stdgates.inc"; x $0; delay[{length}] $0;'
    decoded = decode_programs(pool, program)
    assert decoded.circuits[0].operations["value"][1] == pytest.approx(length_ns)


def test_a_delay_in_qpy_is_in_dt(pool: DecodingPool):
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.delay(7, 0)
    assert decode(pool, circuit, dt_ns=0.5).circuits[0].operations["value"][1] == 3.5


def test_a_delay_whose_unit_qpy_lost_is_refused_where_that_can_be_seen(pool: DecodingPool):
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.delay(2.5e-6, 0, unit="s")
    with pytest.raises(InvalidCircuit, match="dt"):
        decode(pool, circuit)


def test_a_delay_in_dt_needs_a_backend_with_a_dt(pool: DecodingPool):
    circuit = QuantumCircuit(1)
    circuit.append(Delay(3, "dt"), [0])
    with pytest.raises(UnsupportedInstruction, match="delay"):
        decode(pool, circuit, dt_ns=None)


def test_qubits_that_only_idle_in_the_ground_state_are_dropped(pool: DecodingPool):
    circuit = QuantumCircuit(6, 1)
    circuit.x(4)
    circuit.delay(100, 0, unit="ns")
    circuit.id(1)
    circuit.reset(2)
    circuit.measure(4, 0)
    assert decode(pool, circuit).circuits[0].qubits == (4,)


def test_a_delay_that_others_wait_for_at_a_barrier_is_kept(pool: DecodingPool):
    circuit = QuantumCircuit(2, 1)
    circuit.x(0)
    circuit.barrier()
    circuit.delay(1000, 1, unit="ns")
    circuit.barrier()
    circuit.measure(0, 0)
    assert decode(pool, circuit).circuits[0].qubits == (0, 1)


def test_conditions_on_bits_registers_and_expressions_are_read(pool: DecodingPool):
    register = ClassicalRegister(3, "c")
    circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(1, "a"), register)
    for condition in (
        (register[1], 1),
        (register, 5),
        (register, 9),
        expr.logic_not(register[0]),
        expr.equal(register, 6),
        expr.not_equal(register, 6),
    ):
        with circuit.if_test(condition) as otherwise:
            circuit.x(0)
        with otherwise:
            circuit.sx(1)
    one = decode(pool, circuit).circuits[0]
    asked = [(c.clbits, c.value, Op(int(c.then_body["code"][0]))) for c in one.conditionals]
    bits = (1, 2, 3)
    assert asked == [
        ((2,), 1, Op.X),
        (bits, 5, Op.X),
        ((1,), 1, Op.SX),
        (bits, 6, Op.X),
        (bits, 6, Op.SX),
    ]
    assert [Op(int(code)) for code in one.operations["code"]] == [Op.IF, Op.IF, Op.SX, Op.IF, Op.IF, Op.IF]


def test_nested_conditionals_refer_to_earlier_ones_and_to_the_outer_bits(pool: DecodingPool):
    first, second = ClassicalRegister(1, "a"), ClassicalRegister(2, "b")
    circuit = QuantumCircuit(QuantumRegister(3), first, second)
    circuit.measure(2, 2)
    with circuit.if_test((first[0], 1)):
        circuit.x(1)
        with circuit.if_test((second, 2)):
            circuit.x(2)
    one = decode(pool, circuit).circuits[0]
    inner, outer = one.conditionals
    assert (outer.clbits, outer.value) == ((0,), 1)
    assert (inner.clbits, inner.value) == ((1, 2), 2)
    assert outer.then_body["aux"].tolist() == [-1, 0]
    assert [one.qubits[q] for q in inner.then_body["q0"]] == [2]


def test_a_loop_over_constants_is_unrolled_with_its_parameter(pool: DecodingPool):
    index, angle = Parameter("i"), Parameter("a")
    body = QuantumCircuit(1)
    body.rz(index * 0.5, 0)
    body.rz(angle, 0)
    circuit = QuantumCircuit(3)
    circuit.for_loop(range(1, 4), index, body, [2], [])
    decoded = decode(pool, circuit, values=np.array([[0.25]]))
    one = decoded.circuits[0]
    assert one.operations["value"].tolist() == [0.5, 0.0, 1.0, 0.0, 1.5, 0.0]
    assert one.operations["slot"].tolist() == [-1, 0, -1, 0, -1, 0]
    assert decoded.angles[0].tolist() == [[0.25]]


@pytest.mark.parametrize(
    "name", ["while_loop", "switch_case", "box", "store", "h", "mine", "u", "break_loop", "cx_o0", "rz"]
)
def test_what_no_device_does_is_refused_by_its_name(pool: DecodingPool, name: str):
    circuit = QuantumCircuit(2, 2)
    match name:
        case "while_loop":
            with circuit.while_loop((circuit.clbits[0], 0)):
                circuit.x(0)
        case "switch_case":
            with circuit.switch(circuit.cregs[0]) as case, case(1):
                circuit.x(0)
        case "box":
            with circuit.box():
                circuit.x(0)
        case "store":
            circuit.store(circuit.clbits[0], expr.lift(True))
        case "break_loop":
            with circuit.for_loop(range(3)):
                circuit.break_loop()
        case "cx_o0":
            circuit.cx(0, 1, ctrl_state=0)
        case "u":
            circuit.u(0.1, 0, 0, 0)
        case "h":
            circuit.h(0)
        case _:  # also one that only calls itself rz
            circuit.append(Gate(name, 1, [0.1]), [0])
    with pytest.raises(UnsupportedInstruction, match=f"'{name}'"):
        decode(pool, circuit)


# --- parameters -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_bindings", [1, 5, 40])
def test_the_angle_table_is_what_qiskit_binds(pool: DecodingPool, num_bindings: int):
    theta, phi = ParameterVector("t", 11), Parameter("p")  # t[10] sorts after t[2] in circuit.parameters
    expressions = [
        theta[10],
        2 * theta[0] + 1,
        theta[1] * theta[2],
        phi.sin(),
        abs(phi),
        phi / 3 - theta[10],
        theta[0].sign(),
    ]
    circuit = QuantumCircuit(2)
    for expression in [*expressions, *reversed(expressions)]:
        circuit.rz(expression, 0)
    for parameter in theta:
        circuit.rz(parameter, 1)
    values = np.random.default_rng(1).normal(size=(num_bindings, len(circuit.parameters)))
    decoded = decode(pool, circuit, values=values)
    one, table = decoded.circuits[0], decoded.angles[0]
    assert one.num_slots == len(expressions) + 10
    for row, binding in zip(values, table, strict=True):
        bound = circuit.assign_parameters(row)
        expected = [float(instruction.params[0]) for instruction in bound.data]
        angles = np.where(one.operations["slot"] >= 0, binding[one.operations["slot"]], one.operations["value"])
        np.testing.assert_allclose(angles, expected, atol=1e-13)


def test_unbound_parameters_are_refused_by_name(pool: DecodingPool):
    circuit = QuantumCircuit(1)
    circuit.rz(Parameter("theta"), 0)
    with pytest.raises(InvalidBindings, match="theta") as refusal:
        decode(pool, circuit)
    assert refusal.value.field == "pubs.0.bindings"


@pytest.mark.parametrize("shape", [(2, 1), (2, 3), (2, 0)])
def test_a_wrong_number_of_columns_is_refused(pool: DecodingPool, shape: tuple[int, int]):
    circuit = QuantumCircuit(1)
    circuit.rz(Parameter("a") + Parameter("b"), 0)
    with pytest.raises(InvalidBindings, match="2 parameters"):
        decode(pool, circuit, values=np.zeros(shape))


@pytest.mark.parametrize("angle", [math.nan, math.inf, -math.inf])
def test_an_angle_that_is_not_a_number_is_refused(pool: DecodingPool, angle: float):
    constant = QuantumCircuit(1)
    constant.rz(angle, 0)
    with pytest.raises(InvalidAngle, match="rz"):
        decode(pool, constant)
    bound = QuantumCircuit(1)
    bound.rz(Parameter("a"), 0)
    with pytest.raises(InvalidAngle):
        decode(pool, bound, values=np.array([[0.0], [angle]]))


@pytest.mark.parametrize("num_bindings", [1, 40])
def test_an_expression_without_a_real_value_is_refused(pool: DecodingPool, num_bindings: int):
    angle = Parameter("a")
    for expression, value in ((1 / angle, 0.0), (angle.log(), -1.0), (angle.exp(), 1e9)):
        circuit = QuantumCircuit(1)
        circuit.rz(expression, 0)
        with pytest.raises(InvalidAngle):
            decode(pool, circuit, values=np.full((num_bindings, 1), value))


def test_a_parametric_delay_is_refused(pool: DecodingPool):
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.delay(Parameter("t"), 0, unit="ns")
    with pytest.raises(UnsupportedInstruction, match="delay"):
        decode(pool, circuit, values=np.array([[5.0]]))


def test_a_pub_that_names_no_circuit_is_refused(pool: DecodingPool):
    data = zlib.compress(written(QuantumCircuit(1)))
    with pytest.raises(InvalidBindings, match="circuit 7") as refusal:
        pool.decode(DecodingRequest("qpy+zlib", data, (PubBinding(7),)))
    assert refusal.value.field == "pubs.0.circuit"
