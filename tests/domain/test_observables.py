"""Expectation values from shots: every term is measured once, and the estimates agree with Qiskit's exact ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector

from qpu_backend.domain.errors import InvalidRequest, TooLarge
from qpu_backend.domain.observables import EstimationPlan, Observable, PauliTerm, expectations, group, plan_estimation
from qpu_backend.domain.programs import measured_in
from qpu_backend.physics.circuit import IsaCircuit, Op, operations
from qpu_sdk.wire.codec import pack, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray

pauli_strings = st.dictionaries(st.integers(0, 6), st.sampled_from("XYZ"), min_size=1).map(
    lambda d: tuple(sorted(d.items()))
)


def plan(
    observables: list[Observable], pairs: list[tuple[int, int]], *, num_qubits: int = 4, shots: int = 100
) -> EstimationPlan:
    return plan_estimation(
        observables,
        pairs,
        num_bindings=1 + max((binding for binding, _ in pairs), default=0),
        usable_qubits=frozenset(range(num_qubits)),
        fallback_qubit=0,
        first_clbit=0,
        shots=shots,
        precision=0.1,
        max_bases=1000,
        field="pubs.0",
    )


def observable(**coefficients: float) -> Observable:
    """``XIZ=0.5`` as Qiskit writes it: qubit 0 is the last letter."""
    terms: list[PauliTerm] = []
    for label, coefficient in coefficients.items():
        factors = [(qubit, letter) for qubit, letter in enumerate(reversed(label)) if letter != "I"]
        terms.append(PauliTerm("".join(p for _, p in factors), tuple(q for q, _ in factors), coefficient))
    return tuple(terms)


@given(st.lists(pauli_strings, unique=True, max_size=40))
def test_every_term_is_measured_once_in_a_basis_that_agrees_with_it(strings: list[tuple[tuple[int, str], ...]]):
    bases, basis_of = group(strings, max_bases=1000)
    assert set(basis_of) == set(strings)
    assert set(basis_of.values()) == set(range(len(bases)))
    for string, number in basis_of.items():
        letters = dict(zip(bases[number].qubits, bases[number].paulis, strict=True))
        assert all(letters[qubit] == letter for qubit, letter in string)
    for number, basis in enumerate(bases):
        covered = {factor for string, of in basis_of.items() if of == number for factor in string}
        assert covered == set(zip(basis.qubits, basis.paulis, strict=True))
        assert list(basis.qubits) == sorted(set(basis.qubits))


def test_terms_that_agree_share_a_basis():
    bases, _ = group([((0, "Z"),), ((1, "Z"),), ((0, "Z"), (1, "Z")), ((2, "X"),)], max_bases=1)
    assert [(basis.paulis, basis.qubits) for basis in bases] == [("ZZX", (0, 1, 2))]


def test_more_bases_than_allowed_are_refused():
    with pytest.raises(TooLarge, match="bases"):
        group([((0, "X"),), ((0, "Y"),), ((0, "Z"),)], max_bases=2)


def random_circuit(rng: np.random.Generator, num_qubits: int) -> tuple[IsaCircuit, QuantumCircuit]:
    """The same random circuit twice: as a value on scattered qubits of the backend, and as Qiskit's on all of them."""
    used = sorted(rng.choice(6, size=num_qubits, replace=False).tolist())
    rows: list[tuple[int, int, int, int, int, float, int]] = []
    reference = QuantumCircuit(6)
    for _ in range(25):
        local = int(rng.integers(num_qubits))
        match int(rng.integers(3)):
            case 0:
                angle = float(rng.uniform(-3, 3))
                rows.append((Op.RZ, local, -1, -1, -1, angle, -1))
                reference.rz(angle, used[local])
            case 1:
                rows.append((Op.SX, local, -1, -1, -1, 0.0, -1))
                reference.sx(used[local])
            case _:
                other = (local + 1) % num_qubits
                rows.append((Op.ECR, local, other, -1, -1, 0.0, -1))
                reference.ecr(used[local], used[other])
    return IsaCircuit(tuple(used), 0, (), operations(rows)), reference


def sampled(circuit: IsaCircuit, shots: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Ideal shots of a circuit whose measurements come last, as the wire packs them."""
    ideal = QuantumCircuit(circuit.num_qubits)
    read: list[int] = []
    for operation in circuit.operations:
        q0, q1 = int(operation["q0"]), int(operation["q1"])
        match Op(int(operation["code"])):
            case Op.RZ:
                ideal.rz(float(operation["value"]), q0)
            case Op.SX:
                ideal.sx(q0)
            case Op.ECR:
                ideal.ecr(q0, q1)
            case Op.MEASURE:
                assert int(operation["clbit"]) == len(read)
                read.append(q0)
            case other:
                raise AssertionError(other)
    outcomes = rng.choice(2**circuit.num_qubits, size=shots, p=Statevector(ideal).probabilities())
    bits = (outcomes[:, None] >> np.array(read)[None, :]) & 1
    return np.packbits(bits.astype(np.uint8), axis=1, bitorder="little")


@pytest.mark.parametrize("seed", range(12))
def test_estimates_agree_with_the_exact_values_within_their_errors(seed: int):
    rng = np.random.default_rng(seed)
    circuit, reference = random_circuit(rng, 3)
    observables: list[Observable] = []
    exact: list[float] = []
    for _ in range(4):
        labels = ["".join(rng.choice(list("IIXYZ"), size=6)) for _ in range(int(rng.integers(1, 9)))]
        weights = rng.normal(size=len(labels))
        operator = SparsePauliOp(labels, weights)
        exact.append(float(np.real(Statevector(reference).expectation_value(operator))))
        observables.append(
            tuple(
                term
                for label, weight in zip(labels, weights, strict=True)
                for term in observable(**{label: float(weight)})
            )
        )
    shots = 4000
    estimation = plan(observables, [(0, number) for number in range(4)], num_qubits=6, shots=shots)
    bits = {
        (0, basis): sampled(measured_in(circuit, estimation.bases[basis]), shots, rng)
        for basis in estimation.bases_of(0)
    }
    evs, stds = expectations(estimation, bits)
    assert np.all(np.abs(evs - exact) <= 5 * stds + 1e-9)


def test_the_reported_error_is_the_spread_of_repeated_estimates_also_of_correlated_terms():
    # In a Bell state ZZ is certain, and ZI and IZ are equal: ZI − IZ has no spread, ZI + IZ twice the one of ZI.
    rng = np.random.default_rng(3)
    observables = [
        observable(ZI=1.0, IZ=-1.0),
        observable(ZI=1.0, IZ=1.0),
        observable(ZI=1.0),
        observable(ZZ=3.0, XX=1.0),
    ]
    shots = 400
    estimation = plan(observables, [(0, k) for k in range(4)], shots=shots)
    estimates, errors = [], []
    for _ in range(400):
        one = rng.integers(0, 2, size=(shots, 1), dtype=np.uint8)
        random_pairs = rng.integers(0, 2, size=(shots, 2), dtype=np.uint8)
        bits: dict[tuple[int, int], NDArray[np.uint8]] = {}
        for basis, of in enumerate(estimation.bases):
            bits[0, basis] = np.packbits(
                np.repeat(one, 2, axis=1) if set(of.paulis) == {"Z"} else random_pairs, axis=1, bitorder="little"
            )
        evs, stds = expectations(estimation, bits)
        estimates.append(evs)
        errors.append(stds)
    spread, reported = np.std(estimates, axis=0), np.mean(errors, axis=0)
    assert spread[0] == reported[0] == 0.0
    np.testing.assert_allclose(reported[1:], spread[1:], rtol=0.12)
    np.testing.assert_allclose(reported[1], 2 / math.sqrt(shots), rtol=0.02)
    np.testing.assert_allclose(reported[2], 1 / math.sqrt(shots), rtol=0.02)


def test_bindings_run_only_in_the_bases_they_need_and_at_least_once():
    estimation = plan(
        [observable(X=1.0), observable(Z=1.0), observable(I=2.5)], [(0, 0), (1, 1), (2, 2), (3, 0), (3, 1)]
    )
    assert [estimation.bases_of(binding) for binding in range(4)] == [(0,), (1,), (0,), (0, 1)]


def test_the_identity_costs_nothing_and_is_exact():
    estimation = plan([observable(II=2.5, ZZ=1.0, XX=0.0)], [(0, 0)])
    zeros = np.zeros((100, 1), dtype=np.uint8)
    evs, stds = expectations(estimation, {(0, basis): zeros for basis in range(len(estimation.bases))})
    assert evs.tolist() == [3.5]
    assert stds.tolist() == [0.0]


def test_an_observable_without_any_pauli_is_measured_somewhere_all_the_same():
    estimation = plan([observable(II=2.5)], [(0, 0)])
    assert [(basis.paulis, basis.qubits) for basis in estimation.bases] == [("Z", (0,))]
    evs, stds = expectations(estimation, {(0, 0): np.ones((5, 1), dtype=np.uint8)})
    assert (evs.tolist(), stds.tolist()) == ([2.5], [0.0])


def test_equal_terms_of_an_observable_are_added():
    estimation = plan([(PauliTerm("XZ", (0, 1), 1.0), PauliTerm("ZX", (1, 0), 0.5))], [(0, 0)])
    assert estimation.term_weight.tolist() == [1.5]


def test_a_single_shot_reports_the_largest_possible_error():
    estimation = plan([observable(ZZ=1.0, IZ=-2.0)], [(0, 0)], shots=1)
    evs, stds = expectations(estimation, {(0, 0): np.zeros((1, 1), dtype=np.uint8)})
    assert evs.tolist() == [-1.0]
    assert stds.tolist() == [3.0]


def test_classical_bits_before_the_measured_ones_do_not_count():
    estimation = plan_estimation(
        [observable(ZZ=1.0)],
        [(0, 0)],
        num_bindings=1,
        usable_qubits=frozenset({0, 1}),
        fallback_qubit=0,
        first_clbit=7,
        shots=4,
        precision=0.5,
        max_bases=1,
        field="pubs.0",
    )
    bits = np.zeros((4, 9), dtype=np.uint8)
    bits[:, :7] = np.random.default_rng(0).integers(0, 2, size=(4, 7))
    bits[:3, 8] = 1
    evs, _ = expectations(estimation, {(0, 0): np.packbits(bits, axis=1, bitorder="little")})
    assert evs.tolist() == [-0.5]


def test_a_plan_survives_storage():
    estimation = plan([observable(XYZ=0.5, III=1.0, ZZI=-2.0), observable(IIX=1.0)], [(0, 0), (1, 1), (1, 0)])
    again = EstimationPlan.from_document(unpack(pack(estimation.to_document())))
    assert pack(again.to_document()) == pack(estimation.to_document())
    assert again.pairs == estimation.pairs
    assert again.bases == estimation.bases


@pytest.mark.parametrize(
    ("term", "words"),
    [
        (PauliTerm("XX", (0,), 1.0), "one letter for each qubit"),
        (PauliTerm("XX", (1, 1), 1.0), "each once"),
        (PauliTerm("IX", (0, 1), 1.0), "X, Y and Z"),
        (PauliTerm("X", (4,), 1.0), "qubit 4"),
        (PauliTerm("X", (-1,), 1.0), "qubit -1"),
        (PauliTerm("X", (0,), math.nan), "nan"),
        (PauliTerm("X", (0,), math.inf), "inf"),
    ],
)
def test_a_term_that_makes_no_sense_is_refused_with_its_place(term: PauliTerm, words: str):
    with pytest.raises(InvalidRequest, match=words) as refusal:
        plan([observable(X=1.0), (PauliTerm("Z", (0,), 1.0), term)], [(0, 1)])
    assert refusal.value.field == "pubs.0.observables.1.terms.1"


@pytest.mark.parametrize("pairs", [[], [(0, 2)], [(0, -1)], [(-1, 0)]])
def test_pairs_outside_the_pub_are_refused(pairs: list[tuple[int, int]]):
    with pytest.raises(InvalidRequest) as refusal:
        plan([observable(X=1.0), observable(Y=1.0)], pairs)
    assert refusal.value.field == "pubs.0.pairs"
