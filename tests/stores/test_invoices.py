"""Invoices in the database: what belongs to a month, once for a tenant; and quota windows of principals compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import insert

from qpu_backend.domain import ledger
from qpu_backend.domain.invoices import Fact, Group, LineKind, Month, draw_up
from qpu_backend.domain.reconciliation import Difference
from qpu_backend.stores import invoice_records, invoices, money, reconciliation, sessions
from qpu_backend.stores.ids import new_id
from qpu_backend.stores.schema_access import quota_windows

if TYPE_CHECKING:
    from tests.stores.conftest import House

MONTH = Month(2026, 2)
BOUNDS = MONTH.interval
EDGES = (BOUNDS.start_us - 1, BOUNDS.start_us, BOUNDS.end_us - 1, BOUNDS.end_us)


def test_what_is_recorded_from_the_first_microsecond_to_the_last_belongs_to_a_month(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    for number, at_us in enumerate(EDGES):
        price = 10**number
        session_id = house.session(ada)
        job_ids = [house.job(ada), house.job(bob)]
        with house.database.write() as connection:
            records = [
                house.used(ada, job_ids[0], recorded_at_us=at_us, shots=10, device_us=20, price_micro=price),
                house.used(bob, job_ids[1], recorded_at_us=EDGES[0], price_micro=7),
            ]
            money.insert_usage_records(connection, house.system, records)
            sessions.close_session(connection, house.system, session_id, closed_at_us=at_us, price_micro=price)
            charge = ledger.charge(records[0].id, ada.tenant_id, price)
            refund = ledger.refund(ledger.refund_id(charge.id), charge)
            top_up = ledger.top_up(new_id("top"), ada.tenant_id, 1000)
            money.insert_postings(connection, house.system, [charge, refund, top_up], posted_at_us=at_us)
    with house.database.read() as connection:
        facts = list(invoice_records.facts_of(connection, ada, ada.tenant_id, BOUNDS))
        assert invoice_records.tenants_with_facts(connection, house.system, BOUNDS) == [ada.tenant_id]
    jobs, held = (
        Group(LineKind.JOBS, "eagle127", "standard", "book-1"),
        Group(LineKind.SESSIONS, "eagle127", None, "book-1"),
    )
    assert sorted(facts, key=lambda fact: (fact.group.kind, abs(fact.amount_micro))) == [
        Fact(jobs, 10, 20, 10),
        Fact(jobs, 10, 20, 100),
        Fact(Group(LineKind.REFUNDS), 0, 0, -10),
        Fact(Group(LineKind.REFUNDS), 0, 0, -100),
        Fact(held, 0, 0, 10),
        Fact(held, 0, 0, 100),
    ]
    with house.database.read() as connection:
        rows, cursor = invoice_records.records_of_line(connection, ada, ada.tenant_id, BOUNDS, held)
    assert (sorted(row.amount_micro for row in rows), cursor) == ([10, 100], None)


def test_an_invoice_is_stored_once_with_its_lines(house: House) -> None:
    ada = house.tenant("ada")
    invoice = draw_up(
        [Fact(Group(LineKind.JOBS, "eagle127", "ci", "book-1"), 1, 2, 30), Fact(Group(LineKind.SESSIONS), 0, 0, 4)], 5
    )
    sums = (invoice.charged_micro, invoice.allowance_micro, invoice.total_micro)
    rows = [invoices.InvoiceRow(f"inv_{n}", ada.tenant_id, str(MONTH), 1, *sums) for n in range(2)]
    with house.database.write() as connection:
        assert [invoices.insert_invoice(connection, house.system, row, invoice.lines) for row in rows] == [True, False]
    with house.database.read() as connection:
        assert invoices.find_invoice(connection, ada, ada.tenant_id, str(MONTH)) == rows[0]
        assert invoices.lines_of(connection, ada, rows[0]) == list(invoice.lines)
        assert invoices.lines_of(connection, ada, rows[1]) == []


def test_a_principals_own_window_is_compared_with_what_it_reserved(house: House) -> None:
    ada = house.tenant("ada")
    lines = [["shots", "day", 0, 5], ["shots", "day", 0, 5, ada.principal_id]]
    house.job(ada, quota_start=lines)
    window = {"tenant_id": ada.tenant_id, "resource": "shots", "window": "day", "start_us": 0, "spent": 0}
    with house.database.write() as connection:
        both = [{**window, "principal_id": whose, "reserved": much} for whose, much in (("", 5), (ada.principal_id, 4))]
        connection.execute(insert(quota_windows), both)
    with house.database.read() as connection:
        (found,) = reconciliation.findings(connection, house.system)
    assert (found.kind, found.expected, found.found) == (Difference.QUOTA_RESERVED, 5, 4)
    assert found.subject == f"{ada.principal_id} shots day 0"
