"""What a waiting job is told: how many are before it, in which lane, and about when it starts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.privacy import told_pace, told_wait
from qpu_backend.domain.quarantine import Quarantine
from qpu_backend.stores import devices, jobs, policies, snapshots
from qpu_backend.stores.pace import read_pace

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.stores.devices import DeviceRow
    from qpu_backend.stores.jobs import JobRow
    from qpu_backend.stores.pace import Pace


@dataclass(frozen=True, slots=True)
class Outlook:
    """Why a job waits.

    Attributes:
        ahead: jobs of anybody with a smaller tag.
        start_in_s: wall time until it starts, an estimate in coarse steps; ``None`` where the device has done nothing
            yet to go by.
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
    out = None if device is None else _in_quarantine(connection, device, row)
    if out is not None:
        message = f"{progress}waiting: {out} is in quarantine (taken out of service by the operator); the job keeps"
        message += f" its place until that is over, or cancel it and transpile for the current target; {before}"
        return Outlook(ahead, None, message)
    limited = _limited(connection, scope, row)
    if limited is not None:
        return Outlook(ahead, None, f"{progress}waiting: {limited}; {before}")
    start_in_s = estimate_s(ahead, read_pace(connection, row.device_id))
    if not ahead:
        message = "next in line; it starts when the chip, and a simulator, have room for it"
    else:
        message = f"waiting: {before}"
        message += "" if start_in_s is None else f", start in about {start_in_s:.0f} s"
    return Outlook(ahead, start_in_s, progress + message)


def _in_quarantine(connection: Connection, device: DeviceRow, row: JobRow) -> str | None:
    """What a job on pinned qubits waits for, where that is out of service; one of a shape finds another place."""
    footprint = Footprint.from_document(dict(row.footprint))
    if footprint.shape is not None:
        return None
    snapshot = snapshots.read_snapshot(connection, device.snapshot_id or "")
    quarantine = Quarantine.from_document(None if snapshot is None else snapshot.out_of_service)
    return quarantine.holds_back(footprint.qubits, (pair for pair, _ in footprint.edge_counts))


def _limited(connection: Connection, scope: TenantScope, row: JobRow) -> str | None:
    """What it is told where as many jobs run as may; a job that was promised its start does not wait for that."""
    if row.start_by_us is not None:
        return None
    limits = policies.running_limits(connection, scope, row.principal_id)
    full = {whose: runs for whose, (limit, runs) in limits.items() if runs >= limit}
    if not full:
        return None
    whose, runs = next(iter(sorted(full.items())))
    verb = "runs" if runs == 1 else "run"
    if not whose:
        return f"{runs} of your tenant's jobs {verb}, which is its limit"
    if whose == scope.principal_id:
        return f"{runs} of your jobs {verb}, which is your limit"
    return f"{runs} of its principal's jobs {verb}, which is their limit"


def estimate_s(ahead: int, pace: Pace | None) -> float | None:
    """Seconds until a job starts, in coarse steps: how long exactly a device works for others is nobody's business.

    It waits for the batches that those before it fill, and for half of the one that runs now.
    """
    if pace is None:
        return None
    seconds_per_batch, jobs_per_batch = told_pace(pace.seconds_per_batch, pace.jobs_per_batch)
    return told_wait(seconds_per_batch * (ahead // jobs_per_batch + 0.5))
