"""Mitigation makes more executions of a program: how many, with what shots, within which limits."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from spelled import counted, row

from qpu_backend.domain import treatments
from qpu_backend.domain.errors import InvalidRequest, TooLarge
from qpu_backend.domain.mitigation import Extrapolation, Mitigation, Readout, Twirling, require_possible
from qpu_backend.domain.observables import PauliTerm
from qpu_backend.domain.programs import Program, PubSpec, expand
from qpu_backend.domain.reading_sets import ReadingSets
from qpu_backend.domain.treatments import bits_of, treat
from qpu_backend.physics.circuit import ClassicalRegister, Conditional, IsaCircuit, Op, operations
from qpu_sdk.wire.codec import pack, unpack

NONE, THREE = np.empty((1, 0)), np.array([[0.1], [0.2], [0.3]])
PAIR = operations([row(Op.RZ, 0, slot=0), row(Op.ECR, 0, 1)])
BELL = IsaCircuit((3, 5), 0, (), PAIR, num_slots=1)
READ = dataclasses.replace(
    BELL,
    num_clbits=2,
    registers=(ClassicalRegister("c", (0, 1)),),
    operations=np.concatenate([PAIR, operations([row(Op.MEASURE, 0, clbit=1), row(Op.MEASURE, 1, clbit=0)])]),
)
ZNE = Extrapolation((1, 3, 5), "linear")
LEARNED = Readout("executions", 500)


def program(kind: Any = "sampler", *, shots: int = 100, circuits: Any = None, bindings: Any = THREE) -> Program:
    terms = (PauliTerm("ZX", (3, 5), 1.0), PauliTerm("Z", (5,), 0.5)) if kind == "estimator" else ()
    pub = PubSpec(0, bindings, shots, observables=(terms,) if terms else (), pairs=((0, 0), (2, 0)) if terms else ())
    limits: dict[str, Any] = {"default_shots": 1, "default_precision": 0.1, "max_shots": 10**5, "max_executions": 999}
    circuits = circuits or [READ if kind == "sampler" else BELL]
    return expand(kind, circuits, [pub], usable_qubits=frozenset(range(8)), **limits)


def treated(plain: Program, max_executions: int = 10_000, max_shots: int = 10**5, **asked: Any) -> Program:
    return treat(plain, Mitigation(**asked), max_executions=max_executions, max_shots=max_shots)


@given(st.integers(1, 5000), st.none() | st.integers(1, 64))
def test_randomisations_get_all_of_the_shots_and_about_as_many_each(shots, number):
    twirling = Twirling(gates=True, measure=False, num_randomizations=number)
    if number is not None and number > shots:
        with pytest.raises(InvalidRequest) as refused:
            twirling.deal(shots, "pub 0")
        assert refused.value.field == "options.mitigation.twirling.num_randomizations"
        return
    dealt = twirling.deal(shots, "pub 0")
    assert (sum(dealt), len(dealt)) == (shots, number or min(32, shots))
    assert max(dealt) - min(dealt) <= 1


def test_shots_per_randomisation_make_as_many_as_it_takes():
    assert Twirling(True, False, None, 40).deal(100, "") == (40, 40, 20)
    assert Twirling(True, False, 4, 25).deal(100, "") == (25,) * 4
    for number, each, field in ((None, 101, "shots_per_randomization"), (3, 25, "num_randomizations")):
        with pytest.raises(InvalidRequest) as refused:
            Twirling(True, False, number, each).deal(100, "pub 0")
        assert refused.value.field == f"options.mitigation.twirling.{field}"


def test_an_execution_becomes_one_for_each_factor_and_randomisation():
    plain = program("estimator")
    made = treated(plain, extrapolation=ZNE, twirling=Twirling(True, True, 4), readout=LEARNED)
    assert plain.treatment is None
    assert made.treatment is not None
    assert (len(plain.executions), len(made.executions)) == (4, 4 * 3 * 4 + 2)  # two bindings in two bases
    assert made.num_pubs == plain.num_pubs == 1
    assert made.shots == 3 * plain.shots + 2 * 500
    levels = [counted(made.circuits[e.circuit], Op.ECR) for e in made.executions]
    assert levels == [1] * 4 + [3] * 4 + [5] * 4 + levels[:12] * 3 + [0, 0]
    assert len({(e.pub, e.binding, e.basis, e.turn) for e in made.executions}) == len(made.executions)
    assert len(made.circuits) == 2 * 3 * 4 + 2  # bindings share them


def test_of_two_randomisations_one_flips_what_the_other_does_not():
    made = treated(program(shots=64), twirling=Twirling(False, True, 8))
    assert made.treatment is not None
    flips = np.unpackbits(made.treatment.flips, axis=1, bitorder="little", count=2)
    assert (flips[0::2] ^ flips[1::2] == 1).all()
    assert len({tuple(one) for one in flips.tolist()}) > 2


def test_readout_is_measured_with_each_bit_once_in_0_and_once_in_1():
    made = treated(program(), readout=LEARNED)
    assert made.treatment is not None
    assert made.treatment.sets == ((3, 5),)
    prepared = [made.circuits[e.circuit] for e in made.executions if e.pub == made.num_pubs]
    assert [counted(circuit, Op.X) for circuit in prepared] == [1, 1]
    assert made.treatment.flips[-2:, 0].tolist() == [0b10, 0b01]
    assert [bits_of(circuit) for circuit in prepared] == [((0, 3), (1, 5))] * 2
    assert bits_of(READ) == ((0, 5), (1, 3))


def test_qubits_that_are_part_of_a_larger_set_are_measured_with_it():
    alone = IsaCircuit((3,), 1, (), operations([row(Op.MEASURE, 0, clbit=0)]))
    other = IsaCircuit((7,), 1, (), operations([row(Op.MEASURE, 0, clbit=0)]))
    pubs = [PubSpec(0, THREE, 10), PubSpec(1, NONE, 10), PubSpec(2, NONE, 10)]
    limits: dict[str, Any] = {"default_shots": 1, "default_precision": 0.1, "max_shots": 10**5, "max_executions": 999}
    plain = expand("sampler", [READ, alone, other], pubs, usable_qubits=frozenset(range(8)), **limits)
    made = treated(plain, readout=LEARNED)
    assert made.treatment is not None
    assert made.treatment.sets == ((3, 5), (7,))
    assert made.treatment.set_of.tolist() == [0, 0, 1, 0, 0, 1, 1]


def test_no_more_than_ten_qubits_are_prepared_at_a_time():
    wide = IsaCircuit(tuple(range(12)), 12, (), operations([row(Op.MEASURE, q, clbit=q) for q in range(12)]))
    narrow = IsaCircuit((20,), 1, (), operations([row(Op.MEASURE, 0, clbit=0)]))
    pubs = [PubSpec(index, NONE, 10) for index in range(2)]
    limits: dict[str, Any] = {"default_shots": 1, "default_precision": 0.1, "max_shots": 10**5, "max_executions": 999}
    plain = expand("sampler", [wide, narrow], pubs, usable_qubits=frozenset(range(21)), **limits)
    made = treated(plain, readout=LEARNED)
    assert made.treatment is not None
    assert made.treatment.sets == (tuple(range(10)), (10, 11), (20,))
    assert made.treatment.set_of[:2].tolist() == [0, 2]


@pytest.mark.parametrize(
    "asked", [{}, {"extrapolation": ZNE}, {"twirling": Twirling(True, True), "readout": LEARNED, "decoupling": "XY4"}]
)
def test_a_treated_program_survives_its_bytes(asked):
    made = treated(program(), **asked)
    again = Program.from_document(unpack(pack(made.to_document())))
    assert pack(again.to_document()) == pack(made.to_document())
    assert again.executions == made.executions
    assert again.treatment is not None
    assert again.treatment.mitigation == Mitigation(**asked)


def test_the_seed_alone_decides_the_twirls():
    twirling = Twirling(True, True)
    bodies = [pack(treated(program(), twirling=twirling, seed=seed).to_document()) for seed in (1, 1, 2)]
    assert bodies[0] == bodies[1] != bodies[2]


@pytest.mark.parametrize(
    ("factors", "extrapolator", "field", "words"),
    [
        ([0.5, 3], "linear", "noise_factors", "1 to 31"),
        ([1, 33], "linear", "noise_factors", "1 to 31"),
        ([1, 2], "linear", "noise_factors", "odd number of times"),
        ([1, 1.5], "linear", "noise_factors", "odd number of times"),
        ([3, 3], "linear", "noise_factors", "twice"),
        ([1, 3], "quadratic", "noise_factors", "at least 3"),
        ([1, 3], "cubic", "extrapolator", "linear, quadratic"),
    ],
)
def test_what_cannot_be_folded_or_extrapolated_is_refused(factors, extrapolator, field, words):
    with pytest.raises(InvalidRequest, match=words) as refused:
        Extrapolation.of(factors, extrapolator)
    assert refused.value.field == f"options.mitigation.zne.{field}"


def test_factors_come_in_order():
    assert Extrapolation.of([5.0, 1.0, 3.0], "quadratic").factors == (1, 3, 5)


@pytest.mark.parametrize(
    ("kind", "layout", "asked", "field"),
    [
        ("circuits", "isa", {"decoupling": "XX"}, "options.mitigation"),
        ("sampler", "deferred", {"decoupling": "XX"}, "options.mitigation"),
        ("sampler", "isa", {"extrapolation": ZNE}, "options.mitigation.zne"),
    ],
)
def test_what_a_program_cannot_have_is_refused(kind, layout, asked, field):
    with pytest.raises(InvalidRequest) as refused:
        require_possible(Mitigation(**asked), kind, layout)
    assert refused.value.field == field
    require_possible(Mitigation(**asked), "estimator", "isa")


def test_bits_that_decide_while_the_circuit_runs_can_be_neither_flipped_nor_inverted():
    branch = Conditional((0,), 1, operations([row(Op.X, 1)]), operations([]))
    rows = operations([row(Op.MEASURE, 0, clbit=0), row(Op.IF, aux=0), row(Op.MEASURE, 1, clbit=1)])
    plain = program(circuits=[IsaCircuit((3, 5), 2, (), rows, (), (branch,))], bindings=NONE)
    for asked, field in (
        ({"twirling": Twirling(False, True)}, "options.mitigation.twirling.enable_measure"),
        ({"readout": LEARNED}, "options.mitigation.measure"),
    ):
        with pytest.raises(InvalidRequest, match="if_else") as refused:
            treated(plain, **asked)
        assert refused.value.field == field
    assert len(treated(plain, twirling=Twirling(True, False, 2)).executions) == 2


def test_limits_hold(monkeypatch):
    plain = program("estimator")
    for asked, limit in (
        ({"extrapolation": ZNE}, 11),
        ({"twirling": Twirling(True, False, 10)}, 39),
        ({"readout": LEARNED}, 5),
    ):
        with pytest.raises(TooLarge, match="executions"):
            treated(plain, max_executions=limit, **asked)
        treated(plain, max_executions=limit + 1, **asked)
    with pytest.raises(TooLarge, match="shots") as refused:
        treated(plain, max_shots=499, readout=LEARNED)
    assert refused.value.field == "options.mitigation.measure.shots"
    treated(plain, max_shots=499, readout=Readout("snapshot", 500))
    monkeypatch.setattr(treatments, "MAX_OPERATIONS", 30)
    with pytest.raises(TooLarge, match="operations of all folded and twirled circuits"):
        treated(plain, extrapolation=ZNE)
    monkeypatch.setattr(treatments, "MAX_OPERATIONS", 10**6)
    monkeypatch.setattr(treatments, "MAX_INVERSION_US", 12 * treatments.inversion_us(1, 1) - 1)
    treated(plain, readout=LEARNED)
    with pytest.raises(TooLarge, match="ms of inverting") as refused:
        treated(plain, readout=LEARNED, extrapolation=ZNE)
    assert refused.value.field == "options.mitigation.measure"
    monkeypatch.setattr(treatments, "MAX_MITIGATED_BITS", 1)
    with pytest.raises(TooLarge, match="bits of a circuit"):
        treated(plain, readout=LEARNED)


def many_pairs(num_observables: int, *, repeated: int = 1) -> Program:
    """Weights of their own make observables that are measured together."""
    observables = tuple((PauliTerm("ZX", (3, 5), 1.0 + k),) for k in range(num_observables))
    pairs = tuple((binding, k) for binding in (0, 2) for k in range(num_observables)) * repeated
    pub = PubSpec(0, THREE, 100, observables=observables, pairs=pairs)
    limits: dict[str, Any] = {"default_shots": 1, "default_precision": 0.1, "max_shots": 10**5, "max_executions": 999}
    return expand("estimator", [BELL], [pub], usable_qubits=frozenset(range(8)), **limits)


def test_each_mean_that_is_inverted_counts_but_none_twice(monkeypatch):
    assert len(many_pairs(50).executions) == 2
    total_us = 2 * 3 * treatments.inversion_us(2, 20)
    monkeypatch.setattr(treatments, "MAX_INVERSION_US", total_us)
    treated(many_pairs(20), readout=LEARNED, extrapolation=ZNE)
    treated(many_pairs(20, repeated=50), readout=LEARNED, extrapolation=ZNE)
    with pytest.raises(TooLarge, match="ms of inverting") as refused:
        treated(many_pairs(21), readout=LEARNED, extrapolation=ZNE)
    assert refused.value.field == "options.mitigation.measure"
    treated(many_pairs(21), extrapolation=ZNE)


def test_as_many_observables_of_wide_circuits_as_would_take_minutes_are_refused():
    wide = IsaCircuit(tuple(range(14)), 0, (), operations([row(Op.SX, 0)]))
    observables = tuple((PauliTerm("Z" * 14, tuple(range(14)), 1.0 + k),) for k in range(2000))
    pub = PubSpec(0, NONE, 8192, observables=observables, pairs=tuple((0, k) for k in range(2000)))
    limits: dict[str, Any] = {"default_shots": 1, "default_precision": 0.1, "max_shots": 10**5, "max_executions": 999}
    plain = expand("estimator", [wide], [pub], usable_qubits=frozenset(range(14)), **limits)
    with pytest.raises(TooLarge, match="ms of inverting"):
        treated(plain, readout=LEARNED)


@pytest.mark.parametrize("asked", [{"extrapolation": ZNE}, {"twirling": Twirling(True, True, 10)}])
def test_nothing_is_made_of_what_would_be_too_large(monkeypatch, asked):
    made: list[int] = []
    for name in ("folded", "twirled"):
        real = getattr(treatments, name)
        monkeypatch.setattr(treatments, name, lambda *a, real=real, **k: made.append(1) or real(*a, **k))
    sizes = [circuit.num_operations for circuit in program("estimator").circuits]
    least = sum(3 * size + 2 + 4 for size in sizes) if "extrapolation" in asked else 10 * sum(sizes)
    monkeypatch.setattr(treatments, "MAX_OPERATIONS", least - 1)
    with pytest.raises(TooLarge, match="operations of all folded and twirled circuits") as refused:
        treated(program("estimator"), **asked)
    assert (refused.value.asked, made) == (least, [])
    monkeypatch.setattr(treatments, "MAX_OPERATIONS", 20 * least)
    treated(program("estimator"), **asked)
    assert made


def test_shots_are_dealt_out_no_further_than_there_may_be_executions(monkeypatch):
    dealt: list[int] = []
    deal = Twirling.deal
    monkeypatch.setattr(Twirling, "deal", lambda self, shots, field: dealt.append(shots) or deal(self, shots, field))
    pubs = [PubSpec(0, NONE, 1000 + k) for k in range(50)]
    limits: dict[str, Any] = {"default_shots": 1, "default_precision": 0.1, "max_shots": 10**5, "max_executions": 999}
    plain = expand("sampler", [READ], pubs, usable_qubits=frozenset(range(8)), **limits)
    with pytest.raises(TooLarge, match="executions"):
        treated(plain, max_executions=1500, twirling=Twirling(True, False, None, 1))
    assert len(dealt) == 2


@given(st.lists(st.frozensets(st.integers(0, 14)), max_size=12))
def test_every_circuit_has_its_readout_measured_with_the_first_set_that_has_all_of_its_qubits(read):
    sets = ReadingSets(read)
    largest = [one for one in set(read) if one and not any(one < other for other in read)]
    assert {q for part in sets.parts for q in part} == frozenset().union(*read)
    assert len(sets.parts) == sum(-(-len(one) // 10) for one in largest)
    assert all(len(part) <= 10 for part in sets.parts)
    kept = sorted(largest, key=lambda one: (-len(one), sorted(one)))
    for qubits in read:
        home = sets.home(qubits)
        if kept:
            first = next(number for number, one in enumerate(kept) if qubits <= one)
            assert home == sum(-(-len(one) // 10) for one in kept[:first])
        else:
            assert home == -1
    assert sets.home(frozenset({99})) == -1
