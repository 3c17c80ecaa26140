"""Tenants, principals, keys: who a key belongs to, and until when it opens the door."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qpu_backend.domain.tenancy import Role
from qpu_backend.stores import access, keys
from qpu_backend.stores.errors import MissingRow, NameTaken

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import TenantScope
    from tests.stores.conftest import House


def key(house: House, scope: TenantScope, key_hmac: str = "hmac", expires_at_us: int | None = None) -> access.KeyRow:
    with house.database.write() as connection:
        return access.insert_key(
            connection,
            house.system,
            tenant_id=scope.tenant_id,
            principal_id=scope.principal_id,
            key_hmac=key_hmac,
            now_us=house.now_us,
            expires_at_us=expires_at_us,
        )


def owner(house: House, key_hmac: str = "hmac") -> access.KeyOwner:
    with house.database.read() as connection:
        found = access.find_key(connection, key_hmac)
    assert found is not None
    return found


def test_a_key_says_whose_it_is(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    key(house, ada)
    key(house, bob, "other")
    found = owner(house)
    assert (found.tenant_id, found.tenant_name, found.principal_id) == (ada.tenant_id, "ada", ada.principal_id)
    assert found.role is Role.MEMBER
    assert found.valid(house.now_us)


def test_an_unknown_key_is_nobodys(house: House) -> None:
    key(house, house.tenant("ada"))
    with house.database.read() as connection:
        assert access.find_key(connection, "hmax") is None


def test_a_key_expires_at_its_moment(house: House) -> None:
    key(house, house.tenant("ada"), expires_at_us=house.now_us + 10)
    assert owner(house).valid(house.now_us + 9)
    assert not owner(house).valid(house.now_us + 10)


def test_a_revoked_key_stays_revoked_since_the_first_time(house: House) -> None:
    scope = house.tenant("ada")
    row = key(house, scope)
    with house.database.write() as connection:
        assert keys.revoke_one(connection, house.system, scope.tenant_id, row.id, house.now_us + 1)
        assert not keys.revoke_one(connection, house.system, scope.tenant_id, row.id, house.now_us + 2)
        assert not keys.revoke_one(connection, house.system, scope.tenant_id, "key_none", house.now_us)
        [listed] = access.list_keys(connection, house.system, scope.tenant_id)
    assert listed.revoked_at_us == house.now_us + 1
    assert not owner(house).valid(house.now_us)


def test_the_keys_of_a_disabled_tenant_open_nothing(house: House) -> None:
    scope = house.tenant("ada")
    key(house, scope)
    with house.database.write() as connection:
        assert access.set_disabled(connection, house.system, scope.tenant_id, disabled=True)
    assert not owner(house).valid(house.now_us)


def test_names_are_taken_once(house: House) -> None:
    scope = house.tenant("ada")
    with pytest.raises(NameTaken):
        house.tenant("ada")
    with pytest.raises(NameTaken), house.database.write() as connection:
        access.create_principal(
            connection, house.system, tenant_id=scope.tenant_id, name="ada", role=Role.AUDITOR, now_us=0
        )


def test_a_principal_needs_a_tenant_and_a_key_needs_a_principal_of_the_same_tenant(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    with house.database.write() as connection:
        with pytest.raises(MissingRow):
            access.create_principal(
                connection, house.system, tenant_id="ten_none", name="x", role=Role.MEMBER, now_us=0
            )
        with pytest.raises(MissingRow):
            access.insert_key(
                connection,
                house.system,
                tenant_id=ada.tenant_id,
                principal_id=bob.principal_id,
                key_hmac="x",
                now_us=0,
            )


def test_policies_change_and_are_listed(house: House) -> None:
    ada, bob = house.tenant("ada", weight=50), house.tenant("bob")
    with house.database.write() as connection:
        assert access.set_weight(connection, house.system, bob.tenant_id, 400)
        assert access.set_max_queued_jobs(connection, house.system, bob.tenant_id, 7)
        assert not access.set_weight(connection, house.system, "ten_none", 1)
        rows = {row.id: row for row in access.list_tenants(connection, house.system)}
        assert access.find_tenant(connection, house.system, "bob") == rows[bob.tenant_id]
        assert access.find_tenant(connection, house.system, "eve") is None
        assert access.read_tenant(connection, bob) == rows[bob.tenant_id]
        [principal] = access.list_principals(connection, house.system, bob.tenant_id)
    assert (rows[ada.tenant_id].weight, rows[bob.tenant_id].weight) == (50, 400)
    assert rows[bob.tenant_id].max_queued_jobs == 7
    assert principal.id == bob.principal_id
