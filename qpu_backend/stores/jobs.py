"""Jobs: the rows that are the queue, as tenants and the dispatcher read them. ``job_states.py`` changes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    Connection,
    Select,
    String,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    select,
    tuple_,
    types,
)

from qpu_backend.domain.jobs import JobState
from qpu_backend.stores.cursors import CURSOR, page_of, read_cursor, write_cursor
from qpu_backend.stores.given import among, listed
from qpu_backend.stores.rows import columns_of
from qpu_backend.stores.schema import job_tags, jobs

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from qpu_backend.domain.tenancy import SystemScope, TenantScope


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
    """Which jobs to list; what is empty or ``None`` means any.

    Attributes:
        states: one of these.
        backend: on this one.
        tags: with all of these.
        created_from_us, created_until_us: wall times, the first included, the second not.
        session: part of this one.
        program: of this kind.
    """

    states: tuple[JobState, ...] = ()
    backend: str | None = None
    tags: tuple[str, ...] = ()
    created_from_us: int | None = None
    created_until_us: int | None = None
    session: str | None = None
    program: str | None = None


@dataclass(frozen=True, slots=True)
class JobPageRows:
    """A page of jobs, newest first, and the cursor of the next page, ``None`` on the last."""

    jobs: list[JobRow]
    next_cursor: str | None


# --- for a tenant -------------------------------------------------------------------------------------------------


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
        values["cursor_us"], values["cursor_id"] = read_cursor(cursor, "job_")
        query = query.where(_TAGGED_OLDER if filters.tags else _OLDER)
    rows = [JobRow(*row) for row in connection.execute(query, values)]
    return JobPageRows(*page_of(rows, limit, lambda row: write_cursor(row.created_at_us, row.id)))


def count_unfinished(connection: Connection, scope: TenantScope) -> int:
    """How many of the tenant's jobs are queued or running."""
    return count_all_unfinished(connection, [scope]).get(scope.tenant_id, 0)


def count_all_unfinished(connection: Connection, scopes: Collection[TenantScope]) -> dict[str, int]:
    """How many jobs of each of these tenants are queued or running; those without any are left out."""
    found = connection.execute(_UNFINISHED, {"tenants": listed(scope.tenant_id for scope in scopes)})
    return {tenant_id: int(number) for tenant_id, number in found}


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
    connection: Connection,
    _scope: SystemScope,
    device_id: str,
    *,
    per_tenant: int,
    window: int,
    without: Collection[str] = (),
) -> list[QueuedJobRow]:
    """The front of the queue: by (start tag, id), at most ``per_tenant`` jobs of a tenant and ``window`` in all.

    Reads a window by index; where tenants have more in it than they may, or it has jobs of ``without``, which are not
    seen, another one beyond it, until it is full or the queue has ended.
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
            if count < per_tenant and job.id not in without:
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


# --- statements ---------------------------------------------------------------------------------------------------


def _listing(filters: JobFilter) -> tuple[Select[Any], dict[str, Any]]:
    """The walk that gives the fewest rows to look at: along a tag, else along a session, a backend, or all jobs."""
    query, values = (_NEWEST_TAGGED if filters.tags else _NEWEST), dict[str, Any]()
    at_us = job_tags.c.created_at_us if filters.tags else jobs.c.created_at_us
    for number, tag in enumerate(filters.tags):
        values[f"tag_{number}"] = tag
        if number:
            other = job_tags.alias()
            same = (other.c.tenant_id == jobs.c.tenant_id, other.c.job_id == jobs.c.id)
            same_time = other.c.created_at_us == jobs.c.created_at_us
            query = query.where(exists().where(*same, same_time, other.c.tag == bindparam(f"tag_{number}")))
    if filters.states:
        query = query.where(jobs.c.state.in_(bindparam("states", expanding=True)))
        values["states"] = sorted(filters.states)
    for column, value in ((jobs.c.backend, filters.backend), (jobs.c.session_id, filters.session)):
        if value is not None:
            query, values[f"of_{column.name}"] = query.where(column == bindparam(f"of_{column.name}")), value
    if filters.program is not None:
        query, values["of_program"] = query.where(jobs.c.program == bindparam("of_program")), filters.program
    if filters.created_from_us is not None:
        query, values["from_us"] = query.where(at_us >= bindparam("from_us")), filters.created_from_us
    if filters.created_until_us is not None:
        query, values["until_us"] = query.where(at_us < bindparam("until_us")), filters.created_until_us
    return query, values


def _ids_in(name: str) -> Any:
    return jobs.c.id.in_(bindparam(name, expanding=True))


_ROW: Final = columns_of(JobRow, jobs)
_OF_TENANT: Final = jobs.c.tenant_id == bindparam("tenant_id")
_IS_QUEUED: Final = jobs.c.state == literal_column("'queued'")  # literal: partial indexes match words, not parameters
_IS_RUNNING: Final = jobs.c.state == literal_column("'running'")
_ON_DEVICE: Final = jobs.c.device_id == bindparam("device")
_POSITION: Final = tuple_(jobs.c.start_tag, jobs.c.id)
_GIVEN_POSITION: Final = tuple_(bindparam("tag", type_=types.BigInteger()), bindparam("id", type_=String()))

_GET: Final = select(*_ROW).where(jobs.c.id == bindparam("id"), _OF_TENANT)
_MANY: Final = select(*_ROW).where(_ids_in("ids"))
_LOCK_MANY: Final = _MANY.order_by(jobs.c.id).with_for_update(key_share=True)
_BY_KEY: Final = select(*_ROW).where(
    _OF_TENANT, jobs.c.principal_id == bindparam("principal_id"), jobs.c.idempotency_key == bindparam("key")
)
_NEWEST: Final = (
    select(*_ROW).where(_OF_TENANT).order_by(jobs.c.created_at_us.desc(), jobs.c.id.desc()).limit(bindparam("limit"))
)
_OLDER: Final = tuple_(jobs.c.created_at_us, jobs.c.id) < CURSOR
_NEWEST_TAGGED: Final = (
    select(*_ROW)
    .join(job_tags, and_(job_tags.c.job_id == jobs.c.id, job_tags.c.tenant_id == jobs.c.tenant_id))
    .where(job_tags.c.tenant_id == bindparam("tenant_id"), job_tags.c.tag == bindparam("tag_0"))
    .order_by(job_tags.c.created_at_us.desc(), job_tags.c.job_id.desc())
    .limit(bindparam("limit"))
)
_TAGGED_OLDER: Final = tuple_(job_tags.c.created_at_us, job_tags.c.job_id) < CURSOR
_UNFINISHED: Final = (
    select(jobs.c.tenant_id, func.count())
    .where(
        among(jobs.c.tenant_id, "tenants"), jobs.c.state.in_([literal_column("'queued'"), literal_column("'running'")])
    )
    .group_by(jobs.c.tenant_id)
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
