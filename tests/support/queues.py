"""Random queues and chips for the laws of planning, and its rules written the slow way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from hypothesis import strategies as st

from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.proximity import Proximity
from qpu_backend.domain.rounds import Need
from qpu_backend.domain.views import DeviceView, Hold, QueuedJob, View

if TYPE_CHECKING:
    from collections.abc import Iterable

SMALL_CHIP_QUBITS = 12
GROUP = 4
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
def crowds(draw: st.DrawFn, *, loners: bool = False) -> View:
    """Many small jobs with nothing about them but how far apart they want to be and what they accept to lose."""
    jobs: list[QueuedJob] = []
    for index in range(draw(st.integers(3, 7))):
        length = draw(st.integers(2, 3))
        qubits = tuple(range(length))
        edges = tuple(((q, q + 1), 5) for q in range(length - 1))
        counts = (draw(st.integers(0, 9)),) * length
        footprint = Footprint(f"line-{length}", qubits, edges, counts, qubits, counts, (Need(1, 100, 5_000),))
        jobs.append(
            QueuedJob(
                f"job{index}",
                "a",
                index,
                index + 1,
                1,
                footprint,
                isolation=draw(st.sampled_from(["shared", "buffered", "confidential"])),
                max_loss=draw(st.sampled_from([None, 0.0, 0.01, 0.03])),
                solo=loners and draw(st.booleans()),
            )
        )
    return View(tuple(jobs), 0)


OPEN = {"small": True, "buffer": 0, "readout_group": GROUP, "max_loss": 1.0, "packing": 0.1}


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
        "max_loss": draw(st.sampled_from([1.0, 1.0, 0.02])),
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
