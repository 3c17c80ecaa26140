"""Devices, for who runs the service: opened and closed, calibrated, booked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query

from qpu_backend.domain.errors import InvalidRequest, NotFound
from qpu_backend.http.auth import Operate  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.pipeline.bookings import BookingRefused
from qpu_backend.pipeline.notices import queue_topic
from qpu_backend.stores.errors import MissingRow
from qpu_sdk.wire.administration import (
    BookingDocument,
    BookingList,
    BookingRequest,
    CalibrationAttempt,
    DeviceChange,
    DeviceDocument,
    DeviceList,
)

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.http.door import Door
    from qpu_backend.stores.bookings import BookingRow
    from qpu_backend.stores.devices import DeviceRow

router = APIRouter(prefix="/admin/devices", tags=["administration"])

_SECOND_US = 1_000_000
_FIELDS = {"in": "in_s", "for": "for_s"}


@router.get("")
def list_devices(door: AtDoor, _scope: Operate) -> DeviceList:
    """Every device, by name."""
    return DeviceList(devices=[_document(row) for row in door.administration.devices()])


@router.patch("/{device}")
def change(door: AtDoor, scope: Operate, device: str, order: DeviceChange) -> DeviceDocument:
    """Open or close a device for new batches."""
    _existing(door, device)
    message = order.status_msg or ("active" if order.operational else "paused by its operator")
    door.administration.set_operational(device, operational=order.operational, status_msg=message, actor=_actor(scope))
    door.notices.post([queue_topic(device)])
    return _document(_existing(door, device))


@router.post("/{device}/calibrations", status_code=201)
def calibrate(door: AtDoor, scope: Operate, device: str) -> CalibrationAttempt:
    """Measure the device now and publish what was measured. Takes device time, also when it fails."""
    _existing(door, device)
    row = door.calibration.calibrate(device, actor=_actor(scope)).row
    return CalibrationAttempt(
        device=device,
        device_time_us=row.device_time_us,
        device_us=row.device_us,
        calibration_id=row.snapshot_id,
        failure=row.failure,
    )


@router.get("/{device}/bookings")
def list_bookings(
    door: AtDoor, _scope: Operate, device: str, limit: Annotated[int, Query(ge=1, le=100)] = 100
) -> BookingList:
    """Booked windows that are not over, by start."""
    _existing(door, device)
    now_us, rows = door.bookings.ahead(device)
    return BookingList(device_time_us=now_us, bookings=[_booking(row, tenant) for row, tenant in rows[:limit]])


@router.post("/{device}/bookings", status_code=201)
def book(door: AtDoor, scope: Operate, device: str, order: BookingRequest) -> BookingDocument:
    """Book a window of the device's own time for a tenant, or for maintenance."""
    _existing(door, device)
    try:
        row = door.bookings.book(
            device,
            in_us=round(order.in_s * _SECOND_US),
            for_us=round(order.for_s * _SECOND_US),
            tenant_name=order.tenant,
            note=order.note,
            actor=_actor(scope),
        )
    except BookingRefused as error:
        raise InvalidRequest(str(error), field=_FIELDS.get(error.field, error.field)) from error
    except MissingRow as error:
        raise NotFound("tenant", order.tenant or "") from error
    return _booking(row, order.tenant)


@router.delete("/{device}/bookings/{booking_id}")
def unbook(door: AtDoor, scope: Operate, device: str, booking_id: str) -> BookingDocument:
    """Give a window back, also one that has begun."""
    _existing(door, device)
    _, rows = door.bookings.ahead(device)
    tenants = {row.id: tenant for row, tenant in rows}
    if booking_id not in tenants:
        raise NotFound("booking", booking_id)
    try:
        return _booking(door.bookings.cancel(booking_id, actor=_actor(scope)), tenants[booking_id])
    except BookingRefused as error:
        raise InvalidRequest(str(error), field="booking_id") from error


def _actor(scope: TenantScope) -> str:
    return f"principal:{scope.principal_id}"


def _existing(door: Door, name: str) -> DeviceRow:
    for row in door.administration.devices():
        if row.id == name:
            return row
    raise NotFound("device", name)


def _document(row: DeviceRow) -> DeviceDocument:
    return DeviceDocument(
        name=row.id,
        operational=row.operational,
        status_msg=row.status_msg,
        device_time_us=row.device_time_us,
        calibration_id=row.snapshot_id,
        lease_epoch=row.lease_epoch,
    )


def _booking(row: BookingRow, tenant: str | None) -> BookingDocument:
    return BookingDocument(
        id=row.id, device=row.device_id, tenant=tenant, starts_us=row.starts_us, ends_us=row.ends_us, note=row.note
    )
