"""Devices: their clock and their lease, the fenced right of one process to dispatch and settle.

A lease is (holder, expiry by the database's clock, epoch). Taking it raises the epoch; every transaction of the holder
first locks the device row and compares (:func:`require_epoch`), so a process back from the dead cannot write.

    free ──take──► held, epoch n ──expires, or its local process is dead──► held by another, epoch n + 1
                     │      ▲ │
                     │      └─┘ renew
                     └──release──► free, epoch n
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, bindparam, select, update

from qpu_backend.stores.database import now_us
from qpu_backend.stores.errors import ClockReversed, LeaseLost, MissingRow
from qpu_backend.stores.expressions import DatabaseClock, insert_ignoring
from qpu_backend.stores.given import among, listed
from qpu_backend.stores.rows import columns_of
from qpu_backend.stores.schema import devices

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from qpu_backend.domain.tenancy import SystemScope


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device as the service knows it.

    Attributes:
        model: options the operator set.
        device_time_us: the device's own clock.
        virtual_time: of its fair queue.
        snapshot_id: the current calibration snapshot; ``None`` before the first.
        lease_epoch: fencing token, raised whenever the lease changes hands.
        lease_expires_at_us: by the database's clock.
    """

    id: str
    model: Mapping[str, Any]
    device_time_us: int
    virtual_time: int
    snapshot_id: str | None
    operational: bool
    status_msg: str
    lease_epoch: int
    lease_holder: str | None
    lease_expires_at_us: int | None
    lease_boot_id: str | None
    lease_pid: int | None
    lease_pid_started: str | None


@dataclass(frozen=True, slots=True)
class LeaseHolder:
    """Who holds, or wants, a lease.

    Attributes:
        holder: a new id for each dispatcher that starts.
        boot_id: of the running kernel.
        pid: of the process.
        pid_started: when that process started, as the kernel says it; a reused pid has another.
    """

    holder: str
    boot_id: str
    pid: int
    pid_started: str


def ensure_device(connection: Connection, _scope: SystemScope, device_id: str, model: Mapping[str, Any]) -> DeviceRow:
    """The device's row, made if it is not there; an existing row keeps the options it has."""
    connection.execute(_INSERT, {"id": device_id, "model": dict(model)})
    return _existing(read_device(connection, device_id), device_id)


def set_model(connection: Connection, _scope: SystemScope, device_id: str, model: Mapping[str, Any]) -> None:
    """Replace the options the operator set."""
    if connection.execute(_SET_MODEL, {"device": device_id, "options": dict(model)}).rowcount == 0:
        raise MissingRow("device", device_id)


def set_status(
    connection: Connection, _scope: SystemScope, device_id: str, *, operational: bool, status_msg: str
) -> None:
    """Open or close the device for new batches, and say why."""
    values = {"device": device_id, "is_operational": operational, "message": status_msg}
    if connection.execute(_SET_STATUS, values).rowcount == 0:
        raise MissingRow("device", device_id)


def list_devices(connection: Connection) -> list[DeviceRow]:
    """Every device, by name."""
    return [DeviceRow(*row) for row in connection.execute(_LIST)]


def read_device(connection: Connection, device_id: str) -> DeviceRow | None:
    """The device's row, without a lock."""
    row = connection.execute(_READ, {"device": device_id}).one_or_none()
    return None if row is None else DeviceRow(*row)


def read_devices(connection: Connection, device_ids: Iterable[str]) -> dict[str, DeviceRow]:
    """The rows of several devices, without a lock; those that do not exist are left out."""
    return {row.id: DeviceRow(*row) for row in connection.execute(_READ_SOME, {"devices": listed(device_ids)})}


def lock_device(connection: Connection, _scope: SystemScope, device_id: str) -> DeviceRow:
    """The device's row, locked until the transaction ends (new jobs may still refer to it).

    Raises:
        MissingRow: no such device.
    """
    row = connection.execute(_LOCK, {"device": device_id}).one_or_none()
    return _existing(None if row is None else DeviceRow(*row), device_id)


# --- lease --------------------------------------------------------------------------------------------------------


def take_lease(
    connection: Connection,
    scope: SystemScope,
    device_id: str,
    holder: LeaseHolder,
    *,
    ttl_us: int,
    local_alive: Callable[[LeaseHolder], bool],
) -> int | None:
    """Take the device's lease if it is free.

    Args:
        connection: of a write transaction.
        scope: proof that the service itself asks.
        device_id: the device.
        holder: who takes it.
        ttl_us: until when it holds without being renewed.
        local_alive: whether a holder's process may still run; it knows of those on this machine only.

    Returns:
        The new epoch, or ``None`` while somebody else holds it.
    """
    device = lock_device(connection, scope, device_id)
    if not _free(connection, device, holder, ttl_us, local_alive):
        return None
    epoch = device.lease_epoch + 1
    connection.execute(
        _TAKE,
        {
            "device": device_id,
            "new_epoch": epoch,
            "holder": holder.holder,
            "ttl_us": ttl_us,
            "boot_id": holder.boot_id,
            "pid": holder.pid,
            "pid_started": holder.pid_started,
        },
    )
    return epoch


def lease_is_free(
    connection: Connection,
    _scope: SystemScope,
    device_id: str,
    holder: LeaseHolder,
    *,
    ttl_us: int,
    local_alive: Callable[[LeaseHolder], bool],
) -> bool:
    """Whether :func:`take_lease` would take it now; without a lock, so that who only stands by stands in nobody's way.

    Raises:
        MissingRow: no such device.
    """
    return _free(connection, _existing(read_device(connection, device_id), device_id), holder, ttl_us, local_alive)


def renew_lease(connection: Connection, _scope: SystemScope, device_id: str, *, epoch: int, ttl_us: int) -> bool:
    """Hold the lease for another ``ttl_us`` from now. Whether it was still ours."""
    return connection.execute(_RENEW, {"device": device_id, "epoch": epoch, "ttl_us": ttl_us}).rowcount == 1


def release_lease(connection: Connection, _scope: SystemScope, device_id: str, *, epoch: int) -> bool:
    """Give the lease back. Whether it was still ours."""
    return connection.execute(_RELEASE, {"device": device_id, "epoch": epoch}).rowcount == 1


def require_epoch(connection: Connection, device_id: str, epoch: int) -> DeviceRow:
    """Lock the device row and check the fencing token: the first statement of every dispatch and settlement.

    Raises:
        LeaseLost: the lease has another epoch, or nobody holds it.
        MissingRow: no such device.
    """
    row = connection.execute(_LOCK, {"device": device_id}).one_or_none()
    device = _existing(None if row is None else DeviceRow(*row), device_id)
    if device.lease_epoch != epoch or device.lease_holder is None:
        raise LeaseLost(device_id=device_id, epoch=epoch, current=device.lease_epoch)
    return device


def _free(
    connection: Connection,
    device: DeviceRow,
    wanted_by: LeaseHolder,
    ttl_us: int,
    local_alive: Callable[[LeaseHolder], bool],
) -> bool:
    if device.lease_holder is None or device.lease_holder == wanted_by.holder:
        return True
    left_us = (device.lease_expires_at_us or 0) - now_us(connection)
    if not 0 < left_us <= _LONGEST_TTLS * ttl_us:  # it ran out, or the database's clock was set back since
        return True
    current = LeaseHolder(
        device.lease_holder, device.lease_boot_id or "", device.lease_pid or 0, device.lease_pid_started or ""
    )
    return not local_alive(current)


# --- clock --------------------------------------------------------------------------------------------------------


def advance_clock(
    connection: Connection, _scope: SystemScope, device_id: str, *, device_time_us: int, virtual_time: int
) -> None:
    """Move the device's clock and the virtual time of its fair queue on; either may stand still.

    Raises:
        ClockReversed: one of them would go back, or there is no such device.
    """
    values = {"device": device_id, "to_us": device_time_us, "to_virtual": virtual_time}
    if connection.execute(_ADVANCE, values).rowcount == 0:
        raise ClockReversed(device_id=device_id, device_time_us=device_time_us, virtual_time=virtual_time)


def _existing(device: DeviceRow | None, device_id: str) -> DeviceRow:
    if device is None:
        raise MissingRow("device", device_id)
    return device


_LONGEST_TTLS: Final = 4
"""A lease that would hold for longer than so many times its length was renewed by a clock that has been set back."""

_THIS: Final = devices.c.id == bindparam("device")
_OURS: Final = (_THIS, devices.c.lease_epoch == bindparam("epoch"), devices.c.lease_holder.is_not(None))
_LIST: Final = select(*columns_of(DeviceRow, devices)).order_by(devices.c.id)
_READ: Final = select(*columns_of(DeviceRow, devices)).where(_THIS)
_READ_SOME: Final = select(*columns_of(DeviceRow, devices)).where(among(devices.c.id, "devices"))
_LOCK: Final = _READ.with_for_update(key_share=True)
_INSERT: Final = insert_ignoring(devices)
_SET_MODEL: Final = update(devices).where(_THIS).values(model=bindparam("options"))
_SET_STATUS: Final = (
    update(devices).where(_THIS).values(operational=bindparam("is_operational"), status_msg=bindparam("message"))
)
_TAKE: Final = (
    update(devices)
    .where(_THIS)
    .values(
        lease_epoch=bindparam("new_epoch"),
        lease_holder=bindparam("holder"),
        lease_expires_at_us=DatabaseClock() + bindparam("ttl_us"),
        lease_boot_id=bindparam("boot_id"),
        lease_pid=bindparam("pid"),
        lease_pid_started=bindparam("pid_started"),
    )
)
_RENEW: Final = update(devices).where(*_OURS).values(lease_expires_at_us=DatabaseClock() + bindparam("ttl_us"))
_RELEASE: Final = (
    update(devices)
    .where(*_OURS)
    .values(
        lease_holder=None,
        lease_expires_at_us=None,
        lease_boot_id=None,
        lease_pid=None,
        lease_pid_started=None,
    )
)
_ADVANCE: Final = (
    update(devices)
    .where(
        _THIS,
        devices.c.device_time_us <= bindparam("to_us"),
        devices.c.virtual_time <= bindparam("to_virtual"),
    )
    .values(device_time_us=bindparam("to_us"), virtual_time=bindparam("to_virtual"))
)
