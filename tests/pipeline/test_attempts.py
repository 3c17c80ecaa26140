"""Attempts: what is decoded is counted, whether or not it is refused afterwards, and in bounded memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.policies import Policies, Policy
from qpu_backend.domain.rates import Rate, RateLimited
from qpu_backend.domain.tenancy import PrincipalId, Role, TenantId, TenantScope
from qpu_backend.pipeline.attempts import Attempts

USUAL = Rate(60, 5)
NO_POLICY = Policies(Policy(), Policy())


def scope(principal: str = "prn_a", tenant: str = "ten_a") -> TenantScope:
    return TenantScope(TenantId(tenant), PrincipalId(principal), Role.MEMBER)


def passed(attempts: Attempts, policies: Policies, tries: int, who: TenantScope | None = None, now_us: int = 0) -> int:
    """How many of so many tries are let through."""
    through = 0
    for _ in range(tries):
        try:
            attempts.count(who or scope(), policies, now_us)
        except RateLimited:
            continue
        through += 1
    return through


def test_without_a_rate_everybody_has_the_usual_one_and_nobody_takes_anothers():
    attempts = Attempts(USUAL)
    assert passed(attempts, NO_POLICY, 20) == 5
    assert passed(attempts, NO_POLICY, 20, scope("prn_b")) == 5
    assert passed(attempts, NO_POLICY, 20, now_us=1_000_000) == 1


@given(st.integers(1, 100), st.integers(1, 10))
def test_a_rate_of_submissions_allows_ten_attempts_for_each(per_minute: int, burst: int):
    policies = Policies(Policy(), Policy(submissions_per_minute=per_minute, burst=burst))
    assert passed(Attempts(USUAL), policies, 10 * burst + 5) == 10 * burst


def test_principals_of_a_limited_tenant_share_its_attempts():
    policies = Policies(Policy(submissions_per_minute=6, burst=1), Policy())
    attempts = Attempts(Rate(6000, 100))
    assert passed(attempts, policies, 7) == 7
    assert passed(attempts, policies, 7, scope("prn_b")) == 3
    assert passed(attempts, policies, 7, scope("prn_b", "ten_b")) == 7


def test_the_refusal_says_what_was_counted_and_when_to_come_back():
    attempts = Attempts(USUAL)
    passed(attempts, NO_POLICY, 5)
    with pytest.raises(RateLimited, match="jobs, quotes and predictions, refused ones included") as refusal:
        attempts.count(scope(), NO_POLICY, 0)
    assert refusal.value.retry_at_us == 1_000_000


def test_only_so_many_are_remembered():
    attempts = Attempts(USUAL, remembered=10)
    for number in range(1000):
        attempts.count(scope(f"prn_{number}"), NO_POLICY, 0)
    assert len(attempts._arrivals) == 10
