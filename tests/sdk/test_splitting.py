"""Laws of splitting: parts keep to the limits, and joined they are what one job would have given."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.observables import group
from qpu_sdk.errors import LimitExceededError, ProtocolError
from qpu_sdk.grouping import grouped, num_bases
from qpu_sdk.splitting import Begins, Room, Weight, cut, join, num_bindings, plan, seed_of_part
from qpu_sdk.wire.circuits import decode_bindings, encode_bindings
from qpu_sdk.wire.models import Observable, PauliTerm, ProgramKind, Pub
from qpu_sdk.wire.results import ExpectationsOfPub, JobResult, PointsOfPub, Register, ShotsOfPub

ROOM = st.builds(
    Room,
    circuits=st.integers(1, 4),
    shots=st.integers(5, 40),
    executions=st.integers(2, 12),
    result_bytes=st.integers(40, 400),
    body_bytes=st.integers(9_500, 12_000),
)


@st.composite
def sampled(draw) -> tuple[list[Pub], list[Weight]]:
    """Pubs of a sampler whose bindings are the numbers 0, 1, 2 …, so that it can be seen which went where."""
    pubs: list[Pub] = []
    weights: list[Weight] = []
    for _ in range(draw(st.integers(1, 6))):
        shots, rows = draw(st.integers(1, 100)), draw(st.integers(0, 30))
        bindings = encode_bindings(np.arange(rows, dtype=float)[:, None]) if rows else None
        pubs.append(Pub(circuit=draw(st.integers(0, 4)), shots=shots, bindings=bindings))
        weights.append(Weight.of_bits(shots, draw(st.integers(1, 16))))
    return pubs, weights


def _parts(pubs, weights, room, circuit_bytes=300):
    return plan(pubs, weights, [circuit_bytes] * 5, room)


def _answer(pub: Pub, number: int, block: int) -> ShotsOfPub:
    """Bits that say which pub, binding and block of shots they are of."""
    rows = np.zeros(1) if pub.bindings is None else decode_bindings(pub.bindings)[:, 0]
    bits = np.zeros((len(rows), int(pub.shots or 0), 3), dtype=np.uint8)
    bits[:, :, 0], bits[:, :, 1], bits[:, :, 2] = number, rows[:, None], block
    return ShotsOfPub(bits, 24, (Register("c", tuple(range(24))),))


@given(sampled(), ROOM)
def test_every_part_keeps_to_the_limits(program, room):
    pubs, weights = program
    for part in _parts(pubs, weights, room):
        assert len({piece.pub.circuit for piece in part}) <= room.circuits
        assert all(piece.pub.shots <= room.shots for piece in part)
        assert sum(num_bindings(piece.pub) for piece in part) <= room.executions
        assert sum(piece.result_bytes for piece in part) <= room.result_bytes
        bodies = sum(len(piece.pub.model_dump_json(exclude_none=True)) for piece in part)
        assert bodies + 300 * len({piece.pub.circuit for piece in part}) <= room.body_bytes
        assert all(piece.begins is Begins.PUB for piece in part[1:])


@given(sampled(), ROOM)
def test_joined_parts_are_the_pubs_in_their_order_with_all_bindings_and_shots(program, room):
    pubs, weights = program
    parts = _parts(pubs, weights, room)
    number, block = -1, 0
    results: list[JobResult] = []
    for index, part in enumerate(parts):
        answers: list[ShotsOfPub] = []
        for piece in part:
            number = 0 if piece.begins is Begins.ROUND else number + (piece.begins is Begins.PUB)
            block += piece.begins in {Begins.SHOTS, Begins.ROUND}
            answers.append(_answer(piece.pub, number, block % 256))
        results.append(JobResult(f"job_{index}", ProgramKind.SAMPLER, tuple(answers), {"co_tenants": "0"}))
    joined = join("grp_1", results, [part[0].begins for part in parts])
    assert len(joined.pubs) == len(pubs)
    for index, (pub, answer) in enumerate(zip(pubs, joined.pubs, strict=True)):
        assert answer.bits.shape[:2] == (num_bindings(pub), pub.shots)
        assert (answer.bits[:, :, 0] == index).all()
        assert (answer.bits[:, :, 1] == np.arange(num_bindings(pub))[:, None]).all()
        order = answer.bits[:, :, 2].astype(int)
        assert ((np.diff(order, axis=1) >= 0) | (order[:, :-1] > order[:, 1:] + 100)).all()
    assert sum(part["shots"] for part in joined.metadata["parts"]) == sum(num_bindings(pub) * pub.shots for pub in pubs)


def test_many_circuits_with_too_many_shots_take_as_few_jobs_as_may_be():
    pubs = [Pub(circuit=number, shots=250) for number in range(5)]
    parts = _parts(pubs, [Weight.of_bits(250, 1)] * 5, Room(5, 100, 1_000, 10**6, 10**6))
    assert [[piece.pub.shots for piece in part] for part in parts] == [[83] * 5, [83] * 5, [84] * 5]
    assert [part[0].begins for part in parts] == [Begins.PUB, Begins.ROUND, Begins.ROUND]


def test_rounds_of_different_pubs_are_not_joined():
    pub = ShotsOfPub(np.zeros((1, 10, 1), dtype=np.uint8), 1, ())
    results = [JobResult("a", ProgramKind.SAMPLER, (pub, pub), {}), JobResult("b", ProgramKind.SAMPLER, (pub,), {})]
    with pytest.raises(ProtocolError, match="rounds"):
        join("grp_1", results, [Begins.PUB, Begins.ROUND])


@given(sampled())
def test_what_fits_is_one_part(program):
    pubs, weights = program
    (part,) = _parts(pubs, weights, Room(5, 100, 1_000, 10**6, 10**6))
    assert [piece.pub for piece in part] == pubs


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=5), st.integers(0, 2**32))
def test_estimates_of_further_shots_are_the_estimate_of_all_shots(shots, seed):
    values = [np.random.default_rng(seed + k).normal(size=number) for k, number in enumerate(shots)]
    blocks = [
        ExpectationsOfPub(np.array([v.mean()]), np.array([v.std() / math.sqrt(len(v))]), len(v), 0.1) for v in values
    ]
    results = [JobResult(f"job_{k}", ProgramKind.ESTIMATOR, (block,), {}) for k, block in enumerate(blocks)]
    joined = join("grp_1", results, [Begins.PUB, *[Begins.SHOTS] * (len(shots) - 1)]).pubs[0]
    everything = np.concatenate(values)
    assert joined.evs[0] == pytest.approx(everything.mean())
    within = sum(len(v) * v.var() for v in values) / len(everything)  # about the means of the blocks
    assert joined.stds[0] == pytest.approx(math.sqrt(within / len(everything)))
    assert (joined.shots, joined.target_precision) == (sum(shots), 0.1)


def test_points_of_further_shots_are_put_behind_and_means_are_means_of_all():
    def points(values, shots, averaged):
        array = np.array(values, dtype=np.complex64)
        return PointsOfPub(array.reshape((1, 1) if averaged else (1, -1, 1)), shots, (Register("c", (0,)),))

    def joined(*pubs):
        results = [JobResult(f"j{k}", ProgramKind.CIRCUITS, (pub,), {}) for k, pub in enumerate(pubs)]
        return join("grp_1", results, [Begins.PUB, Begins.SHOTS]).pubs[0]

    single = joined(points([1, 2], 2, averaged=False), points([3j], 1, averaged=False))
    assert single.points.ravel().tolist() == [1, 2, 3j]
    mean = joined(points([1], 3, averaged=True), points([5], 1, averaged=True))
    assert (mean.points.tolist(), mean.shots) == ([[2]], 4)


def test_metadata_is_that_of_the_last_part_with_each_beside():
    pub = ShotsOfPub(np.zeros((1, 10, 1), dtype=np.uint8), 1, ())
    results = [
        JobResult("a", ProgramKind.SAMPLER, (pub,), {"co_tenants": "4+", "crosstalk_loss": 0.1, "seed": 5, "x": 1}),
        JobResult("b", ProgramKind.SAMPLER, (pub,), {"co_tenants": "1-3", "crosstalk_loss": 0.3, "seed": 6, "x": 2}),
    ]
    metadata = join("grp_1", results, [Begins.PUB, Begins.PUB]).metadata
    assert (metadata["co_tenants"], metadata["seed"], metadata["x"]) == ("4+", 5, 2)
    assert metadata["crosstalk_loss"] == pytest.approx(0.2)
    assert [(part["job_id"], part["shots"], part["x"]) for part in metadata["parts"]] == [("a", 10, 1), ("b", 10, 2)]


def test_parts_that_begin_in_the_middle_are_not_joined():
    pub = ShotsOfPub(np.zeros((1, 10, 1), dtype=np.uint8), 1, ())
    with pytest.raises(ProtocolError, match="beginning"):
        join("grp_1", [JobResult("a", ProgramKind.SAMPLER, (pub,), {})], [Begins.SHOTS])


def test_what_is_too_large_even_alone_is_refused():
    pub = Pub(circuit=0, shots=10, bindings=encode_bindings(np.zeros((2, 200))))
    with pytest.raises(LimitExceededError, match=r"pubs\[3\]"):
        cut(pub, Weight.of_bits(10, 1), Room(1, 100, 10, 100, 9_000), circuit_bytes=100, field="pubs[3]")


def test_parts_never_repeat_each_others_shots():
    assert seed_of_part(None, 3) is None
    assert seed_of_part(7, 0) == 7
    assert len({seed_of_part(seed, part) for seed in (7, 8) for part in range(100)}) == 200


@given(
    st.lists(
        st.dictionaries(st.integers(0, 4), st.sampled_from("XYZ"), min_size=1).map(lambda d: tuple(sorted(d.items())))
    )
)
def test_terms_are_grouped_as_the_service_groups_them(strings):
    bases, basis_of = group(list(dict.fromkeys(strings)), max_bases=10_000)
    ours = grouped(strings)
    assert len(ours) == len(bases)
    assert {string: number for number, members in enumerate(ours) for string in members} == basis_of


def test_an_estimate_weighs_its_bases_and_the_shots_of_its_precision():
    def observable(*words):
        return Observable(
            terms=[PauliTerm(paulis=word, qubits=list(range(len(word))), coefficient=1.0) for word in words]
        )

    pub = Pub(
        circuit=0,
        precision=0.1,
        observables=[observable("XX", "ZZ"), observable("ZI".strip("I"), ""), observable("Y")],
        pairs=[(0, 0), (0, 1)],
    )
    assert Weight.of_estimate(pub) == Weight(shots=100, executions=2, bytes_per_binding=32)
    assert num_bases([observable("")]) == 1
