"""How sessions end: between jobs only, and what they held is free again; the wall clock is driven by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from holding import DEVICE, closed, opened, plans, row_of

from qpu_backend.domain.errors import InvalidRequest, SessionClosed
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.planning import plan
from qpu_backend.domain.sessions import SessionState
from qpu_backend.pipeline.clocks import HandDrivenClock

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import TenantScope


@pytest.fixture
def slow(new_lab):
    """A laboratory whose wall clock stands still until it is moved, and whose dispatcher takes turns by hand."""
    clock = HandDrivenClock()
    lab = new_lab(
        clock=clock,
        started=False,
        device={"hold_patience_s": 5},
        sessions={"ttl_s": 10, "max_ttl_s": 50, "max_length_s": 100},
    )
    lab.clock = clock
    return lab


def turn(lab: Any) -> bool:
    """One turn of the dispatcher; whether anything was started."""
    before = len(lab.batches())
    lab.dispatcher.dispatch_once()
    return len(lab.batches()) > before


def run(lab: Any, scope: TenantScope, order: Any) -> str:
    job_id = lab.submit(scope, order)
    assert turn(lab)
    lab.ended(job_id)
    return job_id


def test_a_session_expires_between_jobs_only_and_jobs_keep_it_alive(slow, make):
    lab, expire = slow, slow.service.door.sessions.expire
    scope = lab.tenant()
    session_id = opened(lab, scope)
    order = make.sample(make.ghz(), session=session_id)
    lab.clock.advance(seconds=9)
    waits = lab.submit(scope, order)  # in time
    assert row_of(lab, scope, session_id).expires_at_us == lab.clock.now_us() + 10_000_000
    lab.clock.advance(seconds=1000)
    assert expire(DEVICE) == 0
    assert turn(lab)
    lab.ended(waits)
    lab.clock.advance(seconds=1)
    assert expire(DEVICE) == 1  # beyond the longest time that there is: its job was the last one
    second = opened(lab, scope)
    order = make.sample(make.ghz(), session=second)
    run(lab, scope, order)
    lab.clock.advance(seconds=9)
    lab.service.door.sessions.touch(scope, second)
    lab.clock.advance(seconds=9)
    lab.workers.gate.clear()
    running = lab.submit(scope, order)
    assert turn(lab)
    lab.clock.advance(seconds=50)
    assert expire(DEVICE) == 0  # it runs
    lab.workers.gate.set()
    lab.ended(running)
    lab.clock.advance(seconds=9)
    assert expire(DEVICE) == 0  # its end has kept it alive
    assert lab.dispatcher._lookout.look().device.holds
    lab.clock.advance(seconds=1)
    with pytest.raises(SessionClosed, match="nothing happened for 10 s"):
        lab.submit(scope, order)
    with pytest.raises(SessionClosed):
        lab.service.door.sessions.touch(scope, second)
    assert expire(DEVICE) == 1
    assert lab.dispatcher._lookout.look().device.holds == ()
    lab.check_books()


def test_a_cancelled_job_keeps_its_session_alive_too(slow, make):
    lab = slow
    scope = lab.tenant()
    session_id = opened(lab, scope)
    job_id = lab.submit(scope, make.sample(make.ghz(), session=session_id))
    lab.clock.advance(seconds=60)
    lab.service.door.cancellation.cancel(scope, job_id)
    lab.clock.advance(seconds=9)
    assert lab.service.door.sessions.expire(DEVICE) == 0
    lab.clock.advance(seconds=1)
    assert lab.service.door.sessions.expire(DEVICE) == 1


def test_no_session_takes_jobs_for_ever(slow, make):
    lab = slow
    scope = lab.tenant()
    session_id = opened(lab, scope, ttl_s=50)
    for _ in range(3):
        lab.clock.advance(seconds=30)
        lab.service.door.sessions.touch(scope, session_id)
    lab.clock.advance(seconds=9)
    last = lab.submit(scope, make.sample(make.ghz(), session=session_id))
    lab.clock.advance(seconds=1)
    with pytest.raises(SessionClosed, match="as long as a session may"):
        lab.submit(scope, make.sample(make.ghz(), session=session_id))
    assert lab.service.door.sessions.expire(DEVICE) == 0
    assert turn(lab)
    lab.ended(last)
    assert lab.service.door.sessions.expire(DEVICE) == 1
    with pytest.raises(InvalidRequest) as refusal:
        opened(lab, scope, ttl_s=50.001)
    assert refusal.value.field == "ttl_s"


def test_the_dispatcher_ends_what_is_over(slow, make):
    lab = slow
    scope = lab.tenant()
    session_id = opened(lab, scope)
    run(lab, scope, make.sample(make.ghz(), session=session_id))
    lab.clock.advance(seconds=10)
    lab.dispatcher._sessions_end_s = 0.0  # it asks once a second
    turn(lab)
    assert row_of(lab, scope, session_id).term.state is SessionState.CLOSED


def test_a_head_that_waited_beyond_the_patience_runs_in_the_held_region_and_the_session_is_credited(slow, make):
    lab = slow
    scope, other = lab.tenant(), lab.tenant()
    session_id = opened(lab, scope, DEVICE, ttl_s=50)
    mine = make.sample(make.pinned(0, 1, 2), backend=DEVICE, shots=10, session=session_id)
    run(lab, scope, mine)
    waits = lab.submit(other, make.sample(make.pinned(1, 2), backend=DEVICE, shots=10))
    assert not turn(lab)
    lab.clock.advance(seconds=4.9)
    assert not turn(lab)
    lab.clock.advance(seconds=0.1)
    assert turn(lab)
    lab.ended(waits)
    (_, decision) = plans(lab, waits)[0]
    chip = lab.dispatcher._lookout.look().device
    (hold,) = chip.holds
    whole = (hold.mask | chip.halo(hold.mask)).bit_count() * decision.device_us
    (charge,) = decision.holds
    used = sum(placement.fairness_cost for placement in decision.placements)
    assert charge.fairness_cost == whole - used < whole
    assert row_of(lab, scope, session_id).held_cost == charge.fairness_cost
    run(lab, scope, mine)  # and it is still its own


def test_a_plan_that_charges_a_session_which_has_ended_since_is_not_committed(slow, make):
    lab = slow
    scope, other = lab.tenant(), lab.tenant()
    session_id = opened(lab, scope)
    run(lab, scope, make.sample(make.ghz(), session=session_id))
    job_id = lab.submit(other)
    looked = lab.dispatcher._lookout.look()
    decision = plan(looked.view, looked.device, looked.now_us)
    assert decision.holds
    end = closed(lab, scope, session_id)
    assert not lab.dispatcher._commit(looked, decision)
    assert lab.rows(job_id)[0].state is JobState.QUEUED
    assert turn(lab)
    lab.ended(job_id)
    assert row_of(lab, scope, session_id) == end
    assert end.held_cost == 0


def test_a_region_taken_past_what_others_hold_is_not_kept(slow, make):
    lab = slow
    scope, other = lab.tenant(), lab.tenant()
    first, second = opened(lab, scope, DEVICE, ttl_s=50), opened(lab, other, DEVICE, ttl_s=50)
    run(lab, scope, make.sample(make.pinned(0, 1, 2), backend=DEVICE, shots=10, session=first))
    job_id = lab.submit(other, make.sample(make.pinned(2, 3), backend=DEVICE, shots=10, session=second))
    assert not turn(lab)
    lab.clock.advance(seconds=5)
    assert turn(lab)
    lab.ended(job_id)
    assert row_of(lab, other, second).region is None
    run(lab, scope, make.sample(make.pinned(0, 1, 2), backend=DEVICE, shots=10, session=first))
