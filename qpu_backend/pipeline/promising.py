"""Gives promised starts, one after the other: under the lock of the device's row."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qpu_backend.domain.errors import PromiseRefused
from qpu_backend.domain.floor import Floor
from qpu_backend.domain.promises import Promise, collides, keepable, lasts_us
from qpu_backend.pipeline.lookout import queued_job, slice_masks
from qpu_backend.stores import bookings, devices, jobs

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qpu_backend.domain.lanes import Lane
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.backends import Calibrated
    from qpu_backend.pipeline.fleet import Fleet
    from qpu_backend.stores.devices import DeviceRow
    from qpu_backend.stores.jobs import QueuedJobRow


def promise_start(
    connection: Connection, scope: SystemScope, fleet: Fleet, lane: Lane, calibrated: Calibrated, device_us: int
) -> int | None:
    """The device time by which a lane promises a new job its start, ``None`` where it promises nothing.

    What a quarantine holds back starts whenever that is over, and a start that was missed is made up for first: neither
    is a promise any more that a new one could break.

    Args:
        connection: of the transaction that queues the job.
        scope: of the operator.
        fleet: of the service.
        lane: that the job asks for.
        calibrated: the device, for its policy.
        device_us: what the job takes alone.

    Raises:
        PromiseRefused: it could not be kept.
    """
    if lane.promise_us is None:
        return None
    chip = calibrated.device_view({})
    device = devices.lock_device(connection, scope, chip.name)
    now_us = device.device_time_us
    longest_us = lasts_us(chip.longest_us, chip.stretch)
    start_by_us, within_s = now_us + lane.promise_us, 1e-6 * lane.promise_us

    def batch_us(alone_us: int) -> int:  # a job that takes longer runs in legs, and starts with the first
        return lasts_us(min(alone_us, chip.longest_us), chip.stretch)

    rows = jobs.promised_jobs(connection, scope, chip.name)
    held_back = _held_back(connection, scope, fleet, device, rows)
    promises = [
        Promise(row.start_by_us, batch_us(row.device_us), row.id)
        for row in rows
        if row.start_by_us is not None and row.id not in held_back
    ]
    given = [promise for promise in promises if promise.start_by_us >= now_us]
    late_us = sum(promise.lasts_us for promise in promises if promise.start_by_us < now_us)
    if not keepable([*given, Promise(start_by_us, batch_us(device_us), "")], now_us + late_us, longest_us):
        reason = f"{len(given)} promised starts are waiting, and a batch may last {1e-6 * longest_us:g} s"
        raise PromiseRefused(lane.name, within_s=within_s, reason=reason)
    booked = bookings.bookings_ahead(connection, scope, chip.name, device_time_us=now_us)
    if collides(start_by_us, longest_us, [(row.starts_us, row.ends_us) for row in booked], now_us):
        raise PromiseRefused(lane.name, within_s=within_s, reason="a booked window of the device is too near")
    return start_by_us


def _held_back(
    connection: Connection, scope: SystemScope, fleet: Fleet, device: DeviceRow, rows: list[QueuedJobRow]
) -> set[str]:
    """Those of some waiting jobs that a quarantine holds back."""
    calibrated = fleet.refresh(connection, device) if rows else None
    if calibrated is None or not calibrated.quarantine:
        return set()
    waiting = [queued_job(row, (), row.created_at_us, None) for row in rows]
    tables = fleet.tables_as_of(calibrated, {job.footprint.shape for job in waiting if job.footprint.shape is not None})
    slices = slice_masks(connection, scope, calibrated)
    floor = Floor(replace(calibrated.device_view(tables), slices=slices))
    return {job.id for job in waiting if floor.held_back(job)}
