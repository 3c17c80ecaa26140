"""Gives promised starts, one after the other: under the lock of the device's row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpu_backend.domain.errors import PromiseRefused
from qpu_backend.domain.promises import Promise, collides, keepable, lasts_us
from qpu_backend.stores import bookings, devices, jobs

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qpu_backend.domain.lanes import Lane
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.domain.views import DeviceView


def promise_start(
    connection: Connection, scope: SystemScope, lane: Lane, chip: DeviceView, device_us: int
) -> int | None:
    """The device time by which a lane promises a new job its start, ``None`` where it promises nothing.

    Args:
        connection: of the transaction that queues the job.
        scope: of the operator.
        lane: that the job asks for.
        chip: the device, for its policy.
        device_us: what the job takes alone.

    Raises:
        PromiseRefused: it could not be kept.
    """
    if lane.promise_us is None:
        return None
    now_us = devices.lock_device(connection, scope, chip.name).device_time_us
    longest_us = lasts_us(chip.longest_us, chip.stretch)
    start_by_us, within_s = now_us + lane.promise_us, 1e-6 * lane.promise_us

    def batch_us(alone_us: int) -> int:  # a job that takes longer runs in legs, and starts with the first
        return lasts_us(min(alone_us, chip.longest_us), chip.stretch)

    given = [
        Promise(row.start_by_us, batch_us(row.device_us), row.id)
        for row in jobs.promised_jobs(connection, scope, chip.name)
        if row.start_by_us is not None
    ]
    if not keepable([*given, Promise(start_by_us, batch_us(device_us), "")], now_us, longest_us):
        reason = f"{len(given)} promised starts are waiting, and a batch may last {1e-6 * longest_us:g} s"
        raise PromiseRefused(lane.name, within_s=within_s, reason=reason)
    booked = bookings.bookings_ahead(connection, scope, chip.name, device_time_us=now_us)
    if collides(start_by_us, longest_us, [(row.starts_us, row.ends_us) for row in booked], now_us):
        raise PromiseRefused(lane.name, within_s=within_s, reason="a booked window of the device is too near")
    return start_by_us
