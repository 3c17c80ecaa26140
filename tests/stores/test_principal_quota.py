"""Quotas of principals beside that of their tenant: reserved under both or under none, never exceeded together."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from qpu_backend.domain.errors import QuotaExceeded
from qpu_backend.domain.quota import Line, Resource, Window, interval
from qpu_backend.domain.tenancy import Role, TenantScope
from qpu_backend.stores import access, quota

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.stores.conftest import House

SHOTS, SPEND = Resource.SHOTS, Resource.SPEND_MICRO


def student(house: House, scope: TenantScope, name: str) -> TenantScope:
    """Another principal of the tenant."""
    with house.database.write() as connection:
        row = access.create_principal(
            connection, house.system, tenant_id=scope.tenant_id, name=name, role=Role.MEMBER, now_us=house.now_us
        )
    return replace(scope, principal_id=row.id)


def limit(house: House, scope: TenantScope, amount: int | None, *, own: bool = False, **changes: Any) -> None:
    key: dict[str, Any] = {"resource": SHOTS, "window": Window.DAY, "amount": amount}
    key["principal_id"] = scope.principal_id if own else ""
    with house.database.write() as connection:
        quota.set_limit(connection, house.system, tenant_id=scope.tenant_id, **(key | changes))


def reserve(house: House, scope: TenantScope, shots: int, now_us: int | None = None) -> quota.Reservation:
    with house.database.write() as connection:
        return quota.reserve(connection, scope, {SHOTS: shots}, now_us or house.now_us)


def settle(house: House, scope: TenantScope, reservation: quota.Reservation, used: int) -> None:
    with house.database.write() as connection:
        quota.settle(connection, house.system, scope.tenant_id, reservation, {SHOTS: used})


def lines(house: House, scope: TenantScope, now_us: int | None = None) -> list[Line]:
    with house.database.read() as connection:
        return quota.read_lines(connection, scope, now_us or house.now_us)


def test_a_job_reserves_under_both_and_settles_under_both(house: House) -> None:
    ada = house.tenant("school")
    bob = student(house, ada, "bob")
    limit(house, ada, 1000)
    limit(house, ada, 300, own=True)
    reservation = reserve(house, ada, 200)
    start_us = interval(Window.DAY, house.now_us).start_us
    assert reservation == [["shots", "day", start_us, 200], ["shots", "day", start_us, 200, ada.principal_id]]
    assert [(one.principal_id, one.free, one.reserved) for one in lines(house, ada)] == [
        ("", 800, 200),
        (ada.principal_id, 100, 200),
    ]
    assert [(one.principal_id, one.free) for one in lines(house, bob)] == [("", 800)]
    settle(house, ada, reservation, 150)
    assert [(one.free, one.reserved, one.spent) for one in lines(house, ada)] == [(850, 0, 150), (150, 0, 150)]


def test_a_refusal_under_one_reserves_under_none(house: House) -> None:
    ada = house.tenant("school")
    bob = student(house, ada, "bob")
    limit(house, ada, 1000)
    limit(house, ada, 300, own=True)
    with pytest.raises(QuotaExceeded, match="your own 300") as refusal:
        reserve(house, ada, 301)
    assert refusal.value.principal
    reserve(house, bob, 900)
    with pytest.raises(QuotaExceeded, match="100 of 1000") as refusal:
        reserve(house, ada, 200)
    assert not refusal.value.principal
    assert [one.reserved for one in lines(house, ada)] == [900, 0]


def test_a_reservation_from_before_principals_had_quotas_settles_still(house: House) -> None:
    ada = house.tenant("school")
    limit(house, ada, 1000)
    reservation = reserve(house, ada, 200)
    assert [len(one) for one in reservation] == [4]
    limit(house, ada, 300, own=True)
    settle(house, ada, reservation, 200)
    assert [(one.reserved, one.spent) for one in lines(house, ada)] == [(0, 200), (0, 0)]


def test_setting_and_lifting_a_principals_limit_leaves_the_tenants_alone(house: House) -> None:
    ada = house.tenant("school")
    limit(house, ada, 1000)
    limit(house, ada, 300, own=True)
    limit(house, ada, 200, own=True, burst=50)
    assert [(one.amount, one.burst) for one in lines(house, ada)] == [(1000, 0), (200, 50)]
    limit(house, ada, None, own=True)
    assert [one.limit for one in lines(house, ada)] == [1000]
    limit(house, ada, 1)
    limit(house, ada, 7, own=True)
    limit(house, ada, None)
    assert [(one.principal_id, one.limit) for one in lines(house, ada)] == [(ada.principal_id, 7)]
    with house.database.read() as connection:
        assert quota.lines_of(connection, house.system, ada.tenant_id, house.now_us) == lines(house, ada)


def test_what_a_day_left_is_there_the_day_after_and_no_longer(house: House) -> None:
    ada = house.tenant("school")
    limit(house, ada, 100, own=True, burst=60)
    today_us = house.now_us
    days = [interval(Window.DAY, today_us).start_us + n * 86_400_000_000 for n in range(4)]
    first = reserve(house, ada, 130, days[0])  # the day before nobody used anything: 160 are there
    (one,) = lines(house, ada, days[0])
    assert (one.limit, one.carried, one.free) == (160, 60, 30)
    (one,) = lines(house, ada, days[1])
    assert (one.limit, one.carried) == (100, 0)
    settle(house, ada, first, 70)  # it ends when its day is over, and frees what it had reserved
    (one,) = lines(house, ada, days[1])
    assert (one.limit, one.carried, one.free) == (130, 30, 130)
    with pytest.raises(QuotaExceeded, match="130 of your own 130") as refusal:
        reserve(house, ada, 131, days[1])
    assert refusal.value.retry_at_us == days[2]
    (one,) = lines(house, ada, days[3])
    assert (one.limit, one.carried) == (160, 60)
    assert one.free + one.reserved + one.spent == one.limit


def test_who_comes_after_the_next_day_has_begun_reserves_in_it_where_something_was_carried(house: House) -> None:
    """Its clock was read before midnight, and somebody of the day after had the lock before it."""
    ada = house.tenant("school")
    limit(house, ada, 100, burst=50)
    limit(house, ada, 100, own=True)
    days = [interval(Window.DAY, house.now_us).start_us + n * 86_400_000_000 for n in range(3)]
    reserve(house, ada, 50, days[0])
    reserve(house, ada, 50, days[0] + 1)  # nobody has begun the day after
    assert [one.reserved for one in lines(house, ada, days[0])] == [100, 100]
    limit(house, ada, None, own=True)
    limit(house, ada, 200, burst=50)
    reserve(house, ada, 230, days[1])
    late = reserve(house, ada, 20, days[1] - 1)
    assert [start_us for _, _, start_us, *_ in late] == [days[1]]
    with pytest.raises(QuotaExceeded, match="0 of 250 are free"):
        reserve(house, ada, 1, days[1] - 1)
    assert [(one.limit, one.carried, one.reserved) for one in lines(house, ada, days[1])] == [(250, 50, 250)]
    assert [one.reserved for one in lines(house, ada, days[0])] == [100]


def test_a_limit_that_carries_nothing_is_reserved_on_the_day_that_the_clock_said(house: House) -> None:
    ada = house.tenant("school")
    limit(house, ada, 100, burst=50)
    limit(house, ada, 1000, own=True)
    days = [interval(Window.DAY, house.now_us).start_us + n * 86_400_000_000 for n in range(2)]
    reserve(house, ada, 10, days[1])
    assert [(start_us, whose) for _, _, start_us, _, *whose in reserve(house, ada, 10, days[1] - 1)] == [
        (days[1], []),
        (days[0], [ada.principal_id]),
    ]


@pytest.mark.parametrize("window", list(Window))
def test_reservations_in_any_order_of_clocks_never_lower_a_limit_nor_pass_it(house: House, window: Window) -> None:
    ada, draw = house.tenant("school"), Random(7)  # noqa: S311
    limit(house, ada, 100, window=window, burst=60)
    starts = [interval(window, house.now_us).start_us]
    while len(starts) < 4:
        starts.append(interval(window, starts[-1]).end_us)
    seen: dict[int, int] = {}
    for _ in range(60):
        newest = len(seen) and max(starts.index(start_us) for start_us in seen)
        with suppress(QuotaExceeded):
            ((_, _, start_us, _),) = reserve(house, ada, draw.randint(1, 60), draw.choice(starts[: newest + 2]))
            seen.setdefault(start_us, 0)
        for start_us, limit_before in seen.items():
            (one,) = lines(house, ada, start_us)
            assert one.limit >= limit_before
            assert one.free >= 0
            seen[start_us] = one.limit
    assert len(seen) == len(starts)


def test_what_was_not_reserved_is_spent_under_both(house: House) -> None:
    ada = house.tenant("school")
    bob = student(house, ada, "bob")
    limit(house, ada, 1000, resource=SPEND)
    limit(house, ada, 100, own=True, resource=SPEND)
    limit(house, bob, 50, own=True, resource=SPEND)

    def free(principal_id: str) -> int | None:
        with house.database.read() as connection:
            return quota.least_free(connection, house.system, ada.tenant_id, SPEND, house.now_us, principal_id)

    with house.database.write() as connection:
        quota.spend(connection, house.system, ada.tenant_id, SPEND, 150, house.now_us, ada.principal_id)
        quota.spend(connection, house.system, ada.tenant_id, SPEND, 5, house.now_us)
    assert [free(""), free(ada.principal_id), free(bob.principal_id)] == [845, -50, 50]
    assert free("prn_without_a_limit") is None


def test_many_principals_at_once_never_exceed_what_they_may_together_nor_alone(
    house: House, together: Callable[..., list[object]]
) -> None:
    ada = house.tenant("school")
    everybody = [ada, *(student(house, ada, f"student-{number}") for number in range(7))]
    limit(house, ada, 1000)
    for one in everybody:
        limit(house, one, 200, own=True)

    def submit(scope: TenantScope) -> list[quota.Reservation]:
        held: list[quota.Reservation] = []
        for turn in range(5):
            try:
                held.append(reserve(house, scope, 70))
            except QuotaExceeded:
                pass
            else:
                if turn == 1:
                    settle(house, scope, held.pop(), 20)
            for one in lines(house, scope):
                assert one.free + one.reserved + one.spent == one.limit
                assert one.free >= 0
        return held

    results = together([lambda scope=scope: submit(scope) for scope in everybody])
    assert [one for one in results if isinstance(one, Exception)] == []
    held = {scope.principal_id: len(result) for scope, result in zip(everybody, results, strict=True)}  # type: ignore[arg-type]
    with house.database.read() as connection:
        whole, *own = quota.lines_of(connection, house.system, ada.tenant_id, house.now_us)
    assert whole.reserved == 70 * sum(held.values())
    assert {one.principal_id: one.reserved for one in own} == {owner: 70 * number for owner, number in held.items()}
    assert whole.spent == sum(one.spent for one in own)
    assert 0 <= whole.free < 200


def test_a_limit_that_many_set_for_the_first_time_at_once_is_set_once(
    house: House, together: Callable[..., list[object]]
) -> None:
    ada = house.tenant("ada")
    for _ in range(5):
        amounts = [10, 20, 30, 40]
        assert together([lambda amount=amount: limit(house, ada, amount) for amount in amounts]) == [None] * 4
        [line] = lines(house, ada)
        assert line.limit in amounts
        together([lambda: limit(house, ada, None), lambda: limit(house, ada, None)])
        assert lines(house, ada) == []


def test_a_limit_that_is_lifted_while_it_is_set_is_one_or_the_other(
    house: House, together: Callable[..., list[object]]
) -> None:
    ada = house.tenant("ada")
    for _ in range(5):
        limit(house, ada, 10)
        assert together([lambda: limit(house, ada, None), lambda: limit(house, ada, 20)]) == [None] * 2
        assert [line.limit for line in lines(house, ada)] in ([], [20])
