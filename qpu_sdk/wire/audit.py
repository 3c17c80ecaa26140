"""The documents of the audit log: who did what to whom."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from qpu_sdk.wire.models import ResponseDocument


class AuditEntry(ResponseDocument):
    """One row of a tenant's own matters."""

    id: str
    at: datetime
    actor: str
    """``principal:<id>`` of this tenant, ``operator``, ``cli`` or ``service``."""
    action: str
    """What was done: ``key.created``."""
    subject: str
    """Id of what it was done to."""
    facts: dict[str, Any]
    sealed: bool
    """Whether it is in the chain; until then, for a second or two, it is not protected."""


class AuditPage(ResponseDocument):
    """``GET /audit``: newest first."""

    entries: list[AuditEntry]
    next_cursor: str | None


class AuditRecord(AuditEntry):
    """One row as who runs the service sees it: whose matter it is, and its place in the chain."""

    tenant_id: str | None
    number: int | None


class AuditRecordPage(ResponseDocument):
    """``GET /admin/audit``: everybody's, newest first."""

    entries: list[AuditRecord]
    next_cursor: str | None
