"""Keys that came of keys: who revokes one ends what was made from it, and nobody makes them faster than they may."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DatabaseError

from qpu_backend.domain.principals import KeyEnded, KeyReplaced, LockOut
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.rates import Rate, RateLimited
from qpu_backend.domain.tenancy import Role
from qpu_backend.pipeline.administration import Administration
from qpu_backend.pipeline.clocks import HandDrivenClock
from qpu_backend.pipeline.keepers import own_keeper
from qpu_backend.pipeline.keys import Keys
from qpu_backend.pipeline.limiting import NewLimits, NewQuota
from qpu_backend.pipeline.principals import Principals
from qpu_backend.stores import access, keys, policies, quota
from qpu_backend.stores.schema_access import api_keys, audit_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.pipeline.keepers import Keeper
    from tests.stores.conftest import House

SLOW = Rate(6, 3, principal=True, keys=True)
"""Three at once, then one in ten seconds."""


class Desk:
    """A tenant's keys and who keeps them."""

    def __init__(self, house: House, role: Role = Role.MEMBER, rate: Rate | None = None) -> None:
        ada = house.tenant("ada")
        self.house = house
        self.clock = HandDrivenClock()
        self.ada: TenantScope = type(ada)(ada.tenant_id, ada.principal_id, role)
        self.clerk = Principals(house.database, house.system, self.clock)
        self.by_cli = self.clerk.keeper("ada", actor="cli")
        self.clerk.change(self.by_cli, ada.principal_id, role=role)
        self.keys = Keys(house.database, house.system, b"pepper", self.clock, rate=rate)

    @property
    def herself(self) -> Keeper:
        return own_keeper(self.ada)

    def key(self) -> str:
        return self.keys.create(self.by_cli, self.ada.principal_id)[0].id

    def rotated(self, key_id: str, grace_us: int = 1_000_000) -> str:
        return self.keys.rotate(self.by_cli, key_id, grace_us=grace_us)[0].id

    def open(self) -> set[str]:
        with self.house.database.read() as connection:
            rows = access.list_keys(connection, self.house.system, self.ada.tenant_id)
        return {row.id for row in rows if not row.ended(self.clock.now_us())}

    def revoked(self) -> list[tuple[str, dict[str, Any]]]:
        """What the audit log says."""
        query = select(audit_log).where(audit_log.c.action == "key.revoked").order_by(audit_log.c.id)
        with self.house.database.read() as connection:
            return [(row.subject, row.facts) for row in connection.execute(query)]


def test_whoever_revokes_a_key_ends_all_that_came_of_it_and_nothing_else(house: House) -> None:
    desk = Desk(house)
    first, apart = desk.key(), desk.key()
    lost = desk.rotated(first)
    desk.keys.revoke(desk.herself, lost)
    second = desk.rotated(first)
    third, of_apart = desk.rotated(second), desk.rotated(apart)
    done = desk.keys.revoke(desk.herself, first)
    assert (done.new, done.successors) == (True, (second, third))
    assert desk.open() == {apart, of_apart}
    assert desk.revoked() == [
        (lost, {"principal": desk.ada.principal_id}),
        (first, {"principal": desk.ada.principal_id}),
        *((one, {"principal": desk.ada.principal_id, "came_of": first}) for one in (second, third)),
    ]
    again = desk.keys.revoke(desk.herself, first)
    assert (again.new, again.successors, again.key) == (False, (), done.key)


def test_a_key_that_ended_by_its_rotation_still_ends_what_came_of_it(house: House) -> None:
    """As its owner finds it when somebody else rotated it."""
    desk = Desk(house)
    stolen = desk.key()
    thiefs = desk.rotated(stolen, grace_us=0)
    assert desk.open() == {thiefs}
    done = desk.keys.revoke(desk.herself, stolen)
    assert (done.new, done.successors, desk.open()) == (False, (thiefs,), set())


def test_a_successor_goes_without_its_forebear_and_a_forebear_alone_where_that_is_asked(house: House) -> None:
    desk = Desk(house)
    first = desk.key()
    second = desk.rotated(first)
    third = desk.rotated(second)
    assert desk.keys.revoke(desk.herself, first, keep_successors=True).successors == ()
    assert desk.open() == {second, third}
    assert desk.keys.revoke(desk.herself, third).successors == ()
    assert desk.open() == {second}


def test_a_ring_of_keys_that_no_rotation_makes_is_walked_once(house: House) -> None:
    desk = Desk(house)
    one, two = desk.key(), desk.key()
    with house.database.write() as connection:
        for key_id, other in ((one, two), (two, one)):
            connection.execute(api_keys.update().where(api_keys.c.id == key_id).values(replaces=other))
    assert desk.keys.revoke(desk.herself, one).successors == (two,)


def test_a_key_is_rotated_once_while_anything_that_came_of_it_is_valid(house: House) -> None:
    desk = Desk(house)
    first = desk.key()
    second = desk.rotated(first)
    third = desk.rotated(second, grace_us=0)  # and the second has ended
    with pytest.raises(KeyReplaced, match=f"{first} was rotated already: use {third}") as refused:
        desk.rotated(first)
    assert (refused.value.key, refused.value.successor) == (first, third)
    assert desk.open() == {first, third}


@pytest.mark.parametrize("life_s", [None, 3600])
def test_a_key_that_is_rotated_again_lives_as_long_as_the_first_would_have(house: House, life_s: int | None) -> None:
    desk = Desk(house)
    expires_at_us = None if life_s is None else desk.clock.now_us() + life_s * 1_000_000
    first, _ = desk.keys.create(desk.by_cli, desk.ada.principal_id, expires_at_us=expires_at_us)
    lost = desk.rotated(first.id, grace_us=60_000_000)
    desk.rotated(lost)  # which shortens the lost one too
    desk.keys.revoke(desk.herself, lost)
    again, _ = desk.keys.rotate(desk.herself, first.id)
    assert again.expires_at_us == expires_at_us
    desk.clock.advance(seconds=60)
    assert desk.open() == {again.id}


def test_a_tenants_last_way_in_is_not_revoked_as_a_successor_either(house: House) -> None:
    desk = Desk(house, Role.TENANT_ADMIN)
    first = desk.key()
    second = desk.rotated(first)
    with pytest.raises(LockOut):
        desk.keys.revoke(desk.herself, first)
    assert desk.open() == {first, second}
    desk.keys.revoke(desk.herself, first, keep_successors=True)
    assert desk.open() == {second}


def test_a_key_that_is_rotated_while_it_is_revoked_leaves_no_successor(
    house: House, together: Callable[[list[Callable[[], Any]]], list[Any]]
) -> None:
    desk = Desk(house)
    for _ in range(4):
        key = desk.key()
        rotate: Callable[[], Any] = lambda key=key: desk.rotated(key)  # noqa: E731
        revoke: Callable[[], Any] = lambda key=key: desk.keys.revoke(desk.herself, key)  # noqa: E731
        answers = together([rotate, revoke, rotate])
        assert all(isinstance(one, KeyEnded | KeyReplaced) for one in answers if isinstance(one, Exception))
        assert desk.open() == set()


# --- how fast ---------------------------------------------------------------------------------------------------------


def test_a_principal_makes_and_rotates_keys_no_faster_than_it_may_for_whomever(house: House) -> None:
    desk = Desk(house, Role.TENANT_ADMIN, SLOW)
    bob = desk.clerk.create(desk.by_cli, "bob", Role.MEMBER).id
    first, _ = desk.keys.create(desk.herself, bob)
    desk.keys.create(desk.herself, desk.ada.principal_id)
    second, _ = desk.keys.rotate(desk.herself, first.id, grace_us=0)
    for make in (lambda: desk.keys.create(desk.herself, bob), lambda: desk.keys.rotate(desk.herself, second.id)):
        with pytest.raises(RateLimited, match="make or rotate 6 keys a minute") as refused:
            make()
        assert refused.value.retry_at_us == desk.clock.now_us() + 10_000_000
    assert second.id in desk.open()
    of_bob = own_keeper(type(desk.ada)(desk.ada.tenant_id, bob, Role.MEMBER))
    desk.keys.rotate(of_bob, second.id)  # each for itself
    desk.key()  # who runs the service is not counted
    desk.clock.advance(seconds=10)
    desk.keys.create(desk.herself, bob)
    with pytest.raises(RateLimited):
        desk.keys.create(desk.herself, bob)


def test_what_is_refused_for_another_reason_is_not_counted_and_submissions_are_counted_apart(house: House) -> None:
    desk = Desk(house, Role.TENANT_ADMIN, SLOW)
    ended = desk.key()
    desk.keys.revoke(desk.by_cli, ended)
    for _ in range(5):
        with pytest.raises(KeyEnded):
            desk.keys.rotate(desk.herself, ended)
    for _ in range(3):
        desk.keys.create(desk.herself, desk.ada.principal_id)
    with house.database.read() as connection:
        standing = policies.read_standing(connection, desk.ada)
    assert standing.arrivals.get(desk.ada.principal_id, 0) == 0


def test_an_operator_who_makes_keys_of_other_tenants_is_counted_too(house: House) -> None:
    desk = Desk(house, rate=SLOW)
    house.tenant("school")
    office = Administration(house.database, house.system, b"pepper", desk.clock, key_rate=SLOW)
    for number in range(3):
        office.create_key_of("school", principal=f"p{number}", author=desk.ada)
    with pytest.raises(RateLimited):
        office.create_key_of("school", principal="p3", author=desk.ada)
    with house.database.read() as connection:
        names = {row.name for row in access.list_principals(connection, house.system, office.tenant("school").id)}
        assert connection.execute(select(func.count()).select_from(api_keys)).scalar_one() == 3
    assert "p3" not in names
    office.create_key_of("school", principal="p3")


# --- all of a change or nothing ---------------------------------------------------------------------------------------


def test_a_change_that_fails_at_its_last_step_leaves_nothing_of_it(house: House) -> None:
    if house.database.dialect != "sqlite":
        pytest.skip("the failure is a trigger of SQLite")
    desk = Desk(house)
    office = Administration(house.database, house.system, b"pepper", desk.clock)
    limits = NewLimits((NewQuota(Resource.SHOTS, Window.DAY, 10),), {"max_circuits": 3})
    with house.database.write() as connection:
        fails = "BEFORE UPDATE ON policies BEGIN SELECT RAISE(ABORT, 'the disk'); END"
        connection.execute(text(f"CREATE TRIGGER fails {fails}"))
        told = connection.execute(select(func.count()).select_from(audit_log)).scalar_one()
    principal = desk.ada.principal_id
    for change in (
        lambda: desk.clerk.change(desk.by_cli, principal, role=Role.AUDITOR, disabled=True, limits=limits),
        lambda: office.change_tenant("ada", weight=7, disabled=True, limits=limits),
    ):
        with pytest.raises(DatabaseError, match="the disk"):
            change()
    kept = desk.clerk.get(desk.by_cli, principal)
    tenant = office.tenant("ada")
    assert (kept.role, kept.disabled, tenant.weight, tenant.disabled) == (Role.MEMBER, False, 100, False)
    with house.database.read() as connection:
        assert quota.lines_of(connection, house.system, tenant.id, desk.clock.now_us()) == []
        assert connection.execute(select(func.count()).select_from(audit_log)).scalar_one() == told


def test_limits_are_changed_and_so_locked_in_one_order_however_they_are_named(house: House) -> None:
    desk = Desk(house)
    backwards = [NewQuota(of, per, 10) for of in reversed(Resource) for per in reversed(Window)]
    for quotas in (backwards, [replace(one, amount=None) for one in backwards]):
        desk.clerk.change(desk.by_cli, desk.ada.principal_id, limits=NewLimits(tuple(quotas)))
    query = select(audit_log.c.facts).where(audit_log.c.action.like("quota.%")).order_by(audit_log.c.id)
    with house.database.read() as connection:
        changed = [(facts["resource"], facts["window"]) for facts in connection.execute(query).scalars()]
    assert changed == 2 * sorted((of.value, per.value) for of in Resource for per in Window)


def test_keys_that_came_of_a_key_are_told_oldest_first(house: House) -> None:
    desk = Desk(house)
    first = desk.key()
    chain = [first]
    for _ in range(6):
        desk.clock.advance(seconds=1)
        chain.append(desk.rotated(chain[-1]))
    with house.database.read() as connection:
        found = keys.successors_of(connection, house.system, desk.ada.tenant_id, first)
    assert [row.id for row in found] == chain[1:]
    assert [row.replaces for row in found] == chain[:-1]
