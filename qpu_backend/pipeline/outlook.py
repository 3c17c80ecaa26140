"""What a waiting job is told: how many are before it, in which lane, and about when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpu_backend.domain.jobs import JobState
from qpu_backend.stores import devices, jobs
from qpu_backend.stores.pace import read_pace

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.stores.jobs import JobRow
    from qpu_backend.stores.pace import Pace


@dataclass(frozen=True, slots=True)
class Outlook:
    """Why a job waits.

    Attributes:
        ahead: jobs of anybody with a smaller tag.
        start_in_s: wall time until it starts, an estimate; ``None`` where the device has done nothing yet to go by.
        message: a sentence for its tenant.
    """

    ahead: int
    start_in_s: float | None
    message: str


def outlook(connection: Connection, scope: TenantScope, row: JobRow) -> Outlook | None:
    """What a job is told while it waits, ``None`` when it does not."""
    if row.state is not JobState.QUEUED:
        return None
    ahead = jobs.count_ahead(connection, scope, row)
    before = f"{ahead} {'job' if ahead == 1 else 'jobs'} ahead in lane {row.lane}"
    progress = f"{row.leg} of {row.num_legs} legs are done; " if row.leg else ""
    device = devices.read_device(connection, row.device_id)
    if device is not None and not device.operational:
        message = f"{progress}waiting: the device starts nothing now ({device.status_msg}); {before}"
        return Outlook(ahead, None, message)
    start_in_s = estimate_s(ahead, read_pace(connection, row.device_id))
    if not ahead:
        message = "next in line; it starts when the chip, and a simulator, have room for it"
    else:
        message = f"waiting: {before}"
        message += "" if start_in_s is None else f", start in about {max(1, round(start_in_s))} s"
    return Outlook(ahead, start_in_s, progress + message)


def estimate_s(ahead: int, pace: Pace | None) -> float | None:
    """Seconds until a job starts: the batches that those before it fill, and half of the one that runs now."""
    if pace is None:
        return None
    return pace.seconds_per_batch * (ahead // pace.jobs_per_batch + 0.5)
