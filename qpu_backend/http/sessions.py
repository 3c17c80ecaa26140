"""Sessions: open, look, keep alive, close. A foreign session is 404 on every route."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query, Response

from qpu_backend.domain.errors import NotFound
from qpu_backend.http.auth import ReadJobs, SubmitJobs  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import wall, wall_or_none
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.http.paths import SessionId  # noqa: TC001
from qpu_backend.http.shortcut import LONGEST_KEY
from qpu_backend.stores import sessions
from qpu_sdk.wire.sessions import SessionDocument, SessionKind, SessionPage, SessionRequest, SessionState

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.http.door import Door
    from qpu_backend.stores.sessions import SessionRow

router = APIRouter(prefix="/sessions", tags=["sessions"])


@router.post("", status_code=201)
def open_session(
    door: AtDoor,
    scope: SubmitJobs,
    order: SessionRequest,
    response: Response,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=LONGEST_KEY)] = None,
) -> SessionDocument:
    """Open a session. A repeat with the same ``Idempotency-Key`` answers the same session."""
    row = door.sessions.open(scope, order, idempotency_key)
    response.headers["Location"] = f"/v1/sessions/{row.id}"
    return _told(door, scope, row)


@router.get("")
def list_sessions(
    door: AtDoor,
    scope: ReadJobs,
    open_only: Annotated[bool, Query(alias="open")] = False,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> SessionPage:
    """The tenant's sessions, newest first; with ``open``, those that are not closed."""
    _end_what_is_over(door)
    with door.database.read() as connection:
        rows, following = sessions.list_sessions(connection, scope, open_only=open_only, cursor=cursor, limit=limit)
        unfinished = sessions.unfinished_by_session(connection, scope)
        documents = [_document(door, connection, row, unfinished.get(row.id, 0)) for row in rows]
    return SessionPage(sessions=documents, next_cursor=following)


@router.get("/{session_id}")
def look(door: AtDoor, scope: ReadJobs, session_id: SessionId) -> SessionDocument:
    """What the session holds, how long it lives, and what it has cost so far."""
    _end_what_is_over(door)
    with door.database.read() as connection:
        row = sessions.get_session(connection, scope, session_id)
    if row is None:
        raise NotFound("session", session_id)
    return _told(door, scope, row)


@router.post("/{session_id}/touch")
def touch(door: AtDoor, scope: SubmitJobs, session_id: SessionId) -> SessionDocument:
    """Keep the session alive for another TTL from now."""
    return _told(door, scope, door.sessions.touch(scope, session_id))


@router.delete("/{session_id}")
def close(door: AtDoor, scope: SubmitJobs, session_id: SessionId) -> SessionDocument:
    """Take no jobs any more and end with the last one: at once where none waits or runs."""
    return _told(door, scope, door.sessions.close(scope, session_id))


def _end_what_is_over(door: Door) -> None:
    for device_id in door.fleet.device_ids:
        door.sessions.expire(device_id)


def _told(door: Door, scope: TenantScope, row: SessionRow) -> SessionDocument:
    with door.database.read() as connection:
        unfinished = sessions.unfinished_by_session(connection, scope).get(row.id, 0)
        return _document(door, connection, row, unfinished)


def _document(door: Door, connection: Connection, row: SessionRow, unfinished: int) -> SessionDocument:
    return SessionDocument(
        id=row.id,
        backend=row.backend,
        state=SessionState(row.term.state),
        opened_at=wall(row.opened_at_us),
        expires_at=wall(row.expires_at_us),
        ends_at=wall(row.ends_at_us),
        closed_at=wall_or_none(row.closed_at_us),
        ttl_s=row.ttl_us / 1e6,
        max_qubits=row.qubits,
        region=row.region,
        lane=row.lane,
        unfinished_jobs=unfinished,
        held_us_qubits=row.held_cost,
        price_book=row.price_book,
        price_micro=door.sessions.price_so_far(connection, row),
        kind=SessionKind(row.kind),
        on_failure="cancel_rest" if row.on_failure == "cancel_rest" else "continue",
        max_cost_micro=row.max_cost_micro,
        spent_micro=row.spent_micro,
    )
