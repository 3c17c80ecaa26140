"""The laws of planning, for any queue: separation, isolation, work conservation, metering, determinism, shots."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queues import (
    OPEN,
    PATIENCE_US,
    SMALL_CHIP_QUBITS,
    allowed,
    batch_time,
    belongs_to,
    bits,
    candidates,
    crowds,
    devices,
    holds_of_others,
    jobs_by_id,
    keeps_away,
    views,
)

from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.planning import Plan, Wait, plan
from qpu_backend.domain.rounds import Need, unrolled
from qpu_backend.domain.views import DeviceView, Hold, QueuedJob, View

Chip = Callable[..., DeviceView]


@given(views(), devices())
def test_regions_and_buffers_are_disjoint_usable_and_of_the_right_shape(
    chip: Chip, view: View, policy: dict[str, object]
):
    """P1."""
    device = chip(**policy)
    decision = plan(view, device, 0)
    if isinstance(decision, Wait):
        return
    jobs = jobs_by_id(view)
    taken: list[tuple[QueuedJob, tuple[int, ...]]] = []
    charged: set[int] = set()
    for placement in decision.placements:
        job = jobs[placement.job_id]
        patient_no_more = not taken and job.waited_us >= PATIENCE_US
        assert allowed(device, taken, job, placement.region, past_holds=patient_no_more)
        assert placement.region in candidates(device, job.footprint)
        mine = set(placement.region) | {q for q in range(SMALL_CHIP_QUBITS) if placement.buffer_mask >> q & 1}
        assert not placement.buffer_mask & ~device.usable_mask
        assert not mine & charged
        charged |= mine
        taken.append((job, placement.region))


@given(st.tuples(views(), devices()) | st.tuples(crowds(), st.just(OPEN)))
def test_isolation_classes_and_slices_are_kept_from_both_sides(chip: Chip, asked: tuple[View, dict[str, object]]):
    """P2, of any two jobs of a batch whichever was placed first; P2's slices."""
    view, policy = asked
    device = chip(**policy)
    decision = plan(view, device, 0)
    if isinstance(decision, Wait):
        return
    jobs = jobs_by_id(view)
    for one in decision.placements:
        assert set(one.region) <= belongs_to(device, jobs[one.job_id])
        for other in decision.placements:
            if one is not other:
                assert not keeps_away(device, jobs[one.job_id], one.region) & set(other.region)


@given(st.tuples(views(), devices()) | st.tuples(crowds(loners=True), st.just(OPEN)))
def test_jobs_that_run_alone_run_alone(chip: Chip, asked: tuple[View, dict[str, object]]):
    """P2 for ``exclusive``; P11: a quarantined job shares no batch."""
    view, policy = asked
    decision = plan(view, chip(**policy), 0)
    if isinstance(decision, Plan) and len(decision.placements) > 1:
        assert not any(jobs_by_id(view)[placement.job_id].alone for placement in decision.placements)


def can_head(device: DeviceView, job: QueuedJob) -> bool:
    """Whether the job fits on the chip as sessions leave it."""
    others = bool(holds_of_others(device, job))
    impatient = job.waited_us >= PATIENCE_US
    if others and job.isolation == "exclusive" and not impatient:
        return False
    return any(allowed(device, [], job, region, past_holds=impatient) for region in candidates(device, job.footprint))


@given(views(), devices())
def test_the_first_job_that_fits_the_chip_always_runs(chip: Chip, view: View, policy: dict[str, object]):
    device = chip(**policy)
    decision = plan(view, device, 0)
    seen = view.jobs[: device.window]
    empty = replace(device, holds=())
    fits = [j.id for j in seen if any(set(r) <= belongs_to(empty, j) for r in candidates(device, j.footprint))]
    assert set(decision.unplaceable) == {job.id for job in seen} - set(fits)
    heads = [job.id for job in seen if job.id in fits and can_head(device, job)]
    if heads:
        assert isinstance(decision, Plan)
        assert decision.placements[0].job_id == heads[0]
    else:
        assert isinstance(decision, Wait)


@given(views(max_size=7), devices())
def test_no_waiting_job_could_have_run_too(chip: Chip, view: View, policy: dict[str, object]):
    """P6: every job left out breaks a rule when it is added to the batch."""
    device = chip(**policy)
    decision = plan(view, device, 0)
    if isinstance(decision, Wait):
        return
    jobs = jobs_by_id(view)
    placed = [jobs[placement.job_id] for placement in decision.placements]
    limit_us = decision.placements[0].own_us * (1 + device.stretch)
    for job in view.jobs[: device.window]:
        if job in placed or job.id in decision.unplaceable or job.alone or placed[0].alone:
            continue
        full = len(placed) >= device.max_jobs
        too_long = batch_time([one.footprint for one in (*placed, job)], device) > limit_us
        too_bad = device.proximity is not None or job.max_loss is not None or device.max_loss < 1
        taken = [(jobs[placement.job_id], placement.region) for placement in decision.placements]
        room = any(allowed(device, taken, job, r) for r in candidates(device, job.footprint))
        assert full or too_long or too_bad or not room
        reason = next(line for line in decision.explanation if line.startswith(f"{job.id}: "))
        assert not (room and "no free region" in reason)  # nothing becomes free again within a plan
        said = any(words in reason for words in ("no free region", "alone", "too long"))
        bad_at_its_turn = too_bad and "more than it accepts" in reason  # what was free then was given to one after it
        assert room or full or too_long or said or bad_at_its_turn


@given(views(), devices())
def test_a_batch_keeps_the_time_model_and_the_stretch(chip: Chip, view: View, policy: dict[str, object]):
    device = chip(**policy)
    decision = plan(view, device, 0)
    if isinstance(decision, Plan):
        jobs = jobs_by_id(view)
        assert decision.device_us == batch_time([jobs[p.job_id].footprint for p in decision.placements], device)
        assert decision.device_us <= decision.placements[0].own_us * (1 + device.stretch)
        for placement in decision.placements:
            assert placement.own_us == batch_time([jobs[placement.job_id].footprint], device)


@given(views(), devices())
def test_charges_and_idle_are_exactly_capacity_times_time(chip: Chip, view: View, policy: dict[str, object]):
    """P7."""
    device = chip(**policy)
    decision = plan(view, device, 0)
    if isinstance(decision, Plan):
        charged = sum(each.fairness_cost for each in (*decision.placements, *decision.holds))
        assert decision.capacity_qubits == device.usable_mask.bit_count()
        assert charged + decision.idle == decision.capacity_qubits * decision.device_us
        assert decision.idle >= 0
        exclusive = jobs_by_id(view)[decision.placements[0].job_id].isolation == "exclusive"
        assert not exclusive or (decision.idle, decision.holds) == (0, ())
        for hold in device.holds:
            used = {q for p in decision.placements for q in (*p.region, *bits(p.buffer_mask))}
            usable = {q for q in hold.region if device.usable_mask >> q & 1}
            paid = sum(each.fairness_cost for each in decision.holds if each.session == hold.session)
            assert paid >= len(usable - used) * decision.device_us
        for placement in decision.placements:
            qubits = len(placement.region) + placement.buffer_mask.bit_count()
            assert placement.fairness_cost >= qubits * placement.own_us


def test_two_holds_that_share_an_idle_qubit_pay_for_it_once(chip: Chip):
    device = chip(small=True, buffer=1, holds=(Hold("s1", (4, 5)), Hold("s2", (7, 8))))
    decision = plan(View((queued(Footprint(None, (0,), (), (1,), (0,), (0,), (Need(1, 9, 9),))),), 0), device, 0)
    assert isinstance(decision, Plan)
    paid = [charge.fairness_cost // decision.device_us for charge in decision.holds]
    assert paid == [4, 4]  # 3 4 5 6, and 2 7 8 9: qubit 6 is between the two, and 2 is coupled to 8


def queued(footprint: Footprint) -> QueuedJob:
    return QueuedJob("job", "a", 0, 1, 1, footprint)


@given(views(), devices(), st.integers(0, 10**6))
def test_a_stored_plan_can_be_planned_again(chip: Chip, view: View, policy: dict[str, object], now_us: int):
    """P9 from JSON: the view and what the calibration does not say are all that it takes."""
    device = chip(**policy)
    stored = json.loads(json.dumps([view.to_document(), device.to_document()]))
    again = View.from_document(stored[0])
    plain = chip(broken=policy["broken"], small=True, proximity=policy["proximity"])
    assert again == view
    assert plan(again, plain.with_document(stored[1]), now_us) == plan(view, device, now_us)


@given(views(), devices(), st.permutations("abcd").map("".join))
def test_renaming_the_tenants_changes_nothing_else(chip: Chip, view: View, policy: dict[str, object], names: str):
    """P9."""
    device = chip(**policy)
    new_name = dict(zip("abcd", names, strict=True))
    renamed = replace(view, jobs=tuple(replace(job, tenant=new_name[job.tenant]) for job in view.jobs))
    one, other = plan(view, device, 5), plan(renamed, device, 5)
    if isinstance(one, Plan):
        one = replace(one, placements=tuple(replace(p, tenant=new_name[p.tenant]) for p in one.placements))
    assert one == other == plan(renamed, device, 5)


@given(views(), devices())
def test_every_placed_job_gets_exactly_its_shots(chip: Chip, view: View, policy: dict[str, object]):
    """P14."""
    decision = plan(view, chip(**policy), 0)
    if isinstance(decision, Wait):
        return
    got: Counter[tuple[str, int]] = Counter()
    for one in unrolled(decision.rounds):
        for member in one.members:
            got[decision.placements[member.placement].job_id, member.execution] += one.shots
    jobs = jobs_by_id(view)
    for placement in decision.placements:
        needs = jobs[placement.job_id].footprint.needs
        wanted = [need.shots for need in needs for _ in range(need.repeat)]
        assert [got.pop((placement.job_id, execution)) for execution in range(len(wanted))] == wanted
    assert not got


@given(views(), devices())
def test_virtual_time_follows_service_in_order_only(chip: Chip, view: View, policy: dict[str, object]):
    decision = plan(view, chip(**policy), 0)
    if isinstance(decision, Wait):
        return
    jobs = jobs_by_id(view)
    assert decision.virtual_time >= view.virtual_time
    placed = {placement.job_id for placement in decision.placements}
    waiting = [job for job in view.jobs if job.id not in placed and job.id not in decision.unplaceable]
    if waiting and waiting[0].start_tag >= view.virtual_time:
        assert decision.virtual_time <= waiting[0].start_tag
    for placement in decision.placements:
        passed = [job for job in waiting if view.jobs.index(job) < view.jobs.index(jobs[placement.job_id])]
        assert placement.scavenged == bool(passed)


@given(views(), devices(), st.integers(0, 150))
def test_virtual_time_does_not_pass_jobs_that_were_left_out(
    chip: Chip, view: View, policy: dict[str, object], unseen: int
):
    view = replace(view, unseen_tag=unseen)
    decision = plan(view, chip(**policy), 0)
    if isinstance(decision, Plan):
        assert decision.virtual_time <= max(view.virtual_time, unseen)
        jobs = jobs_by_id(view)
        for placement in decision.placements:
            assert placement.scavenged or jobs[placement.job_id].start_tag <= unseen


@given(views(max_size=8))
def test_without_arrivals_a_job_starts_within_as_many_batches_as_jobs_are_ahead(chip: Chip, view: View):
    """P3 in the simple model: every batch serves at least its head."""
    device, ahead = chip(small=True), {job.id: index for index, job in enumerate(view.jobs)}
    view = replace(view, jobs=tuple(replace(job, slice=None) for job in view.jobs))
    batches = 0
    while isinstance(decision := plan(view, device, 0), Plan):
        for placement in decision.placements:
            assert batches <= ahead[placement.job_id]
        gone = {placement.job_id for placement in decision.placements} | set(decision.unplaceable)
        view = View(tuple(job for job in view.jobs if job.id not in gone), decision.virtual_time)
        batches += 1
    assert set(decision.unplaceable) == {job.id for job in view.jobs}


@given(views())
def test_the_digest_is_of_the_whole_view(view: View):
    assert view.digest() == replace(view).digest()
    assert replace(view, virtual_time=view.virtual_time + 1).digest() != view.digest()
    for index, job in enumerate(view.jobs):
        other = (*view.jobs[:index], replace(job, solo=not job.solo), *view.jobs[index + 1 :])
        assert replace(view, jobs=other).digest() != view.digest()


@pytest.mark.parametrize("isolation", ["shared", "exclusive"])
def test_a_lone_job_runs_at_once_on_an_idle_chip(chip: Chip, isolation: Literal["shared", "exclusive"]):
    footprint = Footprint("line-3", (0, 1, 2), (((0, 1), 4),), (1, 1, 1), (0, 2), (0, 0, 0), (Need(1, 100, 10),))
    decision = plan(View((QueuedJob("j", "t", 9, 10, 1, footprint, isolation),), 3), chip(), 77)
    assert isinstance(decision, Plan)
    assert (decision.device_start_us, decision.virtual_time, len(decision.placements)) == (77, 9, 1)
