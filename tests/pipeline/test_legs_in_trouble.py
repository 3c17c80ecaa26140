"""Legs that fail, or whose batch or service does: nothing is lost, and nobody pays for what was not measured."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
import workers
from legs import CUT, LARGE, LIMITS, QUIET, large, stop_between_legs, until

from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.legs import Legs
from qpu_backend.domain.seeds import derive_seed
from qpu_backend.engines.protocol import decode_report, encode_report
from qpu_backend.engines.worker import run_tasks
from qpu_backend.pipeline import execution


def test_a_job_cancelled_while_a_leg_runs_that_then_fails_does_not_pay_for_that_leg(new_lab, make, monkeypatch):
    lab = new_lab(device=CUT)
    scope = lab.tenant(limits=LIMITS)
    job_id = stop_between_legs(lab, scope, large(make))
    monkeypatch.setattr(workers, "run_tasks", failing)
    monkeypatch.setattr(execution, "run_tasks", failing)
    lab.workers.gate.clear()
    lab.resume()
    lab.until("running", job_id)
    lab.service.door.cancellation.cancel(scope, job_id)
    lab.workers.gate.set()
    (row,) = lab.ended(job_id)
    usage = lab.usage(scope, job_id)
    assert (row.state, usage.shots) == (JobState.CANCELLED, Legs.from_document(dict(row.legs)).used(1).shots)
    lab.check_books()


def failing(tasks):
    """Workers that answer, and can simulate nothing."""
    report = decode_report(run_tasks(tasks))
    return encode_report(replace(report, tasks=tuple(replace(one, slices=(), failure="no") for one in report.tasks)))


def test_a_job_whose_simulation_fails_is_told_so_and_is_free(new_lab, make, monkeypatch):
    lab = new_lab(device=QUIET)
    monkeypatch.setattr(workers, "run_tasks", failing)
    monkeypatch.setattr(execution, "run_tasks", failing)
    scope = lab.tenant(limits=LIMITS)
    job_id = lab.submit(scope, make.sample(make.ghz()))
    (row,) = lab.ended(job_id)
    assert (row.state, row.error_code) == (JobState.FAILED, "execution_failed")
    assert lab.usage(scope, job_id).price_micro == 0
    lab.check_books()


def test_a_job_that_fails_in_a_later_leg_is_free(new_lab, make):
    lab = new_lab(device=CUT)
    scope, other = lab.tenant(limits=LIMITS), lab.tenant()
    job_id = stop_between_legs(lab, scope, large(make, seed=7))
    (row,) = lab.rows(job_id)
    first_shot = Legs.from_document(dict(row.legs)).leg(1).first_shot
    lab.workers.poison = {derive_seed(7, 0, 0, 0, first_shot)}
    beside = lab.submit(other)
    lab.resume()
    failed, done = lab.ended(job_id, beside)
    assert (failed.state, failed.error_code, done.state) == (JobState.FAILED, "poisonous", JobState.DONE)
    assert lab.usage(scope, job_id).price_micro == 0
    assert lab.windows(scope) == [("shots", 0, 0), ("spend_micro", 0, 0)]
    told = lab.events(scope, job_id)
    assert told == ["admitted", "running", "leg_done", "running", "requeued", "running", "failed"]
    lab.check_books()


def test_a_leg_in_a_batch_that_is_given_up_runs_again_alone_and_the_next_one_with_others(new_lab, make):
    lab = new_lab(device=CUT)
    undisturbed = lab.shots(lab.submit(lab.tenant(), large(make)))
    lab.workers.poison = {666}
    scope = lab.tenant()
    with lab.queueing():
        job_id = lab.submit(scope, large(make))
        poison = lab.submit(lab.tenant(), make.sample(make.ghz(), seed=666))
    assert np.array_equal(lab.shots(job_id)[0], undisturbed[0])
    lab.ended(poison)
    (row,) = lab.rows(job_id)
    assert not row.solo
    assert lab.usage(scope, job_id).price_micro == row.price_micro
    told = lab.events(scope, job_id)
    assert told[:5] == ["admitted", "running", "requeued", "running", "leg_done"]
    lab.check_books()


def test_a_service_that_stops_between_legs_leaves_the_rest_to_the_next_one(new_lab, make):
    first = new_lab("shared", device=CUT)
    undisturbed = first.shots(first.submit(first.tenant(), large(make)))
    scope = first.tenant()
    job_id = stop_between_legs(first, scope, large(make))
    first.service.stop()
    second = new_lab("shared", device={**QUIET, "quantum_s": 30})  # what is cut stays cut
    second.resume()
    assert np.array_equal(second.shots(job_id)[0], undisturbed[0])
    assert len(second.batches(job_id)) == 3
    assert second.events(scope, job_id).count("running") == 3
    second.check_books()


@pytest.mark.parametrize("shots", [6_000, 9_000])
def test_a_worker_that_dies_in_the_second_leg_of_two_or_three_costs_nothing_but_that_leg(new_lab, make, shots):
    lab = new_lab(device=CUT)
    undisturbed = lab.shots(lab.submit(lab.tenant(), large(make, shots=shots)))
    job_id = stop_between_legs(lab, lab.tenant(), large(make, shots=shots))
    lab.workers.gate.clear()
    lab.resume()
    lab.until("running", job_id)
    until(lab.workers.busy, lab)
    lab.workers.die()
    lab.workers.gate.set()
    assert np.array_equal(lab.shots(job_id)[0], undisturbed[0])
    assert [ran.batch.attempt for ran in lab.batches(job_id)] == [1, 2, 1][: 1 + shots // 4_500]
    lab.check_books()


def test_a_leg_that_was_computed_twice_is_settled_once(new_lab, make):
    """The answer to the first leg comes again while the second one runs: it changes nothing."""
    lab = new_lab(device=CUT)
    scope = lab.tenant()
    outcomes = []
    settler = lab.service._settler
    take = settler.take
    settler.take = lambda outcome: (outcomes.append(outcome), take(outcome))
    job_id = stop_between_legs(lab, scope, large(make))
    lab.workers.gate.clear()
    lab.resume()
    lab.until("running", job_id)
    before = lab.rows(job_id)
    take(outcomes[0])
    take(outcomes[0])
    until(settler._ready.empty, lab)
    time.sleep(0.1)
    assert lab.rows(job_id) == before
    lab.workers.gate.set()
    lab.ended(job_id)
    lab.idle()
    assert [pub.bits.shape for pub in lab.result(job_id).pubs] == [(1, LARGE, 1)]
    assert lab.events(scope, job_id).count("leg_done") == 2
    lab.check_books()
