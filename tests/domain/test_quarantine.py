"""Quarantine: what is named vanishes from a calibration and nothing else does; a circuit on it is refused by name."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.errors import InvalidRequest
from qpu_backend.domain.isa import IsaTarget, NotIsa, check
from qpu_backend.domain.quarantine import IN_SERVICE, Quarantine
from qpu_backend.engines.catalogue import read_device
from qpu_backend.physics.circuit import TWO_QUBIT_GATES, IsaCircuit, Op, operations


@cache
def falcon():
    return read_device("falcon27")


def quarantines() -> st.SearchStrategy[Quarantine]:
    model, _ = falcon()
    couplers = st.sets(st.sampled_from(sorted(model.topology.edges)), max_size=5)
    return st.builds(Quarantine.of, st.sets(st.integers(0, 26), max_size=5), couplers)


@given(quarantines())
def test_a_calibration_loses_what_is_in_quarantine_and_nothing_else(what: Quarantine) -> None:
    _, measured = falcon()
    offered = what.taken_from(measured)

    def stays(qubits: tuple[int, ...], *, coupled: bool) -> bool:
        return what.qubits.isdisjoint(qubits) and not (coupled and tuple(sorted(qubits)) in what.couplers)

    assert set(offered.usable_qubits) == set(measured.usable_qubits) - what.qubits
    assert offered.num_qubits == measured.num_qubits
    expected = {key: gate for key, gate in measured.gates.items() if stays(key[1], coupled=key[0] in TWO_QUBIT_GATES)}
    assert offered.gates == expected
    assert offered.zz_hz == {pair: hz for pair, hz in measured.zz_hz.items() if stays(pair, coupled=True)}


@given(quarantines(), quarantines())
def test_what_is_added_and_taken_back_is_as_before_and_a_document_says_all_of_it(
    one: Quarantine, other: Quarantine
) -> None:
    both = one | other
    assert (both - other).qubits == one.qubits - other.qubits
    assert (both - other).couplers == one.couplers - other.couplers
    assert (both - other) | other == both
    assert both - both == IN_SERVICE
    assert not both - both
    assert Quarantine.from_document(both.to_document()) == both
    assert Quarantine.from_document(None) == IN_SERVICE


@given(quarantines(), st.sets(st.integers(0, 26), min_size=1, max_size=6))
def test_a_job_is_held_back_exactly_where_it_uses_what_is_in_quarantine(what: Quarantine, qubits: set[int]) -> None:
    model, _ = falcon()
    pairs = [pair for pair in model.topology.edges if qubits.issuperset(pair)]
    touches = bool(what.qubits & qubits) or bool(what.couplers & set(pairs))
    assert (what.holds_back(qubits, [pair[::-1] for pair in pairs]) is not None) == touches
    assert IN_SERVICE.holds_back(qubits, pairs) is None


def test_what_a_device_does_not_have_is_refused_by_its_name() -> None:
    topology = falcon()[0].topology
    Quarantine.of([0, 26], [(1, 0)]).require_on(topology)
    for what, told in (
        (Quarantine.of([27], []), "no qubit 27: the device has 0 to 26"),
        (Quarantine.of([], [(0, 26)]), "qubits 0 and 26 have no coupler"),
        (Quarantine.of([], [(3, 3)]), "qubits 3 and 3 have no coupler"),
    ):
        with pytest.raises(InvalidRequest, match=told):
            what.require_on(topology)


def test_a_circuit_on_what_is_in_quarantine_is_refused_and_told_what() -> None:
    quarantine = Quarantine.of([2], [(0, 1)])
    target = IsaTarget(
        num_qubits=4,
        basis=frozenset({Op.SX, Op.CZ}),
        edges={Op.CZ: frozenset({(1, 3)})},
        usable_qubits=frozenset({0, 1, 3}),
        quarantine=quarantine,
    )

    def on(qubits: tuple[int, ...], op: Op) -> IsaCircuit:
        pair = (0, 1) if len(qubits) == 2 else (0, -1)
        return IsaCircuit(qubits, 0, (), operations([(int(op), *pair, -1, -1, 0.0, -1)]))

    check([on((0,), Op.SX), on((1, 3), Op.CZ)], target)
    with pytest.raises(NotIsa, match="qubit 2 is in quarantine") as refusal:
        check([on((2,), Op.SX)], target)
    assert refusal.value.qubits == (2,)
    for pair in ((0, 1), (1, 0)):
        with pytest.raises(NotIsa, match=f"the coupler of qubits {pair[0]} and {pair[1]} is in quarantine"):
            check([on(pair, Op.CZ)], target)
    with pytest.raises(NotIsa, match="has no cz there"):
        check([on((0, 3), Op.CZ)], target)
