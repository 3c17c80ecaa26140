"""Rates: never more than a burst at once nor than rate · t + burst in any time, and nobody is locked out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.rates import Rate, RateLimited, admit, admit_all

RATES = st.builds(Rate, st.integers(1, 600), st.integers(1, 12))
START_US = 1_780_000_000_000_000
STEPS = st.lists(st.integers(0, 40_000_000), max_size=60)
BACK = st.integers(0, 10**12)


def admitted(rate: Rate, arrival: int, now_us: int) -> int | RateLimited:
    try:
        return admit(rate, arrival, now_us)
    except RateLimited as refusal:
        return refusal


def times_of(rate: Rate, steps: list[int]) -> list[int]:
    """When submissions were admitted of those that came with these pauses between them."""
    now, arrival, times = START_US, 0, list[int]()
    for step in steps:
        now += step
        answer = admitted(rate, arrival, now)
        if isinstance(answer, int):
            arrival = answer
            times.append(now)
    return times


@given(RATES)
def test_exactly_a_burst_is_admitted_at_once(rate: Rate):
    assert len(times_of(rate, [0] * (rate.burst + 5))) == rate.burst


@given(RATES, STEPS)
def test_in_any_time_no_more_than_rate_times_t_and_a_burst_are_admitted(rate: Rate, steps: list[int]):
    times = times_of(rate, steps)
    for first in range(len(times)):
        for last in range(first, len(times)):
            t_us = times[last] - times[first]
            assert last - first + 1 <= rate.burst + rate.per_minute * t_us / 60e6


@given(RATES, STEPS)
def test_who_tries_at_the_time_that_a_refusal_names_is_admitted_and_not_a_microsecond_before(
    rate: Rate, steps: list[int]
):
    now, arrival = START_US, 0
    for step in steps:
        now += step
        answer = admitted(rate, arrival, now)
        if isinstance(answer, int):
            arrival = answer
            continue
        at_us = answer.retry_at_us
        assert at_us is not None
        assert at_us > now
        assert isinstance(admitted(rate, arrival, at_us), int)
        assert isinstance(admitted(rate, arrival, at_us - 1), RateLimited)


@given(RATES, st.integers(1, 100))
def test_who_always_comes_as_early_as_told_never_passes_the_rate_by_a_rounding(rate: Rate, number: int):
    now, arrival = START_US, 0
    for _ in range(number):
        answer = admitted(rate, arrival, now)
        if isinstance(answer, RateLimited):
            now = answer.retry_at_us or 0
            answer = admit(rate, arrival, now)
        arrival = answer
    assert 60_000_000 * (number - rate.burst) <= rate.per_minute * (now - START_US)


@given(RATES, st.integers(1, 100))
def test_who_keeps_the_pace_is_never_refused(rate: Rate, number: int):
    assert len(times_of(rate, [rate.spacing_us] * number)) == number


@given(RATES, STEPS, BACK)
def test_a_clock_that_steps_back_locks_nobody_out_for_longer_than_its_step_nor_than_one_spacing(
    rate: Rate, steps: list[int], back_us: int
):
    now, arrival = START_US, 0
    for step in steps:
        now += step
        answer = admitted(rate, arrival, now)
        arrival = answer if isinstance(answer, int) else arrival

    def wait_us(now_us: int) -> int:
        answer = admitted(rate, arrival, now_us)
        return 0 if isinstance(answer, int) else (answer.retry_at_us or 0) - now_us

    assert wait_us(now - back_us) <= wait_us(now) + back_us
    assert wait_us(now - back_us) <= rate.spacing_us


@given(RATES, STEPS, BACK)
def test_after_a_clock_has_stepped_back_the_pace_holds_again(rate: Rate, steps: list[int], back_us: int):
    now = START_US + sum(steps)
    arrival = now + rate.burst * rate.spacing_us  # as after a full burst
    now -= back_us
    times = list[int]()
    for step in steps:
        now += step
        answer = admitted(rate, arrival, now)
        if isinstance(answer, int):
            arrival = answer
            times.append(now)
    for first in range(len(times)):
        t_us = times[-1] - times[first]
        assert len(times) - first <= rate.burst + 1 + rate.per_minute * t_us / 60e6


@given(RATES, RATES, st.integers(0, 10**9), st.integers(0, 10**9))
def test_all_rates_admit_or_none_and_the_longest_wait_is_told(one: Rate, other: Rate, early: int, late: int):
    rates, arrivals = {"": one, "prn": other}, {"": START_US + early, "prn": START_US + late}
    answers = {whose: admitted(rate, arrivals[whose], START_US) for whose, rate in rates.items()}
    refusals = [answer.retry_at_us for answer in answers.values() if isinstance(answer, RateLimited)]
    if refusals:
        with pytest.raises(RateLimited) as refusal:
            admit_all(rates, arrivals, START_US)
        assert refusal.value.retry_at_us == max(at_us for at_us in refusals if at_us is not None)
    else:
        assert admit_all(rates, arrivals, START_US) == answers


def test_a_refusal_says_how_many_and_when():
    rate = Rate(6, 2, principal=True)
    arrival = admit(rate, admit(rate, 0, START_US), START_US)
    with pytest.raises(
        RateLimited, match=r"you may submit 6 jobs a minute, and at most 2 at once; try again in 10 s"
    ) as no:
        admit(rate, arrival, START_US)
    assert (no.value.retry_at_us, no.value.code) == (START_US + 10_000_000, "rate_limited")
    with pytest.raises(RateLimited, match="all of your tenant together"):
        admit(Rate(6, 2), arrival, START_US)


@pytest.mark.parametrize(("per_minute", "burst"), [(0, 1), (1, 0), (-1, 1)])
def test_a_rate_admits_at_least_one(per_minute: int, burst: int):
    with pytest.raises(ValueError, match="at least one"):
        Rate(per_minute, burst)
