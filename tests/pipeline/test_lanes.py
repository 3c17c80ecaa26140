"""Lanes: shares by weight, promised starts, who may use which; and what a waiting job is told."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import update

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.config import LaneSection
from qpu_backend.domain.errors import LaneRefused, PromiseRefused
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.quarantine import Quarantine
from qpu_backend.pipeline.outlook import estimate_s, outlook
from qpu_backend.stores import devices, schema
from qpu_backend.stores.pace import Pace

PINNED = (0, 1)


@pytest.fixture
def lanes(new_lab):
    return new_lab(
        lanes={
            "standard": LaneSection(),
            "fast": LaneSection(weight=400),
            "prompt": LaneSection(promise_s=120),
            "private": LaneSection(tenants=frozenset({"acme"})),
            "closed": LaneSection(tenants=frozenset()),
        },
        device={"crosstalk": False, "drift": False},
    )


def order(make, **options):
    """Jobs that cannot share: the same qubits."""
    return make.sample(make.pinned(*PINNED), backend="eagle127", **options)


def test_a_lane_of_four_times_the_weight_is_served_four_times_as_often(lanes, make):
    one, other = lanes.tenant(), lanes.tenant()
    with lanes.queueing():
        slow = [lanes.submit(one, order(make)) for _ in range(10)]
        fast = [lanes.submit(other, order(make, lane="fast")) for _ in range(10)]
    lanes.ended(*slow, *fast)
    served = [job for ran in lanes.batches(*slow, *fast) for job in ran.job_ids]
    assert 7 <= sum(job in fast for job in served[:10]) <= 9


def test_a_tenant_has_a_queue_of_its_own_in_each_lane(lanes, make):
    scope = lanes.tenant()
    with lanes.queueing():
        slow = [lanes.submit(scope, order(make)) for _ in range(6)]
        fast = lanes.submit(scope, order(make, lane="fast"))
    lanes.ended(*slow, fast)
    served = [job for ran in lanes.batches(*slow, fast) for job in ran.job_ids]
    assert served.index(fast) <= 1


@pytest.mark.parametrize(("tenant", "lane"), [("nobody", "private"), ("acme", "closed"), ("acme", "no-such")])
def test_a_lane_that_a_tenant_may_not_use_is_refused_with_those_it_may(lanes, make, tenant, lane):
    with pytest.raises(LaneRefused, match="open to you: fast") as refusal:
        lanes.submit(lanes.tenant(tenant), order(make, lane=lane))
    assert refusal.value.field == "options.lane"
    assert ("private" in refusal.value.lanes) == (tenant == "acme")
    assert "closed" not in refusal.value.lanes


def test_a_promised_start_is_kept_before_a_backlog_of_others(lanes, make):
    crowd, scope = lanes.tenant(weight=1000), lanes.tenant(weight=1)
    with lanes.queueing():
        before = [lanes.submit(crowd, order(make, shots=20_000)) for _ in range(30)]
        promised = lanes.submit(scope, order(make, lane="prompt"))
        row = lanes.rows(promised)[0]
        assert row.start_by_us == lanes.device().device_time_us + 120_000_000
    lanes.ended(*before, promised)
    (ran,) = lanes.batches(promised)
    assert ran.batch.device_start_us <= row.start_by_us
    assert sum(one.batch.device_start_us > ran.batch.device_start_us for one in lanes.batches(*before)) > 5


def until_refused(submit):
    admitted = []
    try:
        while len(admitted) < 60:
            admitted += [submit()]
    except PromiseRefused as refusal:
        return admitted, refusal
    raise AssertionError("everything was promised")


def test_a_start_that_could_not_be_kept_is_not_promised(lanes, make):
    scope = lanes.tenant()
    with lanes.queueing():
        admitted, refusal = until_refused(lambda: lanes.submit(scope, order(make, shots=20_000, lane="prompt")))
        assert "promised starts are waiting" in str(refusal)
        assert refusal.field == "options.lane"
        assert len(lanes.rows(*admitted)) == len(admitted) > 2
    lanes.ended(*admitted)
    for ran in lanes.batches(*admitted):
        for row in lanes.rows(*ran.job_ids):
            assert ran.batch.device_start_us <= row.start_by_us


def starts_by(lab, job_id, start_by_us):
    with lab.database.write() as connection:
        connection.execute(update(schema.jobs).where(schema.jobs.c.id == job_id).values(start_by_us=start_by_us))


@pytest.mark.parametrize("left_us", [-1, 1])
@pytest.mark.parametrize(
    "order_of", [order, lambda make, **options: make.sample(make.ghz(), **options)], ids=["pinned", "line"]
)
def test_a_promise_that_a_quarantine_holds_back_keeps_nobody_from_being_promised_a_start(
    lanes, make, left_us, order_of
):
    office, everything = lanes.service.door.quarantining, Quarantine.of(range(125), [])
    with lanes.queueing():
        held = lanes.submit(lanes.tenant(), order_of(make, lane="prompt"))
        starts_by(lanes, held, lanes.device().device_time_us + left_us)
        office.quarantine("eagle127", everything)
        alone = make.sample(make.pinned(126), backend="eagle127", lane="prompt")
        other = lanes.submit(lanes.tenant(), alone)
        promised_us = lanes.rows(other)[0].start_by_us
    lanes.ended(other)
    assert lanes.batches(other)[0].batch.device_start_us <= promised_us
    assert lanes.rows(held)[0].state is JobState.QUEUED
    office.release("eagle127")
    lanes.dispatcher.wake()
    lanes.ended(held)


def test_a_start_that_was_missed_is_made_up_for_first_and_others_are_promised_theirs_after_it(lanes, make):
    scope = lanes.tenant()
    with lanes.queueing():
        late = lanes.submit(scope, order(make, lane="prompt"))
        starts_by(lanes, late, lanes.device().device_time_us - 1)
        other = lanes.submit(scope, order(make, lane="prompt"))
        promised_us = lanes.rows(other)[0].start_by_us
    lanes.ended(late, other)
    (first,), (second,) = lanes.batches(late), lanes.batches(other)
    assert first.batch.device_start_us < second.batch.device_start_us <= promised_us


def test_a_waiting_job_is_told_how_many_are_ahead_and_about_when_it_starts(lanes, make):
    scope = lanes.tenant()
    lanes.ended(lanes.submit(scope, order(make)))
    with lanes.queueing():
        ids = [lanes.submit(scope, order(make)) for _ in range(4)]
        with lanes.service.database.read() as connection:
            paused = [outlook(connection, scope, row) for row in lanes.rows(*ids)]
        with lanes.service.database.write() as connection:
            devices.set_status(connection, SYSTEM, "eagle127", operational=True, status_msg="active")
            told = [outlook(connection, scope, row) for row in lanes.rows(*ids)]
            connection.rollback()
    assert {each.start_in_s for each in paused} == {None}
    assert paused[1].message == "waiting: the device starts nothing now (paused); 1 job ahead in lane standard"
    assert [each.ahead for each in told] == [0, 1, 2, 3]
    assert told[0].message.startswith("next in line")
    assert re.fullmatch(r"waiting: 3 jobs ahead in lane standard, start in about \d+ s", told[3].message)
    starts = [each.start_in_s for each in told]
    assert starts == sorted(starts)
    assert starts[0] > 0
    lanes.ended(*ids)
    with lanes.service.database.read() as connection:
        assert outlook(connection, scope, lanes.rows(ids[0])[0]) is None


def test_an_estimate_counts_the_batches_that_those_ahead_fill():
    assert estimate_s(5, None) is None
    assert estimate_s(0, Pace(4.0, 2.0)) == 1.0
    assert estimate_s(9, Pace(4.0, 2.0)) == 5.0


@given(
    st.integers(0, 1000),
    st.sampled_from([(0.5, 1.0), (1.0, 2.0), (2.0, 5.0), (30.0, 60.0)]),
    st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
    st.tuples(st.floats(4, 7.99), st.floats(4, 7.99)),
)
def test_however_many_jobs_one_queues_an_estimate_does_not_tell_how_long_others_batches_take(ahead, steps, parts, jobs):
    low, high = steps
    told = {estimate_s(ahead, Pace(num, high - part * (high - low))) for num, part in zip(jobs, parts, strict=True)}
    assert len(told) == 1


def test_a_promised_job_needs_no_slot_for_long_simulations_and_no_kind_forgets_it(new_lab, make):
    lab = new_lab(started=False, lanes={"standard": LaneSection(), "prompt": LaneSection(promise_s=120)})
    scope = lab.tenant()
    promised, short, long = (lab.submit(scope, order(make, lane=lane)) for lane in ("prompt", "standard", "standard"))
    looked = lab.dispatcher._lookout.look()
    jobs = [simulated_for(job, 10**8 if job.id in {promised, long} else 0) for job in looked.view.jobs]
    for slot, kinds in ((True, [{promised, short}, {promised, long}]), (False, [{promised, short}])):
        lab.dispatcher._long = set() if slot else {("batch", 1)}
        seen = lab.dispatcher._by_kind(looked.with_jobs(jobs), next(job for job in jobs if job.id == short))
        assert [{job.id for job in some.view.jobs} for some in seen] == kinds
        tags = {job.id: job.start_tag for job in jobs}
        assert seen[0].view.unseen_tag == tags[long]


def simulated_for(job, simulation_us):
    return replace(job, footprint=replace(job.footprint, simulation_us=simulation_us))
