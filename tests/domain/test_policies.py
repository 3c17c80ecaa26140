"""Policies: a principal's only narrows its tenant's, what is not set is not limited, and refusals name what is open."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.errors import InvalidRequest, LaneRefused, QueueFull, TooLarge
from qpu_backend.domain.lanes import Lane, lane_of
from qpu_backend.domain.policies import (
    ISOLATION_CLASSES,
    LISTS,
    NOT_LIMITED,
    POLICY_FIELDS,
    IsolationRefused,
    Policies,
    Policy,
    SliceRefused,
)
from qpu_backend.domain.rates import Rate

LANES = {name: Lane(name) for name in ("standard", "fast", "teaching")}
NAMES = st.none() | st.lists(st.sampled_from([*LANES, *ISOLATION_CLASSES, "acme", "lab"])).map(tuple)
NUMBERS = st.none() | st.integers(1, 20)
POLICIES = st.builds(
    Policy,
    max_queued_jobs=NUMBERS,
    max_circuits=NUMBERS,
    max_body_bytes=NUMBERS,
    lanes=NAMES,
    isolation=NAMES,
    slices=NAMES,
)
ASKED: list[tuple[str, st.SearchStrategy[Any]]] = [
    ("require_isolation", st.sampled_from(ISOLATION_CLASSES)),
    ("require_slice", st.sampled_from(["acme", "lab", None])),
    ("require_bytes", st.integers(0, 25)),
    ("require_circuits", st.integers(0, 25)),
]


def allows(policies: Policies, check: str, asked: object) -> bool:
    try:
        getattr(policies, check)(asked)
    except (IsolationRefused, SliceRefused, TooLarge):
        return False
    return True


@given(POLICIES, POLICIES, st.data())
def test_what_both_policies_allow_is_what_each_of_them_allows(tenant: Policy, principal: Policy, data: st.DataObject):
    check, values = data.draw(st.sampled_from(ASKED))
    asked = data.draw(values)
    alone = allows(Policies(tenant=tenant), check, asked) and allows(Policies(principal=principal), check, asked)
    assert allows(Policies(tenant, principal), check, asked) == alone


@given(POLICIES, POLICIES)
def test_open_lanes_are_those_that_both_leave_open(tenant: Policy, principal: Policy):
    found = Policies(tenant, principal).open_lanes(LANES)
    for name in LANES:
        assert (name in found) == all(one.lanes is None or name in one.lanes for one in (tenant, principal))


@pytest.mark.parametrize(("check", "values"), [(check, values) for check, values in ASKED])
def test_what_is_not_set_is_not_limited(check: str, values: st.SearchStrategy[Any]):
    @given(values)
    def everything(asked: object) -> None:
        assert allows(Policies(), check, asked)

    everything()


def test_refusals_name_what_is_open_and_whose_limit_it_is():
    both = Policies(Policy(isolation=("buffered", "shared"), max_circuits=5), Policy(isolation=("shared",)))
    with pytest.raises(IsolationRefused, match="open to you: shared") as isolation:
        both.require_isolation("buffered")
    assert (isolation.value.field, isolation.value.open_to) == ("options.isolation", ["shared"])
    with pytest.raises(TooLarge, match="by your tenant's policy: 6 is above the limit of 5") as circuits:
        both.require_circuits(6)
    assert circuits.value.field == "circuits"
    with pytest.raises(TooLarge, match="by your own policy: 11 is above the limit of 10"):
        Policies(principal=Policy(max_body_bytes=10)).require_bytes(11)
    with pytest.raises(SliceRefused, match="your tenant has a slice 'lab'"):
        Policies(principal=Policy(slices=())).require_slice("lab")
    with pytest.raises(LaneRefused, match="open to you: teaching"):
        lane_of(Policies(principal=Policy(lanes=("teaching",))).open_lanes(LANES), "fast", "acme")
    with pytest.raises(QueueFull) as queue:
        Policies(principal=Policy(max_queued_jobs=3)).require_queued(3)
    assert (queue.value.limit, queue.value.queued) == (3, 3)


def test_a_rate_without_a_burst_lets_a_minutes_worth_come_at_once():
    both = Policies(Policy(submissions_per_minute=60), Policy(submissions_per_minute=6, burst=2))
    assert both.rates("prn") == {"": Rate(60, 60), "prn": Rate(6, 2, principal=True)}
    assert Policies(Policy(burst=3)).rates("prn") == {}


@pytest.mark.parametrize("name", POLICY_FIELDS)
def test_every_field_can_be_set_and_lifted(name: str):
    value = ("shared",) if name in LISTS else 7
    changed = NOT_LIMITED.with_field(name, value)
    assert getattr(changed, name) == value
    assert changed.with_field(name, None) == NOT_LIMITED


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("max_jobs", 1, "a policy has no 'max_jobs'"),
        ("max_circuits", 0, "from 1 to"),
        ("max_queued_jobs", -1, "from 0 to"),
        ("burst", 2**31, "from 1 to"),
        ("max_circuits", ("a",), "a whole number"),
        ("lanes", 3, "a list of names"),
        ("lanes", ("no lane!",), "is no name for it"),
        ("isolation", ("shared", "airtight"), "one of shared, buffered, confidential, exclusive"),
    ],
)
def test_a_value_that_a_field_cannot_have_is_refused(name: str, value: Any, why: str):
    with pytest.raises(InvalidRequest, match=why) as refusal:
        NOT_LIMITED.with_field(name, value)
    assert refusal.value.field == name


def test_nothing_at_all_may_be_a_policy():
    nothing = NOT_LIMITED.with_field("lanes", ()).with_field("max_queued_jobs", 0).with_field("isolation", ())
    assert Policies(nothing).open_lanes(LANES) == {}
    with pytest.raises(IsolationRefused, match="none at all"):
        Policies(nothing).require_isolation("shared")
    with pytest.raises(QueueFull):
        Policies(principal=nothing).require_queued(0)
