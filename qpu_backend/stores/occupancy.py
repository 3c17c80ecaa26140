"""Whether anything of a device is promised, booked or held, or anybody limited: one small read where mostly none is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, exists, literal_column, select

from qpu_backend.stores.schema import bookings, jobs, sessions
from qpu_backend.stores.schema_access import policies

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import SystemScope


@dataclass(frozen=True, slots=True)
class Occupancy:
    """What there is at all.

    Attributes:
        promised: a waiting job was promised its start.
        booked: a window is booked, perhaps one that is over.
        held: a session is open.
        limited: somebody may not have all jobs run at once.
    """

    promised: bool
    booked: bool
    held: bool
    limited: bool


def read_occupancy(connection: Connection, _scope: SystemScope, device_id: str) -> Occupancy:
    """What is promised, booked or held of a device, and whether running jobs are limited."""
    return Occupancy(*map(bool, connection.execute(_READ, {"device": device_id}).one()))


_PROMISED: Final = exists(select(1).select_from(jobs)).where(
    jobs.c.device_id == bindparam("device"),
    jobs.c.state == literal_column("'queued'"),
    jobs.c.start_by_us.is_not(None),
)
_BOOKED: Final = exists(select(1).select_from(bookings)).where(
    bookings.c.device_id == bindparam("device"), bookings.c.cancelled_at_us.is_(None)
)
_HELD: Final = exists(select(1).select_from(sessions)).where(
    sessions.c.device_id == bindparam("device"), sessions.c.closed_at_us.is_(None)
)
_LIMITED: Final = exists(select(1).select_from(policies)).where(policies.c.max_running_jobs.is_not(None))
_READ: Final = select(_PROMISED, _BOOKED, _HELD, _LIMITED)
