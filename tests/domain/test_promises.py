"""Promised starts, booked windows and sessions' holds: what is promised is kept, whatever else arrives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.planning import Plan, Wait, first_in_line, plan
from qpu_backend.domain.promises import Promise, collides, due, keepable, lasts_us
from qpu_backend.domain.rounds import Need
from qpu_backend.domain.views import Booking, DeviceView, Hold, QueuedJob, View

Chip = Callable[..., DeviceView]
SECOND = 1_000_000
OVERHEAD = 2 * SECOND
LONGEST_SHOTS = 40_000


def lines(length: int, shots: int) -> Footprint:
    qubits = tuple(range(length))
    pairs = tuple(((q, q + 1), 1) for q in range(length - 1))
    return Footprint(f"line-{length}", qubits, pairs, (1,) * length, qubits, (0,) * length, (Need(1, shots, 0),))


def own_us(footprint: Footprint) -> int:
    return OVERHEAD + footprint.shots * 250


def job(number: int, *, length: int = 3, shots: int = 4000, **fields: object) -> QueuedJob:
    values: dict[str, object] = {"start_tag": number, "finish_tag": number + 1, "cost": 1}
    return QueuedJob(f"job{number:03}", "t", footprint=lines(length, shots), **(values | fields))  # pyright: ignore[reportArgumentType]


def small(chip: Chip, **policy: object) -> DeviceView:
    return chip(small=True, **({"longest_us": own_us(lines(2, LONGEST_SHOTS))} | policy))


# --- promises ------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=6), st.integers(0, 20), st.integers(0, 9))
def test_keepable_means_that_the_jobs_start_in_time_one_after_the_other(
    asked: list[tuple[int, int]], now_us: int, longest_us: int
):
    promises = [Promise(start_by, lasts, f"j{index}") for index, (start_by, lasts) in enumerate(asked)]
    time_us, kept = now_us + longest_us, True
    for promise in sorted(promises):
        kept &= time_us <= promise.start_by_us
        time_us += promise.lasts_us
    assert keepable(promises, now_us, longest_us) == kept
    assert due(promises, now_us, longest_us) == (None if kept else min(promises))


ARRIVALS = st.lists(
    st.tuples(
        st.integers(0, 30),  # seconds after the last one
        st.integers(2, 6),
        st.sampled_from([100, 4000, LONGEST_SHOTS]),
        st.none() | st.integers(0, 90),  # seconds within which it asks to be started
        st.sampled_from(["shared", "shared", "buffered", "exclusive"]),
    ),
    max_size=14,
)


@settings(deadline=None)
@given(ARRIVALS, st.sampled_from([0.0, 0.5]), st.booleans())
def test_a_promise_that_was_admitted_is_kept(
    chip: Chip, arrivals: list[tuple[int, int, int, int | None, str]], stretch: float, held: bool
):
    """P12: jobs arrive while batches run; a promise is admitted only if it is keepable."""
    device = small(chip, stretch=stretch, holds=(Hold("s", (0, 1, 2, 3, 4, 5)),) * held)
    longest_us = lasts_us(device.longest_us, stretch)
    waiting: list[QueuedJob] = []
    promised: dict[str, int] = {}
    now_us, arrives_us, number = 0, 0, 0
    todo = list(arrivals)
    while todo or waiting:
        while todo and (not waiting or arrives_us + todo[0][0] * SECOND <= now_us):
            after_s, length, shots, within_s, isolation = todo.pop(0)
            arrives_us += after_s * SECOND
            now_us = max(now_us, arrives_us)
            new = job(number, length=length, shots=shots, isolation=isolation)
            number += 1
            if within_s is not None:
                asking = replace(new, start_by_us=now_us + within_s * SECOND)
                promises = [promise_of(each, stretch) for each in (*waiting, asking) if each.start_by_us is not None]
                if keepable(promises, now_us, longest_us):
                    new = asking
                    promised[new.id] = now_us + within_s * SECOND
            waiting.append(new)
        decision = plan(View(tuple(waiting), 0), device, now_us)
        if isinstance(decision, Wait):
            break  # what is left waits for the session
        for placement in decision.placements:
            assert now_us <= promised.pop(placement.job_id, now_us)
        gone = {placement.job_id for placement in decision.placements}
        waiting = [each for each in waiting if each.id not in gone]
        now_us += decision.device_us
    assert not promised


def promise_of(one: QueuedJob, stretch: float) -> Promise:
    assert one.start_by_us is not None
    return Promise(one.start_by_us, lasts_us(own_us(one.footprint), stretch), one.id)


def test_a_promise_that_is_not_due_yet_goes_by_its_tag(chip: Chip):
    device = small(chip)
    early, late = job(0, isolation="exclusive"), job(1, isolation="exclusive", start_by_us=60 * SECOND)
    assert planned((early, late), device).placements[0].job_id == early.id
    assert planned((early, late), device, 45 * SECOND).placements[0].job_id == late.id


def test_a_promise_is_seen_however_far_back_it_stands(chip: Chip):
    device = small(chip, window=3)
    crowd = tuple(job(number) for number in range(9))
    decision = planned((*crowd, job(9, start_by_us=0)), device)
    assert decision.placements[0].job_id == "job009"
    assert decision.placements[0].scavenged
    assert decision.virtual_time < 9


def test_a_window_of_others_before_a_promise_collides_with_it():
    assert collides(100, 10, [(105, 200)], 0)
    assert not collides(100, 10, [(110, 200)], 0)
    assert not collides(100, 10, [(20, 30)], 30)


# --- booked windows ------------------------------------------------------------------------------------------------


def planned(jobs: tuple[QueuedJob, ...], device: DeviceView, now_us: int = 0) -> Plan:
    decision = plan(View(jobs, 0), device, now_us)
    assert isinstance(decision, Plan)
    return decision


BOOKED = Booking("b", 20 * SECOND, 60 * SECOND)


def test_no_batch_of_others_runs_into_a_booked_window(chip: Chip):
    device = small(chip, bookings=(BOOKED,))
    long, short = job(0, shots=LONGEST_SHOTS), job(1)
    assert [p.job_id for p in planned((long, short), device, 15 * SECOND).placements] == [short.id]
    decision = plan(View((long,), 0), device, 15 * SECOND)
    assert isinstance(decision, Wait)
    assert decision.until_us == BOOKED.starts_us
    assert any("booked window" in line for line in decision.explanation)


def test_its_owner_does_not_run_on_into_the_next_window_either(chip: Chip):
    maintenance = Booking("m", BOOKED.ends_us, BOOKED.ends_us + 90 * SECOND, maintenance=True)
    device = small(chip, bookings=(BOOKED, maintenance))
    own = job(0, booking="b", shots=LONGEST_SHOTS)
    late = plan(View((own,), 0), device, BOOKED.ends_us - 5 * SECOND)
    assert isinstance(late, Wait)
    assert late.until_us == maintenance.starts_us
    assert len(planned((own,), device, BOOKED.starts_us).placements) == 1


def test_what_its_owner_has_queued_runs_first_in_a_booked_window(chip: Chip):
    device = small(chip, bookings=(BOOKED,))
    other, own = job(0, length=6), job(1, length=6, booking="b", shots=LONGEST_SHOTS)
    for now_us, head in ((0, other), (30 * SECOND, own)):
        assert planned((other, own), device, now_us).placements[0].job_id == head.id


def test_the_owner_is_first_in_line_in_its_window_however_far_back_in_the_view(chip: Chip):
    device = small(chip, bookings=(BOOKED,), window=3)
    others, own = tuple(job(number, length=6) for number in range(5)), job(5, length=6, booking="b")
    view = View((*others, own), 0)
    for now_us, head in ((0, others[0]), (30 * SECOND, own), (BOOKED.ends_us, others[0])):
        decision = plan(view, device, now_us)
        assert isinstance(decision, Plan)
        assert decision.placements[0].job_id == head.id
        assert first_in_line(view, device, now_us) == head
    assert first_in_line(View((), 0), device, 0) is None


def test_an_idle_booked_window_is_filled_with_short_jobs(chip: Chip):
    device = small(chip, bookings=(BOOKED,), backfill_us=4 * SECOND)
    long, short = job(0, shots=LONGEST_SHOTS), job(1)
    decision = planned((long, short), device, 30 * SECOND)
    assert [placement.job_id for placement in decision.placements] == [short.id]
    assert decision.device_us <= 4 * SECOND
    lone = plan(View((long,), 0), device, 30 * SECOND)
    assert isinstance(lone, Wait)
    assert lone.until_us == BOOKED.ends_us


def test_nothing_runs_during_maintenance_and_everything_after_it(chip: Chip):
    device = small(chip, bookings=(replace(BOOKED, maintenance=True),))
    decision = plan(View((job(0),), 0), device, 30 * SECOND)
    assert isinstance(decision, Wait)
    assert decision.until_us == BOOKED.ends_us
    assert len(planned((job(0),), device, BOOKED.ends_us).placements) == 1


@settings(deadline=None)
@given(ARRIVALS, st.integers(0, 60))
def test_no_batch_overlaps_a_window_of_others(
    chip: Chip, arrivals: list[tuple[int, int, int, int | None, str]], at: int
):
    device = small(chip, bookings=(Booking("b", at * SECOND, (at + 25) * SECOND, maintenance=True),))
    starts_us, ends_us = at * SECOND, (at + 25) * SECOND
    waiting = [job(n, length=each[1], shots=each[2]) for n, each in enumerate(arrivals)]
    now_us = 0
    while waiting:
        decision = plan(View(tuple(waiting), 0), device, now_us)
        if isinstance(decision, Wait):
            assert decision.until_us is not None  # the device idles on, nothing is stuck
            assert decision.until_us > now_us
            now_us = decision.until_us
            continue
        assert now_us + decision.device_us <= starts_us or now_us >= ends_us
        gone = {placement.job_id for placement in decision.placements}
        waiting = [each for each in waiting if each.id not in gone]
        now_us += decision.device_us


# --- sessions ------------------------------------------------------------------------------------------------------

HELD = Hold("s", (0, 1, 2))


def test_a_session_s_job_runs_where_the_session_holds(chip: Chip):
    decision = planned((job(0, length=3, session="s"),), small(chip, holds=(HELD,)))
    assert set(decision.placements[0].region) == {0, 1, 2}
    assert decision.holds == ()  # region and buffer are charged to the job


def test_a_hold_is_charged_as_if_it_ran_and_others_stay_off(chip: Chip):
    device = small(chip, holds=(HELD,))
    decision = planned((job(0, length=3),), device)
    assert not {0, 1, 2, 3} & set(decision.placements[0].region)
    (charge,) = decision.holds
    left = {0, 1, 2, 3, 8} - {q for q in range(12) if decision.placements[0].buffer_mask >> q & 1}
    assert charge.fairness_cost == len(left) * decision.device_us


@pytest.mark.parametrize("fields", [{"waited_us": 5 * SECOND}, {"start_by_us": 0}])
def test_the_head_waits_for_a_hold_no_longer_than_its_bound(chip: Chip, fields: dict[str, object]):
    """P3: then it runs where the session holds, and the session is not charged for that."""
    everywhere = Hold("s", tuple(range(12)))
    device = small(chip, holds=(everywhere,), hold_patience_us=5 * SECOND)
    waiting = plan(View((job(0, waited_us=5 * SECOND - 1),), 0), device, 0)
    assert isinstance(waiting, Wait)
    assert waiting.unplaceable == ()
    decision = planned((job(0, **fields),), device)
    (charge,) = decision.holds
    (placement,) = decision.placements
    used = len(placement.region) + placement.buffer_mask.bit_count()
    assert charge.fairness_cost == (12 - used) * decision.device_us


def test_an_exclusive_job_waits_for_sessions_as_long_as_any_head(chip: Chip):
    device = small(chip, holds=(HELD,), hold_patience_us=5 * SECOND)
    assert isinstance(plan(View((job(0, isolation="exclusive"),), 0), device, 0), Wait)
    decision = planned((job(0, isolation="exclusive", waited_us=5 * SECOND),), device)
    assert (decision.idle, decision.holds) == (0, ())
