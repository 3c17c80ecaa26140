"""What a session may cost, and batches: caps that the service keeps, and what becomes of the rest when a job fails."""

from __future__ import annotations

import pytest
from holding import DEVICE, closed, opened, row_of
from sqlalchemy import select

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.errors import IdempotencyConflict, InvalidRequest
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.sessions import SessionCostExceeded, SessionState
from qpu_backend.pipeline.endings import fail_jobs
from qpu_backend.stores import schema, schema_money, sessions


def _price(lab, scope, order) -> int:
    return lab.service.door.quoting.quote(scope, order, 1000).quote.price_micro


def _fail(lab, job_id: str) -> None:
    with lab.database.write() as connection:
        fail_jobs(connection, SYSTEM, lab.rows(job_id), "internal", "for the test", 0)


def _really_spent(lab, session_id: str) -> int:
    """What follows from the jobs themselves: prices of the unfinished ones, what was recorded of the others."""
    jobs, usage = schema.jobs, schema_money.usage_records
    with lab.database.read() as connection:
        rows = connection.execute(
            select(jobs.c.state, jobs.c.price_micro, usage.c.price_micro)
            .join(usage, usage.c.job_id == jobs.c.id, isouter=True)
            .where(jobs.c.session_id == session_id)
        ).all()
    return sum(price if state in {"queued", "running"} else used for state, price, used in rows)


def test_the_job_that_would_pass_the_cap_is_refused_and_changes_nothing(either_lab, make):
    lab = either_lab
    scope = lab.tenant()
    price = _price(lab, scope, make.sample(make.ghz(), shots=10))
    session_id = opened(lab, scope, max_cost_micro=2 * price)
    order = make.sample(make.ghz(), shots=10, session=session_id)
    with lab.queueing():
        jobs = [lab.submit(scope, order) for _ in range(2)]
        for asks in (lambda: lab.submit(scope, order), lambda: _price(lab, scope, order)):
            with pytest.raises(SessionCostExceeded) as refusal:
                asks()
            assert (refusal.value.limit, refusal.value.used, refusal.value.asked) == (2 * price, 2 * price, price)
        assert row_of(lab, scope, session_id).spent_micro == 2 * price
        lab.service.door.cancellation.cancel(scope, jobs[0])
        assert row_of(lab, scope, session_id).spent_micro == price  # what was cancelled free may be asked for again
        jobs.append(lab.submit(scope, order))
    lab.ended(*jobs)
    assert row_of(lab, scope, session_id).spent_micro == _really_spent(lab, session_id) == 2 * price
    lab.check_books()


def test_a_job_that_failed_costs_its_session_nothing(lab, make):
    scope = lab.tenant()
    session_id = opened(lab, scope)
    with lab.queueing():
        job_id = lab.submit(scope, make.sample(make.ghz(), shots=10, session=session_id))
        assert row_of(lab, scope, session_id).spent_micro > 0
        _fail(lab, job_id)
    assert row_of(lab, scope, session_id).spent_micro == _really_spent(lab, session_id) == 0


def test_what_it_holds_counts_and_a_session_that_reached_its_cost_lets_go(lab, make):
    scope = lab.tenant()
    order = make.sample(make.ghz(), shots=10)
    price = _price(lab, scope, order)
    session_id = opened(lab, scope, max_cost_micro=2 * price)
    lab.ended(lab.submit(scope, make.sample(make.ghz(), shots=10, session=session_id)))
    assert lab.service.door.sessions.expire(DEVICE) == 0
    with lab.database.write() as connection:  # as if others had run beside what it held
        sessions.add_held_cost(connection, SYSTEM, {session_id: 10**12})
    with pytest.raises(SessionCostExceeded):
        lab.submit(scope, make.sample(make.ghz(), shots=10, session=session_id))
    lab.service.door.sessions.expire(DEVICE)
    assert row_of(lab, scope, session_id).term.state is SessionState.CLOSED


def test_it_takes_jobs_no_longer_than_it_asks(lab):
    scope = lab.tenant()
    row = row_of(lab, scope, opened(lab, scope, max_time_s=7.5))
    assert row.ends_at_us - row.opened_at_us == 7_500_000 >= row.expires_at_us - row.opened_at_us
    with pytest.raises(InvalidRequest) as refusal:
        opened(lab, scope, max_time_s=1e8)
    assert refusal.value.field == "max_time_s"


@pytest.mark.parametrize(
    "other",
    [{"ttl_s": 3.0}, {"max_cost_micro": 5}, {"max_time_s": 9.0}, {"kind": "batch"}, {"on_failure": "cancel_rest"}],
)
def test_a_key_opens_one_session_with_all_that_was_asked_for(lab, other):
    scope = lab.tenant()
    first = opened(lab, scope, key="k", ttl_s=2.0)
    assert opened(lab, scope, key="k", ttl_s=2.0) == first
    with pytest.raises(IdempotencyConflict):
        opened(lab, scope, key="k", **({"ttl_s": 2.0} | other))


def test_a_batch_holds_nothing_and_costs_nothing_of_itself(lab, make):
    scope = lab.tenant()
    batch = opened(lab, scope, kind="batch")
    assert row_of(lab, scope, batch).qubits == 0
    with lab.queueing():
        jobs = [lab.submit(scope, make.sample(make.ghz(), shots=10, session=batch)) for _ in range(3)]
    lab.ended(*jobs)
    assert len({ran.batch.id for ran in lab.batches(*jobs)}) == 1  # beside each other
    assert row_of(lab, scope, batch).region is None
    assert lab.dispatcher._lookout.look().device.holds == ()
    end = closed(lab, scope, batch)
    assert (end.price_micro, end.held_cost) == (0, 0)
    assert end.spent_micro == _really_spent(lab, batch) > 0


def test_batches_take_nothing_of_the_share_of_sessions(lab):
    scope = lab.tenant()
    before = opened(lab, scope, DEVICE, max_qubits=5)
    for _ in range(5):
        opened(lab, scope, DEVICE, kind="batch")
    rest = row_of(lab, scope, opened(lab, scope, DEVICE)).qubits
    closed(lab, scope, before)
    assert rest > 5


@pytest.mark.parametrize("on_failure", ["continue", "cancel_rest"])
def test_when_a_job_of_a_batch_fails_the_others_go_on_or_are_cancelled(either_lab, make, on_failure):
    lab = either_lab
    scope = lab.tenant()
    batch, other = opened(lab, scope, kind="batch", on_failure=on_failure), opened(lab, scope, kind="batch")
    with lab.queueing():
        first, *rest = [lab.submit(scope, make.sample(make.ghz(), shots=10, session=batch)) for _ in range(3)]
        bystander = lab.submit(scope, make.sample(make.ghz(), shots=10, session=other))
        lab.service.door.sessions.expire(DEVICE)
        assert {row.state for row in lab.rows(*rest)} == {JobState.QUEUED}  # nothing has failed yet
        _fail(lab, first)
        lab.service.door.sessions.expire(DEVICE)
    ends = {row.state for row in lab.ended(*rest)}
    assert ends == {JobState.DONE if on_failure == "continue" else JobState.CANCELLED}
    assert lab.ended(bystander)[0].state is JobState.DONE
    if on_failure == "cancel_rest":
        assert lab.events(scope, rest[0])[-1] == "cancelled"
        assert row_of(lab, scope, batch).spent_micro == 0
    lab.check_books()
