"""From the service's bytes to what the researcher asked for: results and replays, fetched, checked and unpacked."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from qpu_sdk.errors import ProtocolError, QPUJobTimeoutError, ReplayNotDoneError
from qpu_sdk.wire.answers import to_estimator_result, to_result, to_sampler_result
from qpu_sdk.wire.codec import digest
from qpu_sdk.wire.models import RESULT_MEDIA_TYPE, ProgramKind
from qpu_sdk.wire.paths import quoted
from qpu_sdk.wire.replays import ReplayRequest
from qpu_sdk.wire.results import decode_result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qiskit.primitives import PrimitiveResult
    from qiskit.result import Result

    from qpu_sdk.connection import Connection
    from qpu_sdk.transport import Transport
    from qpu_sdk.wire.answers import PubOnClient
    from qpu_sdk.wire.models import JobDocument
    from qpu_sdk.wire.results import JobResult

_REPLAY_S: Final = 20.0
"""How long one request for a replay is held."""


def fetch_result(transport: Transport, job_id: str, *, wait_s: float = 0.0) -> JobResult:
    """The result of a job, as it was measured.

    Args:
        transport: to the service.
        job_id: which.
        wait_s: how long the service may hold the answer back.

    Raises:
        JobNotDoneError: there is none yet.
        JobFailedError, JobCancelledError: there will be none.
        ProtocolError: it was damaged on its way.
    """
    return _intact(job_id, *transport.get_bytes(f"/jobs/{quoted(job_id)}/result", RESULT_MEDIA_TYPE, wait_s=wait_s))


def fetch_replay(transport: Transport, job_id: str, *, alone: bool, timeout: float | None) -> JobResult:
    """The replay of a job that is final, computed if it has not been yet.

    Raises:
        JobFailedError, JobCancelledError: there is nothing to replay.
        QPUJobTimeoutError: the time, in s, is over; asked for again, the replay goes on where it is.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    request = ReplayRequest(alone=alone).model_dump_json().encode()
    while True:
        left_s = _REPLAY_S if deadline is None else max(0.0, deadline - time.monotonic())
        try:
            body, etag = transport.post_for_bytes(
                f"/jobs/{quoted(job_id)}/replay", RESULT_MEDIA_TYPE, request, wait_s=min(left_s, _REPLAY_S)
            )
        except ReplayNotDoneError as error:
            if deadline is not None and time.monotonic() >= deadline:
                raise QPUJobTimeoutError(f"no replay of {job_id} within {timeout} s") from error
            time.sleep(min(left_s, error.retry_after_s or 0.0))
            continue
        return _intact(job_id, body, etag)


def as_asked(
    result: JobResult, document: JobDocument, pubs: Sequence[PubOnClient], connection: Connection, *, memory: bool
) -> Result | PrimitiveResult[Any]:
    """A result in the shape in which it was asked for.

    Args:
        result: as it was measured.
        document: of the job.
        pubs: what of the pubs stayed on the client; nothing for a job fetched later.
        connection: to the service.
        memory: whether a ``Result`` shows every shot.
    """
    match result.program:
        case ProgramKind.SAMPLER:
            return to_sampler_result(result, pubs)
        case ProgramKind.ESTIMATOR:
            return to_estimator_result(result, pubs)
        case ProgramKind.CIRCUITS:
            return to_result(
                result,
                pubs,
                backend_name=document.backend,
                backend_version=connection.version.version,
                memory=memory,
                date=document.created_at,
            )


def _intact(job_id: str, body: bytes, etag: str | None) -> JobResult:
    if etag is not None and etag != digest(body):
        raise ProtocolError(f"the result of {job_id} was damaged on its way: SHA-256 and ETag differ")
    return decode_result(body)
