"""Jobs: the rows that are the queue, as tenants and the dispatcher read them. ``job_states.py`` changes them."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    Connection,
    Select,
    String,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    select,
    tuple_,
    types,
)
from sqlalchemy.exc import IntegrityError

from qpu_backend.domain.jobs import JobState
from qpu_backend.stores.database import is_duplicate
from qpu_backend.stores.errors import DatabaseBusy, ForeignTenant, IdempotencyKeyTaken, InvalidCursor
from qpu_backend.stores.expressions import ArrayElements
from qpu_backend.stores.rows import columns_of, parameters_of
from qpu_backend.stores.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from qpu_backend.domain.tenancy import SystemScope, TenantScope


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


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job, all of it but its events."""

    id: str
    tenant_id: str
    principal_id: str
    device_id: str
    backend: str
    program: str
    state: JobState
    created_at_us: int
    started_at_us: int | None
    finished_at_us: int | None
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
    lane: str
    start_by_us: int | None
    slice: str | None
    session_id: str | None
    legs: Mapping[str, Any] | None
    num_legs: int
    leg: int
    simulator_cpu_us: int
    solo: bool
    cancel_requested: bool
    event_seq: int
    result_sha: str | None
    error_code: str | None
    error_message: str | None
    quote_id: str | None
    archived_at_us: int | None


@dataclass(frozen=True, slots=True)
class QueuedJobRow:
    """What the dispatcher reads of a waiting job."""

    id: str
    tenant_id: str
    principal_id: str
    backend: str
    program: str
    options: Mapping[str, Any]
    seed: int
    created_at_us: int
    program_sha: str
    footprint: Mapping[str, Any]
    num_executions: int
    shots: int
    device_us: int
    footprint_qubits: int
    start_tag: int
    finish_tag: int
    fairness_cost: int
    start_by_us: int | None
    slice: str | None
    session_id: str | None
    solo: bool


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs to list; ``None`` means any."""

    state: JobState | None = None
    backend: str | None = None
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class JobPageRows:
    """A page of jobs, newest first, and the cursor of the next page, ``None`` on the last."""

    jobs: list[JobRow]
    next_cursor: str | None


# --- for a tenant -------------------------------------------------------------------------------------------------


def insert_job(connection: Connection, scope: TenantScope, job: NewJob, *, event_seq: int = 0) -> JobRow:
    """Put a job into the queue, with so many events that its transaction is about to insert.

    Raises:
        IdempotencyKeyTaken: a concurrent twin was stored first; the transaction is lost.
        ForeignTenant: the job names another tenant or principal than the scope.
    """
    if (job.tenant_id, job.principal_id) != (scope.tenant_id, scope.principal_id):
        raise ForeignTenant(f"job {job.id} names {job.tenant_id}/{job.principal_id}, not the principal that asks")
    try:
        return JobRow(*connection.execute(_INSERT, {**_parameters(job), "event_seq": event_seq}).one())
    except IntegrityError as error:
        if job.idempotency_key is not None and is_duplicate(error) and "idempotency" in str(error.orig):
            raise IdempotencyKeyTaken(job.idempotency_key) from error
        if "program_sha" in str(error.orig):  # the same bytes were there, and went to the archive a moment ago
            raise DatabaseBusy("the program's bytes were being archived; submit it again") from error
        raise


def find_by_idempotency_key(connection: Connection, scope: TenantScope, key: str) -> JobRow | None:
    """The principal's job that was submitted under this key."""
    values = {"tenant_id": scope.tenant_id, "principal_id": scope.principal_id, "key": key}
    row = connection.execute(_BY_KEY, values).one_or_none()
    return None if row is None else JobRow(*row)


def get_job(connection: Connection, scope: TenantScope, job_id: str) -> JobRow | None:
    """The tenant's job of that id; somebody else's is ``None`` like one that never was."""
    row = connection.execute(_GET, {"id": job_id, "tenant_id": scope.tenant_id}).one_or_none()
    return None if row is None else JobRow(*row)


def list_jobs(
    connection: Connection,
    scope: TenantScope,
    filters: JobFilter = JobFilter(),
    *,
    cursor: str | None = None,
    limit: int = 100,
) -> JobPageRows:
    """The tenant's jobs, newest first.

    Raises:
        InvalidCursor: the cursor is not one that a page before this gave out.
    """
    query, values = _listing(filters)
    values["tenant_id"] = scope.tenant_id
    values["limit"] = limit + 1
    if cursor is not None:
        values["cursor_us"], values["cursor_id"] = _read_cursor(cursor)
        query = query.where(_OLDER)
    rows = [JobRow(*row) for row in connection.execute(query, values)]
    page = rows[:limit]
    return JobPageRows(page, _write_cursor(page[-1]) if len(rows) > limit else None)


def count_unfinished(connection: Connection, scope: TenantScope) -> int:
    """How many of the tenant's jobs are queued or running."""
    return int(connection.execute(_UNFINISHED, {"tenant_id": scope.tenant_id}).scalar_one())


def count_ahead(connection: Connection, scope: TenantScope, job: JobRow) -> int:
    """How many jobs of anybody are before the tenant's waiting job in its device's queue."""
    if job.tenant_id != scope.tenant_id or job.state is not JobState.QUEUED:
        return 0
    values = {"device": job.device_id, "tag": job.start_tag, "id": job.id}
    return int(connection.execute(_AHEAD, values).scalar_one())


def count_before(connection: Connection, _scope: SystemScope, device_id: str, *, start_tag: int, job_id: str) -> int:
    """How many jobs of anybody would be before one of this tag and id."""
    values = {"device": device_id, "tag": start_tag, "id": job_id}
    return int(connection.execute(_AHEAD, values).scalar_one())


# --- for the dispatcher -------------------------------------------------------------------------------------------


def queue_view(
    connection: Connection, _scope: SystemScope, device_id: str, *, per_tenant: int, window: int
) -> list[QueuedJobRow]:
    """The front of the queue: by (start tag, id), at most ``per_tenant`` jobs of a tenant and ``window`` in all.

    Reads a window by index; where tenants have more in it than they may, another one without them, until it is full or
    the queue has ended.
    """
    view: list[QueuedJobRow] = []
    counts: dict[str, int] = {}
    after_tag, after_id = -(2**63), ""
    while len(view) < window:
        full = [tenant for tenant, count in counts.items() if count >= per_tenant]
        values = {"device": device_id, "tag": after_tag, "id": after_id, "full": full, "window": window}
        rows = [QueuedJobRow(*row) for row in connection.execute(_QUEUE, values)]
        for job in rows:
            count = counts.get(job.tenant_id, 0)
            if count < per_tenant:
                counts[job.tenant_id] = count + 1
                view.append(job)
        if len(rows) < window:
            break
        after_tag, after_id = rows[-1].start_tag, rows[-1].id
    return view[:window]


def promised_jobs(connection: Connection, _scope: SystemScope, device_id: str) -> list[QueuedJobRow]:
    """The waiting jobs that were promised a start, wherever they stand in the queue."""
    return [QueuedJobRow(*row) for row in connection.execute(_PROMISED, {"device": device_id})]


def read_jobs(connection: Connection, _scope: SystemScope, job_ids: Sequence[str]) -> dict[str, JobRow]:
    """Jobs of any tenant, by id; ids that do not exist are left out."""
    if not job_ids:
        return {}
    return {row.id: JobRow(*row) for row in connection.execute(_MANY, {"ids": list(job_ids)})}


def lock_jobs(connection: Connection, _scope: SystemScope, job_ids: Sequence[str]) -> dict[str, JobRow]:
    """As :func:`read_jobs`, and nothing about them changes until this transaction has ended."""
    if not job_ids:
        return {}
    return {row.id: JobRow(*row) for row in connection.execute(_LOCK_MANY, {"ids": list(job_ids)})}


def count_queued(connection: Connection, _scope: SystemScope, device_id: str) -> int:
    """How many jobs wait for the device."""
    return int(connection.execute(_QUEUED, {"device": device_id}).scalar_one())


def running_jobs(connection: Connection, _scope: SystemScope, device_id: str) -> list[JobRow]:
    """Jobs that the device has started and not finished: what recovery compares with the running batches."""
    return [JobRow(*row) for row in connection.execute(_RUNNING, {"device": device_id})]


# --- cursors and statements ---------------------------------------------------------------------------------------


def _write_cursor(job: JobRow) -> str:
    return base64.urlsafe_b64encode(f"{job.created_at_us}/{job.id}".encode()).decode().rstrip("=")


def _read_cursor(cursor: str) -> tuple[int, str]:
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        created_at_us, _, job_id = text.partition("/")
        position = int(created_at_us)
    except ValueError as error:
        raise InvalidCursor from error
    if not job_id or not job_id.isprintable() or not -(2**63) <= position < 2**63:
        raise InvalidCursor
    return position, job_id


def _listing(filters: JobFilter) -> tuple[Select[Any], dict[str, Any]]:
    query, values = _NEWEST, dict[str, Any]()
    if filters.state is not None:
        query, values["state"] = query.where(jobs.c.state == bindparam("state")), filters.state
    if filters.backend is not None:
        query, values["backend"] = query.where(jobs.c.backend == bindparam("backend")), filters.backend
    if filters.tag is not None:
        query, values["tag"] = query.where(_HAS_TAG), filters.tag
    return query, values


def _ids_in(name: str) -> Any:
    return jobs.c.id.in_(bindparam(name, expanding=True))


_parameters: Final = parameters_of(NewJob)
_ROW: Final = columns_of(JobRow, jobs)
_OF_TENANT: Final = jobs.c.tenant_id == bindparam("tenant_id")
_IS_QUEUED: Final = jobs.c.state == literal_column("'queued'")  # literal: partial indexes match words, not parameters
_IS_RUNNING: Final = jobs.c.state == literal_column("'running'")
_ON_DEVICE: Final = jobs.c.device_id == bindparam("device")
_POSITION: Final = tuple_(jobs.c.start_tag, jobs.c.id)
_GIVEN_POSITION: Final = tuple_(bindparam("tag", type_=types.BigInteger()), bindparam("id", type_=String()))

_INSERT: Final = insert(jobs).values(state=literal_column("'queued'")).returning(*_ROW)
_GET: Final = select(*_ROW).where(jobs.c.id == bindparam("id"), _OF_TENANT)
_MANY: Final = select(*_ROW).where(_ids_in("ids"))
_LOCK_MANY: Final = _MANY.order_by(jobs.c.id).with_for_update(key_share=True)
_BY_KEY: Final = select(*_ROW).where(
    _OF_TENANT, jobs.c.principal_id == bindparam("principal_id"), jobs.c.idempotency_key == bindparam("key")
)
_NEWEST: Final = (
    select(*_ROW).where(_OF_TENANT).order_by(jobs.c.created_at_us.desc(), jobs.c.id.desc()).limit(bindparam("limit"))
)
_OLDER: Final = tuple_(jobs.c.created_at_us, jobs.c.id) < tuple_(
    bindparam("cursor_us", type_=types.BigInteger()), bindparam("cursor_id", type_=String())
)
_TAGS: Final = ArrayElements(jobs.c.tags).table_valued("value", name="tag")
_HAS_TAG: Final = exists(select(1).select_from(_TAGS).where(_TAGS.c.value == bindparam("tag")))
_UNFINISHED: Final = (
    select(func.count())
    .select_from(jobs)
    .where(_OF_TENANT, jobs.c.state.in_([literal_column("'queued'"), literal_column("'running'")]))
)
_AHEAD: Final = select(func.count()).select_from(jobs).where(_ON_DEVICE, _IS_QUEUED, _POSITION < _GIVEN_POSITION)
_QUEUED: Final = select(func.count()).select_from(jobs).where(_ON_DEVICE, _IS_QUEUED)
_RUNNING: Final = select(*_ROW).where(_ON_DEVICE, _IS_RUNNING).order_by(jobs.c.id)
_PROMISED: Final = (
    select(*columns_of(QueuedJobRow, jobs))
    .where(_ON_DEVICE, _IS_QUEUED, jobs.c.start_by_us.is_not(None))
    .order_by(jobs.c.start_tag, jobs.c.id)
)
_QUEUE: Final = (
    select(*columns_of(QueuedJobRow, jobs))
    .where(
        _ON_DEVICE,
        _IS_QUEUED,
        _POSITION > _GIVEN_POSITION,
        jobs.c.tenant_id.not_in(bindparam("full", expanding=True)),
    )
    .order_by(jobs.c.start_tag, jobs.c.id)
    .limit(bindparam("window"))
)
