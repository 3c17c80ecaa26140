"""Quotas in the database: never exceeded by concurrent submissions, settled into the window they were reserved in."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from qpu_backend.domain.errors import QuotaExceeded
from qpu_backend.domain.quota import Line, Resource, Window, interval
from qpu_backend.stores import quota
from qpu_backend.stores.errors import ForeignTenant

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qpu_backend.domain.tenancy import TenantScope
    from tests.stores.conftest import House

SHOTS = Resource.SHOTS


def limit(house: House, scope: TenantScope, amount: int | None, window: Window = Window.DAY) -> None:
    with house.database.write() as connection:
        quota.set_limit(
            connection, house.system, tenant_id=scope.tenant_id, resource=SHOTS, window=window, amount=amount
        )


def reserve(house: House, scope: TenantScope, shots: int, now_us: int | None = None) -> quota.Reservation:
    with house.database.write() as connection:
        return quota.reserve(connection, scope, {SHOTS: shots}, now_us or house.now_us)


def settle(house: House, scope: TenantScope, reservation: quota.Reservation, used: Mapping[Resource, int]) -> None:
    with house.database.write() as connection:
        quota.settle(connection, house.system, scope.tenant_id, reservation, used)


def line(house: House, scope: TenantScope, now_us: int | None = None) -> Line:
    with house.database.read() as connection:
        [found] = quota.read_lines(connection, scope, now_us or house.now_us)
    return found


def test_reserve_settle_and_release_keep_the_sum(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    limit(house, ada, 1000)
    limit(house, bob, 5)
    first, second = reserve(house, ada, 600), reserve(house, ada, 400)
    assert (line(house, ada).free, line(house, ada).reserved) == (0, 1000)
    settle(house, ada, first, {SHOTS: 150})
    with house.database.write() as connection:
        quota.release(connection, ada, ada.tenant_id, second)
    assert (line(house, ada).free, line(house, ada).reserved, line(house, ada).spent) == (850, 0, 150)
    assert line(house, bob).free == 5


def test_a_refusal_reserves_nothing_under_any_limit(house: House) -> None:
    scope = house.tenant("ada")
    limit(house, scope, 1000, Window.HOUR)
    limit(house, scope, 100, Window.MONTH)
    with pytest.raises(QuotaExceeded) as refusal:
        reserve(house, scope, 500)
    assert (refusal.value.window, refusal.value.free, refusal.value.asked) == ("month", 100, 500)
    with house.database.read() as connection:
        assert [one.reserved for one in quota.read_lines(connection, scope, house.now_us)] == [0, 0]


def test_a_tenant_without_limits_is_not_limited(house: House) -> None:
    scope = house.tenant("ada")
    assert reserve(house, scope, 10**12) == []
    limit(house, scope, 10)
    limit(house, scope, 20)
    limit(house, scope, None)
    assert reserve(house, scope, 10**12) == []


def test_a_quota_of_zero_refuses_at_once(house: House) -> None:
    scope = house.tenant("ada")
    limit(house, scope, 0)
    with pytest.raises(QuotaExceeded) as refusal:
        reserve(house, scope, 1)
    assert refusal.value.retry_at_us is None


def test_a_reservation_settles_into_the_window_it_was_made_in(house: House) -> None:
    scope = house.tenant("ada")
    limit(house, scope, 1000)
    tomorrow_us = interval(Window.DAY, house.now_us).end_us
    reservation = json.loads(json.dumps(reserve(house, scope, 700)))  # as it comes back from the job's row
    assert line(house, scope, tomorrow_us).free == 1000
    reserve(house, scope, 1000, tomorrow_us)
    settle(house, scope, reservation, {SHOTS: 700})
    assert (line(house, scope).reserved, line(house, scope).spent) == (0, 700)
    assert (line(house, scope, tomorrow_us).reserved, line(house, scope, tomorrow_us).spent) == (1000, 0)


def test_more_than_was_reserved_cannot_be_used(house: House) -> None:
    scope = house.tenant("ada")
    limit(house, scope, 1000)
    reservation = reserve(house, scope, 10)
    with pytest.raises(ValueError, match="11 of 10"):
        settle(house, scope, reservation, {SHOTS: 11})
    assert line(house, scope).reserved == 10


def test_a_tenant_cannot_release_what_another_reserved(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    limit(house, ada, 1000)
    reservation = reserve(house, ada, 10)
    with house.database.write() as connection, pytest.raises(ForeignTenant):
        quota.release(connection, bob, ada.tenant_id, reservation)
    assert line(house, ada).reserved == 10


def test_concurrent_submissions_and_settlements_never_exceed_the_limit(
    house: House, together: Callable[..., list[object]]
) -> None:
    """P10."""
    scope = house.tenant("ada")
    limit(house, scope, 1000)
    limit(house, scope, 10_000, Window.MONTH)

    def submit() -> list[quota.Reservation]:
        got: list[quota.Reservation] = []
        for turn in range(6):
            try:
                got.append(reserve(house, scope, 70))
            except QuotaExceeded:
                continue
            if turn == 0:
                settle(house, scope, got.pop(), {SHOTS: 30})
        return got

    results = together([submit] * 8)
    held = [reservation for result in results for reservation in result]  # type: ignore[attr-defined]
    with house.database.read() as connection:
        day, month = quota.read_lines(connection, scope, house.now_us)
    assert day.reserved == month.reserved == 70 * len(held)
    assert day.spent == month.spent
    assert 0 <= day.free < 70  # never too much, and nothing was refused that would have fitted at the end


def test_many_settlements_in_one_transaction_add_up(house: House, together: Callable[..., list[object]]) -> None:
    scopes = [house.tenant(name) for name in ("ada", "bob", "eve", "joe")]
    for scope in scopes:
        limit(house, scope, 1000)
    held = [(scope, reserve(house, scope, 10)) for scope in scopes for _ in range(40)]

    def settle_turns(order: list[TenantScope], first: int) -> None:
        for turn in range(first, 40, 4):
            part = [[one for one in held if one[0] == scope][turn] for scope in order]
            settlements = [quota.Settlement(scope.tenant_id, reservation, {SHOTS: 7}) for scope, reservation in part]
            with house.database.write() as connection:
                quota.settle_many(connection, house.system, settlements)

    # the same tenants in opposite orders must not lock each other out
    work = [lambda first=first: settle_turns(scopes[:: (-1) ** first], first) for first in range(4)]
    assert together(work) == [None] * 4
    assert [(line(house, scope).reserved, line(house, scope).spent) for scope in scopes] == [(0, 280)] * 4
