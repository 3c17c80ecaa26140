"""The audit log as rows: added, sealed once, listed; one sealer at a time on either database."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import IntegrityError

from qpu_backend.domain.audit import START, Place, mac_of, seal_all
from qpu_backend.stores import audit
from qpu_backend.stores.audit import Search
from qpu_backend.stores.errors import ForeignTenant, InvalidCursor
from qpu_backend.stores.schema_access import audit_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from qpu_backend.domain.audit import Sealed
    from qpu_backend.domain.tenancy import TenantScope
    from tests.stores.conftest import House

KEY = b"k" * 32


@pytest.fixture
def add(house: House) -> Callable[..., None]:
    """Leaves rows in the log."""

    def write(*actions: str, tenant_id: str | None = None, actor: str = "cli", at_us: int = house.now_us) -> None:
        with house.database.write() as connection:
            for action in actions:
                facts = {"n": 1.5, "ü": [None, "\u2028"], "nested": {"b": 1, "a": [True]}}
                row = {"actor": actor, "action": action, "subject": "key_1", "tenant_id": tenant_id, "facts": facts}
                audit.append(connection, house.system, now_us=at_us, **row)

    return write


def seal(house: House, place: Place = START) -> list[Sealed]:
    """Seal everything that waits."""
    with house.database.write() as connection:
        assert audit.lock_chain(connection, house.system)
        rows = seal_all(KEY, place, audit.unsealed_rows(connection, house.system))
        audit.seal_rows(connection, house.system, rows)
    return rows


def chain(house: House) -> list[Sealed]:
    with house.database.read() as connection:
        return list(audit.sealed_rows(connection, house.system))


def actions(rows: Iterable[audit.AuditRow]) -> list[str]:
    return [row.entry.action for row in rows]


def test_rows_wait_in_order_and_what_is_sealed_is_read_back_as_it_was_sealed(house: House, add: Any) -> None:
    add("key.created", "key.revoked", "tenant.created")
    with house.database.read() as connection:
        assert audit.has_unsealed(connection, house.system)
        waiting = audit.unsealed_rows(connection, house.system)
        assert audit.unsealed_rows(connection, house.system, limit=2) == waiting[:2]
        assert audit.last_sealed(connection, house.system) == []
    assert [one.action for one in waiting] == ["key.created", "key.revoked", "tenant.created"]
    sealed = seal(house)
    assert chain(house) == sealed
    assert [row.entry for row in sealed] == waiting
    with house.database.read() as connection:
        assert not audit.has_unsealed(connection, house.system)
        assert audit.unsealed_rows(connection, house.system) == []
        assert audit.last_sealed(connection, house.system) == sealed[-1:]
        assert audit.last_sealed(connection, house.system, limit=9) == sealed[::-1]


def test_a_row_is_sealed_once_and_a_number_is_given_once(house: House, add: Any) -> None:
    add("key.created")
    (first,) = seal(house)
    with pytest.raises(ValueError, match="sealed twice"), house.database.write() as connection:
        audit.seal_rows(connection, house.system, [replace(first, number=2, seal="other")])
    add("key.revoked")
    with house.database.read() as connection:
        (waiting,) = audit.unsealed_rows(connection, house.system)
    with pytest.raises(IntegrityError), house.database.write() as connection:
        audit.seal_rows(connection, house.system, seal_all(KEY, START, [waiting]))
    assert chain(house) == [first]


def test_a_number_without_a_seal_is_refused_by_the_table(house: House, add: Any) -> None:
    add("key.created")
    with pytest.raises(IntegrityError), house.database.write() as connection:
        connection.execute(update(audit_log).values(number=1))


def test_a_transaction_that_commits_late_has_its_rows_sealed_late(house: House, add: Any) -> None:
    if house.database.dialect == "sqlite":
        pytest.skip("one writer at a time: nothing commits late")
    asked = {"actor": "cli", "subject": "x", "tenant_id": None, "facts": {}, "now_us": house.now_us}
    with house.database.write() as late:
        audit.append(late, house.system, action="late.one", **asked)
        add("early.one")
        (first,) = seal(house)
    assert first.entry.action == "early.one"
    (second,) = seal(house, Place(1, mac_of(first.seal)))
    assert (second.entry.action, second.number) == ("late.one", 2)
    assert second.entry.id < first.entry.id
    assert chain(house) == [first, second]


def test_only_one_at_a_time_seals_and_the_other_does_not_wait(house: House, add: Any) -> None:
    add("key.created")
    if house.database.dialect == "sqlite":
        with house.database.write() as connection:
            assert audit.lock_chain(connection, house.system)  # the write lock is the lock
        return
    answers: list[bool] = []

    def other() -> None:
        with house.database.write() as connection:
            answers.append(audit.lock_chain(connection, house.system))

    with house.database.write() as connection:
        assert audit.lock_chain(connection, house.system)
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    other()
    assert answers == [False, True]


def test_pages_are_newest_first_and_whole(house: House, add: Any) -> None:
    for number in range(5):
        add(f"a.n{number}", at_us=house.now_us + number // 2)
    found: list[str] = []
    cursor = None
    with house.database.read() as connection:
        while True:
            rows, cursor = audit.list_rows(connection, house.system, Search(), cursor=cursor, limit=2)
            assert len(rows) <= 2
            found += actions(rows)
            if cursor is None:
                break
        assert found == ["a.n4", "a.n3", "a.n2", "a.n1", "a.n0"]
        rows, cursor = audit.list_rows(connection, house.system, Search(), limit=5)
        assert (len(rows), cursor) == (5, None)


def test_rows_are_found_by_tenant_action_noun_and_time(house: House, add: Any) -> None:
    ada = house.tenant("ada")
    add("key.created", "key.revoked", tenant_id=ada.tenant_id)
    add("keys.counted", at_us=house.now_us + 10)
    with house.database.read() as connection:

        def found(**search: Any) -> list[str]:
            return sorted(actions(audit.list_rows(connection, house.system, Search(**search))[0]))

        assert found(tenant_id=ada.tenant_id) == ["key.created", "key.revoked"]
        assert found(action="key") == ["key.created", "key.revoked"]
        assert found(action="key.created") == ["key.created"]
        assert found(action="key.") == []
        assert found(action="k%") == []
        assert found(since_us=house.now_us + 10) == ["keys.counted"]
        assert found(since_us=house.now_us + 11) == []


def test_a_tenant_sees_its_own_matters_and_an_operator_without_a_name(house: House, add: Any) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    for scope in (ada, bob):
        add("key.created", tenant_id=scope.tenant_id, actor=f"principal:{ada.principal_id}")
        add("quota.set", tenant_id=scope.tenant_id)
    add("device.paused", actor=f"principal:{bob.principal_id}")

    def own(scope: TenantScope) -> list[tuple[str, str]]:
        with house.database.read() as connection:
            rows, _ = audit.list_own_rows(connection, scope, Search(tenant_id=ada.tenant_id))
        assert {row.entry.tenant_id for row in rows} == {scope.tenant_id}
        return [(row.entry.action, row.entry.actor) for row in rows]

    assert own(ada) == [("quota.set", "cli"), ("key.created", f"principal:{ada.principal_id}")]
    assert own(bob) == [("quota.set", "cli"), ("key.created", "operator")]


@pytest.mark.parametrize("cursor", ["", "x", "MS9hdWRf!", "YS9hdWRfMQ", "MS9qb2JfMQ", "9" * 200])
def test_a_cursor_that_was_not_given_out_is_refused(house: House, cursor: str) -> None:
    with pytest.raises(InvalidCursor), house.database.read() as connection:
        audit.list_rows(connection, house.system, Search(), cursor=cursor)


def test_a_tenant_leaves_no_row_in_anothers_matter(house: House) -> None:
    ada = house.tenant("ada")
    row = {"actor": "cli", "action": "a.b", "subject": "x", "facts": {}, "now_us": 1}
    for other in ("ten_other", None):
        with pytest.raises(ForeignTenant), house.database.write() as connection:
            audit.append(connection, ada, tenant_id=other, **row)


def test_facts_that_somebody_spoiled_are_told_and_stop_nothing(house: House, add: Any) -> None:
    if house.database.dialect != "sqlite":
        pytest.skip("PostgreSQL keeps only what is JSON")
    add("key.created", "key.revoked")
    first, second = seal(house)
    with house.database.write() as connection:
        spoil = text("UPDATE audit_log SET facts = '{not json', at_us = 'noon' WHERE number = 1")
        connection.execute(spoil)
    spoiled, whole = chain(house)
    assert spoiled.entry == replace(first.entry, at_us="noon", facts={"unreadable": "'{not json'"})
    assert whole == second
