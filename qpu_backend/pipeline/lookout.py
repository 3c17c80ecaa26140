"""What the dispatcher sees of a device before it plans: the front of the queue and the chip, at one moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.sessions import in_force
from qpu_backend.domain.slices import slice_key
from qpu_backend.domain.views import DeviceView, Hold, QueuedJob, View
from qpu_backend.stores import access, bookings, devices, jobs, occupancy, queue, sessions
from qpu_backend.stores.errors import MissingRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

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
            owners = self._owners_jobs(connection, booked, device.device_time_us)
            in_order, unseen_tag = self._queue(connection, there_is.limited, promised, owners)
            slices = self._slices(connection, calibrated)
            opened = sessions.open_sessions(connection, self._scope, self._device_id) if there_is.held else []
        now_us = self._clock.now_us()
        windows = {row.tenant_id: row.id for row in reversed(booked) if row.tenant_id is not None}
        queued = tuple(_queued(row, suspects, now_us, windows.get(row.tenant_id)) for row in in_order)
        shapes = {job.footprint.shape for job in queued if job.footprint.shape is not None}
        chip = self._fleet.device_view(self._device_id, shapes)
        if booked or slices:
            chip = replace(chip, bookings=tuple(row.window for row in booked), slices=slices)
        if opened:
            holds = (Hold(row.id, tuple(row.region)) for row in opened if row.region is not None)
            chip = replace(chip, holds=tuple(hold for hold in holds if in_force(hold, queued, chip)))
        return Looked(View(queued, device.virtual_time, unseen_tag), chip, device.device_time_us, calibrated)

    def _queue(
        self,
        connection: Connection,
        limited: bool,
        promised: list[QueuedJobRow],
        owners: list[QueuedJobRow],
    ) -> tuple[list[QueuedJobRow], int | None]:
        """The jobs to see, in order, and the smallest tag of those that wait because enough of their owner's run."""
        if limited:
            within = queue.limited_view(
                connection,
                self._scope,
                self._device_id,
                per_tenant=_PER_TENANT,
                window=_WINDOW,
                kept=promised,
                owners=owners,
            )
            return within.jobs, within.unseen_tag
        front = jobs.queue_view(connection, self._scope, self._device_id, per_tenant=_PER_TENANT, window=_WINDOW)
        rows = {row.id: row for row in (*front, *promised, *owners)}
        return sorted(rows.values(), key=lambda row: (row.start_tag, row.id)), None

    def _booked(self, connection: Connection, device_time_us: int) -> list[BookingRow]:
        return bookings.bookings_ahead(connection, self._scope, self._device_id, device_time_us=device_time_us)

    def _owners_jobs(self, connection: Connection, booked: list[BookingRow], device_time_us: int) -> list[QueuedJobRow]:
        """In a booked window: jobs of the tenant that has it."""
        if not booked or booked[0].tenant_id is None or booked[0].starts_us > device_time_us:
            return []
        owner = booked[0].tenant_id
        return bookings.front_of_tenant(connection, self._scope, self._device_id, owner, limit=_PER_TENANT)

    def _slices(self, connection: Connection, calibrated: Calibrated) -> dict[str, int]:
        """The slices as the planner knows them; one whose tenant there is not is nobody's."""
        masks: dict[str, int] = {}
        for one in calibrated.policy.slices:
            tenant = access.find_tenant(connection, self._scope, one.tenant)
            masks[slice_key(one.name, "" if tenant is None else tenant.id)] = one.mask
        return masks


def _queued(row: QueuedJobRow, suspects: Collection[str], now_us: int, booking: str | None) -> QueuedJob:
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
