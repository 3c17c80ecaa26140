"""What of ended jobs is due to be archived, all that is known of them, and forgetting what an archive holds.

Blobs are shared by content, so one goes only with the last row that names it. A row that named one names the *marker*
from then on: a few bytes that say so. The job's own row, its events, usage records and postings are never removed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import (
    BigInteger,
    Connection,
    String,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal_column,
    select,
    tuple_,
    update,
)

from qpu_backend.stores import blobs as blob_store
from qpu_backend.stores.schema import batches, blobs, job_events, jobs, placements, snapshots

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Table

    from qpu_backend.domain.tenancy import SystemScope

MARKER: Final = b"archived"
MARKER_SHA: Final = hashlib.sha256(MARKER).hexdigest()
"""What rows name whose bytes are in an archive."""

BEGINNING: Final = (-1, "")
"""Before the first ended job."""


class Due(StrEnum):
    """What of a job is archived."""

    EVERYTHING = "job"
    RECORDS = "records"


@dataclass(frozen=True, slots=True)
class Ended:
    """A job that has ended, and when."""

    finished_at_us: int
    id: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What the database no longer holds.

    Attributes:
        jobs: tenant and state of each job that was forgotten now, by id.
        blobs: that are gone.
        blob_bytes: that they took.
    """

    jobs: dict[str, tuple[str, Any]]
    blobs: int
    blob_bytes: int


def due_jobs(
    connection: Connection, _scope: SystemScope, due: Due, *, ended_before_us: int, after: tuple[int, str], limit: int
) -> list[Ended]:
    """The next jobs of which something is due, by their end; ``after``: the last one of the page before."""
    statement = _DUE if due is Due.EVERYTHING else _DUE_RECORDS
    values = {"before_us": ended_before_us, "after_us": after[0], "after_id": after[1], "limit": limit}
    return [Ended(*row) for row in connection.execute(statement, values)]


def rows_of_job(connection: Connection, _scope: SystemScope, job_id: str) -> dict[str, list[dict[str, Any]]]:
    """Everything the tables say of a job, by table."""
    return {
        name: [_plain(row) for row in connection.execute(statement, {"job": job_id}).mappings()]
        for name, statement in _OF_JOB.items()
    }


def rows_of_batch(connection: Connection, _scope: SystemScope, batch_id: str) -> dict[str, list[dict[str, Any]]]:
    """The row of a batch."""
    rows = connection.execute(_BATCH, {"batch": batch_id}).mappings()
    return {batches.name: [_plain(row) for row in rows]}


def named_blobs(rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    """The blobs that such rows name, each once, the marker left out."""
    found = {row[column]: None for name, column in _NAMES for row in rows.get(name, ()) if row.get(column) is not None}
    return [sha for sha in found if sha != MARKER_SHA]


def batches_without_records(connection: Connection, _scope: SystemScope, job_ids: Sequence[str]) -> list[str]:
    """Batches that will have no record of any job any more, once those of these jobs are forgotten."""
    return list(connection.execute(_EMPTIED, {"ids": list(job_ids), "marker": MARKER_SHA}).scalars())


def forget(
    connection: Connection,
    _scope: SystemScope,
    due: Due,
    job_ids: Sequence[str],
    batch_ids: Sequence[str],
    *,
    now_us: int,
) -> Forgotten:
    """Let go of what an archive holds by now.

    Args:
        connection: of a write transaction, which appends events after this.
        _scope: proof that the service itself asks.
        due: what of the jobs is in the archive.
        job_ids: jobs that have ended; one that is archived already is left alone.
        batch_ids: batches whose plan is in the archive; one that still has a record is left alone.
        now_us: wall time.
    """
    locked = connection.execute(_LOCK if due is Due.EVERYTHING else _LOCK_ENDED, {"ids": list(job_ids)})
    owners = {row.id: (row.tenant_id, row.state) for row in locked}
    mine = {"ids": sorted(owners), "marker": MARKER_SHA}
    if not owners:
        return Forgotten({}, 0, 0)
    blob_store.put_blobs(connection, [MARKER])
    named = _shas(connection.execute(_RECORDS_OF, mine))
    connection.execute(_DROP_RECORDS, mine)
    if due is Due.EVERYTHING:
        named |= _shas(connection.execute(_RESULTS_OF, mine))
        connection.execute(_DROP_RESULTS, {**mine, "at_us": now_us})
    emptied = list(connection.execute(_STILL_EMPTY, {"batches": list(batch_ids), "marker": MARKER_SHA}).scalars())
    if emptied:
        named |= _shas(connection.execute(_PLANS_OF, {"batches": emptied}))
        connection.execute(_DROP_PLANS, {"batches": emptied, "marker": MARKER_SHA})
    gone = connection.execute(_DROP_BLOBS, {"shas": sorted(named - {MARKER_SHA})}).scalars().all()
    return Forgotten(owners, len(gone), sum(gone))


def _shas(rows: Iterable[Any]) -> set[str]:
    return {sha for row in rows for sha in row if sha is not None}


def _plain(row: Any) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, StrEnum) else value for name, value in row.items()}


def _one_of(column: Any, name: str) -> Any:
    return column.in_(bindparam(name, expanding=True))


def _unnamed(table: Table, column: str) -> Any:
    return ~exists(select(1).where(table.c[column] == blobs.c.sha256))


_NAMES: Final = (
    ("jobs", "program_sha"),
    ("jobs", "result_sha"),
    ("placements", "record_sha"),
    ("placements", "part_sha"),
    ("batches", "rounds_sha"),
    ("batches", "plan_sha"),
)
_MARKER: Final = bindparam("marker", type_=String())
_BATCHES: Final = _one_of(batches.c.id, "batches")
_WHOLE: Final = jobs.c.archived_at_us.is_(None)
_ENDED: Final = and_(jobs.c.finished_at_us.is_not(None), _WHOLE)
_NEXT: Final = and_(
    _ENDED,
    jobs.c.finished_at_us < bindparam("before_us", type_=BigInteger()),
    tuple_(jobs.c.finished_at_us, jobs.c.id)
    > tuple_(bindparam("after_us", type_=BigInteger()), bindparam("after_id", type_=String())),
)
_IN_ORDER: Final = (jobs.c.finished_at_us, jobs.c.id)
_HAS_RECORD: Final = and_(placements.c.job_id == jobs.c.id, placements.c.record_sha != MARKER_SHA)

_DUE: Final = select(jobs.c.finished_at_us, jobs.c.id).where(_NEXT).order_by(*_IN_ORDER).limit(bindparam("limit"))
_DUE_RECORDS: Final = (
    select(jobs.c.finished_at_us, jobs.c.id)
    .where(_NEXT, exists(select(1).where(_HAS_RECORD)))
    .order_by(*_IN_ORDER)
    .limit(bindparam("limit"))
)
_RAN_IN: Final = select(placements.c.batch_id).where(placements.c.job_id == bindparam("job"))
_OF_JOB: Final = {
    "jobs": select(jobs).where(jobs.c.id == bindparam("job")),
    "job_events": select(job_events).where(job_events.c.job_id == bindparam("job")).order_by(job_events.c.seq),
    "placements": select(placements).where(placements.c.job_id == bindparam("job")).order_by(placements.c.leg),
    "ran_in": select(
        *(batches.c[name] for name in ("id", "device_id", "state", "attempt", "snapshot_id", "device_start_us")),
        *(batches.c[name] for name in ("device_us", "created_at_us", "finished_at_us")),
    )
    .where(batches.c.id.in_(_RAN_IN))
    .order_by(batches.c.created_at_us, batches.c.id),
}
_BATCH: Final = select(batches).where(batches.c.id == bindparam("batch"))
_LOCK: Final = (
    select(jobs.c.id, jobs.c.tenant_id, jobs.c.state)
    .where(_one_of(jobs.c.id, "ids"), _ENDED)
    .order_by(jobs.c.id)
    .with_for_update(key_share=True)
)
_LOCK_ENDED: Final = _LOCK.where(exists(select(1).where(_HAS_RECORD)))
_RECORDS_OF: Final = select(placements.c.record_sha, placements.c.part_sha).where(_one_of(placements.c.job_id, "ids"))
_RESULTS_OF: Final = select(jobs.c.program_sha, jobs.c.result_sha).where(_one_of(jobs.c.id, "ids"))
_PLANS_OF: Final = select(batches.c.rounds_sha, batches.c.plan_sha).where(_BATCHES)
_DROP_RECORDS: Final = (
    update(placements).where(_one_of(placements.c.job_id, "ids")).values(record_sha=_MARKER, part_sha=None)
)
_DROP_RESULTS: Final = (
    update(jobs)
    .where(_one_of(jobs.c.id, "ids"))
    .values(
        program_sha=_MARKER,
        result_sha=case((jobs.c.result_sha.is_not(None), _MARKER)),
        archived_at_us=bindparam("at_us", type_=BigInteger()),
    )
)
_DROP_PLANS: Final = update(batches).where(_BATCHES).values(rounds_sha=_MARKER, plan_sha=_MARKER)
_RECORD_LEFT: Final = and_(placements.c.batch_id == batches.c.id, placements.c.record_sha != _MARKER)
_TO_EMPTY: Final = and_(batches.c.state != literal_column("'running'"), batches.c.plan_sha != _MARKER)
_EMPTIED: Final = (
    select(batches.c.id)
    .where(
        batches.c.id.in_(select(placements.c.batch_id).where(_one_of(placements.c.job_id, "ids"))),
        _TO_EMPTY,
        ~exists(select(1).where(_RECORD_LEFT, ~_one_of(placements.c.job_id, "ids"))),
    )
    .order_by(batches.c.id)
)
_STILL_EMPTY: Final = (
    select(batches.c.id)
    .where(_BATCHES, _TO_EMPTY, ~exists(select(1).where(_RECORD_LEFT)))
    .order_by(batches.c.id)
    .with_for_update(key_share=True)
)
_TABLES: Final = {table.name: table for table in (jobs, placements, batches)}
_DROP_BLOBS: Final = (
    delete(blobs)
    .where(
        _one_of(blobs.c.sha256, "shas"),
        *(_unnamed(_TABLES[name], column) for name, column in _NAMES),
        _unnamed(snapshots, "blob_sha"),
    )
    .returning(func.length(blobs.c.body))
)
