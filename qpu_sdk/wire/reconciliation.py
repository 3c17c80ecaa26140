"""The document of a reconciliation: what differs between the books, kind by kind."""

from __future__ import annotations

from datetime import datetime

from qpu_sdk.wire.models import ResponseDocument


class FindingDocument(ResponseDocument):
    """One difference."""

    kind: str
    subject: str
    tenant_id: str | None
    unit: str
    """Of the amounts; empty where the fact itself is the finding."""
    expected: int
    found: int
    sentence: str


class ReconciliationReport(ResponseDocument):
    """``POST /admin/reconciliation``: clean, or the first findings of each kind and how many there are."""

    at: datetime
    clean: bool
    compared: dict[str, int]
    """Rows that there were, by table."""
    counts: dict[str, int]
    """How many findings of each kind; a kind without any is left out."""
    findings: list[FindingDocument]
    """At most twenty of a kind, and a hundred in all."""
