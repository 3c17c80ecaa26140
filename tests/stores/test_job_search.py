"""Searching jobs: what is found is what was asked for, page by page, along an index whatever is asked."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from qpu_backend.domain.jobs import JobState
from qpu_backend.stores import blobs, jobs, new_jobs
from qpu_backend.stores.cursors import write_cursor
from qpu_backend.stores.jobs import JobFilter

if TYPE_CHECKING:
    from tests.stores.conftest import House

FILTERS = {
    "everything": JobFilter(),
    "a tag": JobFilter(tags=("a",)),
    "all of two tags": JobFilter(tags=("a", "b")),
    "states": JobFilter(states=(JobState.QUEUED, JobState.DONE)),
    "a backend": JobFilter(backend="eagle127"),
    "a session": JobFilter(session="ses_1"),
    "a program": JobFilter(program="estimator"),
    "a span": JobFilter(created_from_us=2, created_until_us=4),
    "all at once": JobFilter(
        tags=("b", "a"), states=(JobState.QUEUED,), backend="eagle127", program="sampler", created_from_us=2
    ),
}


def _fits(job: new_jobs.NewJob, filters: JobFilter) -> bool:
    return (
        set(filters.tags) <= set(job.tags)
        and (not filters.states or JobState.QUEUED in filters.states)
        and filters.backend in {None, job.backend}
        and filters.session in {None, job.session_id}
        and filters.program in {None, job.program}
        and (filters.created_from_us or 0) <= job.created_at_us < (filters.created_until_us or 2**62)
    )


@pytest.fixture
def found(house: House) -> tuple[House, Any, list[new_jobs.NewJob]]:
    """Jobs of all kinds, each twice: of two tenants."""
    ada, bob = house.tenant("ada"), house.tenant("bob")
    sessions = {scope: house.session(scope) for scope in (ada, bob)}
    stored: list[new_jobs.NewJob] = []
    with house.database.write() as connection:
        [sha] = blobs.put_blobs(connection, [b"program"])
        kinds = itertools.product([[], ["a"], ["b", "a", "b"]], ["eagle127", "eagle127:line-5"], [True, False])
        for number, (tags, backend, joined) in enumerate(kinds):
            for scope in (ada, bob):
                job = house.new_job(
                    scope,
                    tags=tags,
                    backend=backend,
                    program="sampler" if number % 3 else "estimator",
                    session_id=sessions[scope] if joined else None,
                    created_at_us=number // 2,  # two at the same time
                    program_sha=sha,
                )
                new_jobs.insert_job(connection, scope, job)
                if scope == ada:
                    stored.append(job)
    return house, (ada, sessions[ada]), stored


@pytest.mark.parametrize("name", FILTERS)
def test_what_is_found_is_what_fits_newest_first_on_pages_of_any_size(found, name):
    house, (scope, session_id), stored = found
    filters = FILTERS[name]
    if filters.session is not None:
        filters = JobFilter(session=session_id)
    fitting = [job for job in stored if _fits(job, filters)]
    expected = [job.id for job in sorted(fitting, key=lambda job: (job.created_at_us, job.id), reverse=True)]
    assert 0 < len(expected) <= len(stored)
    for size in (1, 2, 5, 100):
        ids: list[str] = []
        cursor: str | None = None
        with house.database.read() as connection:
            while True:
                page = jobs.list_jobs(connection, scope, filters, cursor=cursor, limit=size)
                ids += [job.id for job in page.jobs]
                cursor = page.next_cursor
                if cursor is None:
                    break
        assert ids == expected


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("name", FILTERS)
def test_every_search_walks_an_index_and_sorts_nothing(house: House, name: str, first: bool) -> None:
    on_sqlite = house.database.dialect == "sqlite"
    scope = house.tenant("ada")
    asked: list[tuple[str, Any]] = []
    with house.database.read() as connection:

        def note(_c, _cursor, statement, parameters, _context, _many):
            asked.append((statement, parameters))

        event.listen(connection, "before_cursor_execute", note)
        jobs.list_jobs(connection, scope, FILTERS[name], cursor=None if first else write_cursor(5, "job_1"))
        event.remove(connection, "before_cursor_execute", note)
        if not on_sqlite:  # on an empty table nothing is quicker than reading all of it
            for way in ("seqscan", "bitmapscan", "sort"):
                connection.execute(text(f"SET LOCAL enable_{way} = off"))
        ((statement, parameters),) = asked
        explain = "EXPLAIN QUERY PLAN " if on_sqlite else "EXPLAIN "
        plan = [str(row[-1]) for row in connection.exec_driver_sql(explain + statement, parameters)]
    steps = "\n".join(plan)
    assert "TEMP B-TREE" not in steps
    assert "Sort" not in steps
    assert "Seq Scan" not in steps
    assert not any(step.strip().startswith("SCAN") and "USING" not in step for step in plan)
    walked = next(step for step in plan if ("USING" if on_sqlite else "Index Cond") in step)
    assert first or "created_at_us" in walked  # a further page begins where the one before ended
