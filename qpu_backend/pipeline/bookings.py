"""Booking a device: windows of its own time for one tenant, or for maintenance, and what stands in their way.

Each change is one transaction under the lock of the device's row, as the commit of a batch is: a batch that was planned
before is checked against the bookings of when it is committed, so none ever overlaps a window that it did not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpu_backend.domain.audit import SERVICE
from qpu_backend.domain.promises import collides, lasts_us
from qpu_backend.stores import access, audit, bookings, devices, jobs
from qpu_backend.stores.bookings import BookingRow
from qpu_backend.stores.errors import MissingRow
from qpu_backend.stores.ids import new_id
from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.fleet import Fleet
    from qpu_backend.stores.database import Database

MAX_AHEAD_US: Final = 10 * 365 * 86_400 * 1_000_000
"""How far ahead a window may end, and so how long it may be: ten years of device time."""


class BookingRefused(Exception):
    """A window that cannot be booked, or a booking that cannot be cancelled.

    Attributes:
        field: what is wrong: ``in``, ``for`` or ``booking``.
    """

    def __init__(self, message: str, *, field: str) -> None:
        super().__init__(message)
        self.field = field


class Bookings:
    """Books devices. Safe to call from many threads and processes."""

    def __init__(self, database: Database, scope: SystemScope, fleet: Fleet, clock: WallClock) -> None:
        self._database = database
        self._scope = scope
        self._fleet = fleet
        self._clock = clock
        self._log = logger("bookings")

    def book(
        self,
        device_id: str,
        *,
        in_us: int,
        for_us: int,
        tenant_name: str | None = None,
        note: str = "",
        actor: str = SERVICE,
    ) -> BookingRow:
        """Book a window of device time.

        Args:
            device_id: the device.
            in_us: how far from the device's now it begins.
            for_us: how long it is.
            tenant_name: whose it is; ``None`` for maintenance, when nothing runs.
            note: the operator's own.
            actor: who asks, for the audit log.

        Raises:
            MissingRow: there is no such device or tenant.
            BookingRefused: it begins in the past, has no length, overlaps another booking, or a start that is promised
                already could come too late.
        """
        _check_length(in_us, for_us)
        with self._database.write() as connection:
            owner = None if tenant_name is None else self._tenant_id(connection, tenant_name)
            device = devices.lock_device(connection, self._scope, device_id)
            now_us = device.device_time_us
            row = BookingRow(
                id=new_id("bkg"),
                device_id=device_id,
                tenant_id=owner,
                starts_us=now_us + in_us,
                ends_us=now_us + in_us + for_us,
                created_at_us=self._clock.now_us(),
                cancelled_at_us=None,
                note=note,
            )
            for other in bookings.bookings_ahead(connection, self._scope, device_id, device_time_us=now_us):
                if other.starts_us < row.ends_us and row.starts_us < other.ends_us:
                    raise BookingRefused(
                        f"it would overlap {other.id}, which begins in {_seconds(other.starts_us - now_us)} s "
                        f"and ends in {_seconds(other.ends_us - now_us)} s of device time",
                        field="in",
                    )
            self._check_promises(connection, device, row)
            bookings.insert_booking(connection, self._scope, row)
            self._note(connection, "booking.made", row, actor)
        self._log.info(
            "device_booked",
            device=device_id,
            booking=row.id,
            tenant=owner,
            starts_us=row.starts_us,
            ends_us=row.ends_us,
        )
        return row

    def cancel(self, booking_id: str, *, actor: str = SERVICE) -> BookingRow:
        """Give a window back, also one that has begun.

        Raises:
            MissingRow: there is no such booking.
            BookingRefused: it is cancelled already, or over.
        """
        with self._database.write() as connection:
            row = bookings.read_booking(connection, self._scope, booking_id)
            if row is None:
                raise MissingRow("booking", booking_id)
            device = devices.lock_device(connection, self._scope, row.device_id)
            if row.ends_us <= device.device_time_us:
                raise BookingRefused(f"{booking_id} is over", field="booking")
            if not bookings.cancel_booking(connection, self._scope, booking_id, now_us=self._clock.now_us()):
                raise BookingRefused(f"{booking_id} is cancelled already", field="booking")
            self._note(connection, "booking.cancelled", row, actor)
        self._log.info("booking_cancelled", device=row.device_id, booking=booking_id)
        return row

    def ahead(self, device_id: str) -> tuple[int, list[tuple[BookingRow, str | None]]]:
        """The device's time, and its bookings that are not over, by start, with the names of their tenants.

        Raises:
            MissingRow: there is no such device.
        """
        with self._database.read() as connection:
            device = devices.read_device(connection, device_id)
            if device is None:
                raise MissingRow("device", device_id)
            names = {str(tenant.id): tenant.name for tenant in access.list_tenants(connection, self._scope)}
            now_us = device.device_time_us
            rows = bookings.bookings_ahead(connection, self._scope, device_id, device_time_us=now_us)
        return now_us, [(row, None if row.tenant_id is None else names[row.tenant_id]) for row in rows]

    def _note(self, connection: Connection, action: str, row: BookingRow, actor: str) -> None:
        facts = {"device": row.device_id, "starts_us": row.starts_us, "ends_us": row.ends_us}
        audit.append(
            connection,
            self._scope,
            actor=actor,
            action=action,
            subject=row.id,
            tenant_id=row.tenant_id,
            facts=facts,
            now_us=self._clock.now_us(),
        )

    def _tenant_id(self, connection: Connection, name: str) -> str:
        tenant = access.find_tenant(connection, self._scope, name)
        if tenant is None:
            raise MissingRow("tenant", name)
        return tenant.id

    def _check_promises(self, connection: Connection, device: devices.DeviceRow, row: BookingRow) -> None:
        """Refuse a window that could make a job start later than promised, its own tenant's too."""
        promised = jobs.promised_jobs(connection, self._scope, device.id)
        if not promised:
            return
        chip = self._fleet.refresh(connection, device).device_view({})
        longest_us, window = lasts_us(chip.longest_us, chip.stretch), [(row.starts_us, row.ends_us)]
        for job in promised:
            promise_us = job.start_by_us
            if promise_us is not None and collides(promise_us, longest_us, window, device.device_time_us):
                raise BookingRefused(
                    f"job {job.id} is promised a start within {_seconds(promise_us - device.device_time_us)} s of "
                    f"device time; with a batch of up to {_seconds(longest_us)} s before it, a window may begin "
                    f"{_seconds(promise_us + longest_us - device.device_time_us)} s from now at the earliest",
                    field="in",
                )


def _check_length(in_us: int, for_us: int) -> None:
    if in_us < 0:
        raise BookingRefused("it would begin in the past: device time never goes back", field="in")
    if for_us <= 0:
        raise BookingRefused("it has no length", field="for")
    if in_us + for_us > MAX_AHEAD_US:
        raise BookingRefused("it ends more than ten years of device time from now", field="for")


def _seconds(us: int) -> str:
    return f"{us / 1e6:g}"
