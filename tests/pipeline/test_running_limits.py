"""Limits of running jobs: who is at one waits and is told so, nobody else does, and promised starts are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.config import LaneSection
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.policies import NOT_LIMITED, Policy
from qpu_backend.domain.tenancy import Role
from qpu_backend.pipeline.outlook import outlook
from qpu_backend.stores import access, policies


@pytest.fixture
def limit(lab):
    """Limits what may run, of a tenant or of a principal, and lifts it in the end."""
    done = []

    def change(scope, number, *, own=False):
        principal_id = scope.principal_id if own else ""
        with lab.database.write() as connection:
            policies.write_policy(connection, SYSTEM, scope.tenant_id, Policy(max_running_jobs=number), principal_id)
        done.append((scope.tenant_id, principal_id))

    yield change
    with lab.database.write() as connection:
        for tenant_id, principal_id in done:
            policies.write_policy(connection, SYSTEM, tenant_id, NOT_LIMITED, principal_id)


def colleague(lab, scope, name="bob"):
    with lab.database.write() as connection:
        row = access.create_principal(
            connection, SYSTEM, tenant_id=scope.tenant_id, name=name, role=Role.MEMBER, now_us=0
        )
    return replace(scope, principal_id=row.id)


def told(lab, scope, job_id):
    with lab.database.read() as connection:
        waits = outlook(connection, scope, lab.rows(job_id)[0])
    return None if waits is None else waits.message


def states(lab, *job_ids):
    return [row.state for row in lab.rows(*job_ids)]


QUEUED, RUNNING = JobState.QUEUED, JobState.RUNNING


def test_a_tenant_at_its_limit_waits_is_told_so_and_holds_nobody_up(lab, limit):
    ada, eve = lab.tenant(), lab.tenant()
    limit(ada, 2)
    lab.workers.gate.clear()
    with lab.queueing():
        mine = [lab.submit(ada) for _ in range(5)]
        theirs = [lab.submit(eve) for _ in range(3)]
    lab.until("running", *mine[:2], *theirs)
    assert states(lab, *mine, *theirs) == [RUNNING] * 2 + [QUEUED] * 3 + [RUNNING] * 3
    assert told(lab, ada, mine[2]).startswith("waiting: 2 of your tenant's jobs run, which is its limit; ")
    assert told(lab, ada, mine[0]) is None
    late = lab.submit(eve)
    lab.until("running", late)  # a batch later, the limit still holds
    assert states(lab, *mine[2:]) == [QUEUED] * 3
    lab.workers.gate.set()
    assert {row.state for row in lab.ended(*mine, *theirs, late)} == {JobState.DONE}
    for ran in lab.batches(*mine):
        assert len(set(ran.job_ids) & set(mine)) <= 2
    lab.check_books()


def test_a_principal_at_its_limit_does_not_hold_up_its_tenant(lab, limit):
    ada = lab.tenant()
    bob = colleague(lab, ada)
    limit(bob, 1, own=True)
    lab.workers.gate.clear()
    with lab.queueing():
        flood = [lab.submit(bob) for _ in range(4)]
        mine = [lab.submit(ada) for _ in range(3)]
    lab.until("running", flood[0], *mine)
    assert states(lab, *flood) == [RUNNING] + [QUEUED] * 3
    assert told(lab, bob, flood[1]).startswith("waiting: 1 of your jobs runs, which is your limit; ")
    assert told(lab, ada, flood[1]).startswith("waiting: 1 of its principal's jobs runs, which is their limit; ")
    lab.workers.gate.set()
    assert {row.state for row in lab.ended(*flood, *mine)} == {JobState.DONE}


def test_a_limit_of_none_at_all_stops_a_tenant_until_it_is_lifted(lab, limit):
    ada, eve = lab.tenant(), lab.tenant()
    limit(ada, 0)
    mine = lab.submit(ada)
    lab.ended(lab.submit(eve))
    assert states(lab, mine) == [QUEUED]
    assert "0 of your tenant's jobs run" in told(lab, ada, mine)
    limit(ada, 1)
    lab.dispatcher.wake()
    assert lab.ended(mine)[0].state == JobState.DONE


def test_virtual_time_does_not_pass_jobs_that_a_limit_left_out(lab, limit):
    ada, eve = lab.tenant(), lab.tenant()
    limit(ada, 0)
    with lab.queueing():
        first = lab.submit(ada)
        others = [lab.submit(eve) for _ in range(6)]
    lab.ended(*others)
    (waiting,) = lab.rows(first)
    assert lab.device().virtual_time <= waiting.start_tag < max(row.start_tag for row in lab.rows(*others))
    looked = lab.dispatcher._lookout.look()
    assert (looked.view.jobs, looked.view.unseen_tag) == ((), waiting.start_tag)
    assert looked.with_jobs(()).view.unseen_tag == waiting.start_tag
    limit(ada, 1)
    lab.dispatcher.wake()
    lab.ended(first)


def test_a_promised_start_is_kept_whatever_runs(new_lab, make):
    lab = new_lab(lanes={"standard": LaneSection(), "prompt": LaneSection(promise_s=600)})
    ada = lab.tenant()
    with lab.database.write() as connection:
        policies.write_policy(connection, SYSTEM, ada.tenant_id, Policy(max_running_jobs=1))
    lab.workers.gate.clear()
    with lab.queueing():
        usual = [lab.submit(ada) for _ in range(2)]
        promised = [lab.submit(ada, make.sample(make.ghz(), lane="prompt")) for _ in range(2)]
    lab.until("running", *promised)
    assert states(lab, *usual, *promised) == [QUEUED] * 2 + [RUNNING] * 2
    lab.workers.gate.set()
    rows = lab.ended(*usual, *promised)
    assert {row.state for row in rows} == {JobState.DONE}
    (ran,) = lab.batches(*promised)
    assert all(ran.batch.device_start_us <= row.start_by_us for row in rows[2:])
