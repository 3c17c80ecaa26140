"""Laws of counting refused keys: none is lost, at most one row a minute, and nothing grows."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.pipeline.refusals import EVERY_US, Refusals, Refused

steps = st.lists(
    st.tuples(
        st.sampled_from(["note", "take", "failed"]), st.integers(0, 2 * EVERY_US), st.sampled_from([None, "k1", "k2"])
    ),
    max_size=40,
)


def count(refused: Refused) -> int:
    """How many were refused."""
    return sum(refused.reasons.values())


@given(steps)
def test_every_refusal_is_in_one_row_and_rows_are_a_minute_apart(asked):
    refusals, now_us, noted = Refusals(), 0, 0
    rows: list[tuple[int, Refused]] = []
    for what, later_us, key in asked:
        now_us += later_us
        if what == "note":
            refusals.note("unknown" if key is None else "revoked", now_us, key)
            noted += 1
        elif (refused := refusals.take(now_us)) is not None:
            if what == "failed":
                refusals.put_back(refused)
            else:
                rows.append((now_us, refused))
    last = refusals.take(now_us, at_once=True)
    assert sum(count(one) for _, one in rows) + (count(last) if last else 0) == noted
    assert all(later - earlier >= EVERY_US for (earlier, _), (later, _) in pairwise(rows))
    for _, one in rows:
        assert one.since_us <= one.until_us
        assert sum(one.keys.values()) == one.reasons.get("revoked", 0)


def test_a_first_refusal_is_told_at_once_and_the_next_after_a_minute():
    refusals = Refusals()
    assert refusals.take(0) is None
    refusals.note("unknown", 5)
    first = refusals.take(10)
    assert first is not None
    assert first.facts == {"count": 1, "since_us": 5, "until_us": 5, "reasons": {"unknown": 1}, "keys": {}}
    refusals.note("expired", 20, "key_1")
    assert refusals.take(10 + EVERY_US - 1) is None
    second = refusals.take(10 + EVERY_US)
    assert second is not None
    assert second.keys == {"key_1": 1}


def test_a_flood_makes_one_row_that_names_a_few_keys_and_counts_all():
    refusals = Refusals()
    for number in range(10_000):
        refusals.note("revoked", number, f"key_{number % 1000}")
    flood = refusals.take(10_000)
    assert flood is not None
    assert (count(flood), len(flood.keys), set(flood.keys.values())) == (10_000, 20, {10})
    assert refusals.take(10**12) is None


def test_a_clock_that_is_set_back_does_not_silence_it():
    refusals = Refusals()
    refusals.note("unknown", 10**15)
    assert refusals.take(10**15) is not None
    refusals.note("unknown", 5)
    assert refusals.take(5) is not None
