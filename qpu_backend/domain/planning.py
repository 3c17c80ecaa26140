"""The scheduler's one decision: ``plan(view, device, now)`` → a batch that shares the chip, or why to wait.

The job with the smallest start tag must run; what else fits beside it, in the order of the tags, runs too. The decision
depends on the order of the jobs and never on who owns them: renaming tenants changes nothing. No clock, no randomness,
no IO.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Final, Literal

from qpu_backend.domain.fairshare import charge, virtual_time_after
from qpu_backend.domain.placement import Floor
from qpu_backend.domain.rounds import MAX_ROUNDS, Profile, Round, Track, batch_us, merged, profile_of, rounds_of
from qpu_backend.physics.topology import mask_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qpu_backend.domain.footprint import Footprint
    from qpu_backend.domain.placement import EmbeddingTable
    from qpu_backend.physics.topology import Topology


PACKING: Final = 0.001
"""Predicted loss (−ln F) that a job accepts to use up one qubit less."""


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A waiting job.

    Attributes:
        id: the job.
        tenant: whose it is; carried through, never looked at.
        start_tag: fair-queueing tag that orders the queue.
        finish_tag: ``start_tag + cost / weight``.
        cost: what it was expected to occupy when it was tagged, µs · qubit.
        footprint: what it needs from the chip.
        isolation: ``exclusive`` runs alone and is charged the whole chip.
        solo: runs alone because a batch it was in kept failing; charged its own place only.
    """

    id: str
    tenant: str
    start_tag: int
    finish_tag: int
    cost: int
    footprint: Footprint
    isolation: Literal["shared", "exclusive"] = "shared"
    solo: bool = False

    @property
    def alone(self) -> bool:
        return self.solo or self.isolation == "exclusive"


@dataclass(frozen=True, slots=True)
class View:
    """What the scheduler looks at: the front of the queue.

    Attributes:
        jobs: by ascending start tag, equal tags in a fixed order (the id).
        virtual_time: of the device's fair queue.
    """

    jobs: tuple[QueuedJob, ...]
    virtual_time: int

    def digest(self) -> str:
        """SHA-256 of everything the decision can depend on; stored with the batch."""
        return hashlib.sha256(repr(("view-1", self.virtual_time, self.jobs)).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class DeviceView:
    """The chip, now: what may be used and where each shape fits.

    Attributes:
        name: of the device.
        topology: qubits and couplings.
        usable_mask: bit ``q`` is set when qubit ``q`` may be given out.
        embeddings: shape → where it fits on usable qubits and couplings.
        overhead_us: device time a batch takes besides its shots.
        rep_delay_us: idle time before each shot, where the job asks for none of its own.
        buffer: 1 keeps every qubit next to a region idle, 0 does not.
        stretch: how much longer than the head job alone a batch may last, as a fraction.
        max_jobs: placements in a batch.
        window: how many jobs are considered, in order.
        packing: predicted loss (−ln F) that a job accepts to use up one qubit less, buffer included; 0.0 takes the best
            region wherever it lies.
    """

    name: str
    topology: Topology
    usable_mask: int
    embeddings: Mapping[str, EmbeddingTable]
    overhead_us: int
    rep_delay_us: float
    buffer: Literal[0, 1] = 1
    stretch: float = 0.5
    max_jobs: int = 40
    window: int = 40
    packing: float = PACKING

    def rep_delay_ns(self, footprint: Footprint) -> int:
        """Idle time before each shot of this job."""
        return round(self.rep_delay_us * 1000) if footprint.rep_delay_ns is None else footprint.rep_delay_ns


@dataclass(frozen=True, slots=True)
class Placement:
    """A job on its qubits.

    Attributes:
        job_id: the job.
        tenant: its owner.
        region: physical qubits. For a shape: the qubit of each position, in order. For a pinned job: the footprint's
            qubits.
        buffer_mask: usable qubits kept idle around it and charged to it. Two regions may be kept apart by the same idle
            qubit; it is in the mask of the one placed first, so masks of a batch are disjoint.
        scavenged: placed although a job with a smaller tag found no room: service metered like any other, which the
            virtual time does not follow.
        own_us: device time the job would take alone in a batch.
        fairness_cost: µs · qubit charged to it, see :func:`qpu_backend.domain.fairshare.charge`.
        loss: predicted −ln F of the job here, from the snapshot; 0.0 for pinned jobs, which have no choice.
    """

    job_id: str
    tenant: str
    region: tuple[int, ...]
    buffer_mask: int
    scavenged: bool
    own_us: int
    fairness_cost: int
    loss: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A batch.

    Attributes:
        placements: in the order they were chosen; the head job is the first.
        rounds: run-length encoded; members name placements by their index.
        device_start_us: device time at which it starts.
        device_us: how long it takes.
        virtual_time: of the fair queue once this batch is committed.
        capacity_qubits: usable qubits; ``Σ fairness_cost + idle = capacity_qubits · device_us``.
        idle: µs · qubit charged to nobody.
        unplaceable: jobs of the window that fit nowhere even on the empty chip as it is now: to be failed, not waited
            for.
        explanation: why each job of the window is or is not in, for the operator.
    """

    placements: tuple[Placement, ...]
    rounds: tuple[Round, ...]
    device_start_us: int
    device_us: int
    virtual_time: int
    capacity_qubits: int
    idle: int
    unplaceable: tuple[str, ...] = ()
    explanation: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to run now."""

    reason: str
    unplaceable: tuple[str, ...] = ()


def plan(view: View, device: DeviceView, now_us: int) -> Plan | Wait:
    """Choose the next batch.

    The head of the queue runs. Then every further job of the window, in order, runs too if it may share, its region and
    buffer fit beside those already placed, and the batch stays within the head's own time · (1 + stretch). Among the
    free regions a job gets the one with the smallest predicted loss. With anything to run, it runs now: there is no
    batching delay.

    Args:
        view: the front of the queue.
        device: the chip as it is now.
        now_us: device time.
    """
    batch = _Batch(device)
    for job in view.jobs[: device.window]:
        batch.offer(job)
    if not batch.chosen:
        reason = "the queue is empty" if not view.jobs else "no waiting job fits on the usable qubits"
        return Wait(reason, tuple(batch.unplaceable))
    return batch.close(view.virtual_time, now_us)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A job that is in."""

    job: QueuedJob
    region: tuple[int, ...]
    buffer_mask: int
    scavenged: bool
    loss: float
    track: Track
    own_us: int


def _cuts(track: Track) -> tuple[tuple[int, int], ...]:
    return tuple((need.repeat, need.shots) for need in track.needs)


class _Batch:
    """A batch while it is put together: offered jobs in order, it takes each or says why not."""

    def __init__(self, device: DeviceView) -> None:
        self.chosen: list[_Chosen] = []
        self.unplaceable: list[str] = []
        self._device = device
        self._floor = Floor(
            device.topology, device.usable_mask, device.embeddings, buffer=device.buffer, packing=device.packing
        )
        self._profile: Profile = ()
        self._limit_us = 0
        self._executions = 0
        self._passed = False
        self._explanation: list[str] = []

    def offer(self, job: QueuedJob) -> None:
        """Take the job, or note why it stays in the queue."""
        if not self._floor.ever_fits(job.footprint):
            self.unplaceable.append(job.id)
            self._explanation.append(f"{job.id}: fits nowhere on this device")
            return
        refusal = self._admit(job)
        if refusal is not None:
            self._passed = True
            self._explanation.append(f"{job.id}: waits, {refusal}")

    def _admit(self, job: QueuedJob) -> str | None:
        """Take the job, or answer why it has to wait. Cheap questions first."""
        device = self._device
        if self.chosen and (job.alone or self.chosen[0].job.alone):
            return "it runs alone" if job.alone else "another job runs alone"
        if len(self.chosen) >= device.max_jobs:
            return "the batch is full"
        track = Track(job.footprint.needs, device.rep_delay_ns(job.footprint))
        own = profile_of(track)
        profile = merged(self._profile, own)
        if self.chosen and batch_us(device.overhead_us, profile) > self._limit_us:
            return "it would keep the others too long"
        executions = self._executions + job.footprint.num_executions
        if self.chosen and executions > MAX_ROUNDS and not self._rounds_stay_few(track):
            return "its shots do not line up with the others'"
        found = self._floor.best(job.footprint)
        if found is None:
            return "no free region"
        region, loss = found
        buffer_mask = self._floor.take(region)
        own_us = batch_us(device.overhead_us, own)
        if not self.chosen:
            self._limit_us = own_us + int(own_us * device.stretch)
        self.chosen.append(_Chosen(job, region, buffer_mask, self._passed, loss, track, own_us))
        self._profile, self._executions = profile, executions
        self._explanation.append(f"{job.id}: {'past others' if self._passed else 'in order'} on {list(region)}")
        return None

    def _rounds_stay_few(self, track: Track) -> bool:
        tracks = [one.track for one in self.chosen]
        if any(_cuts(track) == _cuts(one) for one in tracks):
            return True  # it begins and ends its executions where another does: no round is cut further
        bound = max(MAX_ROUNDS, *(len(one.needs) for one in (*tracks, track)))
        return sum(1 for _ in islice(rounds_of([*tracks, track]), bound + 1)) <= bound

    def close(self, virtual_time: int, now_us: int) -> Plan:
        """The batch as a value, with what each placement is charged."""
        device = self._device
        capacity = device.usable_mask.bit_count()
        device_us = batch_us(device.overhead_us, self._profile)
        chosen = self.chosen
        if chosen[0].job.isolation == "exclusive":
            rest = device.usable_mask & ~mask_of(chosen[0].region)
            chosen = [replace(chosen[0], buffer_mask=rest)]
        occupied = [len(one.region) + one.buffer_mask.bit_count() for one in chosen]
        costs = charge(occupied, [one.own_us for one in chosen], device_us)
        in_order = [one.job.start_tag for one in chosen if not one.scavenged]
        return Plan(
            placements=tuple(
                Placement(
                    job_id=one.job.id,
                    tenant=one.job.tenant,
                    region=one.region,
                    buffer_mask=one.buffer_mask,
                    scavenged=one.scavenged,
                    own_us=one.own_us,
                    fairness_cost=cost,
                    loss=one.loss,
                )
                for one, cost in zip(chosen, costs, strict=True)
            ),
            rounds=tuple(rounds_of([one.track for one in chosen])),
            device_start_us=now_us,
            device_us=device_us,
            virtual_time=virtual_time_after(virtual_time, in_order),
            capacity_qubits=capacity,
            idle=(capacity - sum(occupied)) * device_us,
            unplaceable=tuple(self.unplaceable),
            explanation=tuple(self._explanation),
        )
