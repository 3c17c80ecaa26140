"""Pubs become executions: how many, of what, with how many shots, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator, Pauli

from qpu_backend.domain.errors import CircuitRefused, InvalidRequest, TooLarge
from qpu_backend.domain.observables import MeasurementBasis, PauliTerm
from qpu_backend.domain.programs import (
    Execution,
    Kind,
    Program,
    PubSpec,
    canonical_digest,
    content_digest,
    expand,
    measured_in,
)
from qpu_backend.physics.circuit import ClassicalRegister, Conditional, IsaCircuit, Op, operations
from qpu_sdk.wire.codec import pack, unpack

NONE = np.empty((1, 0))
THREE = np.array([[0.1], [0.2], [0.3]])

SAMPLED = IsaCircuit(
    qubits=(1, 4),
    num_clbits=2,
    registers=(ClassicalRegister("c", (0, 1)),),
    operations=operations(
        [
            (Op.RZ, 0, -1, -1, 0, 0.0, -1),
            (Op.ECR, 0, 1, -1, -1, 0.0, -1),
            (Op.BARRIER, -1, -1, -1, -1, 0.0, 0),
            (Op.MEASURE, 0, -1, 0, -1, 0.0, -1),
            (Op.IF, -1, -1, -1, -1, 0.0, 0),
        ]
    ),
    groups=((0, 1),),
    conditionals=(Conditional((0,), 1, operations([(Op.X, 1, -1, -1, -1, 0.0, -1)]), operations([])),),
    num_slots=1,
)
SILENT = IsaCircuit((1,), 1, (), operations([(Op.SX, 0, -1, -1, -1, 0.0, -1)]))


def expanded(kind: Kind, circuits: list[IsaCircuit], pubs: list[PubSpec], **changes: Any) -> Program:
    arguments: dict[str, Any] = {
        "usable_qubits": frozenset(range(8)),
        "default_shots": 1024,
        "default_precision": 1 / 64,
        "max_shots": 100_000,
        "max_executions": 50,
    }
    return expand(kind, circuits, pubs, **(arguments | changes))


def pauli(paulis: str, *qubits: int, coefficient: float = 1.0) -> tuple[PauliTerm, ...]:
    return (PauliTerm(paulis, qubits, coefficient),)


def test_a_sampler_pub_runs_once_a_binding():
    program = expanded("sampler", [SILENT, SAMPLED], [PubSpec(1, THREE, shots=7), PubSpec(1, THREE[:1])])
    assert program.circuits == (SAMPLED,)
    assert program.executions == (
        Execution(0, 0, 0, 0, 7),
        Execution(0, 0, 1, 0, 7),
        Execution(0, 0, 2, 0, 7),
        Execution(1, 0, 0, 0, 1024),
    )
    assert program.shots == 3 * 7 + 1024
    assert program.plans == ()


def test_an_estimator_pub_runs_once_a_binding_and_basis_it_needs():
    observables = (pauli("ZZ", 1, 4), pauli("X", 6), pauli("X", 1), pauli("Y", 1))
    pubs = [PubSpec(0, THREE, precision=0.1, observables=observables, pairs=((0, 0), (0, 1), (2, 2), (2, 3), (0, 2)))]
    program = expanded("estimator", [SAMPLED], pubs)
    (plan,) = program.plans
    assert [(basis.paulis, basis.qubits) for basis in plan.bases] == [("ZZX", (1, 4, 6)), ("X", (1,)), ("Y", (1,))]
    assert [(e.binding, e.basis, e.shots) for e in program.executions] == [
        (0, 0, 100),
        (0, 1, 100),
        (2, 1, 100),
        (2, 2, 100),
    ]
    assert len(program.circuits) == 3
    assert [program.circuits[e.circuit].qubits for e in program.executions] == [(1, 4, 6), (1, 4), (1, 4), (1, 4)]


def test_pubs_of_one_circuit_share_its_variants():
    pub = PubSpec(0, THREE, observables=(pauli("Z", 1),), pairs=((0, 0),))
    assert len(expanded("estimator", [SAMPLED], [pub, pub]).circuits) == 1


@pytest.mark.parametrize(
    ("precision", "shots"), [(1 / 64, 4096), (0.1, 100), (0.01, 10_000), (1.0, 1), (5.0, 1), (0.03, 1112)]
)
def test_shots_follow_from_precision(precision: float, shots: int):
    pub = PubSpec(0, THREE, precision=precision, observables=(pauli("Z", 1),), pairs=((0, 0),))
    program = expanded("estimator", [SAMPLED], [pub])
    assert program.executions[0].shots == program.plans[0].shots == shots
    assert program.plans[0].precision == precision


def test_every_pub_of_an_estimator_runs_even_if_nothing_needs_to_be_measured():
    empty = IsaCircuit((), 0, (), operations([]))
    program = expanded("estimator", [empty], [PubSpec(0, NONE, observables=((), pauli("")), pairs=((0, 0), (0, 1)))])
    assert len(program.executions) == 1
    assert program.circuits[0].qubits == (0,)


@pytest.mark.parametrize("letter", "XYZ")
def test_the_basis_change_turns_each_pauli_to_z(letter: str):
    variant = measured_in(IsaCircuit((), 0, (), operations([])), MeasurementBasis(letter, (3,)))
    change = QuantumCircuit(1)
    for row in variant.operations[:-1]:
        if row["code"] == Op.RZ:
            change.rz(float(row["value"]), 0)
        else:
            assert row["code"] == Op.SX
            change.sx(0)
    assert variant.operations["code"][-1] == Op.MEASURE
    unitary = Operator(change)
    turned = unitary.adjoint().data @ Pauli("Z").to_matrix() @ unitary.data
    np.testing.assert_allclose(turned, Pauli(letter).to_matrix(), atol=1e-12)


def test_measured_variants_keep_the_circuit_and_take_untouched_qubits_in():
    variant = measured_in(SAMPLED, MeasurementBasis("ZX", (0, 4)))
    assert variant.qubits == (0, 1, 4)
    assert variant.num_clbits == 4
    assert variant.registers == SAMPLED.registers
    assert variant.groups == ((1, 2),)
    assert variant.conditionals[0].then_body["q0"].tolist() == [2]
    assert variant.operations["q0"].tolist() == [1, 1, -1, 1, -1, 0, 2, 2, 2]
    assert variant.operations["q1"].tolist() == [-1, 2, -1, -1, -1, -1, -1, -1, -1]
    assert variant.operations["clbit"].tolist() == [-1, -1, -1, 0, -1, 2, -1, -1, 3]
    assert SAMPLED.operations["q0"].tolist() == [0, 0, -1, 0, -1]


def test_a_program_survives_storage():
    observables = (pauli("ZZ", 1, 4), pauli("X", 6))
    for program in (
        expanded("sampler", [SAMPLED], [PubSpec(0, THREE)]),
        expanded("estimator", [SAMPLED], [PubSpec(0, THREE, observables=observables, pairs=((0, 0), (1, 1)))]),
    ):
        again = Program.from_document(unpack(pack(program.to_document())))
        assert pack(again.to_document()) == pack(program.to_document())
        assert again.executions == program.executions
        assert [circuit.digest() for circuit in again.circuits] == [circuit.digest() for circuit in program.circuits]


def test_a_circuits_program_has_one_pub_a_circuit():
    expanded("circuits", [SAMPLED, SAMPLED], [PubSpec(1, THREE[:1]), PubSpec(0, THREE[:1])])
    with pytest.raises(InvalidRequest, match="one pub for each"):
        expanded("circuits", [SAMPLED, SAMPLED], [PubSpec(0, THREE[:1])])


@pytest.mark.parametrize("kind", ["sampler", "estimator"])
@pytest.mark.parametrize(
    ("changes", "error", "field"),
    [
        ({"shots": 0}, InvalidRequest, "pubs.0.shots"),
        ({"shots": -1}, InvalidRequest, "pubs.0.shots"),
        ({"shots": 100_001}, TooLarge, "pubs.0.shots"),
        ({"shots": 10**30}, TooLarge, "pubs.0.shots"),
        ({"circuit": 1}, InvalidRequest, "pubs.0.circuit"),
        ({"circuit": -1}, InvalidRequest, "pubs.0.circuit"),
        ({"angles": np.zeros((51, 1))}, TooLarge, "pubs.0.bindings"),
    ],
)
def test_pubs_beyond_the_limits_are_refused_with_their_field(
    kind: Kind, changes: dict[str, Any], error: type[InvalidRequest | TooLarge], field: str
):
    pub = {"circuit": 0, "angles": THREE, "observables": (pauli("Z", 1),), "pairs": ((0, 0),)} | changes
    with pytest.raises(error) as refusal:
        expanded(kind, [SAMPLED], [PubSpec(**pub)])
    assert refusal.value.field == field


@pytest.mark.parametrize("precision", [0.0, -0.1, math.nan, math.inf, 1e-3, 1e-300])
def test_precisions_that_cannot_be_reached_are_refused(precision: float):
    pub = PubSpec(0, THREE, precision=precision, observables=(pauli("Z", 1),), pairs=((0, 0),))
    with pytest.raises((InvalidRequest, TooLarge)) as refusal:
        expanded("estimator", [SAMPLED], [pub])
    assert refusal.value.field == "pubs.0.precision"


def test_more_executions_than_the_limit_are_refused():
    observables = tuple(pauli(letter, 1) for letter in "XYZ")
    pairs = tuple((binding, number) for binding in range(3) for number in range(3))
    pub = PubSpec(0, THREE, observables=observables, pairs=pairs)
    assert len(expanded("estimator", [SAMPLED], [pub], max_executions=9).executions) == 9
    with pytest.raises(TooLarge, match="executions"):
        expanded("estimator", [SAMPLED], [pub], max_executions=8)


def test_sampling_a_circuit_that_measures_nothing_is_refused():
    with pytest.raises(CircuitRefused, match="circuit 0 measures nothing"):
        expanded("sampler", [SILENT], [PubSpec(0, NONE)])


def test_the_canonical_digest_follows_everything_that_counts_and_nothing_else():
    def digest(kind: Kind = "estimator", options: dict[str, Any] | None = None, **changes: Any) -> str:
        pub = {"circuit": 0, "angles": THREE, "observables": (pauli("Z", 1),), "pairs": ((0, 0),)} | changes
        content = content_digest(kind, [SAMPLED], [PubSpec(**pub)])
        return canonical_digest(content, options or {"seed": 1, "memory": False})

    assert digest() == digest(options={"memory": False, "seed": 1}, angles=THREE.copy())
    others = [
        digest("sampler"),
        digest(options={"seed": 2, "memory": False}),
        digest(shots=5),
        digest(precision=0.5),
        digest(angles=THREE + 1e-15),
        digest(angles=THREE.T),
        digest(observables=(pauli("X", 1),)),
        digest(observables=(pauli("Z", 2),)),
        digest(observables=(pauli("Z", 1, coefficient=0.5),)),
        digest(pairs=((1, 0),)),
        canonical_digest(content_digest("estimator", [SILENT], []), {}),
    ]
    assert len({digest(), *others}) == len(others) + 1
