"""Invoices and their raw records as CSV, for spreadsheets: no cell of it is ever taken for a formula."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from qpu_sdk.wire.invoices import InvoiceDocument, InvoiceRecord

_BEGINS_A_FORMULA: Final = tuple("=+-@\t\r\n|%")
_ROWS_AT_A_TIME: Final = 500

LINE_COLUMNS: Final = (
    "invoice",
    "state",
    "tenant",
    "month",
    "line",
    "kind",
    "device",
    "lane",
    "price_book",
    "records",
    "shots",
    "device_us",
    "amount_micro",
)
RECORD_COLUMNS: Final = (
    "id",
    "kind",
    "recorded_at",
    "principal_id",
    "job_id",
    "device",
    "lane",
    "price_book",
    "outcome",
    "shots",
    "device_us",
    "footprint_qubits",
    "held_us_qubits",
    "amount_micro",
    "tags",
)


def invoice_csv(invoice: InvoiceDocument) -> str:
    """One row a line; the sum of ``amount_micro`` is the total."""
    head = (invoice.id, invoice.state, invoice.tenant, invoice.month)
    rows = (
        (
            *head,
            line.number,
            line.kind,
            line.device,
            line.lane,
            line.price_book,
            line.records,
            line.shots,
            line.device_us,
            line.amount_micro,
        )
        for line in invoice.lines
    )
    return "".join(_written(LINE_COLUMNS, rows))


def records_csv(records: Iterable[InvoiceRecord]) -> Iterator[str]:
    """One row a record, in pieces of some hundred rows. Tags are one cell, a JSON array."""
    return _written(
        RECORD_COLUMNS,
        (
            (
                record.id,
                record.kind,
                record.recorded_at.isoformat(),
                record.principal_id,
                record.job_id,
                record.device,
                record.lane,
                record.price_book,
                record.outcome,
                record.shots,
                record.device_us,
                record.footprint_qubits,
                record.held_us_qubits,
                record.amount_micro,
                json.dumps(record.tags, ensure_ascii=False),
            )
            for record in records
        ),
    )


def _written(columns: tuple[str, ...], rows: Iterable[tuple[str | int | None, ...]]) -> Iterator[str]:
    page = io.StringIO()
    out = csv.writer(page, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")  # RFC 4180
    out.writerow(columns)
    for number, row in enumerate(rows, start=1):
        out.writerow([_harmless(cell) for cell in row])
        if number % _ROWS_AT_A_TIME == 0:
            yield page.getvalue()
            page.seek(0)
            page.truncate()
    yield page.getvalue()


def _harmless(cell: str | int | None) -> str | int:
    """Numbers are numbers, negative ones too; a text that a spreadsheet would compute is shown as it is instead."""
    if cell is None:
        return ""
    if isinstance(cell, str) and cell.startswith(_BEGINS_A_FORMULA):
        return f"'{cell}"
    return cell
