"""The laws of planning, for any queue: separation, isolation, work conservation, metering, determinism, shots."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.planning import Placement, Plan, Wait, plan
from qpu_backend.domain.proximity import Proximity
from qpu_backend.domain.rounds import Need, unrolled
from qpu_backend.domain.views import DeviceView, Hold, QueuedJob, View

Chip = Callable[..., DeviceView]
SMALL_CHIP_QUBITS = 12
GROUP = 3
PATIENCE_US = 1000

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
        jobs.append(
            QueuedJob(
                id=f"job{index}",
                tenant=draw(st.sampled_from("abcd")),
                start_tag=start,
                finish_tag=start + cost,
                cost=cost,
                footprint=draw(footprints()),
                isolation=draw(st.sampled_from(["shared"] * 4 + ["buffered", "confidential", "exclusive"])),
                solo=draw(st.sampled_from([False] * 7 + [True])),
                waited_us=draw(st.sampled_from([0, PATIENCE_US])),
                slice=draw(st.sampled_from([None] * 4 + ["acme", "lab"])),
                session=draw(st.sampled_from([None, None, "s1", "s2"])),
                max_loss=draw(st.sampled_from([None, None, 0.0, 0.05])),
            )
        )
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
        "readout_group": GROUP,
        "holds": draw(st.sampled_from(HOLDS)),
        "hold_patience_us": PATIENCE_US,
        "slices": draw(st.sampled_from(SLICES)),
        "max_loss": draw(st.sampled_from([float("inf"), float("inf"), 0.02])),
        "proximity": draw(st.sampled_from([None, LOUD])),
    }


LOUD = Proximity(
    zz_per_ns=np.array(
        [[2e-6 * (abs(a - b) == 1) for b in range(SMALL_CHIP_QUBITS)] for a in range(SMALL_CHIP_QUBITS)]
    ),
    readout=0.004,
    group=GROUP,
    readout_ns=100.0,
)
HOLDS = ((), (), (Hold("s1", (4, 5)),), (Hold("s1", (0, 1)), Hold("s3", (7, 8, 9))))
SLICES = ({}, {}, {"acme": 0b111}, {"acme": 0b11, "lab": 0b111 << 8})


def jobs_by_id(view: View) -> dict[str, QueuedJob]:
    return {job.id: job for job in view.jobs}


def bits(mask: int) -> set[int]:
    return {q for q in range(SMALL_CHIP_QUBITS) if mask >> q & 1}


def neighbours(device: DeviceView, region: tuple[int, ...]) -> set[int]:
    return {b for a in region for b in device.topology.neighbours(a)} - set(region)


def group_of(region: Iterable[int]) -> set[int]:
    return {GROUP * (q // GROUP) + k for q in region for k in range(GROUP)}


def keeps_away(device: DeviceView, job: QueuedJob, region: tuple[int, ...]) -> set[int]:
    """Qubits on which nobody else may be while the job is on a region, whoever asked for that."""
    apart = set(region)
    if device.buffer or job.isolation in {"buffered", "confidential"}:
        apart |= neighbours(device, region)
    if job.isolation == "confidential":
        apart |= group_of(region)
    return apart


def belongs_to(device: DeviceView, job: QueuedJob) -> set[int]:
    usable = {q for q in range(device.topology.num_qubits) if device.usable_mask >> q & 1}
    slices = {name: {q for q in usable if mask >> q & 1} for name, mask in device.slices.items()}
    return slices.get(job.slice, set()) if job.slice else usable - set().union(*slices.values())


def holds_of_others(device: DeviceView, job: QueuedJob) -> list[Hold]:
    return [hold for hold in device.holds if hold.session != job.session]


def allowed(
    device: DeviceView,
    taken: list[tuple[QueuedJob, tuple[int, ...]]],
    job: QueuedJob,
    region: tuple[int, ...],
    *,
    past_holds: bool = False,
) -> bool:
    """Whether a region may be given out beside those taken: the rule, written the slow way."""
    free = belongs_to(device, job)
    own = [set(hold.region) for hold in device.holds if hold.session == job.session]
    free = free & own[0] if own else free
    busy = {q for _, other in taken for q in other}
    if not past_holds:
        for hold in holds_of_others(device, job):
            busy |= set(hold.region)
            free -= set(hold.region) | (neighbours(device, hold.region) if device.buffer else set())
    for other, other_region in taken:
        free -= keeps_away(device, other, other_region)
    mine = keeps_away(replace(device, buffer=0), job, region)
    return set(region) <= free and not mine & busy


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


@given(views(), devices())
def test_isolation_classes_and_slices_are_kept_from_both_sides(chip: Chip, view: View, policy: dict[str, object]):
    """P2, of any two jobs of a batch whichever was placed first; P2's slices."""
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


@given(views(), devices())
def test_jobs_that_run_alone_run_alone(chip: Chip, view: View, policy: dict[str, object]):
    """P2 for ``exclusive``; P11: a quarantined job shares no batch."""
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
        assert room or full or too_long or "no free region" in reason or "alone" in reason or "too long" in reason


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


def lost_to(device: DeviceView, jobs: dict[str, QueuedJob], one: Placement, other: Placement) -> float:
    """Predicted −ln F that one placement loses to another, pair by pair."""
    assert device.proximity is not None
    own, their = jobs[one.job_id].footprint, jobs[other.job_id].footprint
    together_ns = min(max(need.duration_ns for need in each.needs) for each in (own, their)) - 100.0
    lost = sum(device.proximity.zz_per_ns[u, v] for u in one.region for v in other.region) * max(0.0, together_ns)
    read = [[p.region[f.qubits.index(q)] for q in f.measured] for p, f in ((one, own), (other, their))]
    return lost + 0.004 * sum(u // GROUP == v // GROUP for u in read[0] for v in read[1])


@given(views(), devices())
def test_nobody_loses_more_fidelity_than_it_accepts(chip: Chip, view: View, policy: dict[str, object]):
    """The head takes what there is; what comes after it may not cost it more than is left of its budget."""
    device = chip(**(policy | {"proximity": LOUD}))
    decision = plan(view, device, 0)
    if isinstance(decision, Wait):
        return
    jobs = jobs_by_id(view)
    for index, placement in enumerate(decision.placements):
        job = jobs[placement.job_id]
        budget = device.max_loss if job.max_loss is None else job.max_loss
        before = sum(lost_to(device, jobs, placement, other) for other in decision.placements[:index])
        after = sum(lost_to(device, jobs, placement, other) for other in decision.placements[index + 1 :])
        assert placement.crosstalk == pytest.approx(before)
        least = 0.0
        if job.footprint.shape is not None:
            table = device.embeddings[job.footprint.shape]
            mine = [set(region) <= belongs_to(device, job) for region in table.regions.tolist()]
            least = float(table.score(job.footprint)[mine].min())
        lost = placement.loss + before - least
        assert index == 0 or lost <= budget + 1e-9
        assert after <= max(0.0, budget - lost) + 1e-9


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
