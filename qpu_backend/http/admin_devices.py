"""Devices, for who runs the service: opened and closed, calibrated, booked, parts of them in quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from qpu_backend.domain.audit import by_principal
from qpu_backend.domain.errors import InvalidRequest, NotFound
from qpu_backend.domain.quarantine import Quarantine
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
    QuarantineDocument,
    QuarantineRequest,
)

if TYPE_CHECKING:
    from qpu_backend.http.door import Door
    from qpu_backend.stores.bookings import BookingRow
    from qpu_backend.stores.devices import DeviceRow

router = APIRouter(prefix="/admin/devices", tags=["administration"])

CouplerName = Annotated[str, Field(pattern=r"^[0-9]{1,6}-[0-9]{1,6}$")]
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
    door.administration.set_operational(
        device, operational=order.operational, status_msg=message, actor=by_principal(scope.principal_id)
    )
    door.notices.post([queue_topic(device)])
    return _document(_existing(door, device))


@router.get("/{device}/quarantine")
def look_at_quarantine(door: AtDoor, _scope: Operate, device: str) -> QuarantineDocument:
    """What of the device is out of service."""
    return _quarantine(_existing(door, device), door.quarantining.now(device))


@router.post("/{device}/quarantine")
def quarantine(door: AtDoor, scope: Operate, device: str, order: QuarantineRequest) -> QuarantineDocument:
    """Take qubits and couplers out of service: they vanish from the target, and jobs that were for them wait."""
    _existing(door, device)
    what = Quarantine.of(order.qubits, order.couplers)
    now = door.quarantining.quarantine(device, what, note=order.note, actor=by_principal(scope.principal_id))
    door.notices.post([queue_topic(device)])
    return _quarantine(_existing(door, device), now)


@router.delete("/{device}/quarantine")
def release(
    door: AtDoor,
    scope: Operate,
    device: str,
    qubit: Annotated[list[int] | None, Query(max_length=1000)] = None,
    coupler: Annotated[list[CouplerName] | None, Query(max_length=1000)] = None,
) -> QuarantineDocument:
    """Take qubits and couplers (``coupler=4-5``) back into service; everything, where none is named."""
    _existing(door, device)
    pairs = (map(int, name.split("-")) for name in coupler or ())
    what = None if qubit is None and coupler is None else Quarantine.of(qubit or (), pairs)
    now = door.quarantining.release(device, what, actor=by_principal(scope.principal_id))
    door.notices.post([queue_topic(device)])
    return _quarantine(_existing(door, device), now)


@router.post("/{device}/calibrations", status_code=201)
def calibrate(door: AtDoor, scope: Operate, device: str) -> CalibrationAttempt:
    """Measure the device now and publish what was measured. Takes device time, also when it fails."""
    _existing(door, device)
    row = door.calibration.calibrate(device, actor=by_principal(scope.principal_id)).row
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
            actor=by_principal(scope.principal_id),
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
        return _booking(door.bookings.cancel(booking_id, actor=by_principal(scope.principal_id)), tenants[booking_id])
    except BookingRefused as error:
        raise InvalidRequest(str(error), field="booking_id") from error


def _existing(door: Door, name: str) -> DeviceRow:
    for row in door.administration.devices():
        if row.id == name:
            return row
    raise NotFound("device", name)


def _quarantine(row: DeviceRow, now: Quarantine) -> QuarantineDocument:
    return QuarantineDocument(device=row.id, calibration_id=row.snapshot_id, **now.to_document())


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
