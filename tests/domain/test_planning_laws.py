"""The laws of planning, for any queue: separation, isolation, work conservation, metering, determinism, shots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.planning import DeviceView, Plan, QueuedJob, View, Wait, plan
from qpu_backend.domain.rounds import Need, unrolled

Chip = Callable[..., DeviceView]
SMALL_CHIP_QUBITS = 12

NEEDS = st.lists(
    st.builds(Need, st.integers(1, 3), st.sampled_from([100, 1024, 4000]), st.sampled_from([500, 5_000, 3_000_000])),
    min_size=1,
    max_size=3,
).map(tuple)


@st.composite
def footprints(draw: st.DrawFn) -> Footprint:
    if draw(st.integers(0, 3)):
        length = draw(st.integers(2, 6))
        shape, qubits = f"line-{length}", tuple(range(length))
        edges = tuple(((q, q + 1), draw(st.integers(0, 9))) for q in range(length - 1))
    else:
        wanted = draw(st.sets(st.integers(0, SMALL_CHIP_QUBITS - 1), min_size=1, max_size=4))
        shape, qubits, edges = None, tuple(sorted(wanted)), ()
    counts = tuple(draw(st.integers(0, 20)) for _ in qubits)
    return Footprint(shape, qubits, edges, counts, qubits, counts, draw(NEEDS))


@st.composite
def views(draw: st.DrawFn, *, max_size: int = 9) -> View:
    jobs: list[QueuedJob] = []
    start = draw(st.integers(0, 100))
    for index in range(draw(st.integers(0, max_size))):
        start += draw(st.integers(0, 5))
        cost = draw(st.integers(1, 9))
        isolation = draw(st.sampled_from(["shared"] * 5 + ["exclusive"]))
        solo = draw(st.sampled_from([False] * 7 + [True]))
        tenant = draw(st.sampled_from("abcd"))
        jobs.append(QueuedJob(f"job{index}", tenant, start, start + cost, cost, draw(footprints()), isolation, solo))
    return View(tuple(jobs), draw(st.integers(0, 100)))


@st.composite
def devices(draw: st.DrawFn) -> dict[str, object]:
    return {
        "small": True,
        "broken": draw(st.sampled_from([(), (5,), (0, 11)])),
        "buffer": draw(st.sampled_from([0, 1])),
        "stretch": draw(st.sampled_from([0.0, 0.5, 3.0])),
        "max_jobs": draw(st.sampled_from([1, 3, 40])),
        "window": draw(st.sampled_from([3, 40])),
        "packing": draw(st.sampled_from([0.0, 0.001, 0.1])),
    }


def jobs_by_id(view: View) -> dict[str, QueuedJob]:
    return {job.id: job for job in view.jobs}


def neighbours(device: DeviceView, region: tuple[int, ...]) -> set[int]:
    return {b for a in region for b in device.topology.neighbours(a)} - set(region)


def allowed(device: DeviceView, taken: list[tuple[int, ...]], region: tuple[int, ...]) -> bool:
    """Whether a region may be given out beside those taken: the rule, written the slow way."""
    free = {q for q in range(device.topology.num_qubits) if device.usable_mask >> q & 1}
    for other in taken:
        free -= set(other) | (neighbours(device, other) if device.buffer else set())
    return set(region) <= free


def candidates(device: DeviceView, footprint: Footprint) -> list[tuple[int, ...]]:
    if footprint.shape is None:
        return [footprint.qubits]
    return [tuple(row) for row in device.embeddings[footprint.shape].regions.tolist()]


def seconds_at(footprint: Footprint, device: DeviceView) -> list[int]:
    """Repetition period of every single shot of a job alone."""
    delay = round(device.rep_delay_us * 1000)
    return [delay + need.duration_ns for need in footprint.needs for _ in range(need.repeat * need.shots)]


def batch_time(footprints: list[Footprint], device: DeviceView) -> int:
    """The time model shot by shot: at every shot of the batch the slowest placement sets the pace."""
    lanes = [seconds_at(footprint, device) for footprint in footprints]
    longest = max(len(lane) for lane in lanes)
    total_ns = sum(max(lane[k] for lane in lanes if k < len(lane)) for k in range(longest))
    return device.overhead_us + -(-total_ns // 1000)


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
    taken: list[tuple[int, ...]] = []
    charged: set[int] = set()
    for placement in decision.placements:
        assert allowed(device, taken, placement.region)
        assert placement.region in candidates(device, jobs[placement.job_id].footprint)
        mine = set(placement.region) | {q for q in range(SMALL_CHIP_QUBITS) if placement.buffer_mask >> q & 1}
        assert not placement.buffer_mask & ~device.usable_mask
        assert not mine & charged
        charged |= mine
        taken.append(placement.region)


@given(views(), devices())
def test_jobs_that_run_alone_run_alone(chip: Chip, view: View, policy: dict[str, object]):
    """P2."""
    decision = plan(view, chip(**policy), 0)
    if isinstance(decision, Plan) and len(decision.placements) > 1:
        assert not any(jobs_by_id(view)[placement.job_id].alone for placement in decision.placements)


@given(views(), devices())
def test_the_first_job_that_fits_the_chip_always_runs(chip: Chip, view: View, policy: dict[str, object]):
    device = chip(**policy)
    decision = plan(view, device, 0)
    seen = view.jobs[: device.window]
    fits = [job.id for job in seen if any(allowed(device, [], r) for r in candidates(device, job.footprint))]
    assert set(decision.unplaceable) == {job.id for job in seen} - set(fits)
    if fits:
        assert isinstance(decision, Plan)
        assert decision.placements[0].job_id == fits[0]
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
        taken = [placement.region for placement in decision.placements]
        assert full or too_long or not any(allowed(device, taken, r) for r in candidates(device, job.footprint))


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
        charged = sum(placement.fairness_cost for placement in decision.placements)
        assert decision.capacity_qubits == device.usable_mask.bit_count()
        assert charged + decision.idle == decision.capacity_qubits * decision.device_us
        assert decision.idle >= 0
        exclusive = jobs_by_id(view)[decision.placements[0].job_id].isolation == "exclusive"
        assert not exclusive or decision.idle == 0
        for placement in decision.placements:
            qubits = len(placement.region) + placement.buffer_mask.bit_count()
            assert placement.fairness_cost >= qubits * placement.own_us


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


@given(views(max_size=8))
def test_without_arrivals_a_job_starts_within_as_many_batches_as_jobs_are_ahead(chip: Chip, view: View):
    """P3 in the simple model: every batch serves at least its head."""
    device, ahead = chip(small=True), {job.id: index for index, job in enumerate(view.jobs)}
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
