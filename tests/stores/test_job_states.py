"""State changes: each from the state it may start from, once, and it says whether it happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy.exc import IntegrityError

from qpu_backend.domain.jobs import TRANSITIONS, JobState, Transition
from qpu_backend.stores import blobs, job_states, jobs
from qpu_backend.stores.job_states import CancelOutcome, Completion, Continuation, Failure

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import TenantScope
    from tests.stores.conftest import House


def complete(house: House, connection: Connection, job_id: str) -> bool:
    [sha] = blobs.put_blobs(connection, [b"result"])
    return job_id in job_states.mark_done(connection, house.system, [Completion(job_id, sha)], finished_at_us=9)


def start(house: House, connection: Connection, job_id: str) -> bool:
    return job_id in job_states.mark_running(connection, house.system, [job_id], started_at_us=5)


def fail(house: House, connection: Connection, job_id: str) -> bool:
    failures = [Failure(job_id, "engine_failed", "the engine gave up")]
    return job_id in job_states.mark_failed(connection, house.system, failures, finished_at_us=9)


def discard(house: House, connection: Connection, job_id: str) -> bool:
    return job_id in job_states.mark_cancelled(connection, house.system, [job_id], finished_at_us=9)


def retry(house: House, connection: Connection, job_id: str) -> bool:
    return job_id in job_states.requeue_solo(connection, house.system, [job_id])


def go_on(house: House, connection: Connection, job_id: str) -> bool:
    leg = jobs.read_jobs(connection, house.system, [job_id])[job_id].leg
    return job_id in job_states.continue_jobs(connection, house.system, [next_leg(job_id, leg + 1)])


def next_leg(job_id: str, leg: int) -> Continuation:
    return Continuation(job_id, leg, {"shape": "line-5", "needs": [[1, leg, 0]]}, 70 + leg, 80 + leg, 10, 1_000)


CHANGES = {
    Transition.START: start,
    Transition.COMPLETE: complete,
    Transition.FAIL: fail,
    Transition.CANCEL: discard,
    Transition.RETRY: retry,
    Transition.CONTINUE: go_on,
}
WAYS: dict[JobState, list[Transition]] = {
    JobState.QUEUED: [],
    JobState.RUNNING: [Transition.START],
    JobState.DONE: [Transition.START, Transition.COMPLETE],
    JobState.FAILED: [Transition.FAIL],
    JobState.CANCELLED: [Transition.START, Transition.CANCEL],
}


def job_in(house: House, scope: TenantScope, state: JobState) -> str:
    job_id = house.job(scope, legs={"legs_version": 1}, num_legs=9)
    with house.database.write() as connection:
        for transition in WAYS[state]:
            assert CHANGES[transition](house, connection, job_id)
    return job_id


def stored(house: House, scope: TenantScope, job_id: str) -> jobs.JobRow:
    with house.database.read() as connection:
        job = jobs.get_job(connection, scope, job_id)
    assert job is not None
    return job


def test_exactly_the_transitions_of_the_table_happen(house: House) -> None:
    scope = house.tenant("ada")
    for state in JobState:
        for transition, change in CHANGES.items():
            if (state, transition) == (JobState.QUEUED, Transition.CANCEL):
                continue  # the tenant's own: request_cancel
            job_id = job_in(house, scope, state)
            before = stored(house, scope, job_id)
            with house.database.write() as connection:
                happened = change(house, connection, job_id)
            after = stored(house, scope, job_id)
            target = TRANSITIONS.get((state, transition))
            assert happened is (target is not None), (state, transition)
            assert after.state is (target or state)
            if target is None:
                assert after == before


def test_what_each_change_writes(house: House) -> None:
    scope = house.tenant("ada")
    done = stored(house, scope, job_in(house, scope, JobState.DONE))
    assert (done.started_at_us, done.finished_at_us, done.error_code) == (5, 9, None)
    assert done.result_sha is not None
    failed = stored(house, scope, job_in(house, scope, JobState.FAILED))
    assert (failed.error_code, failed.error_message, failed.finished_at_us) == (
        "engine_failed",
        "the engine gave up",
        9,
    )
    running = job_in(house, scope, JobState.RUNNING)
    with house.database.write() as connection:
        retry(house, connection, running)
    again = stored(house, scope, running)
    assert (again.state, again.solo, again.started_at_us) == (JobState.QUEUED, True, None)


def test_a_job_that_goes_on_queues_its_next_leg_and_keeps_when_it_started(house: House) -> None:
    scope = house.tenant("ada")
    job_id = house.job(scope, legs={"legs_version": 1}, num_legs=3, start_by_us=77)
    with house.database.write() as connection:
        start(house, connection, job_id)
        assert job_states.continue_jobs(connection, house.system, [next_leg(job_id, 1)]) == {job_id}
    row = stored(house, scope, job_id)
    assert (row.state, row.leg, row.started_at_us, row.start_by_us) == (JobState.QUEUED, 1, 5, None)
    assert (row.start_tag, row.finish_tag, row.fairness_cost, row.simulator_cpu_us) == (71, 81, 10, 1_000)
    assert row.footprint["needs"] == [[1, 1, 0]]
    with house.database.write() as connection:
        job_states.mark_running(connection, house.system, [job_id], started_at_us=6)
        retry(house, connection, job_id)
    assert stored(house, scope, job_id).started_at_us == 5
    with house.database.write() as connection:
        job_states.mark_running(connection, house.system, [job_id], started_at_us=7)
        job_states.continue_jobs(connection, house.system, [next_leg(job_id, 2)])
    row = stored(house, scope, job_id)
    assert (row.leg, row.started_at_us, row.simulator_cpu_us, row.solo) == (2, 5, 2_000, False)


def test_no_leg_is_left_out_or_run_again(house: House) -> None:
    scope = house.tenant("ada")
    job_id = house.job(scope, legs={"legs_version": 1}, num_legs=2)
    with house.database.write() as connection:
        start(house, connection, job_id)
        for leg in (0, 2):
            assert not job_states.continue_jobs(connection, house.system, [next_leg(job_id, leg)])
        assert job_states.continue_jobs(connection, house.system, [next_leg(job_id, 1)])
        assert not job_states.continue_jobs(connection, house.system, [next_leg(job_id, 1)])
        start(house, connection, job_id)
    with pytest.raises(IntegrityError), house.database.write() as connection:
        job_states.continue_jobs(connection, house.system, [next_leg(job_id, 2)])  # it has two
    assert stored(house, scope, job_id).leg == 1


def test_bulk_changes_say_which_jobs_changed(house: House) -> None:
    scope = house.tenant("ada")
    queued, running = job_in(house, scope, JobState.QUEUED), job_in(house, scope, JobState.RUNNING)
    with house.database.write() as connection:
        [sha] = blobs.put_blobs(connection, [b"result"])
        completions = [Completion(each, sha) for each in (queued, running, "job_none")]
        assert job_states.mark_done(connection, house.system, completions, finished_at_us=9) == {running}
        assert job_states.mark_running(connection, house.system, [], started_at_us=1) == frozenset()


def test_a_job_cannot_be_done_without_a_stored_result(house: House) -> None:
    scope = house.tenant("ada")
    running = job_in(house, scope, JobState.RUNNING)
    with pytest.raises(IntegrityError), house.database.write() as connection:
        job_states.mark_done(connection, house.system, [Completion(running, "0" * 64)], finished_at_us=9)
    assert stored(house, scope, running).state is JobState.RUNNING


def test_cancelling_depends_on_the_state(house: House) -> None:
    scope = house.tenant("ada")
    for state, outcome, after in (
        (JobState.QUEUED, CancelOutcome.CANCELLED, JobState.CANCELLED),
        (JobState.RUNNING, CancelOutcome.REQUESTED, JobState.RUNNING),
        (JobState.DONE, CancelOutcome.TOO_LATE, JobState.DONE),
        (JobState.FAILED, CancelOutcome.TOO_LATE, JobState.FAILED),
        (JobState.CANCELLED, CancelOutcome.TOO_LATE, JobState.CANCELLED),
    ):
        job_id = job_in(house, scope, state)
        with house.database.write() as connection:
            cancellation = job_states.request_cancel(connection, scope, job_id, now_us=9)
        assert cancellation is not None
        assert (cancellation.outcome, cancellation.job.state) == (outcome, state)
        row = stored(house, scope, job_id)
        assert row.state is after
        assert row.cancel_requested is (state in {JobState.QUEUED, JobState.RUNNING, JobState.CANCELLED})


def test_a_job_is_either_cancelled_in_the_queue_or_started_never_both(
    house: House, together: Callable[..., list[Any]]
) -> None:
    scope = house.tenant("ada")

    def cancel(job_id: str) -> bool:
        with house.database.write() as connection:
            cancellation = job_states.request_cancel(connection, scope, job_id, now_us=9)
        assert cancellation is not None
        return cancellation.outcome is CancelOutcome.CANCELLED

    def begin(job_id: str) -> bool:
        with house.database.write() as connection:
            return start(house, connection, job_id)

    for _ in range(10):
        job_id = house.job(scope)
        cancelled, started = together([lambda: cancel(job_id), lambda: begin(job_id)])  # noqa: B023 - used at once
        assert cancelled is not started
        assert stored(house, scope, job_id).state is (JobState.CANCELLED if cancelled else JobState.RUNNING)
