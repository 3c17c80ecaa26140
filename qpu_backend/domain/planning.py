"""The scheduler's one decision: ``plan(view, device, now)`` → a batch that shares the chip, or why to wait.

The job with the smallest start tag must run, unless a promise is due; what else fits beside it, in the order of the
tags, runs too. The decision depends on the order of the jobs and never on who owns them: renaming tenants changes
nothing. No clock, no randomness, no IO.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from qpu_backend.domain.fairshare import charge, virtual_time_after
from qpu_backend.domain.floor import Floor, Site
from qpu_backend.domain.promises import Promise, due, lasts_us
from qpu_backend.domain.rounds import (
    MAX_ROUNDS,
    Profile,
    Round,
    Track,
    batch_us,
    merged,
    profile_of,
    rounds_of,
    stand_alone_us,
)
from qpu_backend.physics.topology import mask_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from qpu_backend.domain.views import Booking, DeviceView, QueuedJob, View


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
        scavenged: placed although a job with a smaller tag waits: service metered like any other, which the virtual
            time does not follow.
        own_us: device time the job would take alone in a batch.
        fairness_cost: µs · qubit charged to it, see :func:`qpu_backend.domain.fairshare.charge`.
        loss: predicted −ln F of the job here, from the snapshot; 0.0 for pinned jobs, which have no choice.
        crosstalk: predicted −ln F that those placed before it add, see :mod:`qpu_backend.domain.proximity`.
    """

    job_id: str
    tenant: str
    region: tuple[int, ...]
    buffer_mask: int
    scavenged: bool
    own_us: int
    fairness_cost: int
    loss: float
    crosstalk: float = 0.0


@dataclass(frozen=True, slots=True)
class HoldCharge:
    """What a session pays for the part of its region that nobody ran on.

    Attributes:
        session: the session.
        fairness_cost: µs · qubit.
    """

    session: str
    fairness_cost: int


@dataclass(frozen=True, slots=True)
class Plan:
    """A batch.

    Attributes:
        placements: in the order they were chosen; the head job is the first.
        rounds: run-length encoded; members name placements by their index.
        device_start_us: device time at which it starts.
        device_us: how long it takes.
        virtual_time: of the fair queue once this batch is committed.
        capacity_qubits: usable qubits; ``Σ fairness_cost (of placements and holds) + idle = capacity_qubits ·
            device_us``.
        idle: µs · qubit charged to nobody.
        unplaceable: jobs of the window that fit nowhere even on the empty chip as it is now: to be failed, not waited
            for.
        explanation: why each job of the window is or is not in, for the operator.
        holds: what sessions pay for what they keep.
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
    holds: tuple[HoldCharge, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing to run now.

    Attributes:
        reason: for the operator.
        unplaceable: as in a plan.
        until_us: device time at which a booked window begins or ends; the device idles until then. ``None`` when only
            another job, or the end of a session, changes anything.
        explanation: why each job of the window waits.
    """

    reason: str
    unplaceable: tuple[str, ...] = ()
    until_us: int | None = None
    explanation: tuple[str, ...] = ()


def plan(view: View, device: DeviceView, now_us: int) -> Plan | Wait:
    """Choose the next batch.

    The head of the queue runs: the job with the smallest tag, or the one whose promise is due. Then every further job
    of the window, in order, runs too if it may share, its region and buffer fit beside those already placed, nobody
    loses more fidelity than accepted, and the batch stays within the head's own time · (1 + stretch) and ends before
    the next booked window. With anything to run, it runs now: there is no batching delay.

    Args:
        view: the front of the queue.
        device: the chip as it is now.
        now_us: device time.
    """
    window = _window_at(device.bookings, now_us)
    if window is not None and window.maintenance:
        return Wait("the device is under maintenance", until_us=window.ends_us)
    batch = _Batch(device, now_us, window)
    for job in _in_order(view, device, now_us, window):
        batch.offer(job)
    if not batch.chosen:
        reason = "the queue is empty" if not view.jobs else "no waiting job can run now"
        return Wait(reason, tuple(batch.unplaceable), batch.again_us, tuple(batch.explanation))
    return batch.close(view)


def first_in_line(view: View, device: DeviceView, now_us: int) -> QueuedJob | None:
    """The job that the device is offered first: by its tag, or as a promise or a booked window has it."""
    return next(iter(_in_order(view, device, now_us, _window_at(device.bookings, now_us))), None)


def _window_at(bookings: Sequence[Booking], now_us: int) -> Booking | None:
    """The booked window that it is now."""
    return next((booking for booking in bookings if booking.starts_us <= now_us < booking.ends_us), None)


def _in_order(view: View, device: DeviceView, now_us: int, window: Booking | None) -> Iterable[QueuedJob]:
    """The jobs to be offered: the owner's in a booked window first, then a promise that is due, then by tag."""
    owned = None if window is None else window.id
    seen = [
        job
        for index, job in enumerate(view.jobs)
        if index < device.window or job.start_by_us is not None or (owned is not None and job.booking == owned)
    ]
    if owned is not None:
        seen.sort(key=lambda job: job.booking != owned)
        return seen
    promises = [
        Promise(job.start_by_us, lasts_us(_own_us(job, device), device.stretch), job.id)
        for job in seen
        if job.start_by_us is not None
    ]
    urgent = due(promises, now_us, lasts_us(device.longest_us, device.stretch))
    if urgent is not None:
        seen.sort(key=lambda job: job.id != urgent.job_id)
    return seen


def _own_us(job: QueuedJob, device: DeviceView) -> int:
    return stand_alone_us(device.overhead_us, device.rep_delay_ns(job.footprint), job.footprint.needs)


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A job that is in."""

    job: QueuedJob
    site: Site
    buffer_mask: int
    track: Track
    own_us: int


def _cuts(track: Track) -> tuple[tuple[int, int], ...]:
    return tuple((need.repeat, need.shots) for need in track.needs)


class _Batch:
    """A batch while it is put together: offered jobs in order, it takes each or says why not."""

    def __init__(self, device: DeviceView, now_us: int, window: Booking | None) -> None:
        self.chosen: list[_Chosen] = []
        self.unplaceable: list[str] = []
        self.explanation: list[str] = []
        self.again_us: int | None = None
        """When a window begins or ends that some job waits for."""
        self._device = device
        self._now_us = now_us
        self._window = window
        self._floor = Floor(device)
        self._profile: Profile = ()
        self._limit_us = 0
        self._executions = 0

    def offer(self, job: QueuedJob) -> None:
        """Take the job, or note why it stays in the queue."""
        if not self._floor.ever_fits(job):
            self.unplaceable.append(job.id)
            self.explanation.append(f"{job.id}: fits nowhere on this device")
            return
        refusal = self._admit(job)
        if refusal is not None:
            self.explanation.append(f"{job.id}: waits, {refusal}")

    def _admit(self, job: QueuedJob) -> str | None:
        """Take the job, or answer why it has to wait. Cheap questions first."""
        device = self._device
        company = self._company(job)
        if company is not None:
            return company
        track = Track(job.footprint.needs, device.rep_delay_ns(job.footprint))
        own = profile_of(track)
        own_us = batch_us(device.overhead_us, own)
        profile = merged(self._profile, own)
        if self.chosen and batch_us(device.overhead_us, profile) > self._limit_us:
            return "it would keep the others too long"
        limit_us = self._limit_us if self.chosen else self._longest_for(job, own_us)
        if own_us > limit_us:
            return "a booked window"
        executions = self._executions + job.footprint.num_executions
        if self.chosen and executions > MAX_ROUNDS and not self._rounds_stay_few(track):
            return "its shots do not line up with the others'"
        site = self._site(job)
        if isinstance(site, str):
            return site
        self._limit_us = limit_us
        buffer_mask = self._floor.take(job, site)
        self.chosen.append(_Chosen(job, site, buffer_mask, track, own_us))
        self._profile, self._executions = profile, executions
        self.explanation.append(f"{job.id}: runs on {list(site.region)}")
        return None

    def _company(self, job: QueuedJob) -> str | None:
        """Why the job may not run beside those chosen, wherever."""
        if not self.chosen:
            return None
        if job.alone or self.chosen[0].job.alone:
            return "it runs alone" if job.alone else "another job runs alone"
        return "the batch is full" if len(self.chosen) >= self._device.max_jobs else None

    def _longest_for(self, head: QueuedJob, own_us: int) -> int:
        """Device time that a batch with this job at its head may take."""
        limit_us = lasts_us(own_us, self._device.stretch)
        current = self._window
        if current is not None and head.booking != current.id:
            limit_us = min(limit_us, self._device.backfill_us)
            self._ask_again(current.ends_us if own_us > limit_us else None)
        others = [b for b in self._device.bookings if b.starts_us > self._now_us and b.id != head.booking]
        if others:
            starts_us = min(booking.starts_us for booking in others)
            limit_us = min(limit_us, starts_us - self._now_us)
            self._ask_again(starts_us if own_us > limit_us else None)
        return limit_us

    def _ask_again(self, time_us: int | None) -> None:
        if time_us is not None:
            self.again_us = time_us if self.again_us is None else min(self.again_us, time_us)

    def _site(self, job: QueuedJob) -> Site | str:
        """Where the job goes. The head takes what there is, and after some time what sessions hold."""
        if self.chosen:
            return self._floor.site(job)
        others = any(hold.session != job.session for hold in self._device.holds)
        patient = job.waited_us < self._device.hold_patience_us and job.start_by_us is None
        if others and patient and job.isolation == "exclusive":
            return "a session holds qubits"
        site = self._floor.site(job, must=True)
        if isinstance(site, str) and others and not patient:
            site = self._floor.site(job, must=True, past_holds=True)
        return site

    def _rounds_stay_few(self, track: Track) -> bool:
        tracks = [one.track for one in self.chosen]
        if any(_cuts(track) == _cuts(one) for one in tracks):
            return True  # it begins and ends its executions where another does: no round is cut further
        bound = max(MAX_ROUNDS, *(len(one.needs) for one in (*tracks, track)))
        return sum(1 for _ in islice(rounds_of([*tracks, track]), bound + 1)) <= bound

    def close(self, view: View) -> Plan:
        """The batch as a value, with what each placement and each session is charged."""
        device, chosen = self._device, self.chosen
        capacity = device.usable_mask.bit_count()
        device_us = batch_us(device.overhead_us, self._profile)
        if chosen[0].job.isolation == "exclusive":
            rest = device.usable_mask & ~mask_of(chosen[0].site.region)
            chosen = [replace(chosen[0], buffer_mask=rest)]
            self._floor.charged = device.usable_mask
        occupied = [len(one.site.region) + one.buffer_mask.bit_count() for one in chosen]
        costs = charge(occupied, [one.own_us for one in chosen], device_us)
        left = [(hold.session, self._floor.left_of_hold(hold.session).bit_count()) for hold in device.holds]
        passed = self._passed(view)
        in_order = [one.job.start_tag for one in chosen if one.job.id not in passed]
        return Plan(
            placements=tuple(
                Placement(
                    job_id=one.job.id,
                    tenant=one.job.tenant,
                    region=one.site.region,
                    buffer_mask=one.buffer_mask,
                    scavenged=one.job.id in passed,
                    own_us=one.own_us,
                    fairness_cost=cost,
                    loss=one.site.loss,
                    crosstalk=one.site.crosstalk,
                )
                for one, cost in zip(chosen, costs, strict=True)
            ),
            rounds=tuple(rounds_of([one.track for one in chosen])),
            device_start_us=self._now_us,
            device_us=device_us,
            virtual_time=virtual_time_after(view.virtual_time, in_order),
            capacity_qubits=capacity,
            idle=(capacity - sum(occupied) - sum(qubits for _, qubits in left)) * device_us,
            unplaceable=tuple(self.unplaceable),
            explanation=tuple(self.explanation),
            holds=tuple(HoldCharge(session, qubits * device_us) for session, qubits in left if qubits),
        )

    def _passed(self, view: View) -> set[str]:
        """The chosen jobs that go before one with a smaller tag."""
        chosen = {one.job.id for one in self.chosen}
        gone = chosen.union(self.unplaceable)
        first = next((index for index, job in enumerate(view.jobs) if job.id not in gone), len(view.jobs))
        passed = {job.id for job in view.jobs[first:] if job.id in chosen}
        if view.unseen_tag is not None:
            passed |= {one.job.id for one in self.chosen if one.job.start_tag > view.unseen_tag}
        return passed
