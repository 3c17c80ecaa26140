"""Jobs: stored once, listed newest first, seen by the dispatcher in the order of their tags."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, text

from qpu_backend.domain.jobs import JobState
from qpu_backend.stores import blobs, jobs, new_jobs
from qpu_backend.stores.errors import ForeignTenant, IdempotencyKeyTaken, InvalidCursor
from qpu_backend.stores.jobs import JobFilter
from qpu_backend.stores.schema import jobs as jobs_table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from qpu_backend.domain.tenancy import TenantScope
    from tests.stores.conftest import House


def stored(house: House, scope: TenantScope, job_id: str) -> jobs.JobRow:
    with house.database.read() as connection:
        job = jobs.get_job(connection, scope, job_id)
    assert job is not None
    return job


def listed(house: House, scope: TenantScope, filters: JobFilter | None = None) -> list[str]:
    with house.database.read() as connection:
        return [job.id for job in jobs.list_jobs(connection, scope, filters or JobFilter()).jobs]


def view(house: House, per_tenant: int, window: int, without: Collection[str] = ()) -> list[jobs.QueuedJobRow]:
    with house.database.read() as connection:
        return jobs.queue_view(
            connection, house.system, "eagle127", per_tenant=per_tenant, window=window, without=without
        )


# --- storing --------------------------------------------------------------------------------------------------------


def test_a_job_comes_back_as_it_was_admitted(house: House) -> None:
    scope = house.tenant("ada")
    with house.database.write() as connection:
        [sha] = blobs.put_blobs(connection, [b"program"])
        job = house.new_job(
            scope,
            program_sha=sha,
            tags=["rb", "Üb ung"],
            options={"seed": 2**63 - 1, "memory": True},
            seed=2**63 - 1,
            quota_start=[["shots", "day", 5, 1024]],
            max_cost_micro=10**15,
            idempotency_key="key",
        )
        new_jobs.insert_job(connection, scope, job)
    row = stored(house, scope, job.id)
    assert {field.name: getattr(row, field.name) for field in fields(job)} == {
        field.name: getattr(job, field.name) for field in fields(job)
    }
    assert row.state is JobState.QUEUED
    assert (row.solo, row.cancel_requested, row.event_seq, row.result_sha) == (False, False, 0, None)
    assert (row.leg, row.simulator_cpu_us, row.started_at_us, row.error_code) == (0, 0, None, None)


def test_a_job_of_another_tenant_or_principal_is_not_stored(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    with house.database.write() as connection, pytest.raises(ForeignTenant):
        new_jobs.insert_job(connection, bob, house.new_job(ada))


def test_an_idempotency_key_finds_its_job_for_the_principal_that_used_it(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    first = house.job(ada, idempotency_key="key")
    other = house.job(bob, idempotency_key="key")
    house.job(ada)
    with house.database.read() as connection:
        for scope, job_id in ((ada, first), (bob, other)):
            found = jobs.find_by_idempotency_key(connection, scope, "key")
            assert found is not None
            assert found.id == job_id
        assert jobs.find_by_idempotency_key(connection, ada, "keys") is None


def test_of_concurrent_twins_one_is_stored(house: House, together: Callable[..., list[Any]]) -> None:
    scope = house.tenant("ada")
    results = together([lambda: house.job(scope, idempotency_key="key")] * 6)
    [winner] = [result for result in results if isinstance(result, str)]
    losers = [result for result in results if result != winner]
    assert [type(loser) for loser in losers] == [IdempotencyKeyTaken] * 5
    assert losers[0].key == "key"
    assert listed(house, scope) == [winner]


def test_unfinished_jobs_are_counted_per_tenant(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    ids = [house.job(ada) for _ in range(3)]
    house.job(bob)
    house.batch(*ids[:2])
    house.finish(ids[0])
    with house.database.read() as connection:
        assert jobs.count_unfinished(connection, ada) == 2
        assert jobs.count_unfinished(connection, bob) == 1
        assert jobs.count_queued(connection, house.system, "eagle127") == 2
        assert [job.id for job in jobs.running_jobs(connection, house.system, "eagle127")] == [ids[1]]


# --- listing --------------------------------------------------------------------------------------------------------


def test_jobs_are_listed_newest_first_page_by_page(house: House) -> None:
    scope = house.tenant("ada")
    house.job(house.tenant("bob"))
    ids = [house.job(scope, created_at_us=house.now_us + turn // 2) for turn in range(7)]  # pairs at the same µs
    cursor, pages = None, list[list[str]]()
    with house.database.read() as connection:
        while True:
            page = jobs.list_jobs(connection, scope, cursor=cursor, limit=3)
            pages.append([job.id for job in page.jobs])
            cursor = page.next_cursor
            if cursor is None:
                break
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [job_id for page in pages for job_id in page] == ids[::-1]


def test_a_page_that_ends_with_the_list_is_the_last(house: House) -> None:
    scope = house.tenant("ada")
    house.job(scope)
    with house.database.read() as connection:
        assert jobs.list_jobs(connection, scope, limit=1).next_cursor is None


def test_jobs_added_meanwhile_do_not_shift_the_pages(house: House) -> None:
    scope = house.tenant("ada")
    ids = [house.job(scope, created_at_us=turn) for turn in range(4)]
    with house.database.read() as connection:
        first = jobs.list_jobs(connection, scope, limit=2)
    house.job(scope, created_at_us=100)
    with house.database.read() as connection:
        second = jobs.list_jobs(connection, scope, cursor=first.next_cursor, limit=2)
    assert [job.id for job in (*first.jobs, *second.jobs)] == ids[::-1]


def test_lists_are_filtered_by_state_backend_and_tag(house: House) -> None:
    scope = house.tenant("ada")
    plain = house.job(scope)
    pinned = house.job(scope, backend="eagle127", tags=["rb"])
    running = house.job(scope, tags=["rb", "t1"])
    house.batch(running)
    assert listed(house, scope, JobFilter(states=(JobState.QUEUED,))) == [pinned, plain]
    assert listed(house, scope, JobFilter(backend="eagle127")) == [pinned]
    assert listed(house, scope, JobFilter(tags=("rb",))) == [running, pinned]
    assert listed(house, scope, JobFilter(tags=("rb",), states=(JobState.RUNNING,))) == [running]
    assert listed(house, scope, JobFilter(tags=("RB",))) == []


@pytest.mark.parametrize("tag", ['a"b', "b", "%", "a%", "\\", 'x\\"', "ü", "[]", "null", "'; --"])
def test_a_tag_is_matched_whole_whatever_it_contains(house: House, tag: str) -> None:
    scope = house.tenant("ada")
    exact = house.job(scope, tags=[tag])
    house.job(scope, tags=[f'{tag}"', f"x{tag}", f"{tag}{tag}x", f'a"{tag}c'])
    assert listed(house, scope, JobFilter(tags=(tag,))) == [exact]


@pytest.mark.parametrize("cursor", ["", "x", "!!!!", "MTIz", "YS9i", "é", "LzEyMw", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5L2E"])
def test_a_made_up_cursor_is_refused(house: House, cursor: str) -> None:
    scope = house.tenant("ada")
    house.job(scope)
    with house.database.read() as connection, pytest.raises(InvalidCursor):
        jobs.list_jobs(connection, scope, cursor=cursor)


# --- the queue ------------------------------------------------------------------------------------------------------


def test_the_queue_is_seen_in_the_order_of_tags_then_ids(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    ids = [house.job(scope, start_tag=tag) for scope, tag in ((ada, 5), (bob, 3), (ada, 3), (bob, 0))]
    house.batch(house.job(ada, start_tag=-1))  # runs, so it does not wait
    assert [job.id for job in view(house, 10, 10)] == [ids[3], *sorted([ids[1], ids[2]]), ids[0]]


@pytest.fixture
def four(house: House) -> list[TenantScope]:
    return [house.tenant(name) for name in ("ada", "bob", "eve", "joe")]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    queue=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=25),
    per_tenant=st.integers(1, 5),
    window=st.integers(1, 12),
)
def test_the_view_is_the_front_of_the_queue_with_so_many_jobs_of_each_tenant(
    house: House, four: list[TenantScope], queue: list[tuple[int, int]], per_tenant: int, window: int
) -> None:
    made: list[tuple[int, str, int]] = []
    with house.database.write() as connection:
        connection.execute(delete(jobs_table))
        [sha] = blobs.put_blobs(connection, [b"program"])
        for owner, tag in queue:
            job = house.new_job(four[owner], start_tag=tag, program_sha=sha)
            new_jobs.insert_job(connection, four[owner], job)
            made.append((tag, job.id, owner))
    expected: list[str] = []
    taken = dict.fromkeys(range(4), 0)
    for _, job_id, owner in sorted(made):
        if taken[owner] < per_tenant and len(expected) < window:
            taken[owner] += 1
            expected.append(job_id)
    assert [job.id for job in view(house, per_tenant, window)] == expected


def test_jobs_that_are_not_to_be_seen_take_nobodys_place(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    unseen = {house.job(ada, start_tag=tag) for tag in range(7)}
    mine = [house.job(ada, start_tag=10 + tag) for tag in range(3)]
    others = house.job(bob, start_tag=20)
    assert [job.id for job in view(house, 2, 3, unseen)] == [*mine[:2], others]
    assert {job.id for job in view(house, 2, 3)} < {*unseen, others}


def test_the_queue_is_walked_by_its_index(house: House) -> None:
    if house.database.dialect != "sqlite":
        pytest.skip("PostgreSQL chooses by the size of the table")
    with house.database.read() as connection:
        plan = connection.execute(
            text(
                "EXPLAIN QUERY PLAN SELECT footprint FROM jobs WHERE device_id = 'd' AND state = 'queued' "
                "AND (start_tag, id) > (0, '') AND tenant_id NOT IN ('a') ORDER BY start_tag, id LIMIT 40"
            )
        ).all()
    assert ["ix_jobs_queued" in str(step) for step in plan] == [True]


def test_jobs_ahead_are_counted_for_a_waiting_job(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    first, second, third = (house.job(scope, start_tag=tag) for scope, tag in ((bob, 1), (ada, 2), (ada, 2)))
    with house.database.read() as connection:
        ahead = {job.id: jobs.count_ahead(connection, ada, job) for job in jobs.list_jobs(connection, ada).jobs}
        assert ahead == {second: 1, third: 2}
        theirs = jobs.get_job(connection, bob, first)
        assert theirs is not None
        assert jobs.count_ahead(connection, ada, theirs) == 0
