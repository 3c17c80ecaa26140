"""What the scheduler looks at: waiting jobs, and the chip with everything that takes room on it.

    View                       DeviceView
      QueuedJob, QueuedJob …     usable qubits, places of each shape, policy
                                 Hold      a session's region, between its jobs
                                 Booking   the whole device, for a window of device time
                                 slices    qubits that belong to one tenant

Plain values: no clock, no store. Device time is in µs of the device's own clock.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.quarantine import IN_SERVICE
from qpu_backend.physics.topology import mask_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qpu_backend.domain.placement import EmbeddingTable
    from qpu_backend.domain.proximity import Proximity
    from qpu_backend.domain.quarantine import Quarantine
    from qpu_backend.physics.topology import Topology


PACKING: Final = 0.001
"""Predicted success probability that a job gives up to use up one qubit less."""
MAX_LOSS: Final = 0.125
"""Predicted success probability that a job gives up, against its best place on the empty chip, to run sooner: on a full
Eagle it saves a point of success and costs no throughput, see docs/explanation/scheduling.md."""

IsolationClass = Literal["shared", "buffered", "confidential", "exclusive"]
"""``shared`` as the device's policy says · ``buffered`` with an idle qubit all around · ``confidential`` also without a
readout group in common with anybody · ``exclusive`` alone on the device."""


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
        isolation: how far others are kept away from it; see :data:`IsolationClass`.
        solo: quarantined, because a batch it was in kept failing: runs alone, charged its own place only.
        start_by_us: device time by which it was promised to start; ``None`` without a promise.
        waited_us: how long it has waited, by the clock of the caller.
        slice: the slice it has to run in; ``None`` for the qubits that belong to nobody.
        session: the session it is part of.
        booking: the booked window it may use, if it comes to that.
        max_loss: predicted success probability that it gives up, against its best place on the empty chip, to run now
            and not later; ``None`` for the device's.
    """

    id: str
    tenant: str
    start_tag: int
    finish_tag: int
    cost: int
    footprint: Footprint
    isolation: IsolationClass = "shared"
    solo: bool = False
    start_by_us: int | None = None
    waited_us: int = 0
    slice: str | None = None
    session: str | None = None
    booking: str | None = None
    max_loss: float | None = None

    @property
    def alone(self) -> bool:
        return self.solo or self.isolation == "exclusive"

    def to_document(self) -> dict[str, Any]:
        """Numbers, strings and lists only: survives JSON unchanged."""
        return {name: getattr(self, name) for name in self.__slots__} | {"footprint": self.footprint.to_document()}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> QueuedJob:
        """Inverse of :meth:`to_document`."""
        known: dict[str, Any] = {**document, "footprint": Footprint.from_document(document["footprint"])}
        return cls(**known)


@dataclass(frozen=True, slots=True)
class View:
    """The front of the queue.

    Attributes:
        jobs: by ascending start tag, equal tags in a fixed order (the id). All jobs with a promise are among them,
            however large their tags, and in a booked window those of its owner.
        virtual_time: of the device's fair queue.
        unseen_tag: smallest start tag of waiting jobs that were left out of ``jobs``, not for standing behind them;
            ``None`` where there is none. Jobs with a larger tag go past it.
    """

    jobs: tuple[QueuedJob, ...]
    virtual_time: int
    unseen_tag: int | None = None

    def digest(self) -> str:
        """SHA-256 of everything the decision can depend on; stored with the batch."""
        return hashlib.sha256(repr(("view-2", self.virtual_time, self.unseen_tag, self.jobs)).encode()).hexdigest()

    def to_document(self) -> dict[str, Any]:
        """Numbers, strings and lists only."""
        jobs = [job.to_document() for job in self.jobs]
        return {"virtual_time": self.virtual_time, "unseen_tag": self.unseen_tag, "jobs": jobs}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> View:
        """Inverse of :meth:`to_document`."""
        jobs = tuple(QueuedJob.from_document(job) for job in document["jobs"])
        return cls(jobs, document["virtual_time"], document["unseen_tag"])


@dataclass(frozen=True, slots=True)
class Hold:
    """A region kept for a session between its jobs.

    Attributes:
        session: whose it is.
        region: physical qubits.
    """

    session: str
    region: tuple[int, ...]

    @property
    def mask(self) -> int:
        """The region as a bit mask."""
        return mask_of(self.region)


@dataclass(frozen=True, slots=True)
class Booking:
    """The whole device, for a window of device time.

    Attributes:
        id: of the booking.
        starts_us: device time at which it begins.
        ends_us: device time at which it is over.
        maintenance: nobody's jobs run, not even for a while.
    """

    id: str
    starts_us: int
    ends_us: int
    maintenance: bool = False


@dataclass(frozen=True, slots=True)
class DeviceView:
    """The chip, now: what may be used and where each shape fits.

    Attributes:
        name: of the device.
        topology: qubits and couplers.
        usable_mask: bit ``q`` is set when qubit ``q`` may be given out.
        embeddings: shape → where it fits on usable qubits and couplers.
        overhead_us: device time a batch takes besides its shots.
        rep_delay_us: idle time before each shot, where the job asks for none of its own.
        buffer: 1 keeps every qubit next to a region idle, 0 does not.
        stretch: how much longer than the head job alone a batch may last, as a fraction.
        max_jobs: placements in a batch.
        window: how many jobs are considered, in order.
        packing: predicted success probability that a job gives up to use up one qubit less, buffer included; 0.0 takes
            the best region wherever it lies.
        max_loss: predicted success probability that a job gives up, against its best place on the empty chip, to run
            now and not later; the head of a batch takes what there is. 1 is everything.
        proximity: what neighbours are predicted to cost; ``None`` counts nothing.
        readout_group: consecutive qubits that are read together; 0 where each is read alone.
        holds: regions of sessions.
        hold_patience_us: a head that has waited so long, or was promised its start, may use the regions of sessions.
        bookings: not over yet, by ascending start, disjoint.
        backfill_us: how long a batch of others may last in a booked window whose owner has nothing to run.
        longest_us: no job lasts longer alone: the quantum that jobs are cut to.
        slices: name → qubits that only its jobs may use.
        quarantine: what was taken out of service and is not in ``usable_mask``; jobs for it wait, and fail not.
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
    max_loss: float = MAX_LOSS
    proximity: Proximity | None = None
    readout_group: int = 0
    holds: tuple[Hold, ...] = ()
    hold_patience_us: int = 60_000_000
    bookings: tuple[Booking, ...] = ()
    backfill_us: int = 10_000_000
    longest_us: int = 0
    slices: Mapping[str, int] = field(default_factory=dict[str, int])
    quarantine: Quarantine = IN_SERVICE

    def rep_delay_ns(self, footprint: Footprint) -> int:
        """Idle time before each shot of this job."""
        return round(self.rep_delay_us * 1000) if footprint.rep_delay_ns is None else footprint.rep_delay_ns

    def halo(self, mask: int) -> int:
        """Qubits next to a region that the policy keeps idle."""
        return self.topology.neighbour_mask(mask) if self.buffer else 0

    def belongs_to(self, slice_name: str | None) -> int:
        """The usable qubits of a slice, or with ``None`` those of no slice."""
        if slice_name is not None:
            return self.usable_mask & self.slices.get(slice_name, 0)
        mask = self.usable_mask
        for reserved in self.slices.values():
            mask &= ~reserved
        return mask

    def to_document(self) -> dict[str, Any]:
        """What of it does not follow from the device's calibration: numbers, strings and lists only."""
        return {name: getattr(self, name) for name in _POLICY} | {
            "usable": hex(self.usable_mask),
            "holds": [[hold.session, list(hold.region)] for hold in self.holds],
            "bookings": [[b.id, b.starts_us, b.ends_us, b.maintenance] for b in self.bookings],
            "slices": {name: hex(mask) for name, mask in self.slices.items()},
        }

    def with_document(self, document: Mapping[str, Any]) -> DeviceView:
        """The same calibration with what :meth:`to_document` wrote."""
        return replace(
            self,
            usable_mask=int(document["usable"], 16),
            holds=tuple(Hold(session, tuple(region)) for session, region in document["holds"]),
            bookings=tuple(Booking(*booking) for booking in document["bookings"]),
            slices={name: int(mask, 16) for name, mask in document["slices"].items()},
            **{name: document[name] for name in _POLICY},
        )


_POLICY: Final = (
    "overhead_us",
    "rep_delay_us",
    "buffer",
    "stretch",
    "max_jobs",
    "window",
    "packing",
    "max_loss",
    "readout_group",
    "hold_patience_us",
    "backfill_us",
    "longest_us",
)
