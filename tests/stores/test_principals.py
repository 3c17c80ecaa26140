"""Principals and keys after they were made: pages, changes and ends, on both databases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert

from qpu_backend.domain.errors import TooLarge
from qpu_backend.domain.logins import Login, LoginPolicy, LoginRefused
from qpu_backend.domain.principals import MAX_PRINCIPALS, LockOut
from qpu_backend.domain.tenancy import Role
from qpu_backend.pipeline.clocks import HandDrivenClock
from qpu_backend.pipeline.keepers import own_keeper
from qpu_backend.pipeline.keys import Keys
from qpu_backend.pipeline.logins import Logins
from qpu_backend.pipeline.principals import Principals
from qpu_backend.stores import access, keys, money, principal_usage, principals
from qpu_backend.stores.errors import ForeignTenant, InvalidCursor
from qpu_backend.stores.schema_access import audit_log
from qpu_backend.stores.schema_access import principals as principals_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpu_backend.domain.tenancy import TenantScope
    from tests.stores.conftest import House


def another(house: House, scope: TenantScope, name: str, role: Role = Role.MEMBER) -> access.PrincipalRow:
    with house.database.write() as connection:
        return access.create_principal(
            connection, scope, tenant_id=scope.tenant_id, name=name, role=role, now_us=house.now_us
        )


def new_key(house: House, scope: TenantScope, key_hmac: str, **changes: Any) -> access.KeyRow:
    with house.database.write() as connection:
        return access.insert_key(
            connection,
            scope,
            key_hmac=key_hmac,
            **{
                "tenant_id": scope.tenant_id,
                "principal_id": scope.principal_id,
                "now_us": house.now_us,
                **changes,
            },
        )


def owner(house: House, key_hmac: str) -> access.KeyOwner:
    with house.database.read() as connection:
        found = access.find_key(connection, key_hmac)
    assert found is not None
    return found


def test_the_keys_of_a_disabled_principal_open_nothing_and_those_of_others_do(house: House) -> None:
    ada = house.tenant("ada")
    bob = another(house, ada, "bob")
    new_key(house, ada, "a")
    new_key(house, ada, "b", principal_id=bob.id)
    with house.database.write() as connection:
        principals.set_standing(connection, ada, ada.tenant_id, bob.id, role=Role.AUDITOR, disabled=True)
        row = principals.get_principal(connection, ada, ada.tenant_id, bob.id)
    assert row is not None
    assert (row.role, row.disabled) == (Role.AUDITOR, True)
    assert owner(house, "a").valid(house.now_us)
    assert not owner(house, "b").valid(house.now_us)
    assert owner(house, "b").role is Role.AUDITOR


def test_a_subject_is_found_by_names_with_whether_it_is_disabled(house: House) -> None:
    ada = house.tenant("ada")
    with house.database.write() as connection:
        assert principals.find_subject(connection, house.system, "nobody", "ada") is None
        unknown = principals.find_subject(connection, house.system, "ada", "bob")
        assert unknown == principals.Subject(ada.tenant_id, None, None, disabled=False)
        known = principals.find_subject(connection, house.system, "ada", "ada")
        assert known == principals.Subject(ada.tenant_id, ada.principal_id, Role.MEMBER, disabled=False)
        access.set_disabled(connection, house.system, ada.tenant_id, disabled=True)
        for name in ("ada", "bob"):
            subject = principals.find_subject(connection, house.system, "ada", name)
            assert subject is not None
            assert subject.disabled


def test_principals_and_keys_come_in_pages(house: House) -> None:
    ada = house.tenant("ada")
    ids = [ada.principal_id, *(another(house, ada, f"p{number}").id for number in range(4))]
    made = [new_key(house, ada, f"k{number}").id for number in range(5)]
    new_key(house, ada, "of another", principal_id=ids[1])
    with house.database.read() as connection:
        seen: list[str] = []
        cursor = None
        while True:
            rows, cursor = principals.page_of_principals(connection, ada, ada.tenant_id, cursor=cursor, limit=2)
            seen += [row.id for row in rows]
            if cursor is None:
                break
        assert seen == ids
        first, cursor = keys.page_of_keys(connection, ada, ada.tenant_id, ada.principal_id, limit=3)
        rest, end = keys.page_of_keys(connection, ada, ada.tenant_id, ada.principal_id, cursor=cursor, limit=3)
        assert [row.id for row in (*first, *rest)] == made[::-1]
        assert end is None
        with pytest.raises(InvalidCursor):
            keys.page_of_keys(connection, ada, ada.tenant_id, ids[1], cursor=cursor)
        with pytest.raises(InvalidCursor):
            principals.page_of_principals(connection, ada, ada.tenant_id, cursor="prn_none")


def test_a_key_ends_at_the_earlier_of_two_moments_and_live_ones_are_counted(house: House) -> None:
    ada = house.tenant("ada")
    later, soon, never = (
        new_key(house, ada, name, expires_at_us=at_us)
        for name, at_us in (("later", house.now_us + 100), ("soon", house.now_us + 5), ("never", None))
    )
    with house.database.write() as connection:

        def live(at_us: int) -> int:
            return keys.count_live_keys(connection, ada, ada.tenant_id, ada.principal_id, at_us)

        assert live(house.now_us) == 3
        for key in (later, soon, never):
            keys.end_key(connection, ada, ada.tenant_id, key.id, house.now_us + 10)
        ends = [keys.get_key(connection, ada, ada.tenant_id, key.id) for key in (later, soon, never)]
        assert [key.expires_at_us for key in ends if key] == [house.now_us + 10, house.now_us + 5, house.now_us + 10]
        assert [live(house.now_us + us) for us in (4, 5, 9, 10)] == [3, 2, 2, 0]
        assert keys.revoke_one(connection, ada, ada.tenant_id, never.id, house.now_us)
        assert live(house.now_us) == 2
        assert keys.revoke_keys_of(connection, ada, ada.tenant_id, ada.principal_id, house.now_us) == 2
        assert live(house.now_us) == 0


def test_under_a_tenants_scope_nothing_of_another_tenant_is_made_or_touched(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    key = new_key(house, ada, "a")
    with house.database.write() as connection:
        with pytest.raises(ForeignTenant):
            access.create_principal(
                connection, bob, tenant_id=ada.tenant_id, name="spy", role=Role.TENANT_ADMIN, now_us=house.now_us
            )
        with pytest.raises(ForeignTenant):
            access.insert_key(
                connection,
                bob,
                tenant_id=ada.tenant_id,
                principal_id=ada.principal_id,
                key_hmac="x",
                now_us=house.now_us,
            )
        assert not keys.revoke_one(connection, bob, bob.tenant_id, key.id, house.now_us)
        assert keys.get_key(connection, bob, bob.tenant_id, key.id) is None
        keys.end_key(connection, bob, bob.tenant_id, key.id, house.now_us)
        principals.set_standing(connection, bob, bob.tenant_id, ada.principal_id, role=Role.AUDITOR, disabled=True)
    assert owner(house, "a").valid(house.now_us)
    assert owner(house, "a").role is Role.MEMBER


def test_usage_is_summed_by_principal_within_the_tenant_and_the_time(house: House) -> None:
    ada, eve = house.tenant("ada"), house.tenant("eve")
    bob = another(house, ada, "bob")
    records: list[money.UsageRow] = []
    facts = [(ada, ada.principal_id, 10, 5), (ada, bob.id, 3, 5), (ada, bob.id, 4, 5), (ada, bob.id, 9, -5)]
    for scope, principal_id, shots, after_us in [*facts, (eve, eve.principal_id, 100, 5)]:
        job_id = house.job(scope)
        sums = {"shots": shots, "device_us": 2 * shots, "price_micro": 3 * shots}
        record = house.used(scope, job_id, principal_id=principal_id, recorded_at_us=house.now_us + after_us, **sums)
        records.append(record)
    with house.database.write() as connection:
        money.insert_usage_records(connection, house.system, records)
        asked = [ada.principal_id, bob.id, eve.principal_id]
        used = principal_usage.usage_of_principals(connection, ada, asked, since_us=house.now_us)
        assert principal_usage.usage_of_principals(connection, ada, [], since_us=0) == {}
    assert used == {ada.principal_id: money.UsageTotals(1, 10, 20, 30), bob.id: money.UsageTotals(2, 7, 14, 21)}


def test_of_administrators_who_demote_each_other_at_the_same_time_one_stays(
    house: House, together: Callable[[list[Callable[[], Any]]], list[Any]]
) -> None:
    first = house.tenant("ada")
    office = Principals(house.database, house.system, HandDrivenClock())
    by_cli = office.keeper("ada", actor="cli")
    office.change(by_cli, first.principal_id, role=Role.TENANT_ADMIN)
    ids = [first.principal_id, *(another(house, first, f"p{number}", Role.TENANT_ADMIN).id for number in range(3))]
    scopes = [type(first)(first.tenant_id, each, Role.TENANT_ADMIN) for each in ids]
    for each in ids:
        new_key(house, first, each, principal_id=each)

    def demote(author: TenantScope, whom: str) -> Callable[[], Any]:
        return lambda: office.change(own_keeper(author), whom, role=Role.MEMBER)

    answers = together([demote(scope, whom) for scope, whom in zip(scopes, [*ids[1:], ids[0]], strict=True)])
    rows, _ = office.page(by_cli)
    assert [row.role for row in rows].count(Role.TENANT_ADMIN) == 1
    assert sum(isinstance(answer, Exception) for answer in answers) == 1


# --- how many there are ----------------------------------------------------------------------------------------------


def test_a_tenant_has_only_so_many_principals_however_one_more_comes(house: House) -> None:
    ada, eve = house.tenant("ada"), house.tenant("eve")
    fields = {"tenant_id": ada.tenant_id, "role": Role.MEMBER, "created_at_us": house.now_us}
    rows = [fields | {"id": f"prn_{number}", "name": f"p{number}"} for number in range(MAX_PRINCIPALS - 2)]
    with house.database.write() as connection:
        connection.execute(insert(principals_table), rows)
    another(house, ada, "the last")
    with pytest.raises(TooLarge):
        another(house, ada, "one more")
    with pytest.raises(LoginRefused):
        logins(house).enter(Login("ada", "one more", Role.MEMBER, 1))
    assert logins(house).enter(Login("ada", "the last", Role.MEMBER, 1)).role is Role.MEMBER
    another(house, eve, "one more")


def test_principals_are_found_by_name_and_named_by_id_within_the_tenant(house: House) -> None:
    ada, eve = house.tenant("ada"), house.tenant("eve")
    bob = another(house, ada, "bob")
    with house.database.write() as connection:
        for lock in (False, True):
            assert principals.find_principal(connection, house.system, ada.tenant_id, "bob", lock=lock) == bob
            assert principals.find_principal(connection, house.system, eve.tenant_id, "bob", lock=lock) is None
        asked = [bob.id, eve.principal_id, "prn_none"]
        assert principals.names_of(connection, house.system, ada.tenant_id, asked) == {bob.id: "bob"}
        assert principals.names_of(connection, house.system, ada.tenant_id, []) == {}


# --- roles and the keys from before ---------------------------------------------------------------------------------


def logins(house: House) -> Logins:
    policy = LoginPolicy("tenant", "role", frozenset(Role), create_principals=True)
    return Logins(house.database, house.system, HandDrivenClock(), policy)


def test_a_key_that_its_tenant_has_made_before_does_not_become_an_operators_by_a_login(house: House) -> None:
    ada = house.tenant("ada")
    bob = another(house, ada, "bob")
    new_key(house, ada, "a")
    new_key(house, ada, "b", principal_id=bob.id)
    entry = logins(house).enter(Login("ada", "bob", Role.OPERATOR, 1))
    assert (entry.principal_id, entry.role) == (bob.id, Role.OPERATOR)
    assert not owner(house, "b").valid(house.now_us)
    assert owner(house, "a").valid(house.now_us)
    assert _noted(house, bob.id) == ["principal.role_changed", "principal.keys_revoked"]


@pytest.mark.parametrize("role", Role)
def test_of_all_roles_only_an_operators_closes_the_keys_from_before(house: House, role: Role) -> None:
    ada = house.tenant("ada")
    new_key(house, ada, "a")
    office = Principals(house.database, house.system, HandDrivenClock())
    office.change(office.keeper("ada", actor="cli"), ada.principal_id, role=role)
    assert owner(house, "a").valid(house.now_us) == (role is not Role.OPERATOR)
    assert ("principal.keys_revoked" in _noted(house, ada.principal_id)) == (role is Role.OPERATOR)


def test_the_keys_of_an_operator_outlive_a_login_as_one(house: House) -> None:
    ada = house.tenant("ada")
    door = logins(house)
    door.enter(Login("ada", "ada", Role.OPERATOR, 1))
    new_key(house, ada, "a")
    assert door.enter(Login("ada", "ada", Role.OPERATOR, 2)).role is Role.OPERATOR
    assert owner(house, "a").valid(house.now_us)


def test_a_key_that_is_made_while_its_principal_becomes_an_operator_is_closed_or_refused(
    house: House, together: Callable[[list[Callable[[], Any]]], list[Any]]
) -> None:
    ada = house.tenant("ada")
    boss = type(ada)(ada.tenant_id, ada.principal_id, Role.TENANT_ADMIN)
    for number in range(5):
        bob = another(house, ada, f"bob-{number}")
        promote: Callable[[], Any] = lambda name=bob.name: logins(house).enter(Login("ada", name, Role.OPERATOR, 1))  # noqa: E731
        make: Callable[[], Any] = lambda whom=bob.id: keys_of(house).create(own_keeper(boss), whom)  # noqa: E731
        together([make, make, promote, make])
        with house.database.read() as connection:
            assert keys.count_live_keys(connection, house.system, ada.tenant_id, bob.id, house.now_us) == 0


def test_an_older_token_does_not_give_a_role_back_that_a_newer_one_has_taken(house: House) -> None:
    ada = house.tenant("ada")
    new_key(house, ada, "a")
    door = logins(house)
    assert door.enter(Login("ada", "ada", Role.TENANT_ADMIN, 10)).role is Role.TENANT_ADMIN
    assert door.enter(Login("ada", "ada", Role.MEMBER, 20)).role is Role.MEMBER
    assert door.enter(Login("ada", "ada", Role.TENANT_ADMIN, 10)).role is Role.MEMBER
    assert owner(house, "a").role is Role.MEMBER
    assert door.enter(Login("ada", "ada", Role.TENANT_ADMIN, 20)).role is Role.TENANT_ADMIN


def test_a_newer_token_that_says_the_same_role_also_outdates_the_older_ones(house: House) -> None:
    house.tenant("ada")
    door = logins(house)
    for issued_at_us in (10, 30):
        assert door.enter(Login("ada", "new", Role.MEMBER, issued_at_us)).role is Role.MEMBER
    assert door.enter(Login("ada", "new", Role.TENANT_ADMIN, 20)).role is Role.MEMBER
    assert door.enter(Login("ada", "new", Role.TENANT_ADMIN, 31)).role is Role.TENANT_ADMIN


def test_the_token_that_makes_a_principal_outdates_older_ones(house: House) -> None:
    house.tenant("ada")
    door = logins(house)
    assert door.enter(Login("ada", "new", Role.MEMBER, 20)).role is Role.MEMBER
    assert door.enter(Login("ada", "new", Role.TENANT_ADMIN, 10)).role is Role.MEMBER


def test_of_tokens_at_the_same_time_the_newest_says_the_role(
    house: House, together: Callable[[list[Callable[[], Any]]], list[Any]]
) -> None:
    ada = house.tenant("ada")
    new_key(house, ada, "a")
    door = logins(house)
    roles = [Role.TENANT_ADMIN, Role.BILLING, Role.AUDITOR, Role.MEMBER]
    together([lambda at=at, role=role: door.enter(Login("ada", "ada", role, at)) for at, role in enumerate(roles)])
    assert owner(house, "a").role is Role.MEMBER


# --- administrators with a way in -----------------------------------------------------------------------------------


def keys_of(house: House) -> Keys:
    return Keys(house.database, house.system, b"pepper", HandDrivenClock())


def office_of(house: House, *, tokens: bool = False) -> Principals:
    return Principals(house.database, house.system, HandDrivenClock(), administrators_have_tokens=tokens)


def test_an_administrator_without_a_key_is_none_that_could_take_over_unless_tokens_let_it_in(house: House) -> None:
    ada = house.tenant("ada")
    office = office_of(house)
    office.change(office.keeper("ada", actor="cli"), ada.principal_id, role=Role.TENANT_ADMIN)
    new_key(house, ada, "a")
    boss = own_keeper(type(ada)(ada.tenant_id, ada.principal_id, Role.TENANT_ADMIN))
    bob = another(house, ada, "bob", Role.TENANT_ADMIN)
    new_key(house, ada, "of the past", principal_id=bob.id, expires_at_us=1)
    with pytest.raises(LockOut):
        office.change(boss, ada.principal_id, role=Role.MEMBER)
    assert office_of(house, tokens=True).change(boss, ada.principal_id, role=Role.MEMBER).role is Role.MEMBER
    office.change(office.keeper("ada", actor="cli"), ada.principal_id, role=Role.TENANT_ADMIN)
    new_key(house, ada, "b", principal_id=bob.id)
    assert office.change(boss, ada.principal_id, role=Role.MEMBER).role is Role.MEMBER


def test_the_last_key_of_the_last_administrator_is_revoked_by_who_runs_the_service_alone(house: House) -> None:
    ada = house.tenant("ada")
    office = office_of(house)
    by_cli = office.keeper("ada", actor="cli")
    office.change(by_cli, ada.principal_id, role=Role.TENANT_ADMIN)
    first, last = new_key(house, ada, "a"), new_key(house, ada, "b")
    boss = own_keeper(type(ada)(ada.tenant_id, ada.principal_id, Role.TENANT_ADMIN))
    desk = keys_of(house)
    desk.revoke(boss, first.id)
    with pytest.raises(LockOut):
        desk.revoke(boss, last.id)
    with pytest.raises(LockOut):
        desk.revoke_all(boss, ada.principal_id)
    assert owner(house, "b").valid(house.now_us)
    desk.revoke(by_cli, last.id)
    assert not owner(house, "b").valid(house.now_us)


def test_of_administrators_who_revoke_each_others_keys_at_the_same_time_one_keeps_its_own(
    house: House, together: Callable[[list[Callable[[], Any]]], list[Any]]
) -> None:
    ada = house.tenant("ada")
    office = office_of(house)
    office.change(office.keeper("ada", actor="cli"), ada.principal_id, role=Role.TENANT_ADMIN)
    ids = [ada.principal_id, *(another(house, ada, f"p{number}", Role.TENANT_ADMIN).id for number in range(2))]
    made = [new_key(house, ada, f"k{number}", principal_id=each) for number, each in enumerate(ids)]
    boss = own_keeper(type(ada)(ada.tenant_id, ada.principal_id, Role.TENANT_ADMIN))
    answers = together([lambda key=key: keys_of(house).revoke(boss, key.id) for key in made])
    assert sum(isinstance(answer, LockOut) for answer in answers) == 1
    assert sum(owner(house, f"k{number}").valid(house.now_us) for number in range(3)) == 1


def _noted(house: House, subject: str) -> list[str]:
    with house.database.read() as connection:
        rows = connection.execute(audit_log.select().where(audit_log.c.subject == subject).order_by(audit_log.c.id))
        return [row.action for row in rows]
