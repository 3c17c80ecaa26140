"""Workers that die, leases that are lost, processes that stop: nothing is lost and nothing is done twice."""

from __future__ import annotations

import time

import numpy as np
import pytest
from sqlalchemy import update

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.jobs import JobState
from qpu_backend.pipeline.clocks import HandDrivenClock
from qpu_backend.pipeline.recent import Recent
from qpu_backend.pipeline.recovery import MAX_FAILURES
from qpu_backend.stores import devices, schema
from qpu_backend.stores.devices import LeaseHolder

ELSEWHERE = LeaseHolder(holder="worker_elsewhere", boot_id="another", pid=1, pid_started="1")


def take_away(lab):
    """Another process takes the lease, as it may when this one is paused for too long."""
    with lab.database.write() as connection:
        epoch = lab.device().lease_epoch
        devices.release_lease(connection, SYSTEM, "eagle127", epoch=epoch)
        ttl_us = 3_600_000_000
        return devices.take_lease(
            connection, SYSTEM, "eagle127", ELSEWHERE, ttl_us=ttl_us, local_alive=lambda _holder: True
        )


def give_back(lab, epoch):
    with lab.database.write() as connection:
        assert devices.release_lease(connection, SYSTEM, "eagle127", epoch=epoch)


def test_a_poisonous_job_is_found_and_its_neighbours_are_done(new_lab, make):
    lab = new_lab()
    lab.workers.poison = {666}
    scope, other = lab.tenant(), lab.tenant()
    with lab.queueing():
        innocent = [lab.submit(other, make.sample(make.ghz(), seed=n)) for n in range(3)]
        poison = lab.submit(scope, make.sample(make.ghz(), seed=666))
        innocent += [lab.submit(scope, make.sample(make.ghz(), seed=n)) for n in range(3, 5)]
    failed, *done = lab.ended(poison, *innocent)
    assert (failed.state, failed.error_code) == (JobState.FAILED, "poisonous")
    assert [row.state for row in done] == [JobState.DONE] * 5
    together, *apart = lab.batches(poison, *innocent)
    assert (together.batch.state, together.batch.attempt) == ("dissolved", MAX_FAILURES)
    assert all(len(ran.placements) == 1 for ran in apart)
    assert lab.events(scope, poison) == ["admitted", "running", "requeued", "running", "failed"]
    assert lab.events(other, innocent[0]) == ["admitted", "running", "requeued", "running", "done"]
    lab.check_books()


def test_a_job_that_only_ran_at_the_same_time_is_never_blamed(new_lab, make):
    """Batches of one job each, two in flight: whenever the poison ends the pool, a bystander's batch fails too."""
    lab = new_lab(max_inflight=4)
    lab.workers.poison = {666, 667}
    scope = lab.tenant()
    with lab.queueing():
        ids = {
            seed: lab.submit(scope, make.sample(make.pinned(0, 1), backend="eagle127", shots=10, seed=seed))
            for seed in (1, 666, 2, 3, 667, 4, 5)
        }
    ends = dict(zip(ids, lab.ended(*ids.values()), strict=True))
    assert {seed for seed, row in ends.items() if row.state is JobState.FAILED} == {666, 667}
    assert all(row.state is JobState.DONE for seed, row in ends.items() if seed < 600)
    lab.check_books()


def test_a_batch_whose_worker_died_runs_again_with_identical_counts(new_lab, make):
    lab = new_lab()
    orders = [make.sample(make.ghz(), make.ghz(3), shots=(300, 20), seed=n) for n in (1, 2)]
    lab.workers.gate.clear()
    with lab.queueing():
        ids = [lab.submit(lab.tenant(), order) for order in orders]
    lab.until("running", *ids)
    while not lab.workers.busy():
        time.sleep(0.005)
    lab.workers.die()
    lab.workers.gate.set()
    lab.ended(*ids)
    (ran,) = lab.batches(*ids)
    assert (ran.batch.state, ran.batch.attempt) == ("done", 2)
    with lab.queueing():
        again = [lab.submit(lab.tenant(), order) for order in orders]
    for one, other in zip(ids, again, strict=True):
        pairs = zip(lab.shots(one), lab.shots(other), strict=True)
        assert all(np.array_equal(bits, same) for bits, same in pairs)
    lab.check_books()


def test_who_lost_the_lease_cannot_settle(new_lab):
    lab = new_lab()
    scope = lab.tenant()
    lab.workers.gate.clear()
    job_id = lab.submit(scope)
    lab.until("running", job_id)
    (before,) = lab.batches(job_id)
    epoch = take_away(lab)
    lab.workers.gate.set()
    lab.idle()  # the stale answer has been refused
    (row,) = lab.rows(job_id)
    assert row.state is JobState.RUNNING
    assert lab.usage(scope, job_id) is None
    give_back(lab, epoch)
    lab.dispatcher.wake()
    lab.ended(job_id)
    (after,) = lab.batches(job_id)
    assert after.batch.id == before.batch.id
    assert after.batch.attempt == 2
    assert after.batch.epoch == epoch + 1 > before.batch.epoch
    assert lab.device().device_time_us == after.batch.device_us  # the same batch again takes no time of its own
    assert lab.events(scope, job_id) == ["admitted", "running", "done"]
    lab.check_books()


def test_losing_the_lease_again_and_again_is_nobodys_fault(new_lab):
    lab = new_lab(started=False)
    scope = lab.tenant()
    job_id = lab.submit(scope)
    lab.workers.gate.clear()
    for _ in range(MAX_FAILURES + 3):
        lab.dispatcher._lease.lose()
        lab.dispatcher.dispatch_once()
    lab.workers.gate.set()
    (row,) = lab.ended(job_id)
    assert row.state is JobState.DONE
    (ran,) = lab.batches(job_id)
    assert ran.batch.attempt == MAX_FAILURES + 3
    assert lab.events(scope, job_id) == ["admitted", "running", "done"]
    lab.check_books()


@pytest.mark.parametrize("runs", ["nowhere", "all the same"])
def test_a_batch_committed_by_a_transaction_that_seemed_to_fail_is_run(new_lab, runs):
    """The database said yes and the connection broke: the batch is committed, and the dispatcher does not know."""
    lab = new_lab(started=False)
    scope = lab.tenant()
    lab.workers.gate.clear()
    job_id = lab.submit(scope)
    run = lab.dispatcher._run_batch
    if runs == "nowhere":
        lab.dispatcher._run_batch = lambda _batch: None
    lab.dispatcher.dispatch_once()
    lab.dispatcher._run_batch = run
    lab.dispatcher._inflight.clear()
    lab.dispatcher._unsure = True
    lab.dispatcher.dispatch_once()
    lab.workers.gate.set()  # where it turns out to run twice, it settles once
    lab.ended(job_id)
    lab.idle()
    assert lab.events(scope, job_id) == ["admitted", "running", "done"]
    lab.check_books()


def test_a_job_cancelled_in_a_batch_that_is_given_up_ends_free(new_lab, make):
    lab = new_lab()
    lab.workers.poison = {666}
    lab.workers.gate.clear()
    scope, other = lab.tenant(), lab.tenant()
    with lab.queueing():
        unwanted, poison = lab.submit(scope), lab.submit(other, make.sample(make.ghz(), seed=666))
    lab.until("running", unwanted, poison)
    lab.service.door.cancellation.cancel(scope, unwanted)
    lab.workers.gate.set()
    cancelled, failed = lab.ended(unwanted, poison)
    assert (cancelled.state, failed.state) == (JobState.CANCELLED, JobState.FAILED)
    assert lab.usage(scope, unwanted).price_micro == 0
    assert lab.events(scope, unwanted) == ["admitted", "running", "cancel_requested", "cancelled"]
    lab.check_books()


def test_what_one_process_left_in_the_queue_another_one_runs(new_lab):
    first = new_lab("shared")
    scope = first.tenant()
    first.pause()
    ids = [first.submit(scope) for _ in range(3)]
    first.service.stop()
    second = new_lab("shared")
    second.resume()
    assert [row.state for row in second.ended(*ids)] == [JobState.DONE] * 3
    second.check_books()


def test_of_two_processes_one_dispatches_and_the_other_takes_over_when_it_stops(new_lab):
    first, second = new_lab("shared"), new_lab("shared")
    scope = first.tenant()
    ids = [(first, second)[n % 2].submit(scope) for n in range(6)]
    assert [row.state for row in first.ended(*ids)] == [JobState.DONE] * 6
    epoch = first.device().lease_epoch
    holder, standby = (first, second) if first.dispatcher._lease.epoch else (second, first)
    assert standby.dispatcher._lease.epoch is None
    holder.service.stop()
    (row,) = standby.ended(standby.submit(scope))
    assert row.state is JobState.DONE
    assert standby.device().lease_epoch == epoch + 1
    standby.check_books()


def test_a_service_that_stops_settles_what_runs_and_starts_nothing_more(new_lab, make):
    lab = new_lab(max_inflight=1)
    scope = lab.tenant()
    order = make.sample(make.pinned(0, 1), backend="eagle127", shots=10)
    lab.workers.gate.clear()
    with lab.queueing():
        ids = [lab.submit(scope, order) for _ in range(3)]
    lab.until("running", ids[0])
    lab.dispatcher.stop_serving()
    lab.workers.gate.set()
    lab.service.stop()
    assert [row.state for row in lab.rows(*ids)] == [JobState.DONE, JobState.QUEUED, JobState.QUEUED]
    assert lab.device().lease_holder is None


def test_an_executor_that_has_been_closed_fails_no_job(new_lab, make):
    """The interpreter shuts its process pools down before the service: what is dispatched then is run next time."""
    first = new_lab("shared")
    scope = first.tenant()
    first.workers.shutdown()
    order = make.sample(make.pinned(0, 1), backend="eagle127", shots=10)
    ids = [first.submit(scope, order) for _ in range(4)]
    first.until("running", ids[0])
    first.service.stop()
    assert all(not row.state.final for row in first.rows(*ids))
    second = new_lab("shared")
    assert [row.state for row in second.ended(*ids)] == [JobState.DONE] * 4
    second.check_books()


def test_wall_times_are_those_of_the_clock_and_device_times_those_of_the_device(new_lab):
    clock = HandDrivenClock()
    lab = new_lab(clock=clock, started=False)
    scope = lab.tenant()
    admitted_us = clock.now_us()
    first = lab.submit(scope)
    clock.advance(seconds=60)
    assert lab.dispatcher.dispatch_once() is False
    (row,) = lab.ended(first)
    assert row.created_at_us == admitted_us
    assert row.started_at_us == row.finished_at_us == admitted_us + 60_000_000
    assert lab.device().device_time_us == row.device_us  # nobody on the chip: no idle time passes


@pytest.mark.parametrize("closed", ["operational", "lease"])
def test_a_device_that_closes_between_plan_and_commit_starts_nothing(new_lab, closed):
    lab = new_lab(started=False)
    job_id = lab.submit(lab.tenant())
    assert lab.dispatcher._in_charge()
    lookout = lab.dispatcher._lookout
    look = lookout.look
    if closed == "operational":
        lookout.look = lambda *suspects: (look(*suspects), lab.pause())[0]
        assert lab.dispatcher.dispatch_once() is True
    else:
        lookout.look = lambda *suspects: (look(*suspects), take_away(lab))[0]
        with pytest.raises(devices.LeaseLost):
            lab.dispatcher.dispatch_once()
    assert lab.rows(job_id)[0].state is JobState.QUEUED
    assert lab.batches() == []


def test_a_batch_that_runs_is_not_started_a_second_time(new_lab):
    lab = new_lab(started=False)
    lab.workers.gate.clear()
    job_id = lab.submit(lab.tenant())
    lab.dispatcher.dispatch_once()
    lab.dispatcher._unsure = True
    lab.dispatcher.dispatch_once()
    lab.workers.gate.set()
    lab.ended(job_id)
    (ran,) = lab.batches(job_id)
    assert ran.batch.attempt == 1


def test_a_job_that_cannot_be_prepared_fails_and_does_not_stop_the_device(new_lab, make, monkeypatch):
    """Its program is damaged in the database: nothing can be made of it, alone or with others."""
    monkeypatch.setattr(Recent, "get", lambda *_: None)  # as after a restart
    lab = new_lab()
    scope = lab.tenant()
    with lab.queueing():
        first = [lab.submit(scope, make.sample(make.ghz(), seed=n)) for n in range(3)]
        damaged = lab.submit(lab.tenant(), make.sample(make.ghz(4)))
        (row,) = lab.rows(damaged)
        with lab.database.write() as connection:
            table = schema.blobs
            connection.execute(update(table).where(table.c.sha256 == row.program_sha).values(body=b"damaged"))
    failed, *done = lab.ended(damaged, *first)
    assert (failed.state, failed.error_code) == (JobState.FAILED, "poisonous")
    assert [row.state for row in done] == [JobState.DONE] * 3
    assert lab.ended(lab.submit(scope))[0].state is JobState.DONE
    lab.check_books()
