"""Policies and rates in the database, and the front of the queue where running jobs are limited."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from qpu_backend.domain.errors import QueueFull
from qpu_backend.domain.policies import NOT_LIMITED, Policies, Policy
from qpu_backend.domain.rates import Rate, RateLimited, admit_all
from qpu_backend.domain.tenancy import Role, TenantScope
from qpu_backend.stores import access, bookings, jobs, occupancy, policies, rates
from qpu_backend.stores.queue import LimitedView, limited_view

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

    from tests.stores.conftest import House

MINUTE_US = 60_000_000
FULL = Policy(9, 8, 7, 6, 5, 4, ("fast", "standard"), ("shared",), ())


def colleague(house: House, scope: TenantScope, name: str = "bob") -> TenantScope:
    with house.database.write() as connection:
        row = access.create_principal(
            connection, house.system, tenant_id=scope.tenant_id, name=name, role=Role.MEMBER, now_us=house.now_us
        )
    return replace(scope, principal_id=row.id)


def write(house: House, scope: TenantScope, policy: Policy, *, own: bool = False) -> None:
    principal_id = scope.principal_id if own else ""
    with house.database.write() as connection:
        policies.write_policy(connection, house.system, scope.tenant_id, policy, principal_id)


def standing(house: House, scope: TenantScope) -> policies.Standing:
    with house.database.read() as connection:
        return policies.read_standing(connection, scope)


# --- policies ------------------------------------------------------------------------------------------------------


def test_a_policy_is_read_as_it_was_written_by_those_it_applies_to(house: House) -> None:
    ada, eve = house.tenant("ada"), house.tenant("eve")
    bob = colleague(house, ada)
    assert standing(house, ada) == policies.Standing(_tenant(house, ada), Policies(), {})
    write(house, ada, FULL)
    write(house, bob, Policy(max_circuits=1, lanes=()), own=True)
    assert standing(house, ada).policies == Policies(FULL, NOT_LIMITED)
    assert standing(house, bob).policies == Policies(FULL, Policy(max_circuits=1, lanes=()))
    assert standing(house, eve).policies.tenant is NOT_LIMITED
    with house.database.read() as connection:
        found = policies.read_policies(connection, house.system, ada.tenant_id)
    assert found == {"": FULL, bob.principal_id: Policy(max_circuits=1, lanes=())}


def test_a_policy_that_limits_nothing_leaves_no_row(house: House) -> None:
    ada = house.tenant("ada")
    write(house, ada, FULL)
    write(house, ada, replace(FULL, lanes=None))
    assert standing(house, ada).policies.tenant == replace(FULL, lanes=None)
    write(house, ada, NOT_LIMITED)
    with house.database.write() as connection:
        assert policies.read_policies(connection, house.system, ada.tenant_id) == {}
        assert policies.lock_policy(connection, house.system, ada.tenant_id) == NOT_LIMITED


def test_changes_of_two_fields_at_the_same_time_are_both_kept_where_there_was_no_policy(
    house: House, together: Callable[..., list[object]]
) -> None:
    ada = house.tenant("ada")
    fields = {"max_circuits": 7, "max_running_jobs": 6, "burst": 5, "max_body_bytes": 4}

    def change(name: str, value: int | None) -> None:
        with house.database.write() as connection:
            before = policies.lock_policy(connection, house.system, ada.tenant_id)
            policies.write_policy(connection, house.system, ada.tenant_id, before.with_field(name, value))

    for _ in range(3):
        sets = [lambda name=name, value=value: change(name, value) for name, value in fields.items()]
        assert together(sets) == [None] * 4
        assert standing(house, ada).policies.tenant == Policy(**fields)
        lifts = [lambda name=name: change(name, None) for name in [*fields][1:]]
        assert together([*lifts, lambda: change("submissions_per_minute", 3)]) == [None] * 4
        assert standing(house, ada).policies.tenant == Policy(max_circuits=7, submissions_per_minute=3)
        write(house, ada, NOT_LIMITED)


def test_a_policy_that_is_set_while_another_is_lifted_is_kept(
    house: House, together: Callable[..., list[object]]
) -> None:
    ada = house.tenant("ada")

    def change(name: str, value: int | None) -> None:
        with house.database.write() as connection:
            before = policies.lock_policy(connection, house.system, ada.tenant_id)
            policies.write_policy(connection, house.system, ada.tenant_id, before.with_field(name, value))

    for _ in range(5):
        write(house, ada, Policy(burst=1))
        together(
            [lambda: change("burst", None), lambda: change("max_circuits", 2), lambda: change("max_running_jobs", 3)]
        )
        assert standing(house, ada).policies.tenant == Policy(max_circuits=2, max_running_jobs=3)


def _tenant(house: House, scope: TenantScope) -> access.TenantRow:
    with house.database.read() as connection:
        return access.read_tenant(connection, scope)


# --- rates ---------------------------------------------------------------------------------------------------------


def submit(house: House, scope: TenantScope, limits: Mapping[str, Rate], now_us: int) -> bool:
    try:
        with house.database.write() as connection:
            count(connection, scope, limits, now_us)
    except RateLimited:
        return False
    return True


def count(connection: Connection, scope: TenantScope, limits: Mapping[str, Rate], now_us: int) -> None:
    limited = {whose: (scope.tenant_id, whose) for whose in limits}
    arrivals = rates.lock_arrivals(connection, [scope], limited.values())
    moved = admit_all(limits, {whose: arrivals[key] for whose, key in limited.items()}, now_us)
    rates.move_arrivals(connection, [scope], {limited[whose]: at_us for whose, at_us in moved.items()})


def test_submissions_are_counted_for_the_tenant_and_for_each_principal(house: House) -> None:
    ada = house.tenant("ada")
    bob = colleague(house, ada)
    whole = {"": Rate(60, 3)}
    own = whole | {ada.principal_id: Rate(60, 2, principal=True)}
    assert [submit(house, ada, own, house.now_us) for _ in range(4)] == [True, True, False, False]
    assert [submit(house, bob, whole, house.now_us) for _ in range(2)] == [True, False]
    now_us = house.now_us + 1_000_000  # one more for both, and the tenant has only one
    assert [submit(house, ada, own, now_us), submit(house, bob, whole, now_us)] == [True, False]
    assert standing(house, ada).arrivals == {
        "": house.now_us + 4_000_000,
        ada.principal_id: house.now_us + 3_000_000,
    }


def test_a_transaction_that_is_undone_has_counted_nothing(house: House) -> None:
    ada = house.tenant("ada")
    limits = {"": Rate(60, 1)}

    def refused_later() -> None:
        with house.database.write() as connection:
            count(connection, ada, limits, house.now_us)
            raise QueueFull(limit=1, queued=1)

    with pytest.raises(QueueFull):
        refused_later()
    assert standing(house, ada).arrivals == {}
    assert submit(house, ada, limits, house.now_us)
    before = standing(house, ada).arrivals
    assert not submit(house, ada, limits, house.now_us)
    assert standing(house, ada).arrivals == before


def test_of_concurrent_submissions_exactly_a_burst_is_admitted(
    house: House, together: Callable[..., list[object]]
) -> None:
    ada = house.tenant("ada")
    everybody = [ada, *(colleague(house, ada, f"student-{number}") for number in range(5))]

    def flood(scope: TenantScope) -> int:
        limits = {"": Rate(60, 10), scope.principal_id: Rate(60, 3, principal=True)}
        return sum(submit(house, scope, limits, house.now_us) for _ in range(6))

    admitted = together([lambda scope=scope: flood(scope) for scope in everybody])
    assert sum(admitted) == 10  # type: ignore[arg-type]
    assert max(admitted) <= 3  # type: ignore[type-var]


# --- running jobs --------------------------------------------------------------------------------------------------


def look(house: House, *, window: int = 64, per_tenant: int = 40, owner: TenantScope | None = None) -> LimitedView:
    with house.database.read() as connection:
        promised = jobs.promised_jobs(connection, house.system, house.device_id)
        owners = (
            []
            if owner is None
            else bookings.front_of_tenant(connection, house.system, house.device_id, owner.tenant_id, limit=per_tenant)
        )
        return limited_view(
            connection,
            house.system,
            house.device_id,
            per_tenant=per_tenant,
            window=window,
            kept=promised,
            owners=owners,
        )


def seen(view: LimitedView) -> list[int]:
    return [job.start_tag for job in view.jobs]


def test_without_limits_the_view_is_the_usual_one(house: House) -> None:
    ada, eve = house.tenant("ada"), house.tenant("eve")
    for tag in range(30):
        house.job((ada, ada, eve)[tag % 3], start_tag=tag)
    with house.database.read() as connection:
        assert not occupancy.read_occupancy(connection, house.system, house.device_id).limited
        for per_tenant, window in ((40, 64), (3, 64), (40, 7), (2, 3)):
            usual = jobs.queue_view(connection, house.system, house.device_id, per_tenant=per_tenant, window=window)
            assert look(house, per_tenant=per_tenant, window=window) == LimitedView(usual, None)


def test_jobs_of_a_tenant_beyond_its_limit_are_left_out_and_the_first_of_them_is_told(house: House) -> None:
    ada, eve = house.tenant("ada"), house.tenant("eve")
    write(house, ada, Policy(max_running_jobs=2))
    with house.database.read() as connection:
        assert occupancy.read_occupancy(connection, house.system, house.device_id).limited
    ids = [house.job(ada, start_tag=tag) for tag in range(10)]
    house.job(eve, start_tag=20)
    assert (seen(look(house)), look(house).unseen_tag) == ([0, 1, 20], 2)
    house.batch(ids[0])
    assert (seen(look(house)), look(house).unseen_tag) == ([1, 20], 2)
    house.batch(ids[1])
    assert (seen(look(house)), look(house).unseen_tag) == ([20], 2)
    house.finish(ids[0])
    assert (seen(look(house)), look(house).unseen_tag) == ([2, 20], 3)
    write(house, ada, NOT_LIMITED)
    assert (seen(look(house)), look(house).unseen_tag) == ([*range(2, 10), 20], None)


def test_a_principal_at_its_limit_holds_back_none_of_the_others(house: House) -> None:
    ada = house.tenant("ada")
    bob = colleague(house, ada)
    write(house, bob, Policy(max_running_jobs=1), own=True)
    write(house, ada, Policy(max_running_jobs=3))
    for tag in range(4):
        house.job(bob, start_tag=tag)
    for tag in range(4, 9):
        house.job(ada, start_tag=tag)
    assert (seen(look(house)), look(house).unseen_tag) == ([0, 4, 5], 1)


def test_a_flood_of_those_who_may_not_run_does_not_hide_the_others(house: House) -> None:
    ada, eve = house.tenant("ada"), house.tenant("eve")
    write(house, ada, Policy(max_running_jobs=0))
    for tag in range(25):
        house.job(ada, start_tag=tag)
    for tag in range(25, 30):
        house.job(eve, start_tag=tag)
    assert (seen(look(house, window=4)), look(house, window=4).unseen_tag) == ([25, 26, 27, 28], 0)


def test_a_principals_flood_hides_none_of_its_colleagues_jobs(house: House) -> None:
    ada = house.tenant("ada")
    bob = colleague(house, ada)
    write(house, bob, Policy(max_running_jobs=1), own=True)
    for tag in range(20):
        house.job(bob, start_tag=tag)
    for tag in range(20, 24):
        house.job(ada, start_tag=tag)
    assert (seen(look(house, window=4)), look(house, window=4).unseen_tag) == ([0, 20, 21, 22], 1)


def test_a_promised_start_is_kept_and_counts(house: House) -> None:
    ada = house.tenant("ada")
    write(house, ada, Policy(max_running_jobs=2))
    for tag in range(3):
        house.job(ada, start_tag=tag)
    house.job(ada, start_tag=7, start_by_us=10**6)
    assert (seen(look(house)), look(house).unseen_tag) == ([0, 7], 1)
    house.job(ada, start_tag=8, start_by_us=10**6)
    house.job(ada, start_tag=9, start_by_us=10**6)
    assert (seen(look(house)), look(house).unseen_tag) == ([7, 8, 9], 0)


def test_in_its_booked_window_a_tenant_has_no_more_jobs_run_than_else(house: House) -> None:
    ada, eve = house.tenant("ada"), house.tenant("eve")
    write(house, ada, Policy(max_running_jobs=2))
    for tag in range(3):
        house.job(eve, start_tag=tag)
    for tag in range(10, 15):
        house.job(ada, start_tag=tag)
    assert (seen(look(house, window=2)), look(house, window=2).unseen_tag) == ([0, 1], None)
    found = look(house, window=2, owner=ada)
    assert (seen(found), found.unseen_tag) == ([0, 1, 10, 11], 12)


def test_a_waiting_job_can_be_told_whose_limit_it_waits_for(house: House) -> None:
    ada = house.tenant("ada")
    bob = colleague(house, ada)
    write(house, bob, Policy(max_running_jobs=1), own=True)
    write(house, ada, Policy(max_running_jobs=3))
    house.batch(house.job(bob), house.job(ada))
    with house.database.read() as connection:
        found = policies.running_limits(connection, ada, bob.principal_id)
        assert found == {"": (3, 2), bob.principal_id: (1, 1)}
        assert policies.running_limits(connection, ada, ada.principal_id) == {"": (3, 2)}
