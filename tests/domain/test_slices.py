"""Slices as values: who gets which qubits, and calibrations cut to them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.slices import WHOLE, Slice, cut_to, mask_within, slice_key
from qpu_backend.engines.catalogue import read_device
from qpu_backend.physics.topology import mask_of, qubits_of

MODEL, SNAPSHOT = read_device("eagle127")
QUBITS = 127


@given(st.dictionaries(st.integers(0, QUBITS - 1), st.sampled_from("abc")))
def test_every_qubit_is_a_slices_or_nobodys(owners: dict[int, str]):
    slices = [Slice(name, "t", tuple(q for q, owner in owners.items() if owner == name)) for name in "abc"]
    masks = [mask_within(slices, name, QUBITS) for name in ("a", "b", "c", None)]
    assert sum(masks) == mask_within(slices, WHOLE, QUBITS) == (1 << QUBITS) - 1
    assert sum(mask.bit_count() for mask in masks) == QUBITS
    assert all(mask_within(slices, owner, QUBITS) >> q & 1 for q, owner in owners.items())
    assert mask_within(slices, "d", QUBITS) == 0


@given(st.sets(st.integers(0, QUBITS - 1)))
def test_a_calibration_cut_to_some_qubits_says_the_same_of_them_and_nothing_of_others(kept: set[int]):
    cut = cut_to(SNAPSHOT, mask_of(kept))
    assert cut.num_qubits == QUBITS
    assert set(cut.usable_qubits) == kept & set(SNAPSHOT.usable_qubits)
    assert all(cut.qubits[q] == SNAPSHOT.qubits[q] for q in kept)
    assert cut.gates == {key: gate for key, gate in SNAPSHOT.gates.items() if kept.issuperset(key[1])}
    assert cut.zz_hz == {pair: zz for pair, zz in SNAPSHOT.zz_hz.items() if kept.issuperset(pair)}


def test_a_calibration_of_all_usable_qubits_is_not_cut():
    assert cut_to(SNAPSHOT, mask_of(SNAPSHOT.usable_qubits)) is SNAPSHOT
    assert qubits_of(mask_of(SNAPSHOT.usable_qubits)) == SNAPSHOT.usable_qubits


def test_a_slice_that_went_to_another_tenant_is_another():
    assert slice_key("lab", "ten_1") != slice_key("lab", "ten_2")
