"""Laws of the audit chain: nothing that can be done to it without the key stays unseen, and nothing else is seen."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from qpu_backend.domain.audit import (
    ORIGIN,
    START,
    START_SEAL,
    Entry,
    Head,
    Place,
    Sealed,
    is_genuine,
    is_signed,
    mac_of,
    read_heads,
    resume,
    seal,
    seal_all,
    sealed_at,
    sign,
)
from qpu_backend.domain.tampering import Finding, Kind, verify

KEY = b"k" * 32
OTHER_KEY = b"o" * 32

words = st.text(max_size=12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
entries = st.builds(
    Entry,
    id=st.uuids().map(lambda one: f"aud_{one.hex}"),
    at_us=st.integers(0, 2**60),
    actor=words,
    tenant_id=st.none() | words,
    action=words,
    subject=words,
    facts=st.dictionaries(words, plain, max_size=3),
)


@st.composite
def chains(draw: st.DrawFn, at_least: int = 1) -> tuple[list[Sealed], list[Head]]:
    """A chain, with heads of where sealing stopped now and then, the end among them, in any order."""
    some = draw(st.lists(entries, min_size=at_least, max_size=at_least + 5, unique_by=lambda one: one.id))
    rows = seal_all(KEY, START, some)
    stops = draw(st.sets(st.integers(1, len(rows)))) | {len(rows)}
    heads = [sign(KEY, row.number, row.seal, 5) for row in rows if row.number in stops]
    return rows, draw(st.permutations([sign(KEY, 0, START_SEAL, 1), *heads]))


def kinds(findings: list[Finding]) -> list[tuple[Kind, int | None]]:
    """What was found, and where."""
    return [(one.kind, one.number) for one in findings]


def renumbered(rows: list[Sealed]) -> list[Sealed]:
    """The same rows with numbers that have no hole, as who hides a removal would leave them."""
    return [replace(row, number=place) for place, row in enumerate(rows, 1)]


# --- sealing --------------------------------------------------------------------------------------------------------


@given(chains())
def test_each_row_is_sealed_over_the_one_before(chain):
    rows, _ = chain
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert all(is_genuine(KEY, row) and sealed_at(KEY, row) == row.number for row in rows)
    assert not any(is_genuine(OTHER_KEY, row) for row in rows)
    assert rows[0].seal.split(":")[1] == ORIGIN
    for before, after in pairwise(rows):
        assert after.seal.split(":")[1] == mac_of(before.seal)
        assert after.seal == seal(KEY, mac_of(before.seal), after.number, after.entry)


@given(chains(at_least=2), st.data())
def test_it_does_not_matter_in_how_many_goes_a_chain_is_sealed(chain, data):
    rows, _ = chain
    cut = data.draw(st.integers(1, len(rows) - 1))
    first = seal_all(KEY, START, [row.entry for row in rows[:cut]])
    place = resume(KEY, first[::-1], None)
    assert place is not None
    assert first + seal_all(KEY, place, [row.entry for row in rows[cut:]]) == rows


@given(entries, entries)
def test_two_rows_have_one_seal_only_if_they_are_one(one, other):
    assert (seal(KEY, ORIGIN, 1, one) == seal(KEY, ORIGIN, 1, other)) == (
        json.dumps([getattr(one, part.name) for part in fields(Entry)], sort_keys=True)
        == json.dumps([getattr(other, part.name) for part in fields(Entry)], sort_keys=True)
    )


def test_what_runs_over_from_one_field_into_the_next_is_another_row():
    one = Entry("aud_1", 1, "cli", "a", "b", "c", {})
    assert seal(KEY, ORIGIN, 1, replace(one, action="bc", subject="")) != seal(KEY, ORIGIN, 1, one)
    assert seal(KEY, ORIGIN, 1, replace(one, tenant_id=None)) != seal(KEY, ORIGIN, 1, replace(one, tenant_id="null"))
    assert seal(KEY, ORIGIN, 1, replace(one, facts={"n": 1})) != seal(KEY, ORIGIN, 1, replace(one, facts={"n": 1.0}))


# --- an untouched chain -----------------------------------------------------------------------------------------------


@given(chains(), st.data())
def test_in_an_untouched_chain_nothing_is_found_however_many_heads_are_late_or_lost(chain, data):
    rows, heads = chain
    assert verify(KEY, rows, heads) == []
    some = data.draw(st.lists(st.sampled_from(heads), min_size=1))
    assert verify(KEY, rows, some) == []
    assert verify(KEY, iter(rows), iter(heads)) == []


def test_before_anything_was_sealed_there_is_nothing_to_find():
    assert verify(KEY, [], []) == []
    assert verify(KEY, [], [sign(KEY, 0, START_SEAL, 1)]) == []


# --- every mutation ---------------------------------------------------------------------------------------------------

OTHERS: dict[str, st.SearchStrategy[Any]] = {
    "id": words,
    "at_us": st.integers(),
    "actor": words,
    "tenant_id": st.none() | words,
    "action": words,
    "subject": words,
    "facts": st.dictionaries(words, plain, max_size=3),
}


def test_every_field_of_a_row_is_tried():
    assert set(OTHERS) == {part.name for part in fields(Entry)}


@pytest.mark.parametrize("name", OTHERS)
@given(chain=chains(), data=st.data())
def test_a_changed_field_is_found_in_its_row_and_nothing_else_is(name, chain, data):
    rows, heads = chain
    at = data.draw(st.integers(0, len(rows) - 1))
    value = data.draw(OTHERS[name])
    old = getattr(rows[at].entry, name)
    assume(json.dumps(value, sort_keys=True) != json.dumps(old, sort_keys=True))
    rows[at] = replace(rows[at], entry=replace(rows[at].entry, **{name: value}))
    assert kinds(verify(KEY, rows, heads)) == [(Kind.CHANGED, at + 1)]


@given(chains(), st.data())
def test_a_changed_character_of_a_seal_is_found_in_its_row_and_nothing_else_is(chain, data):
    rows, heads = chain
    at = data.draw(st.integers(0, len(rows) - 1))
    sealed = rows[at].seal
    place = data.draw(st.integers(0, len(sealed) - 1))
    letter = data.draw(st.sampled_from("0123456789abcdef:x ").filter(lambda one: one != sealed[place]))
    rows[at] = replace(rows[at], seal=sealed[:place] + letter + sealed[place + 1 :])
    assert kinds(verify(KEY, rows, heads)) == [(Kind.CHANGED, at + 1)]


@given(chains(), st.data())
def test_a_changed_number_is_found(chain, data):
    rows, heads = chain
    at = data.draw(st.integers(0, len(rows) - 1))
    number = data.draw(st.integers(-3, 2**62).filter(lambda one: one != at + 1))
    rows[at] = replace(rows[at], number=number)
    found = verify(KEY, sorted(rows, key=lambda row: row.number), heads)
    assert found
    assert rows[at].entry.id in {one.entry_id for one in found} or number in range(1, len(rows) + 1)


@given(chains(), st.data())
def test_removed_rows_are_found_as_missing_or_cut_off_and_nothing_else_is(chain, data):
    rows, heads = chain
    first = data.draw(st.integers(1, len(rows)))
    last = data.draw(st.integers(first, len(rows)))
    kind = Kind.CUT_OFF if last == len(rows) else Kind.REMOVED
    (found,) = verify(KEY, rows[: first - 1] + rows[last:], heads)
    assert (found.kind, found.number, found.last) == (kind, first, last)


@given(chains(at_least=2), st.data())
def test_a_removed_row_is_found_although_the_others_were_renumbered(chain, data):
    rows, heads = chain
    at = data.draw(st.integers(0, len(rows) - 2))
    found = kinds(verify(KEY, renumbered(rows[:at] + rows[at + 1 :]), heads))
    assert (Kind.REMOVED, at + 1) in found
    assert [one for one in found if one[0] is Kind.MOVED] == [(Kind.MOVED, n) for n in range(at + 1, len(rows))]


@given(chains(at_least=2), st.data())
def test_two_rows_that_changed_places_are_found_and_nothing_else_is(chain, data):
    rows, heads = chain
    one, other = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=2, max_size=2, unique=True))
    rows[one], rows[other] = rows[other], rows[one]
    expected = [(Kind.MOVED, place + 1) for place in sorted((one, other))]
    assert kinds(verify(KEY, renumbered(rows), heads)) == expected


@given(chains(at_least=2), st.data())
def test_two_contents_that_changed_places_are_found_and_nothing_else_is(chain, data):
    rows, heads = chain
    one, other = data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=2, max_size=2, unique=True))
    swapped = list(rows)
    swapped[one] = replace(rows[one], entry=rows[other].entry)
    swapped[other] = replace(rows[other], entry=rows[one].entry)
    expected = [(Kind.CHANGED, place + 1) for place in sorted((one, other))]
    assert kinds(verify(KEY, swapped, heads)) == expected


@given(chains(), entries, st.data())
def test_an_inserted_row_is_named_and_those_it_pushed_aside_are_told_from_it(chain, entry, data):
    rows, heads = chain
    at = data.draw(st.integers(0, len(rows)))
    previous = mac_of(rows[at - 1].seal) if at else ORIGIN
    forged = Sealed(at + 1, seal(OTHER_KEY, previous, at + 1, entry), entry)
    found = verify(KEY, renumbered([*rows[:at], forged, *rows[at:]]), heads)
    assert [one.entry_id for one in found if one.kind is Kind.INSERTED] == [entry.id]
    moved = [(Kind.MOVED, place + 2) for place in range(at, len(rows))]
    assert sorted(kinds(found)) == sorted([(Kind.INSERTED, at + 1), *moved])


@given(chains(), st.data())
def test_a_copy_of_a_row_is_found_wherever_it_is_put(chain, data):
    rows, heads = chain
    copy = data.draw(st.sampled_from(rows))
    number = data.draw(st.integers(len(rows) + 1, len(rows) + 3) | st.just(copy.number))
    found = verify(KEY, sorted([*rows, replace(copy, number=number)], key=lambda row: row.number), heads)
    assert [(one.kind, one.entry_id) for one in found] == [(Kind.INSERTED, copy.entry.id)]


@given(chains(), st.data())
def test_a_chain_that_was_made_anew_with_another_key_does_not_pass(chain, data):
    rows, heads = chain
    others = [row.entry for row in rows]
    keep = data.draw(st.integers(0, len(rows) - 1))
    anew = rows[:keep] + seal_all(OTHER_KEY, Place(keep, mac_of(rows[keep - 1].seal)) if keep else START, others[keep:])
    assert kinds(verify(KEY, anew, heads)) == [(Kind.CHANGED, n) for n in range(keep + 1, len(rows) + 1)]


@given(chains(), st.lists(entries, min_size=1, max_size=4, unique_by=lambda one: one.id), st.data())
def test_a_database_put_back_shows_also_when_it_went_on_with_the_key(chain, others, data):
    rows, heads = chain
    ids = {row.entry.id for row in rows}
    assume(not ids & {one.id for one in others})
    keep = data.draw(st.integers(0, len(rows) - 1))
    place = Place(keep, mac_of(rows[keep - 1].seal)) if keep else START
    history = rows[:keep] + seal_all(KEY, place, others)
    found = kinds(verify(KEY, history, heads))
    assert found
    assert {kind for kind, _ in found} <= {Kind.ROLLED_BACK, Kind.CUT_OFF}
    assert ((Kind.ROLLED_BACK, len(rows)) in found) == (len(history) >= len(rows))
    assert any(kind is Kind.CUT_OFF for kind, _ in found) == (len(history) < len(rows))


@given(chains(at_least=2), st.data())
def test_after_a_loss_sealing_goes_on_behind_the_last_head_and_only_the_hole_shows(chain, data):
    rows, heads = chain
    keep = data.draw(st.integers(0, len(rows) - 2))
    lost_last = rows[:keep]
    last = max(heads, key=lambda head: head.number)
    place = resume(KEY, lost_last[::-1], last)
    assert place == Place(len(rows), mac_of(rows[-1].seal))
    more = seal_all(KEY, place, [replace(rows[-1].entry, id="aud_new")])
    (found,) = verify(KEY, [*lost_last, *more], heads)
    assert (found.kind, found.number, found.last) == (Kind.REMOVED, keep + 1, len(rows))


@given(chains(at_least=2), entries)
def test_two_histories_that_were_spliced_do_not_fit(chain, entry):
    rows, _ = chain
    other = seal_all(KEY, START, [replace(entry, id="aud_other"), *(row.entry for row in rows[1:])])
    spliced = [rows[0], *other[1:]]
    assert kinds(verify(KEY, spliced, [sign(KEY, 0, START_SEAL, 1)])) == [(Kind.FORKED, 2)]


# --- heads ------------------------------------------------------------------------------------------------------------


@given(chains(), st.data())
def test_a_head_that_was_not_signed_with_the_key_is_named(chain, data):
    rows, heads = chain
    head = data.draw(st.sampled_from(heads))
    forged = data.draw(
        st.sampled_from(
            [
                replace(head, number=head.number + 1),
                replace(head, at_us=head.at_us + 1),
                replace(head, seal=head.seal[:-1] + ("0" if head.seal[-1] != "0" else "1")),
                sign(OTHER_KEY, head.number, head.seal, head.at_us),
            ]
        )
    )
    assert not is_signed(KEY, forged)
    assert kinds(verify(KEY, rows, [*heads, forged])) == [(Kind.HEAD_FORGED, forged.number)]


@given(chains())
def test_without_any_head_one_is_told_that_a_cut_would_not_show(chain):
    rows, _ = chain
    assert kinds(verify(KEY, rows, [])) == [(Kind.NO_HEAD, None)]


@given(chains())
def test_with_another_key_one_is_told_so_first(chain):
    rows, heads = chain
    found = verify(OTHER_KEY, rows, heads)
    assert found[0].kind is Kind.OTHER_KEY
    assert len(found) == 1 + len(rows) + len(heads)


@given(chains(), st.data())
def test_heads_are_read_back_and_half_a_line_is_none(chain, data):
    _, heads = chain
    text = "".join(f"{head.line}\n" for head in heads)
    assert read_heads(text) == heads
    cut = data.draw(st.integers(0, len(text)))
    whole = read_heads(text[:cut] + "\n" + text)
    assert whole[-len(heads) :] == heads
    assert whole[: -len(heads)] == heads[: len(whole) - len(heads)]


# --- going on ---------------------------------------------------------------------------------------------------------


@given(chains())
def test_a_chain_of_another_key_is_not_gone_on_with(chain):
    rows, _ = chain
    assert resume(OTHER_KEY, rows[::-1], None) is None
    assert resume(KEY, [], None) == START


@given(chains(at_least=2))
def test_a_last_row_that_somebody_changed_is_no_reason_to_stop_sealing(chain):
    rows, heads = chain
    changed = [*rows[:-1], replace(rows[-1], entry=replace(rows[-1].entry, action="nothing.happened"))]
    place = resume(KEY, changed[::-1], None)
    assert place == Place(len(rows), mac_of(rows[-1].seal))
    more = seal_all(KEY, place, [replace(rows[0].entry, id="aud_new")])
    assert kinds(verify(KEY, changed + more, heads)) == [(Kind.CHANGED, len(rows))]
    spoiled = [*rows[:-1], replace(rows[-1], seal="spoiled")]
    assert resume(KEY, spoiled[::-1], None) == Place(len(rows), ORIGIN)


# --- waiting, and things that are no rows -----------------------------------------------------------------------------


@given(entries, st.integers(0, 2**40), st.integers(0, 2**40))
def test_a_row_is_found_that_waits_longer_than_the_limit(entry, waits_us, limit_us):
    found = verify(KEY, [], [], unsealed=[entry], now_us=entry.at_us + waits_us, unsealed_limit_us=limit_us)
    assert [(one.kind, one.entry_id) for one in found] == [(Kind.UNSEALED, entry.id)] * (waits_us > limit_us)


@given(chains(), st.sampled_from([None, "5", 1.0, b"1", True]))
def test_a_number_that_is_none_is_named(chain, number):
    rows, heads = chain
    odd = replace(rows[0], number=number, entry=replace(rows[0].entry, id="aud_odd"))
    found = verify(KEY, [*rows, odd], heads)
    assert [(one.kind, one.entry_id) for one in found] == [(Kind.INSERTED, "aud_odd")]


@pytest.mark.parametrize("value", [b"bytes", 1.5, float("nan"), float("inf"), "\ud800", {"deep": [[[[]]]]}])
@pytest.mark.parametrize("name", [part.name for part in fields(Entry)])
def test_no_value_in_a_row_stops_the_verification(name, value):
    (row,) = seal_all(KEY, START, [Entry("aud_1", 1, "cli", None, "a.b", "c", {})])
    odd = replace(row, entry=replace(row.entry, **{name: value}))
    assert (Kind.CHANGED, 1) in kinds(verify(KEY, [odd], [sign(KEY, 1, row.seal, 1)]))


def test_facts_nested_beyond_measure_do_not_stop_the_verification():
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    (row,) = seal_all(KEY, START, [Entry("aud_1", 1, "cli", None, "a.b", "c", {})])
    odd = replace(row, entry=replace(row.entry, facts={"deep": deep}))
    assert kinds(verify(KEY, [odd], [sign(KEY, 1, row.seal, 1)])) == [(Kind.CHANGED, 1)]
