"""Events of jobs: numbered without gaps per job (``seq``) and per tenant (``cursor``).

Numbers are taken under the locks of the job's and the tenant's row, so what a reader sees never has a hole that is
filled later: "everything after n" is a complete answer. Lock order: jobs by ascending id, then tenants by ascending id.
Append events last in a transaction: the tenant's row is wanted by each of its submissions.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, Integer, bindparam, func, insert, literal_column, select, update

from qpu_backend.domain.tenancy import SystemScope, TenantScope
from qpu_backend.stores.errors import ForeignTenant, MissingRow
from qpu_backend.stores.given import among, given, given_rows, listed, put
from qpu_backend.stores.rows import columns_of, parameters_of
from qpu_backend.stores.schema import job_events, jobs
from qpu_backend.stores.schema_access import tenants

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from qpu_backend.domain.jobs import JobState


@dataclass(frozen=True, slots=True)
class NewEvent:
    """Something that happened to a job.

    Attributes:
        name: of the stage, in the past tense: ``admitted``, ``planned``, …
        state: of the job after it.
        at_us: wall time.
        device_time_us: device time, where the event has one.
    """

    job_id: str
    tenant_id: str
    name: str
    state: JobState
    at_us: int
    device_time_us: int | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event with its numbers, both from 1."""

    job_id: str
    seq: int
    tenant_id: str
    cursor: int
    name: str
    state: JobState
    at_us: int
    device_time_us: int | None
    message: str | None


@dataclass(frozen=True, slots=True)
class WrittenEvent:
    """An event as it stands in an SQLite table: ``row`` grows from one to the next, whoever writes it."""

    row: int
    job_id: str
    tenant_id: str
    state: JobState


def newest_row(connection: Connection, _scope: SystemScope) -> int:
    """SQLite: the row of the event that was written last; 0 before the first."""
    return int(connection.execute(_NEWEST_ROW).scalar_one() or 0)


def rows_since(connection: Connection, _scope: SystemScope, row: int) -> list[WrittenEvent]:
    """SQLite: what was written after a row, by any process, of all tenants."""
    return [WrittenEvent(*found) for found in connection.execute(_SINCE_ROW, {"row": row})]


def append_events(
    connection: Connection, scope: SystemScope | TenantScope, events: Sequence[NewEvent]
) -> list[EventRow]:
    """Number and store events, those of a job and of a tenant in the order given.

    Raises:
        ForeignTenant: an event of another tenant under a tenant's scope.
        MissingRow: no such job of that tenant.
    """
    if not events:
        return []
    owners = {event.job_id: event.tenant_id for event in events}
    if isinstance(scope, TenantScope) and set(owners.values()) != {scope.tenant_id}:
        raise ForeignTenant(f"events of other tenants under the scope of {scope.tenant_id}")
    seqs = _take_seqs(connection, Counter(event.job_id for event in events), owners)
    return _append(connection, events, seqs)


def append_first(connection: Connection, scopes: Collection[TenantScope], events: Sequence[NewEvent]) -> list[EventRow]:
    """The first event of each job that this transaction has inserted, counting one.

    Raises:
        ForeignTenant: an event of a tenant whose scope is not there.
    """
    ForeignTenant.unless_all_own(scopes, (event.tenant_id for event in events))
    return _append(connection, events, {event.job_id: 0 for event in events}) if events else []


def _append(connection: Connection, events: Sequence[NewEvent], seqs: dict[str, int]) -> list[EventRow]:
    cursors = _take_cursors(connection, Counter(event.tenant_id for event in events))
    rows: list[EventRow] = []
    for event in events:
        seqs[event.job_id] += 1
        cursors[event.tenant_id] += 1
        rows.append(
            EventRow(
                event.job_id,
                seqs[event.job_id],
                event.tenant_id,
                cursors[event.tenant_id],
                event.name,
                event.state,
                event.at_us,
                event.device_time_us,
                event.message,
            )
        )
    connection.execute(_INSERT, given_rows(_parameters(row) for row in rows))
    return rows


def read_job_events(
    connection: Connection, scope: TenantScope, job_id: str, *, after_seq: int = 0, limit: int = 1000
) -> list[EventRow]:
    """The events of the tenant's job after a number, in order; none for a foreign job."""
    values = {"job": job_id, "tenant": scope.tenant_id, "after": after_seq, "limit": limit}
    return [EventRow(*row) for row in connection.execute(_OF_JOB, values)]


def read_tenant_events(
    connection: Connection, scope: TenantScope, *, after_cursor: int = 0, limit: int = 1000
) -> list[EventRow]:
    """The events of all the tenant's jobs after a cursor, in order."""
    values = {"tenant": scope.tenant_id, "after": after_cursor, "limit": limit}
    return [EventRow(*row) for row in connection.execute(_OF_TENANT, values)]


def current_cursor(connection: Connection, scope: TenantScope) -> int:
    """The cursor of the tenant's last event, 0 before the first."""
    cursor = connection.execute(_CURSOR, {"tenant": scope.tenant_id}).scalar_one_or_none()
    return 0 if cursor is None else int(cursor)


def _take_seqs(connection: Connection, counts: Counter[str], owners: dict[str, str]) -> dict[str, int]:
    """Lock the jobs, add to their counters, and return what the counters were before."""
    if len(counts) > 1:
        connection.execute(_LOCK_JOBS, {"ids": sorted(counts)})
    by_count: defaultdict[int, list[str]] = defaultdict(list)
    for job_id, count in counts.items():
        by_count[count].append(job_id)
    before: dict[str, int] = {}
    for count, job_ids in by_count.items():
        for job_id, tenant_id, seq in connection.execute(_TAKE_SEQS, {"ids": job_ids, "count": count}):
            if owners[job_id] == tenant_id:
                before[job_id] = seq - count
    for job_id in counts:
        if job_id not in before:
            raise MissingRow(f"job of tenant {owners[job_id]}", job_id)
    return before


def _take_cursors(connection: Connection, counts: Counter[str]) -> dict[str, int]:
    """Lock the tenants in ascending order, add to their counters, and return what the counters were before."""
    values = given_rows({"id": tenant_id, "event_cursor": count} for tenant_id, count in counts.items())
    taken = connection.execute(_TAKE_CURSORS, {**values, "tenants": listed(counts)})
    return {tenant_id: int(cursor) - counts[tenant_id] for tenant_id, cursor in taken}


_parameters: Final = parameters_of(EventRow)
_ROW: Final = literal_column("job_events.rowid", Integer)
_NEWEST_ROW: Final = select(func.max(_ROW)).select_from(job_events)
_SINCE_ROW: Final = (
    select(_ROW, job_events.c.job_id, job_events.c.tenant_id, job_events.c.state)
    .where(bindparam("row") < _ROW)
    .order_by(_ROW)
)
_INSERT: Final = put(insert(job_events), job_events, *(field.name for field in fields(EventRow)))
_IDS: Final = jobs.c.id.in_(bindparam("ids", expanding=True))
_LOCK_JOBS: Final = select(jobs.c.id).where(_IDS).order_by(jobs.c.id).with_for_update(key_share=True)
_TAKE_SEQS: Final = (
    update(jobs)
    .where(_IDS)
    .values(event_seq=jobs.c.event_seq + bindparam("count"))
    .returning(jobs.c.id, jobs.c.tenant_id, jobs.c.event_seq)
)
_LOCKED: Final = (
    select(tenants.c.id)
    .where(among(tenants.c.id, "tenants"))
    .order_by(tenants.c.id)
    .with_for_update(key_share=True)
    .cte("locked")
)
_COUNTED: Final = given(tenants, "id", "event_cursor")
_TAKE_CURSORS: Final = (
    update(tenants)
    .where(tenants.c.id == _COUNTED.c.id, tenants.c.id.in_(select(_LOCKED.c.id)))
    .values(event_cursor=tenants.c.event_cursor + _COUNTED.c.event_cursor)
    .returning(tenants.c.id, tenants.c.event_cursor)
)
_CURSOR: Final = select(tenants.c.event_cursor).where(tenants.c.id == bindparam("tenant"))
_OF_JOB: Final = (
    select(*columns_of(EventRow, job_events))
    .where(
        job_events.c.job_id == bindparam("job"),
        job_events.c.tenant_id == bindparam("tenant"),
        job_events.c.seq > bindparam("after"),
    )
    .order_by(job_events.c.seq)
    .limit(bindparam("limit"))
)
_OF_TENANT: Final = (
    select(*columns_of(EventRow, job_events))
    .where(job_events.c.tenant_id == bindparam("tenant"), job_events.c.cursor > bindparam("after"))
    .order_by(job_events.c.cursor)
    .limit(bindparam("limit"))
)
