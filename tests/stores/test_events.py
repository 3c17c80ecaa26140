"""Events: numbered without gaps for each job and each tenant, whoever writes at the same time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qpu_backend.domain.quota import Resource, Window
from qpu_backend.stores import blobs, events, job_states, jobs, new_jobs, quota
from qpu_backend.stores.errors import ForeignTenant, MissingRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpu_backend.domain.tenancy import TenantScope
    from tests.stores.conftest import House


def append(house: House, *new: events.NewEvent) -> list[events.EventRow]:
    with house.database.write() as connection:
        return events.append_events(connection, house.system, new)


def test_events_are_numbered_from_one_for_each_job_and_each_tenant(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    one, two, other = house.job(ada), house.job(ada), house.job(bob)
    written = append(
        house,
        house.event(ada, one),
        house.event(ada, two),
        house.event(bob, other),
        house.event(ada, one, "planned"),
    )
    assert [(row.job_id, row.seq, row.cursor) for row in written] == [
        (one, 1, 1),
        (two, 1, 2),
        (other, 1, 1),
        (one, 2, 3),
    ]
    [more] = append(house, house.event(ada, two, "planned"))
    assert (more.seq, more.cursor) == (2, 4)
    with house.database.read() as connection:
        assert events.read_job_events(connection, ada, one) == [written[0], written[3]]
        assert events.read_job_events(connection, ada, one, after_seq=1) == [written[3]]
        assert events.read_tenant_events(connection, ada) == [written[0], written[1], written[3], more]
        assert events.read_tenant_events(connection, ada, after_cursor=1, limit=1) == [written[1]]
        assert events.current_cursor(connection, ada) == 4
        assert events.current_cursor(connection, bob) == 1


def test_no_events_is_nothing_to_do(house: House) -> None:
    assert append(house) == []


def test_an_event_needs_a_job_of_its_tenant(house: House) -> None:
    ada, bob = house.tenant("ada"), house.tenant("bob")
    job_id = house.job(ada)
    with pytest.raises(MissingRow):
        append(house, house.event(bob, job_id))
    with pytest.raises(MissingRow):
        append(house, house.event(ada, "job_none"))
    with house.database.write() as connection, pytest.raises(ForeignTenant):
        events.append_events(connection, bob, [house.event(ada, job_id)])
    with house.database.read() as connection:
        assert events.current_cursor(connection, ada) == 0


def test_a_transaction_that_fails_leaves_no_gap(house: House) -> None:
    scope = house.tenant("ada")
    job_id = house.job(scope)
    append(house, house.event(scope, job_id))

    def fail() -> None:
        with house.database.write() as connection:
            events.append_events(connection, scope, [house.event(scope, job_id, "lost")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    [row] = append(house, house.event(scope, job_id, "planned"))
    assert (row.seq, row.cursor) == (2, 2)


def test_numbers_have_no_gaps_under_concurrency(house: House, together: Callable[..., list[object]]) -> None:
    scopes = [house.tenant(name) for name in ("ada", "bob", "eve")]
    owned = [(scope, house.job(scope)) for scope in scopes for _ in range(3)]

    def write(thread: int) -> None:
        for turn in range(4):
            chosen = owned[turn:] + owned[:turn]
            if thread % 2:
                chosen.reverse()  # opposite orders must not lock each other out
            append(house, *[house.event(scope, job_id) for scope, job_id in chosen])

    assert together([lambda thread=thread: write(thread) for thread in range(6)]) == [None] * 6
    with house.database.read() as connection:
        for scope in scopes:
            cursors = [row.cursor for row in events.read_tenant_events(connection, scope)]
            assert cursors == list(range(1, 6 * 4 * 3 + 1))
        for scope, job_id in owned:
            assert [row.seq for row in events.read_job_events(connection, scope, job_id)] == list(range(1, 25))


def test_writers_with_jobs_of_the_same_tenants_do_not_lock_each_other_out(
    house: House, together: Callable[..., list[object]]
) -> None:
    scopes = [house.tenant(name) for name in ("ada", "bob", "eve", "joe")]

    def write(thread: int) -> None:
        mine = [(scope, house.job(scope)) for scope in scopes]
        if thread % 2:
            mine.reverse()
        for _ in range(10):
            append(house, *[house.event(scope, job_id) for scope, job_id in mine])

    assert together([lambda thread=thread: write(thread) for thread in range(4)]) == [None] * 4


def test_a_reader_never_sees_a_hole_that_is_filled_later(house: House, together: Callable[..., list[object]]) -> None:
    scope = house.tenant("ada")
    owned = [house.job(scope) for _ in range(4)]

    def write(job_id: str) -> None:
        for _ in range(10):
            append(house, house.event(scope, job_id))

    def follow() -> list[int]:
        seen: list[int] = []
        while len(seen) < 40:
            with house.database.read() as connection:
                after = seen[-1] if seen else 0
                seen += [row.cursor for row in events.read_tenant_events(connection, scope, after_cursor=after)]
        return seen

    *written, seen = together([*[lambda job_id=job_id: write(job_id) for job_id in owned], follow])
    assert written == [None] * 4
    assert seen == list(range(1, 41))


def test_submitting_cancelling_and_settling_at_once_locks_nobody_out(
    house: House, together: Callable[..., list[object]]
) -> None:
    scopes = [house.tenant(name) for name in ("ada", "bob")]
    with house.database.write() as connection:
        for scope in scopes:
            quota.set_limit(
                connection,
                house.system,
                tenant_id=scope.tenant_id,
                resource=Resource.SHOTS,
                window=Window.DAY,
                amount=10**9,
            )

    def submit(scope: TenantScope) -> str:
        with house.database.write() as connection:
            [sha] = blobs.put_blobs(connection, [b"program"])
            reservation = quota.reserve(connection, scope, {Resource.SHOTS: 1024}, house.now_us)
            job = house.new_job(scope, program_sha=sha, quota_start=reservation)
            new_jobs.insert_job(connection, scope, job)
            events.append_events(connection, scope, [house.event(scope, job.id)])
        return job.id

    def cancel(scope: TenantScope, job_id: str) -> None:
        with house.database.write() as connection:
            cancellation = job_states.request_cancel(connection, scope, job_id, now_us=house.now_us)
            assert cancellation is not None
            if cancellation.outcome is job_states.CancelOutcome.CANCELLED:
                quota.release(connection, scope, scope.tenant_id, cancellation.job.quota_start)
            events.append_events(connection, scope, [house.event(scope, job_id, "cancelled")])

    def run(job_ids: list[str]) -> None:
        with house.database.write() as connection:
            started = job_states.mark_running(connection, house.system, job_ids, started_at_us=house.now_us)
            rows = jobs.read_jobs(connection, house.system, sorted(started))
            news = [events.NewEvent(row.id, row.tenant_id, "planned", row.state, 0) for row in rows.values()]
            events.append_events(connection, house.system, news)
        with house.database.write() as connection:
            [sha] = blobs.put_blobs(connection, [b"result"])
            completions = [job_states.Completion(job_id, sha) for job_id in started]
            done = job_states.mark_done(connection, house.system, completions, finished_at_us=house.now_us)
            settlements = [
                quota.Settlement(rows[job_id].tenant_id, rows[job_id].quota_start, {Resource.SHOTS: 1000})
                for job_id in done
            ]
            quota.settle_many(connection, house.system, settlements)
            news = [events.NewEvent(row.id, row.tenant_id, "settled", row.state, 0) for row in rows.values()]
            events.append_events(connection, house.system, news)

    for _ in range(4):
        waiting = [(scope, submit(scope)) for scope in scopes for _ in range(4)]
        work: list[Callable[[], object]] = [lambda: run([job_id for _, job_id in waiting])]  # noqa: B023 - used at once
        work += [lambda scope=scope: submit(scope) for scope in scopes]
        work += [lambda one=one: cancel(*one) for one in waiting[::2]]
        for result in together(work):
            assert not isinstance(result, Exception), result
    with house.database.read() as connection:
        for scope in scopes:
            [line] = quota.read_lines(connection, scope, house.now_us)
            assert line.reserved == 1024 * jobs.count_unfinished(connection, scope)
            cursors = [row.cursor for row in events.read_tenant_events(connection, scope)]
            assert cursors == list(range(1, len(cursors) + 1))
