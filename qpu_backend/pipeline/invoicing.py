"""Invoicing: a month that is over is closed for a tenant once, with its allowance posted in the same transaction.

What is recorded in a month belongs to it; records are dated inside the transactions that settle, so a month is left
alone until those that began in it must have ended. Before that, and for the running month, there are previews.

So a month's records can be summed before the transaction that closes it, which holds SQLite's only write lock: a record
is dated inside the transaction that makes it, no transaction takes as long as the grace, and no clock goes back across
it (one whose machine was set back goes on at half its speed, ``clocks.py``). Should a record come all the same,
reconciliation names it. What is refunded of the month afterwards changes what of it is free, and is read under a lock
that refunds take too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpu_backend.domain import ledger
from qpu_backend.domain.errors import NotFound
from qpu_backend.domain.invoices import Invoice, Line, Month, close, sum_up
from qpu_backend.domain.tenancy import TenantId
from qpu_backend.stores import access, audit, given_back, invoice_records, invoices, money
from qpu_backend.stores.errors import MissingRow
from qpu_backend.stores.ids import new_id
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import SystemScope, TenantScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.stores.access import TenantRow
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.invoice_records import RecordRow
    from qpu_backend.stores.invoices import InvoiceRow

GRACE_US: Final = 600_000_000
"""Ten minutes: no transaction takes as long, and clocks of several machines differ by less."""
_AT_A_TIME: Final = 1000


@dataclass(frozen=True, slots=True)
class Statement:
    """A tenant's invoice, or what it would be now.

    Attributes:
        issued: with its id and date; ``None`` for a preview.
    """

    tenant: TenantRow
    month: Month
    invoice: Invoice
    issued: InvoiceRow | None


@dataclass(frozen=True, slots=True)
class Issue:
    """What came of issuing a month.

    Attributes:
        new: how many invoices were made by this call.
        before: how many were there.
        total_micro: of all of them.
    """

    month: Month
    new: int
    before: int
    total_micro: int


class Invoicing:
    """Issues invoices and reads them. Safe to call from many threads."""

    def __init__(self, database: Database, scope: SystemScope, clock: WallClock) -> None:
        self._database = database
        self._scope = scope
        self._clock = clock
        self._log = logger("invoicing")

    # --- the operator ----------------------------------------------------------------------------------------------

    def issue(self, month: Month, *, actor: str, tenant: str | None = None) -> Issue:
        """Close a month: one invoice for every tenant of which anything was recorded in it. Again is the same.

        Args:
            month: that is over.
            actor: who asks.
            tenant: name of the only tenant that is meant; it gets an invoice even over nothing.

        Raises:
            MonthNotOver: the month's last record may not be there yet.
            NotFound: there is no tenant of that name.
        """
        month.require_over(self._clock.now_us(), GRACE_US)
        with self._database.read() as connection:
            if tenant is None:
                names = {row.id: row for row in access.list_tenants(connection, self._scope)}
                found = invoice_records.tenants_with_facts(connection, self._scope, month.interval)
                rows = [names[TenantId(tenant_id)] for tenant_id in found]
            else:
                rows = [self._tenant(connection, tenant)]
        new = total_micro = 0
        for row in rows:
            invoice, made = self._issue(row, month, actor)
            new += made
            total_micro += invoice.total_micro
        self._log.info("invoices_issued", month=str(month), new=new, total_micro=total_micro)
        return Issue(month, new, len(rows) - new, total_micro)

    def _issue(self, tenant: TenantRow, month: Month, actor: str) -> tuple[InvoiceRow, bool]:
        """One tenant, in a transaction of its own: a twin waits for its row, and finds it."""
        with self._database.read() as connection:
            found = invoices.find_invoice(connection, self._scope, tenant.id, str(month))
            if found is not None:
                return found, False
            lines, free_micro = self._sum_up(connection, self._scope, tenant, month)
        with self._database.write() as connection:
            given_back.lock_account(connection, self._scope, tenant.id)
            found = invoices.find_invoice(connection, self._scope, tenant.id, str(month))
            if found is not None:
                return found, False
            now_us = self._clock.now_us()
            later_micro = given_back.given_back_of(connection, self._scope, tenant.id, month.interval)
            invoice = close(lines, free_micro, later_micro)
            row = invoices.InvoiceRow(
                new_id("inv"),
                tenant.id,
                str(month),
                now_us,
                invoice.charged_micro,
                invoice.allowance_micro,
                invoice.total_micro,
            )
            if not invoices.insert_invoice(connection, self._scope, row, invoice.lines):
                found = invoices.find_invoice(connection, self._scope, tenant.id, str(month))
                if found is None:
                    raise MissingRow("invoice", f"{tenant.name} {month}")
                return found, False
            if invoice.allowance_micro:
                given = ledger.allowance(row.id, TenantId(tenant.id), invoice.allowance_micro)
                money.insert_postings(connection, self._scope, [given], posted_at_us=now_us)
            audit.append(
                connection,
                self._scope,
                actor=actor,
                action="invoice.issued",
                subject=row.id,
                tenant_id=tenant.id,
                facts={
                    "month": row.month,
                    "charged_micro": row.charged_micro,
                    "allowance_micro": row.allowance_micro,
                    "total_micro": row.total_micro,
                },
                now_us=now_us,
            )
        return row, True

    def of_tenant(self, tenant: str, month: Month) -> Statement:
        """A tenant's invoice of a month, or a preview of it.

        Raises:
            NotFound: there is no tenant of that name, the month has not begun, or was over before the tenant came.
        """
        with self._database.read() as connection:
            row = self._tenant(connection, tenant)
            return self._statement(connection, self._scope, row, month)

    def records_of_tenant(self, statement: Statement, number: int) -> Iterator[RecordRow]:
        """All raw records of a line of a tenant's invoice.

        Raises:
            NotFound: the invoice has no such line.
        """
        return self._all_records(self._scope, statement, _line(statement, number))

    # --- a tenant about itself -------------------------------------------------------------------------------------

    def own(self, scope: TenantScope, month: Month) -> Statement:
        """The caller's invoice of a month, or a preview of it.

        Raises:
            NotFound: the month has not begun, or was over before the tenant came.
        """
        with self._database.read() as connection:
            return self._statement(connection, scope, access.read_tenant(connection, scope), month)

    def own_page(
        self, scope: TenantScope, *, cursor: str | None, limit: int
    ) -> tuple[TenantRow, list[InvoiceRow], str | None]:
        """The caller's invoices that were issued, the newest month first.

        Raises:
            InvalidCursor: the cursor is not one that a page before this gave out.
        """
        with self._database.read() as connection:
            tenant = access.read_tenant(connection, scope)
            rows, following = invoices.list_invoices(connection, scope, cursor=cursor, limit=limit)
        return tenant, rows, following

    def own_records(
        self, scope: TenantScope, month: Month, number: int, *, cursor: str | None, limit: int
    ) -> tuple[Line, list[RecordRow], str | None]:
        """A page of the raw records of a line of the caller's invoice.

        Raises:
            NotFound: there is no such month, or no such line.
            InvalidCursor: the cursor is not one that a page before this gave out.
        """
        with self._database.read() as connection:
            tenant = access.read_tenant(connection, scope)
            line = _line(self._statement(connection, scope, tenant, month), number)
            rows, following = invoice_records.records_of_line(
                connection, scope, tenant.id, month.interval, line.group, cursor=cursor, limit=limit
            )
        return line, rows, following

    def all_own_records(self, scope: TenantScope, month: Month, number: int) -> Iterator[RecordRow]:
        """All raw records of a line of the caller's invoice.

        Raises:
            NotFound: there is no such month, or no such line.
        """
        statement = self.own(scope, month)
        return self._all_records(scope, statement, _line(statement, number))

    # --- both ------------------------------------------------------------------------------------------------------

    def _statement(
        self, connection: Connection, scope: SystemScope | TenantScope, tenant: TenantRow, month: Month
    ) -> Statement:
        row = invoices.find_invoice(connection, scope, tenant.id, str(month))
        if row is not None:
            lines = tuple(invoices.lines_of(connection, scope, row))
            return Statement(tenant, month, Invoice(lines, row.charged_micro, row.allowance_micro), row)
        if not Month.of(tenant.created_at_us) <= month <= Month.of(self._clock.now_us()):
            raise NotFound("invoice", str(month))
        lines, free_micro = self._sum_up(connection, scope, tenant, month)
        later_micro = given_back.given_back_of(connection, scope, tenant.id, month.interval)
        return Statement(tenant, month, close(lines, free_micro, later_micro), None)

    def _sum_up(
        self, connection: Connection, scope: SystemScope | TenantScope, tenant: TenantRow, month: Month
    ) -> tuple[tuple[Line, ...], int]:
        """The lines of what was recorded, and what is free in that month."""
        book = money.current_price_book(connection, month.interval.end_us - 1)
        facts = invoice_records.facts_of(connection, scope, tenant.id, month.interval)
        return sum_up(facts), 0 if book is None else book.free_micro_per_month

    def _all_records(self, scope: SystemScope | TenantScope, statement: Statement, line: Line) -> Iterator[RecordRow]:
        """Page by page: nobody holds a connection while a slow client reads."""
        cursor: str | None = None
        while True:
            with self._database.read() as connection:
                rows, cursor = invoice_records.records_of_line(
                    connection,
                    scope,
                    statement.tenant.id,
                    statement.month.interval,
                    line.group,
                    cursor=cursor,
                    limit=_AT_A_TIME,
                )
            yield from rows
            if cursor is None:
                return

    def _tenant(self, connection: Connection, name: str) -> TenantRow:
        row = access.find_tenant(connection, self._scope, name)
        if row is None:
            raise NotFound("tenant", name)
        return row


def _line(statement: Statement, number: int) -> Line:
    lines = statement.invoice.lines
    if not 0 < number <= len(lines):
        raise NotFound("line", f"{number} of the invoice of {statement.month}")
    return lines[number - 1]
