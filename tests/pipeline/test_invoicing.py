"""A month is closed once, its lines open into what was recorded, and nothing of it changes afterwards."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from booked import FREE_MICRO, GRACE_S, MONTH, SETTINGS, START_US, book_a_month
from sqlalchemy import select

from qpu_backend.domain.errors import NotFound
from qpu_backend.domain.invoices import LineKind, Month, MonthNotOver
from qpu_backend.http.invoice_page import invoice_page
from qpu_backend.http.invoice_tables import LINE_COLUMNS, invoice_csv, records_csv
from qpu_backend.http.invoices import invoice_document, record
from qpu_backend.pipeline.clocks import HandDrivenClock
from qpu_backend.stores import invoice_records, invoices, money
from qpu_backend.stores.errors import ForeignTenant, InvalidCursor
from qpu_backend.stores.schema_access import audit_log

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.pipeline.invoicing import Invoicing


class Closed:
    """A laboratory after a month of which nothing was invoiced yet."""

    def __init__(self, lab: Any, clock: HandDrivenClock, scopes: dict[str, TenantScope]) -> None:
        self.lab = lab
        self.clock = clock
        self.ada, self.bob = scopes["ada"], scopes["bob"]

    @property
    def office(self) -> Invoicing:
        return self.lab.service.door.invoicing

    def balance(self, scope: TenantScope) -> int:
        with self.lab.database.read() as connection:
            return money.balance(connection, scope)

    def noted(self) -> list[Any]:
        """What the audit log says of invoices."""
        with self.lab.database.read() as connection:
            return connection.execute(select(audit_log).where(audit_log.c.action == "invoice.issued")).all()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def month(request, tmp_path_factory, laboratories, make) -> Iterator[Closed]:
    url, clock = None, HandDrivenClock(START_US)
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database(tables=True))
    with laboratories(tmp_path_factory.mktemp("lab"), database=url, clock=clock, **SETTINGS) as lab:
        yield Closed(lab, clock, book_a_month(lab, clock, make))


def test_a_month_is_issued_when_it_is_over_and_no_transaction_of_it_can_be_on_its_way(month):
    month.clock.advance(seconds=-1)
    with pytest.raises(MonthNotOver) as refusal:
        month.office.issue(MONTH, actor="test")
    assert refusal.value.retry_at_us == month.clock.now_us() + 1_000_000 == MONTH.interval.end_us + GRACE_S * 1_000_000
    month.clock.advance(seconds=1)
    assert month.noted() == []


def test_a_preview_is_what_the_invoice_becomes_and_a_month_is_issued_once_whoever_asks(month):
    previews = {scope: month.office.own(scope, MONTH) for scope in (month.ada, month.bob)}
    assert {preview.issued for preview in previews.values()} == {None}
    before = {scope: month.balance(scope) for scope in previews}
    done = month.lab.at_once([lambda: month.office.issue(MONTH, actor="test")] * 3)
    assert sum(each.new for each in done) == 2
    assert {each.new + each.before for each in done} == {2}
    for scope, preview in previews.items():
        issued = month.office.own(scope, MONTH)
        assert issued.invoice == preview.invoice
        assert issued.issued.tenant_id == scope.tenant_id
        assert month.balance(scope) == before[scope] + issued.invoice.allowance_micro
    assert done[0].total_micro == sum(preview.invoice.total_micro for preview in previews.values())
    again = month.office.issue(MONTH, actor="test")
    assert (again.new, again.before, again.total_micro) == (0, 2, done[0].total_micro)
    assert sorted((row.tenant_id, row.actor, row.facts["month"]) for row in month.noted()) == sorted(
        (scope.tenant_id, "test", str(MONTH)) for scope in previews
    )
    month.lab.check_books()


def test_lines_are_jobs_by_lane_then_sessions_refunds_and_what_is_free(month):
    month.office.issue(MONTH, actor="test")
    ada, bob = (month.office.own(scope, MONTH).invoice for scope in (month.ada, month.bob))
    kinds = [(line.group.kind, line.group.lane, line.records) for line in ada.lines]
    assert kinds == [
        (LineKind.JOBS, "batch", 1),
        (LineKind.JOBS, "standard", 5),
        (LineKind.SESSIONS, "standard", 1),
        (LineKind.ALLOWANCE, None, 0),
    ]
    assert [(line.group.kind, line.records) for line in bob.lines] == [
        (LineKind.JOBS, 2),
        (LineKind.REFUNDS, 1),
        (LineKind.ALLOWANCE, 0),
    ]
    assert ada.allowance_micro == FREE_MICRO < ada.charged_micro
    assert 2 * bob.charged_micro == bob.lines[0].amount_micro
    with month.lab.database.read() as connection:
        spent = money.usage_totals(connection, month.ada, since_us=MONTH.interval.start_us)
    assert sum(line.shots for line in ada.lines) == spent.shots
    assert sum(line.amount_micro for line in ada.lines[:2]) == spent.price_micro


def test_a_line_opens_into_its_records_page_by_page_and_they_sum_to_it(month):
    for scope in (month.ada, month.bob):
        statement = month.office.own(scope, MONTH)
        for line in statement.invoice.lines:
            rows, cursor = [], None
            while True:
                same, page, cursor = month.office.own_records(scope, MONTH, line.number, cursor=cursor, limit=2)
                assert same == line
                rows += page
                if cursor is None:
                    break
            assert rows == list(month.office.all_own_records(scope, MONTH, line.number))
            assert len({row.id for row in rows}) == len(rows) == line.records
            sums = [sum(getattr(row, name) for row in rows) for name in ("shots", "device_us", "amount_micro")]
            if line.group.kind is not LineKind.ALLOWANCE:
                assert sums == [line.shots, line.device_us, line.amount_micro]
        for number in (0, len(statement.invoice.lines) + 1):
            with pytest.raises(NotFound):
                month.office.own_records(scope, MONTH, number, cursor=None, limit=2)
        for cursor in ("use_none", "\x00"):
            with pytest.raises(InvalidCursor):
                month.office.own_records(scope, MONTH, 1, cursor=cursor, limit=2)


def test_nobody_opens_what_is_another_tenants(month):
    month.office.issue(MONTH, actor="test")
    theirs = month.office.own(month.bob, MONTH)
    group = theirs.invoice.lines[0].group
    with month.lab.database.read() as connection:
        for call in (
            lambda: invoices.find_invoice(connection, month.ada, month.bob.tenant_id, str(MONTH)),
            lambda: invoices.lines_of(connection, month.ada, theirs.issued),
            lambda: list(invoice_records.facts_of(connection, month.ada, month.bob.tenant_id, MONTH.interval)),
            lambda: invoice_records.records_of_line(connection, month.ada, month.bob.tenant_id, MONTH.interval, group),
        ):
            with pytest.raises(ForeignTenant):
                call()
    assert month.office.own(month.ada, MONTH).issued.tenant_id == month.ada.tenant_id


def test_a_month_to_come_and_one_before_the_tenant_came_have_no_invoice(month):
    for text in ("2026-12", "2027-03"):
        with pytest.raises(NotFound):
            month.office.own(month.ada, Month.parse(text))
    running = month.office.own(month.ada, Month.of(month.clock.now_us()))
    assert (running.issued, running.invoice.lines, running.invoice.total_micro) == (None, (), 0)
    with pytest.raises(NotFound, match="tenant"):
        month.office.of_tenant("nobody", MONTH)
    with pytest.raises(NotFound, match="tenant"):
        month.office.issue(MONTH, actor="test", tenant="nobody")


def test_a_tenant_without_records_gets_an_invoice_only_when_it_is_named(month):
    scope = month.lab.tenant("idle")
    month.office.issue(MONTH, actor="test")
    rows, _ = issued_to(month, scope)
    assert rows == []
    assert month.office.issue(MONTH, actor="test", tenant="idle").new == 1
    rows, following = issued_to(month, scope)
    assert ([(row.month, row.total_micro) for row in rows], following) == ([(str(MONTH), 0)], None)
    month.lab.check_books()


def issued_to(month: Closed, scope: TenantScope, **page: Any) -> tuple[list[invoices.InvoiceRow], str | None]:
    _, rows, following = month.office.own_page(scope, **{"cursor": None, "limit": 10, **page})
    return rows, following


def test_invoices_are_listed_by_month_newest_first_in_pages(month):
    scope = month.lab.tenant("subscriber")
    months = [Month(2026, number) for number in range(1, 6)]
    for each in months:
        month.office.issue(each, actor="test", tenant="subscriber")
    seen, cursor = [], None
    while True:
        rows, cursor = issued_to(month, scope, cursor=cursor, limit=2)
        seen += [row.month for row in rows]
        if cursor is None:
            break
    assert seen == [str(each) for each in reversed(months)]
    for cursor in ("2026-06", "\x00"):
        with pytest.raises(InvalidCursor):
            issued_to(month, scope, cursor=cursor)


def test_a_table_has_a_row_a_line_and_no_cell_of_it_is_a_formula(month):
    month.office.issue(MONTH, actor="test")
    document = invoice_document(month.office.own(month.ada, MONTH))
    head, *rows = csv.reader(invoice_csv(document).splitlines())
    assert tuple(head) == LINE_COLUMNS
    assert [int(row[-1]) for row in rows] == [line.amount_micro for line in document.lines]
    assert sum(int(row[-1]) for row in rows) == document.total_micro
    line = month.office.own(month.ada, MONTH).invoice.lines[0]
    found = [record(line, row) for row in month.office.all_own_records(month.ada, MONTH, 1)]
    assert found[0].tags == ["=1+1"]
    spoilt = [
        one.model_copy(update={"device": begins + "1+1", "amount_micro": -5}) for begins in "=+-@\t\r" for one in found
    ]
    cells = csv.DictReader(io.StringIO("".join(records_csv(spoilt)), newline=""))
    for row, one in zip(cells, spoilt, strict=True):
        assert json.loads(row["tags"]) == ["=1+1"]
        assert row["device"] == f"'{one.device}"
        assert row["amount_micro"] == "-5"
        for cell in row.values():
            assert cell.lstrip("-").isdigit() or not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_many_records_come_in_pieces_and_none_is_lost(month):
    line = month.office.own(month.ada, MONTH).invoice.lines[0]
    (one,) = [record(line, row) for row in month.office.all_own_records(month.ada, MONTH, 1)]
    pieces = list(records_csv(one for _ in range(1234)))
    assert len(pieces) == 3
    assert len("".join(pieces).splitlines()) == 1235


def test_the_page_is_one_file_without_scripts_and_says_what_the_document_says(month):
    month.office.issue(MONTH, actor="test")
    document = invoice_document(month.office.own(month.ada, MONTH))
    evil = document.model_copy(update={"tenant": "<script>alert(1)</script>&"})
    page = invoice_page(evil)
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&amp;" in page
    for outside in ("http:", "https:", "src=", "href=", "@import", "url("):
        assert outside not in page
    assert document.id in page
    assert f"{document.total_micro / 1e6:,.6f}" in page
    assert page.count("<tr>") == len(document.lines) + 2
    assert "−0.020000" in page
    preview = invoice_page(document.model_copy(update={"state": "preview", "id": None, "issued_at": None}))
    assert "Preview of an invoice" in preview
    assert "Preview of an invoice" not in page
