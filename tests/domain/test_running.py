"""Allowances: of nobody do more jobs start than may, and who is not limited is not held back."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.running import Allowance

OWNERS = st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["p", "q"])).map(lambda one: (one[0], one[0] + one[1]))
WHOSE = OWNERS | st.sampled_from([("a", ""), ("b", "")])


@given(
    st.dictionaries(OWNERS, st.integers(1, 4)),
    st.dictionaries(WHOSE, st.integers(0, 5)),
    st.lists(st.tuples(OWNERS, st.booleans()), max_size=30),
)
def test_no_limit_is_passed_but_by_promises_and_nothing_is_held_back_without_one(
    running: dict[tuple[str, str], int],
    limits: dict[tuple[str, str], int],
    queue: list[tuple[tuple[str, str], bool]],
):
    allowance = Allowance(running)
    allowance.learn(limits)
    runs, promises = Counter(running), Counter[tuple[str, str]]()
    for (tenant, principal), promised in queue:
        both = ((tenant, ""), (tenant, principal))
        stopped_by = allowance.stops(tenant, principal)

        def all_of(whose: tuple[str, str]) -> int:
            return sum(number for one, number in runs.items() if one == whose or (not whose[1] and one[0] == whose[0]))

        full = [whose for whose in both if whose in limits and all_of(whose) >= limits[whose]]
        assert stopped_by == (full[0] if full else None)
        if promised or stopped_by is None:
            allowance.take(tenant, principal)
            runs[tenant, principal] += 1
            promises[tenant, principal] += promised
