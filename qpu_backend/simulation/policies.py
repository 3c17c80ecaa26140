"""Policies that place shapes: ours, and those it is compared with, written from what their papers describe.

``fifo``        one job at a time, each on its best place.
``pairs``       at most two at a time, in order of arrival, each on the best place that is left (Das et al., MICRO'19).
``greedy-efs``  from the front of the queue, the jobs with most two-qubit gates first, each where its estimated fidelity
                score is best, as long as that is not much worse than alone (QuMC, 2102.05321; QuCP, 2112.00387).
``fair``        :func:`qpu_backend.domain.planning.plan`.

The compiled circuits, the time model and the loop are the same for all of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.domain.planning import Wait, plan
from qpu_backend.domain.proximity import Proximity
from qpu_backend.domain.rounds import Track
from qpu_backend.domain.views import DeviceView, View
from qpu_backend.physics.relocate import relocate
from qpu_backend.physics.topology import mask_of
from qpu_backend.simulation.batches import Batch, Chosen, Seat, Waiting, close

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from qpu_backend.simulation.kinds import Chip, Kind

EFS_WINDOW: Final = 40
EFS_THRESHOLD: Final = 0.1
"""How much worse than the job's best place, in −ln F, a place may be."""
EFS_CROSSTALK: Final = 4.0
"""σ of QuCP: what a two-qubit error is multiplied by beside a coupler that is in use."""


def device_view(chip: Chip, kinds: Iterable[Kind], **policy: object) -> DeviceView:
    """The empty chip as the planner sees it.

    Args:
        chip: the device.
        kinds: their shapes are on offer.
        policy: fields of :class:`~qpu_backend.domain.views.DeviceView` that are not at their defaults.
    """
    view = DeviceView(
        name=chip.model.name,
        topology=chip.model.topology,
        usable_mask=mask_of(chip.snapshot.usable_qubits),
        embeddings={kind.shape.name: kind.shape.table for kind in kinds},
        overhead_us=chip.overhead_us,
        rep_delay_us=chip.model.timing.rep_delay_us,
        buffer=1 if chip.model.coupler == "fixed" else 0,
        proximity=Proximity.of(chip.snapshot, chip.model.crosstalk),
        readout_group=chip.model.crosstalk.readout.group,
    )
    return replace(view, **policy)


class Planned:
    """A policy that asks :func:`~qpu_backend.domain.planning.plan` about the first jobs in its order."""

    def __init__(self, name: str, chip: Chip, view: DeviceView, *, fair: bool) -> None:
        """A chip, with how it is shared.

        Args:
            name: of the policy.
            chip: the device.
            view: the chip with the planner's options.
            fair: whether jobs come in the order of their tags.
        """
        self.name = name
        self.fair = fair
        self._chip = chip
        self._view = view

    def next_batch(self, waiting: Sequence[Waiting], virtual_time: int, now_us: int) -> Batch:
        """See :class:`~qpu_backend.simulation.batches.Policy`."""
        front = waiting[: self._view.window]
        decision = plan(View(tuple(one.job for one in front), virtual_time), self._view, now_us)
        if isinstance(decision, Wait):
            raise RuntimeError(f"an empty chip makes {front[0].job.id} wait: {decision.reason}")  # noqa: TRY004 - no type of ours
        by_id = {one.job.id: one for one in front}
        seats: list[Seat] = []
        for placement in decision.placements:
            one = by_id[placement.job_id]
            circuit = relocate(one.kind.circuit, placement.region, self._chip.snapshot)
            track = track_of(one, self._chip)
            buffer_qubits = placement.buffer_mask.bit_count()
            seats.append(
                Seat(
                    job_id=placement.job_id,
                    circuit=circuit,
                    region=placement.region,
                    buffer_qubits=buffer_qubits,
                    own_us=placement.own_us,
                    cost=placement.fairness_cost,
                    track=track,
                )
            )
        return Batch(tuple(seats), decision.device_us, decision.virtual_time)


def fifo(chip: Chip, view: DeviceView) -> Planned:
    """One job at a time on its best place."""
    return Planned("fifo", chip, replace(view, window=1, max_jobs=1, packing=0.0), fair=False)


def pairs(chip: Chip, view: DeviceView) -> Planned:
    """Two neighbours in the queue at a time, the first on its best place, the second on the best that is left."""
    best = replace(view, window=2, max_jobs=2, packing=0.0, stretch=1e6, max_loss=float("inf"))
    return Planned("pairs", chip, best, fair=False)


def fair(chip: Chip, view: DeviceView) -> Planned:
    """Ours."""
    return Planned("fair", chip, view, fair=True)


class GreedyEfs:
    """Packs by estimated fidelity score; nobody's share is looked at."""

    name = "greedy-efs"
    fair = False

    def __init__(self, chip: Chip) -> None:
        self._chip = chip
        self._usable = mask_of(chip.snapshot.usable_qubits)
        self._scores: dict[str, NDArray[np.float64]] = {}

    def next_batch(self, waiting: Sequence[Waiting], virtual_time: int, now_us: int) -> Batch:  # noqa: ARG002
        """See :class:`~qpu_backend.simulation.batches.Policy`. The head always runs, so nobody starves."""
        head, *others = waiting[:EFS_WINDOW]
        others.sort(key=lambda one: -sum(count for _, count in one.kind.footprint.edge_counts))
        chosen: list[Chosen] = []
        taken = 0
        for one in (head, *others):
            region = self._region(one.kind, taken, must=not chosen)
            if region is not None:
                taken |= mask_of(region)
                circuit = relocate(one.kind.circuit, region, self._chip.snapshot)
                chosen.append(Chosen(one, circuit, region, 0, track_of(one, self._chip)))
        return close(chosen, self._chip.overhead_us)

    def _region(self, kind: Kind, taken: int, *, must: bool) -> tuple[int, ...] | None:
        table = kind.shape.table
        if kind.name not in self._scores:
            self._scores[kind.name] = table.score(kind.footprint)
        score = self._scores[kind.name]
        free = np.array([not mask_of(row) & (taken | ~self._usable) for row in table.regions.tolist()])
        rows = np.flatnonzero(free)
        if not rows.size:
            return None
        beside = self._beside(kind, rows, taken)
        here = score[rows] + beside
        best = int(np.argmin(here))
        if not must and here[best] > score.min() + EFS_THRESHOLD:
            return None
        return tuple(table.regions[rows[best]].tolist())

    def _beside(self, kind: Kind, rows: NDArray[np.intp], taken: int) -> NDArray[np.float64]:
        """What couplers that touch somebody else's qubits lose more: (σ − 1) times their errors."""
        topology, table = self._chip.model.topology, kind.shape.table
        near = topology.neighbour_mask(taken) if taken else 0
        touched = np.array([bool(near >> q & 1) for q in range(topology.num_qubits)])
        places = table.regions[rows].astype(np.intp)
        extra = np.zeros(len(rows))
        for (a, b), count in kind.footprint.edge_counts:
            beside = touched[places[:, a]] | touched[places[:, b]]
            extra += (EFS_CROSSTALK - 1.0) * count * self._chip.errors.edge[places[:, a], places[:, b]] * beside
        return extra


def track_of(one: Waiting, chip: Chip) -> Track:
    """The executions of a job, with the repetition delay it gets."""
    footprint = one.kind.footprint
    default_ns = round(1000 * chip.model.timing.rep_delay_us)
    return Track(footprint.needs, default_ns if footprint.rep_delay_ns is None else footprint.rep_delay_ns)
