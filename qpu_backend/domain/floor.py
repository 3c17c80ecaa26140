"""The chip while a batch is being put together: what is given out, and what that leaves free for whom.

. . . . . .        #  region          A region may be given out if it has no qubit that is occupied or kept idle,
. o o o o .        o  its halo        and, where the job itself wants to be apart, if its halo (and, for
o # # # # o                           ``confidential``, its readout groups) has no qubit that is occupied.
. o o o o .
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.domain.placement import fresh_qubits, misses
from qpu_backend.domain.proximity import Neighbours
from qpu_backend.physics.topology import mask_of, qubits_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from qpu_backend.domain.footprint import Footprint
    from qpu_backend.domain.placement import EmbeddingTable
    from qpu_backend.domain.views import DeviceView, QueuedJob

_TRIES: Final = 16
"""Regions that are tried, best first, when a neighbour would lose more than it accepts."""
NO_ROOM: Final = "no free region"
TOO_BAD: Final = "what is free would cost it, or a neighbour, more than it accepts"


@dataclass(frozen=True, slots=True)
class Site:
    """Where a job could run.

    Attributes:
        region: physical qubits. For a shape: the qubit of each position, in order. For a pinned job: its qubits.
        loss: predicted −ln F of the job there, alone; 0.0 for pinned jobs, which have no choice.
        crosstalk: predicted −ln F that those who are there already add.
        spare: success probability that it may still lose to those who come later.
    """

    region: tuple[int, ...]
    loss: float
    crosstalk: float
    spare: float


class Floor:
    """What is free, as regions are given out one by one."""

    def __init__(self, device: DeviceView) -> None:
        """Nothing is given out; the regions of sessions are held."""
        self.charged = 0
        """Mask of the qubits somebody is charged for: regions and what is kept idle for them."""
        self._device = device
        self._occupied = 0
        self._kept = 0
        self._held = {hold.session: hold.mask for hold in device.holds}
        self._neighbours = None if device.proximity is None else Neighbours(device.proximity)
        self._everything = (1 << device.topology.num_qubits) - 1
        self._free: dict[tuple[str, int], NDArray[np.bool_]] = {}

    def ever_fits(self, job: QueuedJob) -> bool:
        """Whether the job has a place when nobody else is on the chip and no session holds a region."""
        base = self._device.belongs_to(job.slice)
        footprint = job.footprint
        if footprint.shape is None:
            return not mask_of(footprint.qubits) & ~base
        table = self._device.embeddings.get(footprint.shape)
        return table is not None and table.carries(footprint) and bool(self._rows(footprint.shape, table, ~base).any())

    def held_back(self, job: QueuedJob) -> bool:
        """Whether the job waits because something is in quarantine.

        A job of a shape does that wherever it has no place: the quarantine may have taken it.
        """
        if not self._device.quarantine:
            return False
        footprint = job.footprint
        if footprint.shape is not None:
            return not self.ever_fits(job)
        pairs = (pair for pair, _ in footprint.edge_counts)
        return self._device.quarantine.holds_back(footprint.qubits, pairs) is not None

    def site(self, job: QueuedJob, *, must: bool = False, past_holds: bool = False) -> Site | str:
        """The best free region for this job, or why there is none.

        Args:
            job: it fits on the empty chip.
            must: it takes what there is, however bad.
            past_holds: the regions of other sessions count as free.
        """
        others = 0 if past_holds else _union(m for session, m in self._held.items() if session != job.session)
        own_hold = self._held.get(job.session or "", 0)
        base = self._device.belongs_to(job.slice) & (own_hold or ~0)
        apart = self._occupied | others
        forbidden = ~base | self._occupied | self._kept | others | self._device.halo(others)
        spare = self._device.max_loss if job.max_loss is None else job.max_loss
        if job.footprint.shape is None:
            return self._pinned_site(job, forbidden, apart, spare, must=must)
        return self._shaped_site(job, forbidden, apart, spare, must=must)

    def take(self, job: QueuedJob, site: Site) -> int:
        """Give a region out; the mask of the idle qubits charged with it."""
        device = self._device
        region = mask_of(site.region)
        idle = device.halo(region)
        if job.isolation in {"buffered", "confidential"}:
            idle |= device.topology.neighbour_mask(region)
        if job.isolation == "confidential":
            idle |= self._groups(region)
        idle &= ~region
        buffer_mask = idle & device.usable_mask & ~self.charged
        self.charged |= region | buffer_mask
        self._occupied |= region
        self._kept |= idle
        if self._neighbours is not None:
            success = math.exp(-site.loss - site.crosstalk)
            self._neighbours.settle(
                site.region, _positions(job.footprint), _duration_ns(job.footprint), site.spare, success
            )
        return buffer_mask

    def left_of_hold(self, session: str) -> int:
        """Qubits that a session keeps from others and nobody else is charged for; they are charged from now on."""
        mask = self._held[session]
        left = (mask | self._device.halo(mask)) & self._device.usable_mask & ~self.charged
        self.charged |= left
        return left

    def _pinned_site(self, job: QueuedJob, forbidden: int, apart: int, spare: float, *, must: bool) -> Site | str:
        mask = mask_of(job.footprint.qubits)
        if mask & forbidden or self._keeps_away(job, mask) & apart:
            return NO_ROOM
        region = job.footprint.qubits
        crosstalk = float(self._felt(job.footprint, np.array([region], dtype=np.int16))[0])
        lost = -math.expm1(-crosstalk)
        if not must and (lost > spare or not self._borne(job.footprint, region)):
            return TOO_BAD
        return Site(region, 0.0, crosstalk, self._left(spare, lost))

    def _shaped_site(self, job: QueuedJob, forbidden: int, apart: int, spare: float, *, must: bool) -> Site | str:
        footprint, shape = job.footprint, job.footprint.shape or ""
        table = self._device.embeddings[shape]
        free = self._rows(shape, table, forbidden)
        if job.isolation in {"buffered", "confidential"}:
            free = free & misses(table.closed_words, apart)
        rows = np.flatnonzero(free)
        if job.isolation == "confidential":
            near = [self._groups(mask_of(region)) & apart for region in table.regions[rows].tolist()]
            rows = rows[np.array(near, dtype=object) == 0]
        if not rows.size:
            return NO_ROOM
        loss = table.score(footprint, job.id)
        best = math.exp(-self._least(job, table, loss))
        loss, crosstalk = loss[rows], self._felt(footprint, table.regions[rows])
        lost = best - np.exp(-loss - crosstalk)
        if not must and spare < 1.0:
            fine = lost <= spare
            rows, loss, crosstalk, lost = rows[fine], loss[fine], crosstalk[fine], lost[fine]
            if not rows.size:
                return TOO_BAD
        cost = lost + crosstalk  # and those who are there lose as much to it as it loses to them
        if self._device.packing:
            available = self._device.usable_mask & ~(self._occupied | self._kept)
            cost = cost + self._device.packing * fresh_qubits(table, rows, available)
        for index in [int(np.argmin(cost))] if must else np.argsort(cost, kind="stable")[:_TRIES].tolist():
            region = tuple(table.regions[rows[index]].tolist())
            if must or self._borne(footprint, region):
                left = self._left(spare, float(lost[index]))
                return Site(region, float(loss[index]), float(crosstalk[index]), left)
        return TOO_BAD

    def _left(self, spare: float, lost: float) -> float:
        """What a job has to bear of those who come later: never less than the device's policy; apart is paid for."""
        return max(0.0, max(spare, self._device.max_loss) - lost)

    def _keeps_away(self, job: QueuedJob, mask: int) -> int:
        """Qubits outside its region that nobody else may be on, for the job's own sake."""
        if job.isolation == "buffered":
            return self._device.topology.neighbour_mask(mask)
        if job.isolation == "confidential":
            return self._device.topology.neighbour_mask(mask) | self._groups(mask)
        return 0

    def _groups(self, mask: int) -> int:
        """All qubits that are read together with one of these."""
        size = self._device.readout_group
        if not size:
            return mask
        block = (1 << size) - 1
        return _union(block << size * group for group in {q // size for q in qubits_of(mask)})

    def _least(self, job: QueuedJob, table: EmbeddingTable, scores: NDArray[np.float64]) -> float:
        """−ln F of the job's best place on the empty chip."""
        rows = self._rows(job.footprint.shape or "", table, ~self._device.belongs_to(job.slice))
        return float(scores[rows].min())

    def _felt(self, footprint: Footprint, regions: NDArray[np.int16]) -> NDArray[np.float64]:
        if self._neighbours is None:
            return np.zeros(len(regions))
        return self._neighbours.felt(regions, _positions(footprint), _duration_ns(footprint))

    def _borne(self, footprint: Footprint, region: tuple[int, ...]) -> bool:
        neighbours = self._neighbours
        return neighbours is None or neighbours.bears(region, _positions(footprint), _duration_ns(footprint))

    def _rows(self, shape: str, table: EmbeddingTable, forbidden: int) -> NDArray[np.bool_]:
        """Which regions of the shape have no forbidden qubit; worked out once for each set of them."""
        forbidden &= self._everything
        known = self._free.get((shape, forbidden))
        if known is None:
            known = self._free[shape, forbidden] = misses(table.region_words, forbidden)
        return known


def _union(masks: Iterable[int]) -> int:
    union = 0
    for mask in masks:
        union |= mask
    return union


def _positions(footprint: Footprint) -> tuple[int, ...]:
    """Positions in the region that are read."""
    if footprint.shape is not None:
        return footprint.measured
    return tuple(footprint.qubits.index(qubit) for qubit in footprint.measured)


def _duration_ns(footprint: Footprint) -> float:
    return float(max(need.duration_ns for need in footprint.needs))
