"""Results: immutable bytes by their SHA-256, and a long poll for one that is not there yet."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from qpu_backend.domain.errors import NotFound
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.retention import ResultArchived
from qpu_backend.domain.tenancy import TenantScope  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.auth import ReadJobs  # noqa: TC001
from qpu_backend.http.documents import result_as_json
from qpu_backend.http.door import AtDoor, Door  # noqa: TC001
from qpu_backend.http.paths import JobId  # noqa: TC001
from qpu_backend.http.preconditions import is_known
from qpu_backend.http.problems import ProblemError
from qpu_backend.pipeline.notices import job_topic
from qpu_backend.stores import blobs, jobs
from qpu_sdk.wire.models import RESULT_MEDIA_TYPE

router = APIRouter(prefix="/jobs", tags=["jobs"])

_JSON: Final = "application/json"
_REREAD_S: Final = 2.0
"""How often a waiting route looks without a hint: jobs that another process ended."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What of a result the client asks for."""

    as_json: bool
    if_none_match: str | None


@router.get(
    "/{job_id}/result",
    response_class=Response,
    responses={200: {"content": {RESULT_MEDIA_TYPE: {}, _JSON: {}}}, 304: {"description": "You have it"}},
)
async def result(
    request: Request,
    door: AtDoor,
    scope: ReadJobs,
    job_id: JobId,
    wait: Annotated[float, Query(ge=0, le=60)] = 0,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """The immutable result, at most ``wait`` seconds from now. Its ETag is the SHA-256 of its bytes.

    ``Accept: application/json`` gives hex counts.
    """
    wanted = _Wanted(request.headers.get("accept", "").startswith(_JSON), if_none_match)
    deadline = time.monotonic() + wait
    with door.notices.watch_async(job_topic(job_id)) as hint:
        while True:
            hint.clear()
            left = deadline - time.monotonic()
            if left > 0 and not door.notices.closed and door.notices.is_unfinished(scope.tenant_id, job_id):
                await _hinted(hint, min(left, _REREAD_S))  # a read would only say that it is not done
                hint.clear()
            answer = await run_in_threadpool(_read, door, scope, job_id, wanted)
            left = deadline - time.monotonic()
            if isinstance(answer, Response):
                return answer
            if left <= 0 or door.notices.closed or JobState(answer.state).final:
                raise no_result(answer)
            await _hinted(hint, min(left, _REREAD_S))
            if not hint.is_set() and await request.is_disconnected():  # nobody cancels a route that does not stream
                raise no_result(answer)


async def _hinted(hint: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(hint.wait(), seconds)


def _read(door: Door, scope: TenantScope, job_id: str, wanted: _Wanted) -> Response | jobs.JobRow:
    """The answer, or the job that has no result (yet)."""
    with door.database.read() as connection:
        row = jobs.get_job(connection, scope, job_id)
        if row is None:
            raise NotFound("job", job_id)
        if row.result_sha is None:
            return row
        if row.archived_at_us is not None:
            raise ResultArchived(f"the result of job {job_id}")
        etag = f'"{row.result_sha}.json"' if wanted.as_json else f'"{row.result_sha}"'
        headers = {"ETag": etag, "Cache-Control": "private, immutable, max-age=31536000", "Vary": "Accept"}
        if is_known(etag, wanted.if_none_match):
            return Response(status_code=304, headers=headers)
        body = blobs.get_blob(connection, row.result_sha)
    if wanted.as_json:
        return Response(json.dumps(result_as_json(body)), headers=headers, media_type=_JSON)
    return Response(body, headers=headers, media_type=RESULT_MEDIA_TYPE)


def no_result(row: jobs.JobRow) -> ProblemError:
    """Why a job has no result (yet)."""
    match row.state:
        case JobState.FAILED:
            return ProblemError("job_failed", row.error_message or "the job failed")
        case JobState.CANCELLED:
            return ProblemError("job_cancelled", f"job {row.id} was cancelled; it has no result")
        case _:
            return ProblemError(
                "job_not_done", f"job {row.id} is {row.state}; wait for its final event", retry_after_s=1
            )
