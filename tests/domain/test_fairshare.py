"""Tags and charges, one at a time. The laws over many batches are in test_planning_eagle.py."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.fairshare import WEIGHT_UNIT, charge, tag, virtual_time_after

TAGS, COSTS, WEIGHTS = st.integers(0, 10**15), st.integers(1, 10**12), st.integers(1, 10**4)


@given(TAGS, TAGS, COSTS, WEIGHTS)
def test_a_tag_is_the_definition_rounded_up_to_one(virtual_time: int, previous: int, cost: int, weight: int):
    start, finish = tag(virtual_time, previous, cost, weight)
    assert start == max(virtual_time, previous)
    assert 0 <= finish - start - Fraction(cost * WEIGHT_UNIT, weight) < 1
    assert finish > start


@given(TAGS, COSTS, WEIGHTS, WEIGHTS)
def test_a_larger_weight_never_delays_the_next_job(virtual_time: int, cost: int, one: int, other: int):
    low, high = sorted((one, other))
    assert tag(virtual_time, 0, cost, high)[1] <= tag(virtual_time, 0, cost, low)[1]


@pytest.mark.parametrize(("cost", "weight"), [(0, 1), (-1, 1), (1, 0), (1, -5)])
def test_costs_and_weights_are_positive(cost: int, weight: int):
    with pytest.raises(ValueError, match="positive"):
        tag(0, 0, cost, weight)


@given(TAGS, st.lists(TAGS))
def test_virtual_time_never_goes_back(virtual_time: int, served: list[int]):
    after = virtual_time_after(virtual_time, served)
    assert after >= virtual_time
    assert after == max([virtual_time, *served])


@given(st.lists(st.tuples(st.integers(1, 127), st.integers(1, 10**9)), max_size=12), st.integers(0, 10**9))
def test_a_charge_covers_all_qubits_for_all_the_time(placements: list[tuple[int, int]], more: int):
    occupied, own = [qubits for qubits, _ in placements], [us for _, us in placements]
    batch_us = max(own, default=0) + more
    costs = charge(occupied, own, batch_us)
    assert sum(costs) == sum(occupied) * batch_us
    longest = own.index(max(own)) if own else None
    for index, cost in enumerate(costs):
        assert cost >= occupied[index] * own[index]
        assert index == longest or cost == occupied[index] * own[index]
