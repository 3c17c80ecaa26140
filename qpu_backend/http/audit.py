"""The audit log: a tenant's own matters for its admins and auditors, everybody's for who runs the service."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - FastAPI reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Query

from qpu_backend.http.auth import Administer, ReadAudit  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import micros, wall
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.stores import audit
from qpu_backend.stores.audit import AuditRow, Search
from qpu_sdk.wire.audit import AuditEntry, AuditPage, AuditRecord, AuditRecordPage
from qpu_sdk.wire.models import SmallText  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Mapping

router = APIRouter(tags=["audit"])

Cursor = Annotated[str | None, Query(max_length=256)]
Limit = Annotated[int, Query(ge=1, le=100)]


@router.get("/audit")
def own(
    door: AtDoor,
    scope: ReadAudit,
    action: SmallText | None = None,
    since: datetime | None = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> AuditPage:
    """What was done in this tenant's matters, newest first; ``action`` may be a noun: ``key`` for every ``key.…``."""
    search = Search(scope.tenant_id, action, _us(since))
    with door.database.read() as connection:
        rows, following = audit.list_own_rows(connection, scope, search, cursor=cursor, limit=limit)
    return AuditPage(entries=[AuditEntry(**_told(row)) for row in rows], next_cursor=following)


@router.get("/admin/audit")
def everybodys(
    door: AtDoor,
    _scope: Administer,
    tenant_id: SmallText | None = None,
    action: SmallText | None = None,
    since: datetime | None = None,
    cursor: Cursor = None,
    limit: Limit = 20,
) -> AuditRecordPage:
    """What was done on this service, newest first, with each row's place in the chain."""
    search = Search(tenant_id, action, _us(since))
    with door.database.read() as connection:
        rows, following = audit.list_rows(connection, door.system, search, cursor=cursor, limit=limit)
    records = [AuditRecord(**_told(row), tenant_id=row.entry.tenant_id, number=row.number) for row in rows]
    return AuditRecordPage(entries=records, next_cursor=following)


def _told(row: AuditRow) -> Mapping[str, Any]:
    entry = row.entry
    return {
        "id": entry.id,
        "at": wall(entry.at_us),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "facts": entry.facts,
        "sealed": row.number is not None,
    }


def _us(since: datetime | None) -> int | None:
    return None if since is None else micros(since, "since")
