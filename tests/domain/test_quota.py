"""Quotas: free + reserved + spent = limit, whatever happens in whatever order; windows that tile the calendar."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from qpu_backend.domain.errors import InvalidRequest, QuotaExceeded
from qpu_backend.domain.quota import (
    Line,
    Resource,
    Window,
    carry,
    interval,
    release,
    require_limit,
    reserve,
    reserve_all,
    settle,
)

if TYPE_CHECKING:
    from fractions import Fraction

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2199, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  bounds are naive
LIMITS = st.integers(0, 1000)
AMOUNTS = st.integers(0, 1200)


def us(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


def line(limit: int, reserved: int = 0, spent: int = 0, window: Window = Window.DAY) -> Line:
    start_us = interval(window, us(datetime(2026, 2, 3, 4, 5, tzinfo=UTC))).start_us
    return Line(Resource.SHOTS, window, start_us, limit, reserved, spent)


@given(MOMENTS, st.sampled_from(Window))
def test_windows_tile_time(moment: datetime, window: Window):
    now = us(moment)
    found = interval(window, now)
    assert found.start_us <= now < found.end_us
    assert interval(window, found.start_us) == interval(window, found.end_us - 1) == found
    assert interval(window, found.end_us).start_us == found.end_us


@given(MOMENTS)
def test_windows_begin_where_the_utc_calendar_says(moment: datetime):
    hour = moment.replace(minute=0, second=0, microsecond=0)
    day = hour.replace(hour=0)
    starts = [interval(window, us(moment)).start_us for window in (Window.HOUR, Window.DAY, Window.MONTH)]
    assert starts == [us(hour), us(day), us(day.replace(day=1))]


def test_a_month_is_a_calendar_month():
    leap = interval(Window.MONTH, us(datetime(2028, 2, 29, 23, 59, tzinfo=UTC)))
    assert (leap.start_us, leap.end_us) == (us(datetime(2028, 2, 1, tzinfo=UTC)), us(datetime(2028, 3, 1, tzinfo=UTC)))
    december = interval(Window.MONTH, us(datetime(2026, 12, 31, tzinfo=UTC)))
    assert december.end_us == us(datetime(2027, 1, 1, tzinfo=UTC))


@given(LIMITS, AMOUNTS)
def test_a_reservation_is_granted_exactly_when_it_fits(limit: int, amount: int):
    if amount <= limit:
        assert reserve(line(limit), amount).free == limit - amount
    else:
        with pytest.raises(QuotaExceeded):
            reserve(line(limit), amount)


def test_a_zero_quota_fails_at_once_and_names_no_time():
    with pytest.raises(QuotaExceeded, match="ask for a larger quota") as refusal:
        reserve(line(0), 1)
    assert refusal.value.retry_at_us is None


def test_a_refusal_says_what_how_much_and_when():
    with pytest.raises(QuotaExceeded, match=r"2026-02-04 00:00:00 UTC") as refusal:
        reserve(line(100, reserved=30, spent=50), 21)
    said = refusal.value
    assert (said.resource, said.window, said.limit, said.free, said.asked) == ("shots", "day", 100, 20, 21)
    assert said.retry_at_us == us(datetime(2026, 2, 4, tzinfo=UTC))
    assert said.code == "quota_exceeded"


def test_a_lowered_limit_stops_new_reservations_but_breaks_no_promise():
    lowered = replace(line(100, reserved=60), limit=50)
    assert lowered.free == -10
    with pytest.raises(QuotaExceeded) as refusal:
        reserve(lowered, 1)
    assert refusal.value.free == 0
    assert settle(lowered, 60, 60).spent == 60


@pytest.mark.parametrize(("reserved", "used"), [(5, 6), (11, 1), (5, -1), (-1, -1)])
def test_nobody_settles_more_than_was_promised(reserved: int, used: int):
    with pytest.raises(ValueError, match="cannot settle"):
        settle(line(100, reserved=10), reserved, used)


def test_a_negative_reservation_is_a_mistake():
    with pytest.raises(ValueError, match="-1"):
        reserve(line(100), -1)


def test_reserving_on_all_lines_is_all_or_nothing():
    lines = (line(100), Line(Resource.SPEND_MICRO, Window.MONTH, 0, 5))
    kept = reserve_all(lines, {Resource.SHOTS: 7, Resource.SPEND_MICRO: 5})
    assert [one.reserved for one in kept] == [7, 5]
    with pytest.raises(QuotaExceeded) as refusal:
        reserve_all(lines, {Resource.SHOTS: 7, Resource.SPEND_MICRO: 6})
    assert refusal.value.resource == "spend_micro"
    assert [one.reserved for one in lines] == [0, 0]


def test_of_several_refusals_the_one_that_lasts_longest_is_told():
    hour, day = line(10, spent=10, window=Window.HOUR), line(10, spent=10, window=Window.DAY)
    with pytest.raises(QuotaExceeded) as refusal:
        reserve_all((hour, day), {Resource.SHOTS: 1})
    assert refusal.value.window == "day"
    with pytest.raises(QuotaExceeded) as refusal:
        reserve_all((day, line(0, window=Window.HOUR)), {Resource.SHOTS: 1})
    assert refusal.value.retry_at_us is None


class Account(RuleBasedStateMachine):
    """Jobs reserve, settle and fail in any order, on one line; a second book counts along."""

    jobs = Bundle("jobs")

    @initialize(limit=LIMITS)
    def open(self, limit: int) -> None:
        self.line = line(limit)
        self.promised: list[int] = []
        self.used = 0

    @rule(target=jobs, amount=AMOUNTS)
    def admit(self, amount: int) -> int | None:
        free = self.line.free
        try:
            self.line = reserve(self.line, amount)
        except QuotaExceeded:
            assert amount > free
            return None
        self.promised.append(amount)
        return amount

    @rule(amount=consumes(jobs), share=st.fractions(0, 1))
    def end(self, amount: int | None, share: Fraction) -> None:
        if amount is not None:
            used = int(amount * share)
            self.line = settle(self.line, amount, used)
            self.promised.remove(amount)
            self.used += used

    @rule(amount=consumes(jobs))
    def fail(self, amount: int | None) -> None:
        if amount is not None:
            self.line = release(self.line, amount)
            self.promised.remove(amount)

    @invariant()
    def adds_up(self) -> None:
        if hasattr(self, "line"):
            assert self.line.free + self.line.reserved + self.line.spent == self.line.limit
            assert (self.line.reserved, self.line.spent) == (sum(self.promised), self.used)
            assert self.line.free >= 0


test_free_reserved_and_spent_are_the_limit_at_every_moment = Account.TestCase


# --- burst ---------------------------------------------------------------------------------------------------------


@given(LIMITS, LIMITS, AMOUNTS, AMOUNTS)
def test_what_is_carried_is_what_was_left_and_at_most_the_burst(amount: int, burst: int, reserved: int, spent: int):
    carried = carry(amount, burst, reserved, spent)
    assert 0 <= carried <= burst
    assert carried <= max(0, amount - reserved - spent)
    assert carry(amount, burst, 0, 0) == min(burst, amount)
    assert carry(amount, burst, reserved, spent) <= carry(amount, burst, 0, spent)  # what is freed late only adds


@given(LIMITS, LIMITS, st.lists(st.lists(AMOUNTS, max_size=6), max_size=8))
def test_over_any_windows_no_more_is_used_than_their_amounts_and_one_burst(
    amount: int, burst: int, demand: list[list[int]]
):
    used_before, used = 0, list[int]()
    for window in demand:
        carried = carry(amount, burst, 0, used_before)
        one = Line(Resource.SHOTS, Window.DAY, 0, amount + carried, carried=carried, burst=burst)
        for asked in window:
            try:
                one = settle(reserve(one, asked), asked, asked)
            except QuotaExceeded:
                assert asked > one.free
            assert one.free + one.reserved + one.spent == one.limit
        used_before = one.spent
        used.append(one.spent)
    for first in range(len(used)):
        for last in range(first, len(used)):
            assert sum(used[first : last + 1]) <= (last - first + 1) * amount + burst


@given(LIMITS, LIMITS, LIMITS, AMOUNTS)
def test_at_the_time_that_a_refusal_names_the_same_reservation_fits(amount: int, burst: int, spent: int, asked: int):
    start_us = us(datetime(2026, 2, 3, tzinfo=UTC))
    one = Line(Resource.SHOTS, Window.DAY, start_us, amount, spent=min(spent, amount), burst=burst)
    try:
        reserve(one, asked)
    except QuotaExceeded as refusal:
        at_us, windows = refusal.retry_at_us, [start_us + days * 86_400_000_000 for days in (1, 2)]
        spent_before = one.spent
        for window_us in windows:
            carried = carry(amount, burst, 0, spent_before)
            later = Line(Resource.SHOTS, Window.DAY, window_us, amount + carried, carried=carried, burst=burst)
            if asked <= later.free:
                assert at_us == window_us
                return
            spent_before = 0
        assert at_us is None


def test_of_a_principals_own_quota_the_refusal_says_so():
    own = Line(Resource.SHOTS, Window.DAY, 0, 10, principal_id="prn_ada")
    with pytest.raises(QuotaExceeded, match="but 10 of your own 10 are free this day") as refusal:
        reserve(own, 11)
    assert refusal.value.principal


def test_a_line_carries_no_more_than_its_burst_and_its_limit():
    for changes in ({"carried": 3, "burst": 2}, {"carried": 11, "burst": 20}, {"carried": -1}):
        with pytest.raises(ValueError, match="no negative amount"):
            replace(line(10), **changes)


@pytest.mark.parametrize(("amount", "burst"), [(-1, 0), (0, -1), (2**53, 0), (0, 2**53)])
def test_what_cannot_be_a_limit_is_refused(amount: int, burst: int):
    with pytest.raises(InvalidRequest, match="of a quota is a whole number"):
        require_limit(amount, burst)
