"""Every way a job can end, and what it leaves in the books: shots, quota, money, events."""

from __future__ import annotations

import pytest

from qpu_backend.domain.errors import IllegalTransition, NotFound, QueueFull, QuotaExceeded
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.quota import Resource, Window

LIMITS = {
    (Resource.SHOTS, Window.DAY): 1000,
    (Resource.DEVICE_US, Window.DAY): 10**9,
    (Resource.SPEND_MICRO, Window.MONTH): 10**9,
}
SHOTS = 2
"""Position of the row of shots in :meth:`Lab.windows`."""


def left(lab, scope):
    """(reserved, spent) shots."""
    return lab.windows(scope)[1][1:]


def cancel(lab, scope, job_id):
    return lab.service.door.cancellation.cancel(scope, job_id)


def test_a_job_that_is_done_pays_what_it_was_quoted(either_lab, make):
    lab = either_lab
    scope = lab.tenant(limits=LIMITS)
    job_id = lab.submit(scope, make.sample(make.ghz(), shots=300))
    (row,) = lab.ended(job_id)
    usage = lab.usage(scope, job_id)
    assert usage.outcome is JobState.DONE
    assert (usage.shots, usage.device_us, usage.price_micro) == (300, row.device_us, row.price_micro)
    assert lab.windows(scope) == [
        ("device_us", 0, row.device_us),
        ("shots", 0, 300),
        ("spend_micro", 0, row.price_micro),
    ]
    assert lab.events(scope, job_id) == ["admitted", "running", "done"]
    lab.check_books()


def test_a_cancelled_queued_job_is_free(either_lab, make):
    lab = either_lab
    scope = lab.tenant(limits=LIMITS)
    with lab.queueing():
        job_id = lab.submit(scope, make.sample(make.ghz(), shots=300))
        assert left(lab, scope) == (300, 0)
        cancel(lab, scope, job_id)
        assert left(lab, scope) == (0, 0)
        cancel(lab, scope, job_id)  # twice is once
    (row,) = lab.ended(job_id)
    assert row.state is JobState.CANCELLED
    assert lab.usage(scope, job_id).price_micro == 0
    assert lab.events(scope, job_id) == ["admitted", "cancelled"]
    assert not lab.batches(job_id)
    lab.check_books()


def test_a_cancelled_running_job_is_billed_and_its_result_discarded(either_lab, make):
    lab = either_lab
    scope, other = lab.tenant(limits=LIMITS), lab.tenant()
    lab.workers.gate.clear()
    with lab.queueing():
        job_id, beside = lab.submit(scope, make.sample(make.ghz(), shots=300)), lab.submit(other)
    lab.until("running", job_id)
    assert cancel(lab, scope, job_id).state is JobState.RUNNING
    cancel(lab, scope, job_id)
    lab.workers.gate.set()
    row, neighbour = lab.ended(job_id, beside)
    assert (row.state, neighbour.state) == (JobState.CANCELLED, JobState.DONE)
    assert row.result_sha is None
    assert lab.usage(scope, job_id).price_micro == row.price_micro > 0
    assert left(lab, scope) == (0, 300)
    assert lab.events(scope, job_id) == ["admitted", "running", "cancel_requested", "cancelled"]
    lab.check_books()


def test_a_finished_job_cannot_be_cancelled(lab):
    scope = lab.tenant()
    job_id = lab.submit(scope)
    lab.ended(job_id)
    with pytest.raises(IllegalTransition):
        cancel(lab, scope, job_id)
    with pytest.raises(NotFound):
        cancel(lab, lab.tenant(), job_id)


def test_a_job_that_fails_in_its_simulator_is_free_and_its_neighbours_are_done(lab, make):
    """No circuit that is admitted fails in the engine; so the poison here is the worker's, three times in a row."""
    scope, other = lab.tenant(limits=LIMITS), lab.tenant()
    lab.workers.poison = {666}
    with lab.queueing():
        job_id = lab.submit(scope, make.sample(make.ghz(), shots=300, seed=666))
        beside = lab.submit(other)
    row, neighbour = lab.ended(job_id, beside)
    assert (row.state, row.error_code) == (JobState.FAILED, "poisonous")
    assert neighbour.state is JobState.DONE
    assert left(lab, scope) == (0, 0)
    assert lab.usage(scope, job_id).price_micro == 0
    assert lab.usage(other, beside).price_micro == neighbour.price_micro > 0
    lab.check_books()


def test_refused_jobs_reserve_nothing(lab, make):
    scope = lab.tenant(limits=LIMITS)
    with pytest.raises(QuotaExceeded):
        lab.submit(scope, make.sample(make.ghz(), shots=1001))
    assert lab.windows(scope) == []
    with lab.queueing():
        first = lab.submit(scope, make.sample(make.ghz(), shots=700))
        with pytest.raises(QuotaExceeded):
            lab.submit(scope, make.sample(make.ghz(), shots=301))
        assert left(lab, scope) == (700, 0)
    lab.ended(first)
    assert left(lab, scope) == (0, 700)


def test_a_tenant_can_fill_its_queue_and_no_more(lab):
    scope = lab.tenant(max_queued_jobs=2)
    with lab.queueing():
        ids = [lab.submit(scope) for _ in range(2)]
        with pytest.raises(QueueFull):
            lab.submit(scope)
    lab.ended(*ids)
    lab.ended(lab.submit(scope))


def test_submitting_again_under_the_same_key_answers_the_same_job(either_lab, make):
    lab = either_lab
    scope = lab.tenant(limits=LIMITS)
    order = make.sample(make.ghz(), shots=300)
    first, second = (lab.submit(scope, order, key="once") for _ in range(2))
    assert first == second
    lab.ended(first)
    assert left(lab, scope) == (0, 300)


def test_concurrent_submissions_never_exceed_quota_or_queue(either_lab, make):
    lab = either_lab
    scope = lab.tenant(limits=LIMITS, max_queued_jobs=8)
    order = make.sample(make.ghz(), shots=150)
    refusals = []

    def submit():
        try:
            lab.submit(scope, order)
        except (QuotaExceeded, QueueFull) as error:
            refusals.append(error)

    with lab.queueing():
        lab.at_once([submit] * 12)
        assert left(lab, scope) == (900, 0)
        assert len(refusals) == 6
        crowd = lab.tenant(max_queued_jobs=3)
        admitted = lab.at_once([lambda: lab.submit(crowd)] * 8)
        assert sum(isinstance(one, str) for one in admitted) == 3
    lab.ended(*(one for one in admitted if isinstance(one, str)))
    lab.settle()
    assert left(lab, scope) == (0, 900)
    lab.check_books()
