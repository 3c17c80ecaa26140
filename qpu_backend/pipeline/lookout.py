"""What the dispatcher sees of a device before it plans: the front of the queue and the chip, at one moment."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import chain, repeat
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.floor import Floor
from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.sessions import in_force
from qpu_backend.domain.slices import slice_key
from qpu_backend.domain.views import DeviceView, Hold, QueuedJob, View
from qpu_backend.stores import access, bookings, devices, jobs, occupancy, queue, sessions
from qpu_backend.stores.errors import MissingRow

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.backends import Calibrated
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.fleet import Fleet
    from qpu_backend.stores.bookings import BookingRow
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.jobs import QueuedJobRow

_PER_TENANT: Final = 40
_WINDOW: Final = 64
"""Rows the planner looks at; the planning window of a device is smaller."""
_FURTHER: Final = (4, 16, 64)
"""So many times further the queue is read while what is in quarantine holds back jobs at its front: they keep their
place, and stand in nobody's way. After the last one as far again, past all that is known to be held back."""


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A look at one device.

    Attributes:
        view: the front of its queue.
        device: the chip.
        now_us: device time.
        calibrated: the calibration that all of it follows from.
    """

    view: View
    device: DeviceView
    now_us: int
    calibrated: Calibrated

    def with_jobs(self, jobs: Iterable[QueuedJob]) -> Looked:
        """The same look, seeing only some of the jobs."""
        seen = tuple(jobs)
        left_out = {job.id for job in self.view.jobs} - {job.id for job in seen}
        tags = [job.start_tag for job in self.view.jobs if job.id in left_out]
        if self.view.unseen_tag is not None:
            tags.append(self.view.unseen_tag)
        return replace(self, view=replace(self.view, jobs=seen, unseen_tag=min(tags, default=None)))


class Lookout:
    """Looks at one device."""

    def __init__(self, database: Database, scope: SystemScope, device_id: str, fleet: Fleet, clock: WallClock) -> None:
        self._database = database
        self._scope = scope
        self._device_id = device_id
        self._fleet = fleet
        self._clock = clock

    def look(self, suspects: Collection[str] = ()) -> Looked | None:
        """The front of the queue and the chip; ``None`` while the operator has closed the device.

        Args:
            suspects: jobs that have to run alone.
        """
        with self._database.read() as connection:
            device = devices.read_device(connection, self._device_id)
            if device is None:
                raise MissingRow("device", self._device_id)
            if not device.operational:
                return None
            calibrated = self._fleet.refresh(connection, device)
            there_is = occupancy.read_occupancy(connection, self._scope, self._device_id)
            promised = jobs.promised_jobs(connection, self._scope, self._device_id) if there_is.promised else []
            booked = self._booked(connection, device.device_time_us) if there_is.booked else []
            owner = _owner(booked, device.device_time_us)
            slices = slice_masks(connection, self._scope, calibrated)
            opened = sessions.open_sessions(connection, self._scope, self._device_id) if there_is.held else []
            now_us = self._clock.now_us()
            windows = {row.tenant_id: row.id for row in reversed(booked) if row.tenant_id is not None}

            def front(depth: int, without: Collection[str]) -> _Front:
                rows, unseen = self._queue(connection, there_is.limited, promised, owner, depth, without)
                seen = tuple(queued_job(row, suspects, now_us, windows.get(row.tenant_id)) for row in rows)
                shapes = {job.footprint.shape for job in seen if job.footprint.shape is not None}
                view = self._fleet.device_view(self._device_id, shapes)
                return seen, replace(view, bookings=tuple(row.window for row in booked), slices=slices), unseen

            waiting = frozenset[str]()
            if calibrated.quarantine:
                (queued, chip, unseen_tag), waiting = _past_what_is_held_back(front)
            else:
                queued, chip, unseen_tag = front(1, ())
        if opened:
            holds = [Hold(row.id, tuple(row.region)) for row in opened if row.region and row.id not in waiting]
            chip = replace(chip, holds=tuple(hold for hold in holds if in_force(hold, queued, chip)))
        return Looked(View(queued, device.virtual_time, unseen_tag), chip, device.device_time_us, calibrated)

    def _queue(
        self,
        connection: Connection,
        limited: bool,
        promised: list[QueuedJobRow],
        owner: str | None,
        depth: int,
        without: Collection[str],
    ) -> tuple[list[QueuedJobRow], int | None]:
        """The jobs to see, in order, and the smallest tag of those that wait because enough of their owner's run.

        In a booked window also the first of its ``owner``. With a ``depth`` so many times as many as otherwise; those
        of ``without`` are not seen and use up nobody's limit.
        """
        sizes = {"per_tenant": depth * _PER_TENANT, "window": depth * _WINDOW}
        owners: list[QueuedJobRow] = []
        if owner is not None:
            limit = sizes["per_tenant"]
            owners = bookings.front_of_tenant(
                connection, self._scope, self._device_id, owner, limit=limit, without=without
            )
        if limited:
            within = queue.limited_view(
                connection,
                self._scope,
                self._device_id,
                **sizes,
                kept=promised,
                owners=owners,
                without=without,
            )
            return within.jobs, within.unseen_tag
        front = jobs.queue_view(connection, self._scope, self._device_id, **sizes, without=without)
        rows = {row.id: row for row in (*front, *promised, *owners) if row.id not in without}
        return sorted(rows.values(), key=lambda row: (row.start_tag, row.id)), None

    def _booked(self, connection: Connection, device_time_us: int) -> list[BookingRow]:
        return bookings.bookings_ahead(connection, self._scope, self._device_id, device_time_us=device_time_us)


def slice_masks(connection: Connection, scope: SystemScope, calibrated: Calibrated) -> dict[str, int]:
    """The slices of a device as the planner knows them; one whose tenant there is not is nobody's."""
    masks: dict[str, int] = {}
    for one in calibrated.policy.slices:
        tenant = access.find_tenant(connection, scope, one.tenant)
        masks[slice_key(one.name, "" if tenant is None else tenant.id)] = one.mask
    return masks


def _owner(booked: list[BookingRow], device_time_us: int) -> str | None:
    """In a booked window: the tenant that has it."""
    return booked[0].tenant_id if booked and booked[0].starts_us <= device_time_us else None


_Front = tuple[tuple["QueuedJob", ...], "DeviceView", "int | None"]


def _past_what_is_held_back(front: Callable[[int, Collection[str]], _Front]) -> tuple[_Front, frozenset[str]]:
    """The front of the queue without the jobs that a quarantine holds back, no more of it than is planned.

    Args:
        front: reads the queue, so many times as far as otherwise, without some jobs.

    Returns:
        The front, and the sessions of those that are held back: they hold nothing meanwhile.
    """
    held, waiting = set[str](), set[str]()
    for depth in chain((1,), _FURTHER, repeat(_FURTHER[-1])):
        queued, chip, unseen_tag = front(depth, held)
        seen, new = _apart(queued, chip)
        held.update(job.id for job in new)
        waiting.update(job.session for job in new if job.session is not None)
        # enough to plan, or nothing more in the way; whoever has booked the device is not kept waiting by others
        if not new or (len(seen) >= _WINDOW and all(job.booking is None for job in new)):
            return (seen, chip, unseen_tag), frozenset(waiting)
    raise AssertionError  # pragma: no cover - the queue ends


def _apart(queued: Iterable[QueuedJob], chip: DeviceView) -> tuple[tuple[QueuedJob, ...], list[QueuedJob]]:
    """Those of some jobs that may be planned, no more than are looked at, and those that are held back."""
    floor, counts, others = Floor(chip), Counter[str](), 0
    held, seen = list[QueuedJob](), list[QueuedJob]()
    for job in queued:
        if floor.held_back(job):
            held.append(job)
        elif job.start_by_us is not None:
            seen.append(job)
        elif counts[job.tenant] < _PER_TENANT and (job.booking is not None or others < _WINDOW):
            counts[job.tenant] += 1
            others += job.booking is None
            seen.append(job)
    return tuple(seen), held


def queued_job(row: QueuedJobRow, suspects: Collection[str], now_us: int, booking: str | None) -> QueuedJob:
    """A waiting job as the planner sees it.

    Args:
        row: of the queue.
        suspects: jobs that have to run alone.
        now_us: wall time.
        booking: the booked window of its tenant.
    """
    return QueuedJob(
        id=row.id,
        tenant=row.tenant_id,
        start_tag=row.start_tag,
        finish_tag=row.finish_tag,
        cost=row.fairness_cost,
        footprint=Footprint.from_document(dict(row.footprint)),
        isolation=row.options.get("isolation", "shared"),
        solo=row.solo or row.id in suspects,
        start_by_us=row.start_by_us,
        waited_us=max(0, now_us - row.created_at_us),
        slice=None if row.slice is None else slice_key(row.slice, row.tenant_id),
        session=row.session_id,
        booking=booking,
        max_loss=row.options.get("max_loss"),
    )
