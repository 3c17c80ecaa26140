"""Replays: a job's record runs once more, as it was or without the neighbours; the answer is a result."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from qpu_backend.http.auth import ReadJobs  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import result_as_json
from qpu_backend.http.door import AtDoor, Door  # noqa: TC001
from qpu_backend.http.paths import JobId  # noqa: TC001
from qpu_backend.http.problems import ProblemError
from qpu_backend.http.results import no_result
from qpu_backend.pipeline.replays import Replay, ReplayFailed, Replays, ReplaysBusy
from qpu_sdk.wire.codec import digest
from qpu_sdk.wire.models import RESULT_MEDIA_TYPE
from qpu_sdk.wire.replays import ReplayRequest

if TYPE_CHECKING:
    from concurrent.futures import Future

router = APIRouter(prefix="/jobs", tags=["jobs"])

_JSON: Final = "application/json"
_AS_IT_WAS: Final = ReplayRequest()
_LOOK_S: Final = 1.0
"""How often a waiting route looks whether the service is closing."""


@router.post(
    "/{job_id}/replay",
    response_class=Response,
    responses={200: {"content": {RESULT_MEDIA_TYPE: {}, _JSON: {}}}},
)
async def replay(
    request: Request,
    door: AtDoor,
    scope: ReadJobs,
    job_id: JobId,
    order: ReplayRequest = _AS_IT_WAS,
    wait: Annotated[float, Query(ge=0, le=60)] = 20,
) -> Response:
    """The job's counts again, or with ``alone`` what they would have been without its neighbours; free.

    The answer comes at most ``wait`` seconds from now; what takes longer goes on, and is there when it is asked for
    again. ``Accept: application/json`` gives hex counts.
    """
    found = await run_in_threadpool(door.replays.find, scope, job_id, without_neighbours=order.alone)
    if not isinstance(found, Replay):
        raise no_result(found)
    try:
        answered = await run_in_threadpool(door.replays.start, found)
        await _end_of(answered, wait, door)
        if not answered.done():
            message = f"the replay of {job_id} is still being computed; ask again"
            raise ProblemError("replay_not_done", message, retry_after_s=1)
        body = await run_in_threadpool(Replays.package, found, answered)
    except ReplaysBusy:
        message = "as many replays are being computed as this service computes at a time; ask again"
        raise ProblemError("unavailable", message, retry_after_s=1) from None
    except ReplayFailed as error:
        message = "the replay could not be computed now; ask again"
        raise ProblemError("unavailable", message, retry_after_s=1) from error
    headers = {"ETag": f'"{digest(body)}"', "Cache-Control": "private, no-store"}
    if request.headers.get("accept", "").startswith(_JSON):
        return Response(json.dumps(await run_in_threadpool(result_as_json, body)), headers=headers, media_type=_JSON)
    return Response(body, headers=headers, media_type=RESULT_MEDIA_TYPE)


async def _end_of(answered: Future[bytes], wait_s: float, door: Door) -> None:
    """Wait until it is done or the time is over; what is computed goes on even when this task is cancelled."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell(_: Future[bytes]) -> None:
        with suppress(RuntimeError):  # the loop has closed: nobody waits there any more
            loop.call_soon_threadsafe(ended.set)

    answered.add_done_callback(tell)
    deadline = time.monotonic() + wait_s
    while not ended.is_set() and (left := deadline - time.monotonic()) > 0 and not door.notices.closed:
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), min(left, _LOOK_S))
