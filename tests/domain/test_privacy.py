"""What a tenant is told about the others does not depend on who they are."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.privacy import CoTenants, co_tenants, told_loss, told_pace, told_wait, told_windows
from qpu_backend.domain.views import Booking

TENANTS = st.lists(st.sampled_from("abcdefgh"), max_size=12)


@given(TENANTS)
def test_company_is_told_as_one_of_three_classes(tenants: list[str]):
    others = len(set(tenants) - {"a"})
    expected = "0" if others == 0 else "1-3" if others < 4 else "4+"
    assert co_tenants("a", ["a", *tenants]) == expected
    assert co_tenants("a", ["a", *tenants]) in CoTenants


@given(TENANTS, st.permutations("bcdefgh"))
def test_renaming_the_others_changes_nothing(tenants: list[str], names: list[str]):
    new_name = {"a": "a", **dict(zip("bcdefgh", names, strict=True))}
    assert co_tenants("a", tenants) == co_tenants("a", [new_name[tenant] for tenant in tenants])


def test_ones_own_other_jobs_are_no_company():
    assert co_tenants("a", ["a", "a", "a"]) is CoTenants.NONE


@given(st.floats(-1, 2))
def test_a_loss_is_told_in_half_points_between_none_and_all(loss: float):
    told = told_loss(loss)
    assert told in {k / 200 for k in range(201)}
    assert abs(told - min(max(loss, 0.0), 1.0)) <= 0.0025 + 1e-12


def test_a_loss_that_is_not_a_number_is_not_told():
    with pytest.raises(ValueError, match="not a number"):
        told_loss(float("nan"))


WINDOWS = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4), st.sampled_from("abM")), max_size=8)
"""Of each: how long after the one before, how long, whose (M: maintenance)."""


def windows_of(asked: list[tuple[int, int, str]]) -> list[tuple[Booking, str]]:
    time, found = 0, []
    for number, (gap, length, whose) in enumerate(asked):
        start = time + gap
        time = start + length
        found.append((Booking(f"bkg_{number}", start, time, maintenance=whose == "M"), whose))
    return found


@given(WINDOWS)
def test_a_tenant_is_told_of_every_moment_whether_the_device_is_its_own_somebodys_or_nobodys(
    asked: list[tuple[int, int, str]],
):
    windows = windows_of(asked)
    told = told_windows([window for window, _ in windows], {window.id for window, whose in windows if whose == "a"})
    kinds = {"a": "yours", "b": "booked", "M": "maintenance"}
    for moment in range(60):
        true = [kinds[whose] for window, whose in windows if window.starts_us <= moment < window.ends_us]
        assert [one.kind for one in told if one.starts_us <= moment < one.ends_us] == true
    assert [one.id for one in told if one.kind == "yours"] == [window.id for window, whose in windows if whose == "a"]
    assert all(one.id is None for one in told if one.kind != "yours")


@given(WINDOWS)
def test_two_bookings_one_behind_the_other_look_like_one(asked: list[tuple[int, int, str]]):
    told = told_windows([window for window, _ in windows_of(asked)], ())
    for one, other in pairwise(told):
        assert one.ends_us < other.starts_us or one.kind != other.kind


STEPS = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400)


@given(st.sampled_from(list(pairwise((0, *STEPS)))), st.floats(0, 1, exclude_min=True), st.floats(0, 1))
def test_all_waits_between_two_steps_are_told_as_the_upper_one(steps: tuple[int, int], part: float, other: float):
    low, high = steps
    for one in (part, max(part, other), 1.0):
        seconds = low + one * (high - low)
        if seconds > low:  # a tiny part of a large step is nothing
            assert told_wait(seconds) == high


@given(st.floats(0, 1e9))
def test_a_wait_is_never_told_too_short_nor_more_than_three_times_too_long(seconds: float):
    told = told_wait(seconds)
    assert seconds <= told <= max(1.0, 3 * seconds)
    assert told_wait(told) == told


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_longer_waits_are_not_told_as_shorter_ones(one: float, other: float):
    assert (told_wait(one) <= told_wait(other)) or one > other


@given(st.floats(0.5, 1, exclude_min=True), st.floats(4, 8, exclude_max=True))
def test_paces_between_two_steps_are_one_pace(seconds: float, jobs: float):
    assert told_pace(seconds, jobs) == (1.0, 4)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_what_is_no_duration_is_not_told(seconds: float):
    with pytest.raises(ValueError, match="no duration"):
        told_wait(seconds)
    with pytest.raises(ValueError, match="not finite"):
        told_pace(1.0, float("inf"))
