"""The documents of invoices: what a tenant owes for a month, and the raw records behind every line of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from qpu_sdk.wire.models import ResponseDocument

InvoiceFormat = Literal["json", "csv", "html"]


class InvoiceLineDocument(ResponseDocument):
    """The sum of the records that have kind, device, lane and price book in common."""

    number: int
    kind: Literal["jobs", "sessions", "refunds", "allowance"]
    device: str | None
    lane: str | None
    price_book: str | None
    records: int
    shots: int
    device_us: int
    amount_micro: int


class InvoiceSummary(ResponseDocument):
    """One of the tenant's invoices that were issued."""

    id: str
    month: str
    issued_at: datetime
    charged_micro: int
    allowance_micro: int
    total_micro: int


class InvoicePage(ResponseDocument):
    """``GET /invoices``, the newest month first."""

    invoices: list[InvoiceSummary]
    next_cursor: str | None


class InvoiceDocument(ResponseDocument):
    """``GET /invoices/{month}``: the invoice, or a preview of a month that has none yet."""

    id: str | None
    """``None`` for a preview."""
    state: Literal["issued", "preview"]
    tenant: str
    month: str
    """Of UTC, ``2026-11``. What was recorded in it belongs to it."""
    starts_at: datetime
    ends_at: datetime
    issued_at: datetime | None
    lines: list[InvoiceLineDocument]
    charged_micro: int
    """The sum of the lines before the allowance."""
    allowance_micro: int
    """What of it was free."""
    total_micro: int


class InvoiceRecord(ResponseDocument):
    """One raw record: of a job, of a session that was closed, or a refund."""

    id: str
    kind: Literal["jobs", "sessions", "refunds"]
    recorded_at: datetime
    principal_id: str | None
    job_id: str | None
    device: str | None
    lane: str | None
    price_book: str | None
    outcome: str | None
    """Final state of the job."""
    shots: int
    device_us: int
    footprint_qubits: int | None
    held_us_qubits: int | None
    """What the session kept and nobody used."""
    amount_micro: int
    tags: list[str]


class InvoiceRecordPage(ResponseDocument):
    """``GET /invoices/{month}/lines/{number}/records``, by id."""

    line: InvoiceLineDocument
    records: list[InvoiceRecord]
    next_cursor: str | None


class IssueReport(ResponseDocument):
    """``POST /admin/invoices/{month}``: what came of it."""

    month: str
    issued: int
    """By this call."""
    issued_before: int
    total_micro: int
    """Of all of them."""
