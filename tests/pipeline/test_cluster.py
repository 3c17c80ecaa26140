"""The whole service on a real Dask cluster: the counts of this machine, whatever dies in the middle of a batch."""

from __future__ import annotations

import numpy as np
import pytest
from clusters import News, Processes, connect, kill_who_computes, two_workers, until

from qpu_backend.domain.jobs import JobState

LONG = 12
"""Qubits of a circuit that takes a second to simulate, one trajectory a shot."""


def orders(make):
    """Short jobs of several circuits, and one that is still being computed when something happens to its worker."""
    short = [make.sample(make.ghz(), make.ghz(3), shots=(200, 20), seed=seed) for seed in (1, 2)]
    return [*short, make.sample(make.ghz(LONG), backend=f"eagle127:line-{LONG}", shots=60, seed=3)]


def submit_all(lab, make):
    """Every order in one go, each of a tenant of its own: the same batches on every service."""
    with lab.queueing():
        return [lab.submit(lab.tenant(), order) for order in orders(make)]


def assert_same_counts(lab, one, other_lab, other):
    for mine, theirs in zip(one, other, strict=True):
        pairs = zip(lab.shots(mine), other_lab.shots(theirs), strict=True)
        assert all(np.array_equal(bits, same) for bits, same in pairs)


def attempts(lab, *job_ids):
    return [(ran.batch.state, ran.batch.attempt) for ran in lab.batches(*job_ids)]


def test_a_killed_worker_of_a_cluster_changes_no_count_and_no_bill(new_lab, make):
    here = new_lab("here")
    expected = submit_all(here, make)
    with two_workers() as cluster:
        lab = new_lab("there", executor=connect(cluster.scheduler_address))
        ids = submit_all(lab, make)
        lab.until("running", ids[-1])
        kill_who_computes(cluster)
        assert [row.state for row in lab.ended(*ids)] == [JobState.DONE] * 3
        assert_same_counts(here, expected, lab, ids)
        assert max(attempts(lab, *ids)) == ("done", 2)
        assert here.ended(*expected)[0].price_micro == lab.rows(*ids)[0].price_micro
        lab.check_books()
        lab.service.stop()


@pytest.mark.slow
def test_a_scheduler_that_is_killed_comes_back_to_the_same_batch(new_lab, make, tmp_path):
    here = new_lab("here")
    expected = submit_all(here, make)
    processes = Processes(tmp_path)
    try:
        scheduler = processes.scheduler()
        for _ in range(2):
            processes.worker("--nthreads", "1")
        lab = new_lab("there", executor=connect(processes.address))
        ids = submit_all(lab, make)
        lab.until("running", *ids)
        scheduler.kill()
        scheduler.wait()
        late = lab.submit(lab.tenant(), make.sample(make.pinned(100, 101), backend="eagle127", seed=9))
        processes.scheduler()
        for _ in range(2):
            processes.worker("--nthreads", "1")
        assert {row.state for row in lab.ended(late, *ids)} == {JobState.DONE}
        assert_same_counts(here, expected, lab, ids)
        assert set(attempts(lab, *ids, late)) == {("done", 1)}  # nobody ran it before, so nobody is suspected
        lab.check_books()
        lab.service.stop()
    finally:
        processes.close()


@pytest.mark.slow
def test_a_job_that_ends_its_workers_is_found_on_a_cluster_too(new_lab, make):
    """A job may hang for ever: here nothing may take longer than a simulation that takes seconds."""
    with two_workers() as cluster:
        lab = new_lab(executor=connect(cluster.scheduler_address, call_limit_s=2.0))
        with lab.queueing():
            innocent = lab.submit(lab.tenant(), make.sample(make.ghz(), seed=1))
            poison = lab.submit(lab.tenant(), make.sample(make.ghz(14), backend="eagle127:line-14", shots=3000, seed=2))
        failed, done = lab.ended(poison, innocent)
        assert (failed.state, failed.error_code) == (JobState.FAILED, "poisonous")
        assert done.state is JobState.DONE
        lab.check_books()
        lab.service.stop()


@pytest.mark.slow
def test_a_service_ends_though_its_cluster_is_gone_and_another_one_goes_on(new_lab, make):
    with two_workers() as cluster:
        lab = new_lab("shared", executor=connect(cluster.scheduler_address))
        lab.ended(lab.submit(lab.tenant()))
    job_id = lab.submit(lab.tenant(), make.sample(make.ghz(), seed=1))
    lab.until("running", job_id)
    lab.service.stop()
    lab.dispatcher._inflight.clear()  # so that the end of the test need not wait for them once more
    second = new_lab("shared")
    assert [row.state for row in second.ended(job_id)] == [JobState.DONE]
    second.check_books()


@pytest.mark.slow
def test_jobs_that_no_cluster_can_prepare_wait_for_one(new_lab, make, tmp_path):
    """Neighbours are simulated alone before a batch is committed: that nobody can do it now is no fault of theirs."""
    processes = Processes(tmp_path)
    try:
        executor = connect(processes.address, News(), connect_s=0.5)
        lab = new_lab("there", executor=executor)
        with lab.queueing():
            ids = [lab.submit(lab.tenant(), order) for order in orders(make)[:2]]
        until(lambda: executor._held)
        until(lambda: not executor._held)  # given back, so asked for in vain
        processes.scheduler()
        processes.worker("--nthreads", "1")
        assert {row.state for row in lab.ended(*ids)} == {JobState.DONE}
        lab.check_books()
        lab.service.stop()
    finally:
        processes.close()
