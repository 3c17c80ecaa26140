"""The check of circuits against a backend: what passes, and the words of every refusal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qpu_backend.domain.errors import TooLarge
from qpu_backend.domain.isa import IsaTarget, NotIsa, check
from qpu_backend.physics.circuit import Conditional, IsaCircuit, Op, operations

EAGLE = IsaTarget(
    num_qubits=8,
    basis=frozenset({Op.RZ, Op.SX, Op.X, Op.ECR, Op.DELAY, Op.MEASURE, Op.RESET, Op.IF}),
    edges={Op.ECR: frozenset({(3, 2), (3, 4), (5, 6)})},
    usable_qubits=frozenset({0, 1, 2, 3, 4, 5, 6}),
    max_clbits=4,
    max_operations=6,
)
HERON = IsaTarget(
    num_qubits=3,
    basis=frozenset({Op.RZ, Op.SX, Op.X, Op.CZ, Op.RZZ, Op.MEASURE}),
    edges={Op.CZ: frozenset({(0, 1)}), Op.RZZ: frozenset({(1, 0), (1, 2)})},
    usable_qubits=frozenset({0, 1, 2}),
)
Row = tuple[int, int, int, int, int, float, int]


def row(
    op: Op, q0: int = -1, q1: int = -1, *, clbit: int = -1, slot: int = -1, value: float = 0.0, aux: int = -1
) -> Row:
    return (int(op), q0, q1, clbit, slot, value, aux)


def circuit(qubits: tuple[int, ...], *rows: Row, num_clbits: int = 2, num_slots: int = 0) -> IsaCircuit:
    return IsaCircuit(qubits, num_clbits, (), operations(list(rows)), num_slots=num_slots)


GOOD = circuit((2, 3), row(Op.RZ, 0, value=0.1), row(Op.ECR, 1, 0), row(Op.MEASURE, 0, clbit=1))


def test_a_circuit_in_the_backends_instructions_passes():
    check([GOOD], EAGLE, widths=[8], angles=[(0, np.empty((1, 0)))])


def test_the_wrong_direction_is_refused_and_the_right_one_named():
    with pytest.raises(
        NotIsa, match=r"circuit 1 uses ecr on \(2, 3\).*other direction only: ecr on \(3, 2\)"
    ) as refusal:
        check([GOOD, circuit((2, 3), row(Op.ECR, 0, 1))], EAGLE)
    assert refusal.value.circuit == 1
    assert refusal.value.operation == "ecr"
    assert refusal.value.qubits == (2, 3)
    assert refusal.value.code == "not_isa"
    assert refusal.value.field == "circuits[1]"


def test_a_pair_without_coupling_is_refused():
    with pytest.raises(NotIsa, match=r"ecr on \(2, 5\).*has no ecr there"):
        check([circuit((2, 5), row(Op.ECR, 0, 1))], EAGLE)


def test_a_symmetric_gate_may_be_written_either_way():
    check([circuit((0, 1), row(Op.CZ, 1, 0), row(Op.RZZ, 0, 1, value=0.5))], HERON)


@pytest.mark.parametrize("op", [Op.CX, Op.CZ, Op.RZZ, Op.ID])
def test_an_operation_outside_the_basis_is_refused_by_name(op: Op):
    second = -1 if op is Op.ID else 1
    with pytest.raises(NotIsa, match=f"uses {op.name.lower()} on .*2.*does not have") as refusal:
        check([circuit((2, 3), row(op, 0, second))], EAGLE)
    assert refusal.value.operation == op.name.lower()


def test_barriers_need_no_support():
    check([IsaCircuit((0, 1), 0, (), operations([row(Op.BARRIER, aux=0)]), ((0, 1),))], HERON)


def test_conditionals_need_support_and_their_bodies_are_checked():
    body = operations([row(Op.ECR, 0, 1)])
    branching = IsaCircuit(
        (2, 3), 1, (), operations([row(Op.IF, aux=0)]), conditionals=(Conditional((0,), 1, operations([]), body),)
    )
    with pytest.raises(NotIsa, match="if_else"):
        check([branching], HERON)
    with pytest.raises(NotIsa, match=r"ecr on \(2, 3\)"):
        check([branching], EAGLE)


def test_unknown_and_faulty_qubits_are_refused():
    with pytest.raises(NotIsa, match="qubits 0 to 7") as unknown:
        check([circuit((8,), row(Op.X, 0))], EAGLE)
    assert unknown.value.qubits == (8,)
    with pytest.raises(NotIsa, match="qubit 7 is out of order"):
        check([circuit((7,), row(Op.X, 0))], EAGLE)
    with pytest.raises(NotIsa, match="9 qubits, the backend 8"):
        check([GOOD], EAGLE, widths=[9])


@pytest.mark.parametrize("clbit", [-1, 2, 100])
def test_a_measurement_into_an_unknown_bit_is_refused(clbit: int):
    with pytest.raises(NotIsa, match="unknown bit: measure on qubit 2"):
        check([circuit((2,), row(Op.MEASURE, 0, clbit=clbit))], EAGLE)


def test_a_condition_on_an_unknown_bit_is_refused():
    conditional = Conditional((5,), 1, operations([]), operations([]))
    with pytest.raises(NotIsa, match="classical bit"):
        check([IsaCircuit((2,), 1, (), operations([row(Op.IF, aux=0)]), conditionals=(conditional,))], EAGLE)


@pytest.mark.parametrize("length_ns", [-1e-9, -5.0, math.nan, math.inf, 2e9])
def test_a_delay_that_is_no_time_is_refused(length_ns: float):
    with pytest.raises(NotIsa, match="delay"):
        check([circuit((2,), row(Op.DELAY, 0, value=length_ns))], EAGLE)


@pytest.mark.parametrize("angle", [-0.01, 1.6, 3.2])
def test_an_rzz_angle_outside_its_bounds_is_refused_constant_or_bound(angle: float):
    with pytest.raises(NotIsa, match=r"outside 0 to π/2: rzz on \(1, 2\)"):
        check([circuit((1, 2), row(Op.RZZ, 0, 1, value=angle))], HERON)
    bound = circuit((1, 2), row(Op.RZZ, 0, 1, slot=0), num_slots=1)
    with pytest.raises(NotIsa, match="binding 1 of pub 1"):
        check([bound], HERON, angles=[(0, np.array([[0.1]])), (0, np.array([[0.1], [angle]]))])


@pytest.mark.parametrize("angle", [0.0, -1e-12, math.pi / 2, math.pi / 2 + 1e-12])
def test_the_bounds_of_rzz_are_inclusive(angle: float):
    check([circuit((1, 2), row(Op.RZZ, 0, 1, value=angle))], HERON)


def test_sizes_beyond_the_limits_are_refused():
    with pytest.raises(TooLarge, match="operations of circuit 0: 7"):
        check([circuit((2,), *[row(Op.X, 0)] * 7)], EAGLE)
    with pytest.raises(TooLarge, match="classical bits of circuit 0: 5"):
        check([circuit((2,), num_clbits=5)], EAGLE)


def test_a_circuit_that_does_nothing_passes():
    check([circuit((), num_clbits=0)], EAGLE)
