"""Money: facts are written once, postings sum to zero, and what does not match is found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert

from qpu_backend.domain import ledger
from qpu_backend.domain.pricing import PriceBook
from qpu_backend.stores import money
from qpu_backend.stores.errors import AlreadySettled, PriceBookChanged
from qpu_backend.stores.schema_money import price_books

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import TenantScope
    from tests.stores.conftest import House

BOOK = PriceBook("book-1", 1, 2, 3, 4)


def settle(house: House, scope: TenantScope, record: money.UsageRow) -> None:
    with house.database.write() as connection:
        money.insert_usage_records(connection, house.system, [record])
        charge = ledger.charge(record.id, scope.tenant_id, record.price_micro)
        money.insert_postings(connection, house.system, [charge], posted_at_us=record.recorded_at_us)


def finished_job(house: House, scope: TenantScope) -> str:
    job_id = house.job(scope)
    house.batch(job_id)
    house.finish(job_id)
    return job_id


def test_a_price_book_is_stored_once_and_never_changes(house: House) -> None:
    with house.database.write() as connection:
        assert money.current_price_book(connection, 100) is None
        for _ in range(2):
            money.ensure_price_book(connection, house.system, BOOK, valid_from_us=10)
        with pytest.raises(PriceBookChanged):
            money.ensure_price_book(connection, house.system, replace(BOOK, per_shot_micro=9), valid_from_us=10)
        assert money.read_price_book(connection, "book-1") == BOOK
        assert money.read_price_book(connection, "book-2") is None


def test_the_current_price_book_is_the_last_one_in_force(house: House) -> None:
    later = replace(BOOK, id="book-2")
    with house.database.write() as connection:
        money.ensure_price_book(connection, house.system, later, valid_from_us=20)
        money.ensure_price_book(connection, house.system, BOOK, valid_from_us=10)
        found = [money.current_price_book(connection, now_us) for now_us in (9, 10, 19, 20, 1000)]
    assert found == [None, BOOK, BOOK, later, later]


def test_price_books_are_listed_in_the_order_in_which_they_come_into_force(house: House) -> None:
    later = replace(BOOK, id="a-book", lane_percent={"batch": 50}, free_micro_per_month=7)
    with house.database.write() as connection:
        assert money.list_price_books(connection) == []
        for book, valid_from_us in ((later, 20), (BOOK, 10)):
            money.ensure_price_book(connection, house.system, book, valid_from_us=valid_from_us)
        assert money.list_price_books(connection) == [money.DatedBook(BOOK, 10), money.DatedBook(later, 20)]


def test_a_price_book_of_a_release_without_lanes_and_allowances_is_the_same_book(house: House) -> None:
    rates = {name: getattr(BOOK, name) for name in BOOK.__slots__ if name.startswith(("per_", "minimum_"))}
    assert len(rates) == 4
    with house.database.write() as connection:
        connection.execute(insert(price_books).values(id=BOOK.id, valid_from_us=10, rates=rates))
        assert money.current_price_book(connection, 10) == BOOK
        money.ensure_price_book(connection, house.system, BOOK, valid_from_us=10)  # nothing has changed
        dearer = replace(BOOK, lane_percent={"batch": 200})
        with pytest.raises(PriceBookChanged):
            money.ensure_price_book(connection, house.system, dearer, valid_from_us=10)


def test_settled_usage_is_charged_to_the_tenant_and_sums_to_zero(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    job_id = finished_job(house, ada)
    record = house.used(ada, job_id, lane="batch")
    with house.database.write() as connection:
        top_up = ledger.top_up("top-up-1", ada.tenant_id, 1000)
        money.insert_postings(connection, house.system, [top_up], posted_at_us=1)
    settle(house, ada, record)
    with house.database.read() as connection:
        assert money.usage_of_job(connection, ada, job_id) == record
        assert money.balance(connection, ada) == 900
        assert money.balance(connection, bob) == 0
        assert money.trial_balance(connection, house.system) == 0


def test_a_job_is_metered_once_and_a_transaction_is_posted_once(house: House) -> None:
    scope = house.tenant("ada")
    job_id = finished_job(house, scope)
    record = house.used(scope, job_id)
    settle(house, scope, record)
    with pytest.raises(AlreadySettled):
        settle(house, scope, house.used(scope, job_id))
    charge = ledger.charge(record.id, scope.tenant_id, 100)
    with pytest.raises(AlreadySettled), house.database.write() as connection:
        money.insert_postings(connection, house.system, [charge], posted_at_us=10)
    with house.database.read() as connection:
        assert money.balance(connection, scope) == -100


def test_totals_are_the_tenants_own_since_a_moment(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    for scope, recorded_at_us in ((ada, 10), (ada, 20), (ada, 30), (bob, 30)):
        settle(house, scope, house.used(scope, finished_job(house, scope), recorded_at_us=recorded_at_us))
    with house.database.read() as connection:
        assert money.usage_totals(connection, ada, since_us=20) == money.UsageTotals(2, 2048, 600_000, 200)
        assert money.usage_totals(connection, ada, since_us=31) == money.UsageTotals(0, 0, 0, 0)
