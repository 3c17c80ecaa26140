"""Bookings: windows of a device's own time that belong to one tenant, or to maintenance; whose jobs go first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, insert, literal_column, select, update

from qpu_backend.domain.views import Booking
from qpu_backend.stores.jobs import QueuedJobRow
from qpu_backend.stores.rows import columns_of, parameters_of
from qpu_backend.stores.schema import bookings, jobs

if TYPE_CHECKING:
    from collections.abc import Collection

    from qpu_backend.domain.tenancy import SystemScope, TenantScope


@dataclass(frozen=True, slots=True)
class BookingRow:
    """A booked window.

    Attributes:
        tenant_id: whose it is; ``None`` for maintenance.
        starts_us: device time.
        ends_us: device time.
        created_at_us: wall time.
        cancelled_at_us: wall time; ``None`` while it holds.
        note: the operator's own.
    """

    id: str
    device_id: str
    tenant_id: str | None
    starts_us: int
    ends_us: int
    created_at_us: int
    cancelled_at_us: int | None
    note: str

    @property
    def window(self) -> Booking:
        """What the planner sees of it."""
        return Booking(self.id, self.starts_us, self.ends_us, maintenance=self.tenant_id is None)


def insert_booking(connection: Connection, _scope: SystemScope, row: BookingRow) -> None:
    """Keep a booking. That it overlaps no other is checked by the caller, under the lock of the device's row."""
    connection.execute(_INSERT, _parameters(row))


def cancel_booking(connection: Connection, _scope: SystemScope, booking_id: str, *, now_us: int) -> bool:
    """Cancel a booking that holds. Whether this call did it."""
    return connection.execute(_CANCEL, {"booking": booking_id, "now": now_us}).rowcount == 1


def read_booking(connection: Connection, _scope: SystemScope, booking_id: str) -> BookingRow | None:
    """A booking of any tenant, cancelled or not."""
    row = connection.execute(_READ, {"booking": booking_id}).one_or_none()
    return None if row is None else BookingRow(*row)


def bookings_ahead(
    connection: Connection, _scope: SystemScope, device_id: str, *, device_time_us: int
) -> list[BookingRow]:
    """A device's bookings that hold and are not over yet, of whomever they are, by their start."""
    rows = connection.execute(_AHEAD, {"device": device_id, "now": device_time_us})
    return [BookingRow(*row) for row in rows]


def own_bookings_ahead(
    connection: Connection, scope: TenantScope, device_id: str, *, device_time_us: int
) -> list[BookingRow]:
    """The tenant's bookings of a device that hold and are not over yet, by their start."""
    rows = connection.execute(_OWN, {"device": device_id, "now": device_time_us, "tenant": scope.tenant_id})
    return [BookingRow(*row) for row in rows]


def front_of_tenant(
    connection: Connection,
    _scope: SystemScope,
    device_id: str,
    tenant_id: str,
    *,
    limit: int,
    without: Collection[str] = (),
) -> list[QueuedJobRow]:
    """The first waiting jobs of whoever has the window, wherever they stand in the queue, by their start tags.

    Those of ``without`` are not seen, and others in their place.
    """
    values = {"device": device_id, "tenant": tenant_id, "limit": limit + len(without)}
    rows = [QueuedJobRow(*row) for row in connection.execute(_FRONT, values)]
    return [row for row in rows if row.id not in without][:limit]


_parameters: Final = parameters_of(BookingRow)
_HOLDS: Final = bookings.c.cancelled_at_us.is_(None)
_THIS: Final = bookings.c.id == bindparam("booking")
_INSERT: Final = insert(bookings)
_CANCEL: Final = update(bookings).where(_THIS, _HOLDS).values(cancelled_at_us=bindparam("now"))
_READ: Final = select(*columns_of(BookingRow, bookings)).where(_THIS)
_AHEAD: Final = (
    select(*columns_of(BookingRow, bookings))
    .where(_HOLDS, bookings.c.device_id == bindparam("device"), bookings.c.ends_us > bindparam("now"))
    .order_by(bookings.c.starts_us)
)
_OWN: Final = _AHEAD.where(bookings.c.tenant_id == bindparam("tenant"))
_FRONT: Final = (
    select(*columns_of(QueuedJobRow, jobs))
    .where(
        jobs.c.device_id == bindparam("device"),
        jobs.c.state == literal_column("'queued'"),
        jobs.c.tenant_id == bindparam("tenant"),
    )
    .order_by(jobs.c.start_tag, jobs.c.id)
    .limit(bindparam("limit"))
)
