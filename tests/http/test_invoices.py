"""Invoices over HTTP: issued by the operator, read by the tenant in three forms, and no others."""

from __future__ import annotations

import csv
import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from qpu_backend.domain.invoices import Month
from qpu_backend.domain.tenancy import Role
from qpu_sdk.wire.invoices import InvoiceDocument, InvoicePage, InvoiceRecordPage, IssueReport
from qpu_sdk.wire.reconciliation import ReconciliationReport

LAST = Month.of(time.time_ns() // 1000 - 40 * 86_400_000_000)
"""A month that is over."""
NOW = Month.of(time.time_ns() // 1000)


@pytest.fixture(scope="module")
def billed(server, orders):
    """Who may read the invoice of a tenant that had three jobs in a month that is over."""
    name = server.tenant()
    member = server.client(server.key(name))
    document = orders.of() | {"tags": ["=HYPERLINK(1)", "plain"]}
    for job_id in [orders.submit(member, document) for _ in range(3)]:
        assert orders.finished(member, job_id)["state"] == "done"
    then = {"then": LAST.interval.start_us, "name": name}
    of_tenant = "tenant_id = (SELECT id FROM tenants WHERE name = :name)"
    with server.service.database.write() as connection:
        connection.execute(text("UPDATE tenants SET created_at_us = :then WHERE name = :name"), then)
        connection.execute(text(f"UPDATE usage_records SET recorded_at_us = :then WHERE {of_tenant}"), then)  # noqa: S608
        connection.execute(text(f"UPDATE postings SET posted_at_us = :then WHERE {of_tenant}"), then)  # noqa: S608
    return name, server.client(server.key(name, Role.BILLING))


@pytest.fixture(scope="module")
def issued(billed, server):
    """The same after the operator has issued the month."""
    name, reader = billed
    assert reader.get(f"/v1/invoices/{LAST}").json()["state"] == "preview"
    assert reader.get("/v1/invoices").json() == {"invoices": [], "next_cursor": None}
    operator = server.new_client(Role.OPERATOR)
    report = IssueReport(**operator.post(f"/v1/admin/invoices/{LAST}").json())
    assert (report.month, report.issued) == (str(LAST), 1)
    again = IssueReport(**operator.post(f"/v1/admin/invoices/{LAST}", params={"tenant": name}).json())
    assert (again.issued, again.issued_before, again.total_micro) == (0, 1, report.total_micro)
    return reader


def test_an_issued_invoice_is_listed_and_read_as_it_was_issued(issued):
    page = InvoicePage(**issued.get("/v1/invoices").json())
    (summary,) = page.invoices
    invoice = InvoiceDocument(**issued.get(f"/v1/invoices/{LAST}").json())
    assert (invoice.id, invoice.state, invoice.month) == (summary.id, "issued", str(LAST))
    assert invoice.total_micro == summary.total_micro == sum(line.amount_micro for line in invoice.lines) > 0
    assert invoice.starts_at.day == invoice.ends_at.day == 1
    assert datetime.now(UTC) - summary.issued_at < timedelta(hours=1)


def test_a_line_opens_into_its_records_page_by_page(issued):
    seen, cursor = [], None
    while True:
        path = f"/v1/invoices/{LAST}/lines/1/records"
        answer = issued.get(path, params={"limit": 2} | ({} if cursor is None else {"cursor": cursor})).json()
        page = InvoiceRecordPage(**answer)
        seen += page.records
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len({record.id for record in seen}) == page.line.records == 3
    assert sum(record.amount_micro for record in seen) == page.line.amount_micro
    assert {tuple(record.tags) for record in seen} == {("=HYPERLINK(1)", "plain")}


@pytest.mark.parametrize("how", ["format", "Accept"])
def test_an_invoice_is_a_table_or_a_page_where_one_asks_for_it(issued, how):
    def ask(path, kind):
        if how == "format":
            return issued.get(path, params={"format": kind})
        return issued.get(path, headers={"Accept": f"text/{kind}, */*;q=0.1"})

    table = ask(f"/v1/invoices/{LAST}", "csv")
    assert table.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert f'filename="invoice-{LAST}.csv"' in table.headers["Content-Disposition"]
    (row,) = csv.DictReader(table.text.splitlines())
    assert (row["kind"], row["records"], row["state"]) == ("jobs", "3", "issued")
    records = ask(f"/v1/invoices/{LAST}/lines/1/records", "csv")
    rows = list(csv.DictReader(records.text.splitlines()))
    assert len(rows) == 3
    assert sum(int(each["amount_micro"]) for each in rows) == int(row["amount_micro"])
    assert not any(cell.startswith("=") for each in rows for cell in each.values())
    page = ask(f"/v1/invoices/{LAST}", "html")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert page.text.startswith("<!doctype html>")
    assert page.headers["Vary"] == table.headers["Vary"] == records.headers["Vary"] == "Accept"


def test_what_is_no_form_no_month_no_line_and_no_cursor_is_refused(issued, refused):
    path = f"/v1/invoices/{LAST}"
    assert refused(issued.get(path, params={"format": "pdf"}), "invalid_request")["field"] == "format"
    assert (
        refused(issued.get(f"{path}/lines/1/records", params={"format": "html"}), "invalid_request")["field"]
        == "format"
    )
    assert refused(issued.get("/v1/invoices/2026-13"), "invalid_request")["field"] == "month"
    for number in (0, -1, 10**9):
        assert refused(issued.get(f"{path}/lines/{number}/records"), "invalid_request")["field"] == "number"
    refused(issued.get(f"{path}/lines/2/records"), "not_found")
    refused(issued.get("/v1/invoices/2099-01"), "not_found")
    refused(issued.get("/v1/invoices/2001-01"), "not_found")
    for where in (f"{path}/lines/1/records", "/v1/invoices"):
        assert refused(issued.get(where, params={"cursor": "use_none"}), "invalid_request")["field"] == "cursor"


def test_the_running_month_is_a_preview_and_cannot_be_issued(billed, operator, refused):
    _, reader = billed
    preview = InvoiceDocument(**reader.get(f"/v1/invoices/{NOW}").json())
    assert (preview.state, preview.id, preview.issued_at) == ("preview", None, None)
    problem = refused(operator.post(f"/v1/admin/invoices/{NOW}"), "month_not_over")
    assert problem["field"] == "month"
    assert problem["retry_after_s"] > 0
    refused(operator.post(f"/v1/admin/invoices/{LAST}", params={"tenant": "nobody"}), "not_found")


@pytest.mark.usefixtures("issued")
def test_another_tenant_sees_its_own_month_and_nothing_of_this_one(server, refused):
    stranger = server.new_client(Role.BILLING)
    assert stranger.get("/v1/invoices").json()["invoices"] == []
    refused(stranger.get(f"/v1/invoices/{LAST}"), "not_found")
    refused(stranger.get(f"/v1/invoices/{LAST}/lines/1/records"), "not_found")


def test_the_books_are_compared_on_request_and_the_last_comparison_is_kept(own_server, orders):
    server = own_server()
    operator, member = server.new_client(Role.OPERATOR), server.new_client()
    first = ReconciliationReport(**operator.get("/v1/admin/reconciliation").json())
    orders.finished(member, orders.submit(member))
    assert ReconciliationReport(**operator.get("/v1/admin/reconciliation").json()) == first
    report = ReconciliationReport(**operator.post("/v1/admin/reconciliation").json())
    assert (report.clean, report.findings, report.counts) == (True, [], {})
    assert (first.compared["usage_records"], report.compared["usage_records"]) == (0, 1)
    assert "qpu_reconcile_findings 0.0" in operator.get("/metrics").text
    with server.service.database.write() as connection:
        connection.execute(text("UPDATE postings SET amount_micro = amount_micro + 7 WHERE account = 'revenue'"))
    wrong = ReconciliationReport(**operator.post("/v1/admin/reconciliation").json())
    assert (wrong.clean, wrong.counts) == (False, {"unbalanced_transaction": 1, "trial_balance": 1})
    assert [(one.expected, one.found, one.unit) for one in wrong.findings] == [(0, 7, "micro")] * 2
    assert "qpu_reconcile_findings 2.0" in operator.get("/metrics").text
