"""Events by push: server-sent events for one job or all jobs of a tenant, and their long-poll face.

The table is the truth. A stream reads what is new, waits for a hint (or a second, for events another process wrote),
reads again. A waiting client holds no thread and no database connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from qpu_backend.domain.errors import NotFound
from qpu_backend.http.auth import ReadJobs, TenantScope, still_lets_in
from qpu_backend.http.documents import event_document
from qpu_backend.http.door import AtDoor, Door  # noqa: TC001
from qpu_backend.http.paths import JobId  # noqa: TC001
from qpu_backend.pipeline.notices import tenant_topic
from qpu_backend.stores import events, jobs
from qpu_backend.stores.errors import DatabaseTrouble
from qpu_sdk.wire.models import MAX_INTEGER, EventPage, JobEvent, JobState

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

router = APIRouter(tags=["events"])

_SSE = "text/event-stream"
_HEARTBEAT = ": alive\n\n"
_REREAD_S = 1.0
_PAGE = 200

LastEventId = Annotated[int | None, Header(ge=0, le=MAX_INTEGER)]
"""What a client saw last. One that is no number of ours is refused: resuming anywhere else would lose events."""


@router.get("/jobs/{job_id}/events", response_model=EventPage, responses={200: {"content": {_SSE: {}}}})
async def job_events(
    request: Request,
    door: AtDoor,
    scope: ReadJobs,
    job_id: JobId,
    after: Annotated[int, Query(ge=0, le=MAX_INTEGER)] = 0,
    wait: Annotated[float, Query(ge=0, le=60)] = 0,
    last_event_id: LastEventId = None,
) -> Response:
    """A job's events after a number: a page (at most ``wait`` s later), or a stream for ``text/event-stream``."""
    seen = after if last_event_id is None else last_event_id
    page = await run_in_threadpool(_read_job, door, scope, job_id, seen)
    if _SSE in request.headers.get("accept", ""):
        return _stream(request, door, scope, _follow_job(door, scope, job_id, seen))
    deadline = time.monotonic() + wait
    with door.notices.watch_async(tenant_topic(scope.tenant_id)) as hint:
        while True:
            hint.clear()
            page = await run_in_threadpool(_read_job, door, scope, job_id, seen)
            left = deadline - time.monotonic()
            if page or left <= 0 or door.notices.closed or await _finished(door, scope, job_id, seen):
                break
            await _hinted(hint, min(left, _REREAD_S))
            if await request.is_disconnected():  # nobody cancels a route that does not stream
                break
    final = any(event.state.final for event in page) or await _finished(door, scope, job_id, seen)
    return Response(EventPage(events=page, final=final).model_dump_json(), media_type="application/json")


@router.get("/events", response_class=StreamingResponse, responses={200: {"content": {_SSE: {}}}})
async def tenant_events(
    request: Request, door: AtDoor, scope: ReadJobs, last_event_id: LastEventId = None
) -> StreamingResponse:
    """Every event of the tenant's jobs from now on (or after ``Last-Event-ID``), as one stream."""
    newest = await run_in_threadpool(_current_cursor, door, scope)  # a cursor beyond it is of another database
    cursor = newest if last_event_id is None else min(last_event_id, newest)
    return _stream(request, door, scope, _follow_tenant(door, scope, cursor))


def _stream(request: Request, door: Door, scope: TenantScope, source: AsyncGenerator[str]) -> StreamingResponse:
    told = _while_let_in(request, door, scope, source)
    return StreamingResponse(told, media_type=_SSE, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})


async def _while_let_in(
    request: Request, door: Door, scope: TenantScope, source: AsyncGenerator[str]
) -> AsyncIterator[str]:
    """A stream, for as long as what opened it would open it again; looked at as often as its heart beats."""
    look_at = time.monotonic() + door.heartbeat_s
    async with contextlib.aclosing(source):
        async for text in source:
            if time.monotonic() >= look_at:
                if not await still_lets_in(request, scope):
                    return
                look_at = time.monotonic() + door.heartbeat_s
            yield text


async def _follow_job(door: Door, scope: TenantScope, job_id: str, seen: int) -> AsyncGenerator[str]:
    if await _finished(door, scope, job_id, seen):
        return
    changes = _changes(door, scope, lambda last: _read_job(door, scope, job_id, last), seen, by_cursor=False)
    async with contextlib.aclosing(changes):
        async for batch in changes:
            yield "".join(_frame(event.seq, event) for event in batch) or _HEARTBEAT
            if any(event.state.final for event in batch):
                return


async def _follow_tenant(door: Door, scope: TenantScope, cursor: int) -> AsyncGenerator[str]:
    yield f'event: hello\nid: {cursor}\ndata: {{"cursor": {cursor}}}\n\n'
    changes = _changes(door, scope, lambda last: _read_tenant(door, scope, last), cursor, by_cursor=True)
    async with contextlib.aclosing(changes):
        async for batch in changes:
            yield "".join(_frame(event.cursor, event) for event in batch) or _HEARTBEAT


async def _changes(
    door: Door, scope: TenantScope, read: Callable[[int], list[JobEvent]], last: int, *, by_cursor: bool
) -> AsyncGenerator[list[JobEvent]]:
    """What is new, as it comes; an empty list as a heartbeat."""
    quiet_since = time.monotonic()
    with door.notices.watch_async(tenant_topic(scope.tenant_id)) as hint:
        while not door.notices.closed:
            hint.clear()
            try:
                fresh = await run_in_threadpool(read, last)
            except DatabaseTrouble:  # a stream outlives it: whoever listens hears the rest afterwards
                fresh = []
            if fresh:
                last = fresh[-1].cursor if by_cursor else fresh[-1].seq
                yield fresh
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= door.heartbeat_s:
                yield []
                quiet_since = time.monotonic()
            if len(fresh) < _PAGE:  # that was all: the next read follows a hint
                await _hinted(hint, _REREAD_S)


async def _hinted(hint: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(hint.wait(), seconds)


def _frame(number: int, event: JobEvent) -> str:
    return f"id: {number}\nevent: {event.name}\ndata: {event.model_dump_json()}\n\n"


def _read_job(door: Door, scope: TenantScope, job_id: str, after: int) -> list[JobEvent]:
    with door.database.read() as connection:
        if jobs.get_job(connection, scope, job_id) is None:
            raise NotFound("job", job_id)
        return [
            event_document(row)
            for row in events.read_job_events(connection, scope, job_id, after_seq=after, limit=_PAGE)
        ]


def _read_tenant(door: Door, scope: TenantScope, after: int) -> list[JobEvent]:
    with door.database.read() as connection:
        return [
            event_document(row) for row in events.read_tenant_events(connection, scope, after_cursor=after, limit=_PAGE)
        ]


def _current_cursor(door: Door, scope: TenantScope) -> int:
    with door.database.read() as connection:
        return events.current_cursor(connection, scope)


async def _finished(door: Door, scope: TenantScope, job_id: str, seen: int) -> bool:
    """Whether the job is final and event ``seen`` was its last."""

    def read() -> bool:
        with door.database.read() as connection:
            row = jobs.get_job(connection, scope, job_id)
            return row is not None and JobState(row.state).final and row.event_seq <= seen

    return await run_in_threadpool(read)
