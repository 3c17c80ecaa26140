"""Jobs: submit, list, look, metering, cancel. A foreign job is 404 on every route."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - FastAPI reads annotations at run time
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response
from pydantic import ValidationError

from qpu_backend.domain.errors import NotFound
from qpu_backend.domain.jobs import JobState as DomainState
from qpu_backend.http.auth import CancelJobs, ReadJobs, SubmitJobs  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import job_document, metering_record, micros
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.http.paths import JobId  # noqa: TC001
from qpu_backend.http.problems import code_of, request_id, validation_problem
from qpu_backend.http.shortcut import LONGEST_KEY
from qpu_backend.pipeline.outlook import outlook
from qpu_backend.stores import batches, jobs, money
from qpu_backend.stores.jobs import JobFilter
from qpu_sdk.wire.models import (
    JobDocument,
    JobPage,
    JobRequest,
    JobState,
    ProgramKind,
    SmallText,
)
from qpu_sdk.wire.usage import MeteringRecord  # noqa: TC001

router = APIRouter(prefix="/jobs", tags=["jobs"])

_JSON = "application/json"


def body_of(document: str) -> dict[str, Any]:
    """What OpenAPI says of a route that reads this document from its raw body."""
    schema = {"$ref": f"#/components/schemas/{document}"}
    return {"requestBody": {"required": True, "content": {_JSON: {"schema": schema}}}}


OF_A_JOB_REQUEST: Final = body_of("JobRequest")


async def _raw_body(request: Request) -> bytes:
    return await request.body()


RawBody = Annotated[bytes, Depends(_raw_body)]
"""A body that FastAPI does not parse. In a signature it stands after the scope: it is read once that is known."""


def malformed(request: Request, error: ValidationError) -> Response:
    """The problem of a body that is not the document that the route reads."""
    errors = [dict(fact) for fact in error.errors(include_url=False, include_context=False, include_input=False)]
    return validation_problem(errors, request_id(request))


@router.post("", status_code=202, response_model=JobDocument, openapi_extra=OF_A_JOB_REQUEST)
def submit(
    request: Request,
    door: AtDoor,
    scope: SubmitJobs,
    raw: RawBody,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=LONGEST_KEY)] = None,
) -> Response:
    """Admit a job. A repeat with the same ``Idempotency-Key`` answers the same job."""
    try:
        order = JobRequest.model_validate_json(raw)
        row, replayed = door.admission.admit(scope, order, raw, idempotency_key)
    except ValidationError as error:
        door.metrics.jobs_refused.labels(code="invalid_request").inc()
        return malformed(request, error)
    except Exception as error:
        door.metrics.jobs_refused.labels(code=code_of(error)).inc()
        raise
    document = job_document(row, replayed=replayed)
    return Response(document.model_dump_json(), 202, {"Location": f"/v1/jobs/{row.id}"}, _JSON)


@router.get("")
def list_jobs(
    door: AtDoor,
    scope: ReadJobs,
    state: Annotated[list[JobState], Query(max_length=5)] = [],  # noqa: B006 - FastAPI copies it
    backend: SmallText | None = None,
    tag: Annotated[list[SmallText], Query(max_length=16)] = [],  # noqa: B006
    session: SmallText | None = None,
    program: ProgramKind | None = None,
    created_after: datetime | None = None,
    created_before: datetime | None = None,
    cursor: Annotated[str | None, Query(max_length=256)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> JobPage:
    """The tenant's jobs, newest first: in one of several states, with all of several tags, of a span of wall time.

    A backend that there is not is said to be unknown, unless there are jobs on it from when there was.
    """
    filters = JobFilter(
        states=tuple(DomainState(each) for each in state),
        backend=backend,
        tags=tuple(dict.fromkeys(tag)),
        created_from_us=None if created_after is None else micros(created_after, "created_after"),
        created_until_us=None if created_before is None else micros(created_before, "created_before"),
        session=session,
        program=program,
    )
    with door.database.read() as connection:
        page = jobs.list_jobs(connection, scope, filters, cursor=cursor, limit=limit)
        if backend is not None and not page.jobs:
            door.fleet.backend(connection, backend, scope)
        placed = [batches.placement_of_job(connection, scope, row.id) for row in page.jobs]
    documents = [
        job_document(row, snapshot_id=None if one is None else one.snapshot_id)
        for row, one in zip(page.jobs, placed, strict=True)
    ]
    return JobPage(jobs=documents, next_cursor=page.next_cursor)


def _own(job: jobs.JobRow | None, job_id: str) -> jobs.JobRow:
    if job is None:
        raise NotFound("job", job_id)
    return job


@router.get("/{job_id}")
def look(door: AtDoor, scope: ReadJobs, job_id: JobId) -> JobDocument:
    """Everything but the result; while the job waits, why it waits."""
    with door.database.read() as connection:
        row = _own(jobs.get_job(connection, scope, job_id), job_id)
        waits = outlook(connection, scope, row)
        placement = batches.placement_of_job(connection, scope, job_id)
    return job_document(row, waits=waits, snapshot_id=None if placement is None else placement.snapshot_id)


@router.get("/{job_id}/metering")
def metering(door: AtDoor, scope: ReadJobs, job_id: JobId) -> MeteringRecord:
    """What the job used and costs; an immutable fact once it is final."""
    with door.database.read() as connection:
        row = _own(jobs.get_job(connection, scope, job_id), job_id)
        usage = money.usage_of_job(connection, scope, job_id)
        placement = batches.placement_of_job(connection, scope, job_id)
    return metering_record(row, usage, placement)


@router.post("/{job_id}/cancel")
def cancel(door: AtDoor, scope: CancelJobs, job_id: JobId) -> JobDocument:
    """Cancel. A queued job ends free; a running batch is never cut: the result is discarded, the shots are billed."""
    row = door.cancellation.cancel(scope, job_id)
    return job_document(row)
