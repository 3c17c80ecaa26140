"""Invoices as they were issued: once for a tenant and a month, and never changed.

What the lines were made of is in ``invoice_records.py``; ``domain/invoices.py`` has the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Integer, bindparam, insert, select

from qpu_backend.domain.invoices import Group, Line, LineKind
from qpu_backend.stores.cursors import page_of
from qpu_backend.stores.errors import ForeignTenant, InvalidCursor
from qpu_backend.stores.expressions import insert_ignoring
from qpu_backend.stores.rows import columns_of, parameters_of
from qpu_backend.stores.schema_money import invoice_lines, invoices

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpu_backend.domain.tenancy import SystemScope, TenantScope


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """An invoice as it was issued."""

    id: str
    tenant_id: str
    month: str
    issued_at_us: int
    charged_micro: int
    allowance_micro: int
    total_micro: int


def insert_invoice(connection: Connection, _scope: SystemScope, row: InvoiceRow, lines: Iterable[Line]) -> bool:
    """Store an invoice with its lines. Whether it is new, or that of this tenant and month is there already."""
    if connection.execute(_INSERT, _parameters(row)).rowcount == 0:
        return False
    values = [
        {
            "invoice_id": row.id,
            "number": line.number,
            "tenant_id": row.tenant_id,
            "kind": line.group.kind.value,
            "device_id": line.group.device_id,
            "lane": line.group.lane,
            "price_book": line.group.price_book,
            "records": line.records,
            "shots": line.shots,
            "device_us": line.device_us,
            "amount_micro": line.amount_micro,
        }
        for line in lines
    ]
    if values:
        connection.execute(_INSERT_LINES, values)
    return True


def find_invoice(
    connection: Connection, scope: SystemScope | TenantScope, tenant_id: str, month: str
) -> InvoiceRow | None:
    """The tenant's invoice of a month, if it was issued.

    Raises:
        ForeignTenant: a tenant's scope and another tenant's invoice.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    row = connection.execute(_FIND, {"tenant": tenant_id, "of_month": month}).one_or_none()
    return None if row is None else InvoiceRow(*row)


def lines_of(connection: Connection, scope: SystemScope | TenantScope, invoice: InvoiceRow) -> list[Line]:
    """The lines of an invoice, in order.

    Raises:
        ForeignTenant: a tenant's scope and another tenant's invoice.
    """
    ForeignTenant.unless_own(scope, invoice.tenant_id)
    return [
        Line(
            row.number,
            Group(LineKind(row.kind), row.device_id, row.lane, row.price_book),
            row.records,
            row.shots,
            row.device_us,
            row.amount_micro,
        )
        for row in connection.execute(_LINES, {"invoice": invoice.id})
    ]


def list_invoices(
    connection: Connection, scope: TenantScope, *, cursor: str | None = None, limit: int = 100
) -> tuple[list[InvoiceRow], str | None]:
    """A page of the tenant's invoices, the newest month first, and the cursor of the next page, ``None`` on the last.

    Raises:
        InvalidCursor: the cursor is not one that a page before this gave out.
    """
    query = _NEWEST
    values: dict[str, object] = {"tenant": scope.tenant_id, "limit": limit + 1}
    if cursor is not None:
        if not cursor.isprintable() or find_invoice(connection, scope, scope.tenant_id, cursor) is None:
            raise InvalidCursor
        query, values = _NEWEST.where(_EARLIER), values | {"of_month": cursor}
    rows = [InvoiceRow(*row) for row in connection.execute(query, values)]
    return page_of(rows, limit, lambda row: row.month)


_parameters: Final = parameters_of(InvoiceRow)
_ROW: Final = columns_of(InvoiceRow, invoices)
_OF_TENANT: Final = invoices.c.tenant_id == bindparam("tenant")
_INSERT: Final = insert_ignoring(invoices).execution_options(preserve_rowcount=True)
_INSERT_LINES: Final = insert(invoice_lines)
_FIND: Final = select(*_ROW).where(_OF_TENANT, invoices.c.month == bindparam("of_month"))
_LINES: Final = (
    select(invoice_lines).where(invoice_lines.c.invoice_id == bindparam("invoice")).order_by(invoice_lines.c.number)
)
_NEWEST: Final = (
    select(*_ROW).where(_OF_TENANT).order_by(invoices.c.month.desc()).limit(bindparam("limit", type_=Integer()))
)
_EARLIER: Final = invoices.c.month < bindparam("of_month")
