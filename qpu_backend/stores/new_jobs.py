"""Jobs as they are put into the queue: several in one statement. What becomes of them is in ``job_states.py``."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from qpu_backend.domain.jobs import JobState
from qpu_backend.stores.errors import DatabaseBusy, ForeignTenant, IdempotencyKeyTaken
from qpu_backend.stores.expressions import insert_ignoring
from qpu_backend.stores.given import given_rows, put
from qpu_backend.stores.jobs import JobRow
from qpu_backend.stores.rows import parameters_of
from qpu_backend.stores.schema import job_tags, jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import TenantScope


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job as admission stores it: queued, never started.

    Attributes:
        quota_start: what :func:`quota.reserve` returned.
        fairness_cost: µs · qubit, expected; ``finish_tag = start_tag + fairness_cost / weight``.
        legs: how it is cut, with the footprint and the cost of its first leg; ``None`` when it runs in one piece.
    """

    id: str
    tenant_id: str
    principal_id: str
    device_id: str
    backend: str
    program: str
    created_at_us: int
    tags: list[str]
    options: Mapping[str, Any]
    seed: int
    calibration_id: str | None
    idempotency_key: str | None
    raw_digest: str
    canonical_digest: str
    program_sha: str
    footprint: Mapping[str, Any]
    num_circuits: int
    num_executions: int
    shots: int
    device_us: int
    footprint_qubits: int
    price_micro: int
    price_book: str
    max_cost_micro: int | None
    quota_start: list[Any]
    start_tag: int
    finish_tag: int
    fairness_cost: int
    lane: str = "standard"
    start_by_us: int | None = None
    slice: str | None = None
    session_id: str | None = None
    legs: Mapping[str, Any] | None = None
    num_legs: int = 1
    quote_id: str | None = None


def insert_jobs(
    connection: Connection, scopes: Sequence[TenantScope], new: Sequence[NewJob], *, event_seq: int = 0
) -> list[JobRow | None]:
    """Put jobs into the queue, each with so many events that its transaction is about to insert.

    Returns:
        Each job as it is stored; ``None`` where one was stored before under its idempotency key: give the transaction
        up, and do it again without that one.

    Raises:
        ForeignTenant: a job names another tenant or principal than its scope.
        DatabaseBusy: the bytes of a program went to the archive a moment ago; the transaction is lost.
    """
    for scope, job in zip(scopes, new, strict=True):
        if (job.tenant_id, job.principal_id) != (scope.tenant_id, scope.principal_id):
            raise ForeignTenant(f"job {job.id} names {job.tenant_id}/{job.principal_id}, not the principal that asks")
    rows = [JobRow(**_parameters(job), **_AS_NEW, event_seq=event_seq) for job in new]
    # By their keys: who waits for whom has one direction only, and of one key the first that is given is stored.
    ordered = sorted(rows, key=lambda row: (row.tenant_id, row.principal_id, row.idempotency_key or ""))
    try:
        stored = set(connection.execute(_INSERT, given_rows(map(_row_parameters, ordered))).scalars())
    except IntegrityError as error:
        if "program_sha" in str(error.orig):  # the same bytes were there, and went to the archive a moment ago
            raise DatabaseBusy("the program's bytes were being archived; submit it again") from error
        raise
    tagged = [
        {"tenant_id": row.tenant_id, "tag": tag, "created_at_us": row.created_at_us, "job_id": row.id}
        for row in rows
        if row.id in stored
        for tag in dict.fromkeys(row.tags)
    ]
    if tagged:
        connection.execute(_INSERT_TAGS, tagged)
    return [row if row.id in stored else None for row in rows]


def insert_job(connection: Connection, scope: TenantScope, job: NewJob) -> JobRow:
    """Put one job into the queue.

    Raises:
        IdempotencyKeyTaken: a concurrent twin was stored first; the transaction is lost.
        ForeignTenant, DatabaseBusy: as :func:`insert_jobs`.
    """
    (row,) = insert_jobs(connection, [scope], [job])
    if row is None:
        raise IdempotencyKeyTaken(str(job.idempotency_key))
    return row


_parameters: Final = parameters_of(NewJob)
_row_parameters: Final = parameters_of(JobRow)
_LATER: Final = {field.name for field in fields(JobRow)} - {field.name for field in fields(NewJob)} - {"event_seq"}
_AS_NEW: Final[dict[str, Any]] = dict.fromkeys(_LATER) | {
    "state": JobState.QUEUED,
    "leg": 0,
    "simulator_cpu_us": 0,
    "solo": False,
    "cancel_requested": False,
}
_INSERT_TAGS: Final = insert(job_tags)
_INSERT: Final = put(insert_ignoring(jobs), jobs, *(field.name for field in fields(JobRow))).returning(jobs.c.id)
