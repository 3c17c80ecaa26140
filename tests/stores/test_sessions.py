"""Sessions in the database: open ones are found and changed under their lock, closed ones are facts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import IntegrityError

from qpu_backend.domain import ledger
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.reconciliation import Difference
from qpu_backend.domain.sessions import Term
from qpu_backend.stores import money, quota, reconciliation, sessions
from qpu_backend.stores.errors import ForeignTenant, InvalidCursor

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpu_backend.domain.tenancy import TenantScope
    from tests.stores.conftest import House


def stored(house: House, scope: TenantScope, session_id: str) -> sessions.SessionRow:
    with house.database.read() as connection:
        row = sessions.get_session(connection, scope, session_id)
    assert row is not None
    return row


def close(house: House, session_id: str, *, at_us: int = 1, price: int = 0) -> bool:
    with house.database.write() as connection:
        return sessions.close_session(connection, house.system, session_id, closed_at_us=at_us, price_micro=price)


def test_a_session_comes_back_as_it_was_opened_and_holds_nothing_yet(house: House) -> None:
    ada = house.tenant("ada")
    row = stored(house, ada, house.session(ada, qubits=12))
    assert (row.qubits, row.held_cost, row.region, row.lane, row.weight) == (12, 0, None, None, None)
    assert row.term == Term(300, house.now_us + 300, house.now_us + 1000)


def test_a_session_is_stored_once(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    session_id = house.session(ada)
    new = house.new_session(ada, id=session_id, ends_at_us=1)
    with house.database.write() as connection:
        assert not sessions.insert_session(connection, ada, new)
        with pytest.raises(ForeignTenant):
            sessions.insert_session(connection, bob, new)
    assert stored(house, ada, session_id).ends_at_us == house.now_us + 1000


def test_lists_are_newest_first_page_by_page(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    ids = [house.session(ada, opened_at_us=opened) for opened in (10, 20, 20, 30)]
    foreign = house.session(bob)
    close(house, ids[3])
    with house.database.read() as connection:
        first, cursor = sessions.list_sessions(connection, ada, limit=3)
        rest, end = sessions.list_sessions(connection, ada, cursor=cursor, limit=3)
        opened, _ = sessions.list_sessions(connection, ada, open_only=True)
        with pytest.raises(InvalidCursor):
            sessions.list_sessions(connection, ada, cursor=foreign)
    assert [row.id for row in (*first, *rest)] == ids[::-1]
    assert end is None
    assert [row.id for row in opened] == ids[2::-1]


def test_the_dispatcher_sees_open_sessions_of_its_device(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    ids = [house.session(ada), house.session(bob), house.session(ada)]
    close(house, ids[2])
    with house.database.write() as connection:
        assert [row.id for row in sessions.open_sessions(connection, house.system, "eagle127")] == sorted(ids[:2])
        assert sessions.open_sessions(connection, house.system, "heron156") == []
        assert sorted(sessions.lock_open(connection, house.system, ids)) == sorted(ids[:2])
        assert sessions.lock_open(connection, house.system, []) == {}


def test_jobs_of_a_session_are_counted_until_they_have_ended(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    session_id, other = house.session(ada), house.session(ada)
    ran, _, _ = (house.job(ada, session_id=session_id) for _ in range(3))
    house.job(ada, session_id=other)
    house.job(ada)
    house.batch(ran)

    def counted() -> tuple[int, dict[str, int]]:
        with house.database.read() as connection:
            row = sessions.get_session(connection, ada, session_id)
            assert row is not None
            assert sessions.unfinished_by_session(connection, bob) == {}
            return (
                sessions.unfinished_jobs(connection, house.system, row),
                sessions.unfinished_by_session(connection, ada),
            )

    assert counted() == (3, {session_id: 3, other: 1})
    house.finish(ran)
    assert counted() == (2, {session_id: 2, other: 1})


def test_a_job_cannot_be_part_of_another_tenants_session(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    with pytest.raises(IntegrityError):
        house.job(bob, session_id=house.session(ada))


@pytest.mark.parametrize("ttl_us", [0, 300, 900])
def test_the_end_of_a_job_prolongs_as_the_rules_say(house: House, ttl_us: int) -> None:
    ada = house.tenant("ada")
    session_id, closed = house.session(ada, ttl_us=ttl_us), house.session(ada)
    close(house, closed)
    before = stored(house, ada, session_id)
    for later_us in (10, 400, 2000):
        now_us = house.now_us + later_us
        with house.database.write() as connection:
            sessions.prolong(connection, house.system, {session_id, closed}, now_us=now_us)
            sessions.prolong(connection, house.system, set(), now_us=now_us)
        assert stored(house, ada, session_id).term == before.term.prolonged(now_us)
    assert stored(house, ada, closed).expires_at_us == house.now_us + 300


def test_what_a_session_holds_and_has_held_is_kept_until_it_is_closed_and_never_changes_then(house: House) -> None:
    ada = house.tenant("ada")
    session_id, other = house.session(ada), house.session(ada)
    with house.database.write() as connection:
        sessions.set_lane(connection, ada, session_id, "interactive", 400)
        sessions.hold_region(connection, house.system, session_id, (5, 4, 3))
        sessions.add_held_cost(connection, house.system, {session_id: 2**40, other: 1})
        sessions.add_held_cost(connection, house.system, {session_id: 2**40})
        sessions.add_held_cost(connection, house.system, {})
    row = stored(house, ada, session_id)
    assert (row.region, row.lane, row.weight, row.held_cost) == ([5, 4, 3], "interactive", 400, 2**41)
    assert stored(house, ada, other).held_cost == 1
    assert close(house, session_id, at_us=7, price=70)
    with house.database.write() as connection:
        sessions.add_held_cost(connection, house.system, {session_id: 1})
        sessions.hold_region(connection, house.system, session_id, (1,))
        sessions.set_term(connection, ada, session_id, Term(1, 1, 1))
        sessions.set_lane(connection, ada, session_id, "batch", 25)
    assert not close(house, session_id, at_us=8, price=80)
    assert stored(house, ada, session_id) == replace(row, closed_at_us=7, price_micro=70)


def test_totals_are_of_the_tenants_own_closed_sessions(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    for scope, at_us, cost in ((ada, 10, 3), (ada, 20, 4), (bob, 20, 5), (ada, None, 6)):
        session_id = house.session(scope)
        with house.database.write() as connection:
            sessions.add_held_cost(connection, house.system, {session_id: cost})
        if at_us is not None:
            close(house, session_id, at_us=at_us, price=10 * cost)
    with house.database.read() as connection:
        assert sessions.session_totals(connection, ada, since_us=0) == sessions.SessionTotals(2, 7, 70)
        assert sessions.session_totals(connection, ada, since_us=11) == sessions.SessionTotals(1, 4, 40)


def test_concurrent_openings_of_a_tenant_see_each_other(
    house: House, together: Callable[[list[Callable[[], Any]]], list[Any]]
) -> None:
    ada = house.tenant("ada")

    def open_if_there_is_room() -> bool:
        with house.database.write() as connection:
            held = sessions.lock_held_qubits(connection, ada, "eagle127")
            if sum(held) + 9 > 20:
                return False
            return sessions.insert_session(connection, ada, house.new_session(ada))

    assert sorted(together([open_if_there_is_room] * 6)) == [False] * 4 + [True] * 2


# --- money ---------------------------------------------------------------------------------------------------------


def test_reconciliation_finds_a_session_that_was_charged_wrongly_or_before_it_ended(house: House) -> None:
    ada = house.tenant("ada")
    right, free, uncharged, wrong, early = (house.session(ada) for _ in range(5))
    for session_id, price in ((right, 100), (free, 0), (uncharged, 100), (wrong, 100)):
        close(house, session_id, price=price)
    charges = [ledger.charge(each, ada.tenant_id, price) for each, price in ((right, 100), (wrong, 99), (early, 1))]
    with house.database.write() as connection:
        money.insert_postings(connection, house.system, charges, posted_at_us=1)
        found = list(reconciliation.findings(connection, house.system))
    misposted = {one.subject: (one.expected, one.found) for one in found if one.kind is Difference.MISPOSTED_SESSION}
    assert misposted == {uncharged: (100, 0), wrong: (100, 99), early: (0, 1)}


def test_what_was_not_reserved_is_spent_beyond_the_limit_and_nothing_is_free_then(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    money_of = (Resource.SPEND_MICRO, house.now_us)
    with house.database.write() as connection:
        for window, amount in ((Window.DAY, 100), (Window.MONTH, 1000)):
            quota.set_limit(
                connection,
                house.system,
                tenant_id=ada.tenant_id,
                resource=Resource.SPEND_MICRO,
                window=window,
                amount=amount,
            )
        quota.set_limit(
            connection,
            house.system,
            tenant_id=ada.tenant_id,
            resource=Resource.SHOTS,
            window=Window.DAY,
            amount=5,
        )
        quota.reserve(connection, ada, {Resource.SPEND_MICRO: 30}, house.now_us)
        assert quota.least_free(connection, house.system, ada.tenant_id, *money_of) == 70
        assert quota.least_free(connection, house.system, bob.tenant_id, *money_of) is None
        for amount in (50, 0, 60):
            quota.spend(connection, house.system, ada.tenant_id, Resource.SPEND_MICRO, amount, house.now_us)
        quota.spend(connection, house.system, bob.tenant_id, Resource.SPEND_MICRO, 7, house.now_us)
        assert quota.least_free(connection, house.system, ada.tenant_id, *money_of) == -40
        lines = {(line.resource, line.window): line for line in quota.read_lines(connection, ada, house.now_us)}
    day, month = lines[Resource.SPEND_MICRO, Window.DAY], lines[Resource.SPEND_MICRO, Window.MONTH]
    assert (day.reserved, day.spent) == (month.reserved, month.spent) == (30, 110)
    assert lines[Resource.SHOTS, Window.DAY].free == 5
