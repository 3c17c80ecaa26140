"""The documents of who runs the service: tenants with what they may use, and devices with what is done to them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, ConfigDict, Field

from qpu_sdk.wire.models import MAX_INTEGER, RequestDocument, ResponseDocument, SmallText
from qpu_sdk.wire.principals import Label, PolicyChange, PolicyDocument, PrincipalQuota, QuotaChanges, RoleName

TenantName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Weight = Annotated[int, Field(ge=1, le=1_000_000)]
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]

Coupler = Annotated[list[Annotated[int, Field(ge=0, le=100_000)]], Field(min_length=2, max_length=2)]


# --- requests -----------------------------------------------------------------------------------------------------


class TenantRequest(RequestDocument):
    """``POST /admin/tenants``."""

    model_config = ConfigDict(defer_build=False)  # a deferred one makes FastAPI warn

    name: TenantName
    weight: Weight = 100
    max_queued_jobs: Annotated[int, Field(ge=1, le=1_000_000)] = 1000


class TenantChange(RequestDocument):
    """``PATCH /admin/tenants/{tenant}``: what is not sent stays as it is."""

    model_config = ConfigDict(defer_build=False)

    weight: Weight | None = None
    """Share of a contended device, for jobs admitted from now on."""
    disabled: bool | None = None
    quotas: QuotaChanges = Field(default=[])
    policy: PolicyChange | None = None


class TenantKeyRequest(RequestDocument):
    """``POST /admin/tenants/{tenant}/keys``: the principal is made if there is none of that name."""

    model_config = ConfigDict(defer_build=False)

    principal: SmallText = "default"
    role: RoleName | None = None
    """Of a new principal, a member without it. One that is there has its role, and another one is refused."""
    label: Label = ""
    expires_at: AwareDatetime | None = None


class DeviceChange(RequestDocument):
    """``PATCH /admin/devices/{device}``: open or close it for new batches; what runs ends, submissions go on."""

    model_config = ConfigDict(defer_build=False)

    operational: bool
    status_msg: Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""


class QuarantineRequest(RequestDocument):
    """``POST /admin/devices/{device}/quarantine``: what is taken out of service, beside what is out already."""

    model_config = ConfigDict(defer_build=False)

    qubits: list[Annotated[int, Field(ge=0, le=100_000)]] = Field(default=[], max_length=10_000)
    """With all of their couplers."""
    couplers: list[Coupler] = Field(default=[], max_length=10_000)
    """Two coupled qubits each; the qubits stay in service."""
    note: Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    """For the audit log."""


class BookingRequest(RequestDocument):
    """``POST /admin/devices/{device}/bookings``: a window of the device's own time."""

    model_config = ConfigDict(defer_build=False)

    in_s: Seconds
    for_s: Seconds
    tenant: TenantName | None = None
    """Whose it is; ``None``: maintenance, when nothing runs."""
    note: Annotated[str, Field(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""


# --- answers ------------------------------------------------------------------------------------------------------


class TenantDocument(ResponseDocument):
    """A tenant, in a list."""

    id: str
    name: str
    weight: int
    disabled: bool
    created_at: datetime


class TenantDetails(TenantDocument):
    """A tenant with its own limits, which hold for all of its principals together."""

    quotas: list[PrincipalQuota]
    policy: PolicyDocument


class TenantPage(ResponseDocument):
    """``GET /admin/tenants``, oldest first."""

    tenants: list[TenantDocument]
    next_cursor: str | None


class TenantKey(ResponseDocument):
    """A key that was made just now."""

    tenant: str
    principal: str
    role: RoleName
    key: str
    """Shown this once, and stored nowhere."""


class DeviceDocument(ResponseDocument):
    """A device as its operator sees it."""

    name: str
    operational: bool
    status_msg: str
    device_time_us: Annotated[int, Field(le=MAX_INTEGER)]
    calibration_id: str | None
    lease_epoch: int
    """Raised whenever another process takes the device over."""


class DeviceList(ResponseDocument):
    """``GET /admin/devices``, by name."""

    devices: list[DeviceDocument]


class QuarantineDocument(ResponseDocument):
    """What of a device is out of service now."""

    device: str
    qubits: list[int]
    couplers: list[list[int]]
    calibration_id: str | None
    """The snapshot that is published without them."""


class CalibrationAttempt(ResponseDocument):
    """What came of calibrating."""

    device: str
    device_time_us: int
    device_us: int
    calibration_id: str | None
    """The snapshot that is published now; ``None``: the attempt failed, and the one before still is."""
    failure: str | None


class BookingDocument(ResponseDocument):
    """A booked window, device time."""

    id: str
    device: str
    tenant: str | None
    starts_us: int
    ends_us: int
    note: str


class BookingList(ResponseDocument):
    """The windows of a device that are not over, by start, and its time now."""

    device_time_us: int
    bookings: list[BookingDocument]
