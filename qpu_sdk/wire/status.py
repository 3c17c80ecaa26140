"""The documents of a device's state: whether it takes jobs, how many wait, and when it is booked."""

from __future__ import annotations

from datetime import datetime

from qpu_sdk.wire.models import ResponseDocument


class DeviceWindow(ResponseDocument):
    """A booked window of a device's own time. Nobody's batch overlaps one that is somebody else's."""

    kind: str
    """``yours``, ``booked`` (somebody else has it) or ``maintenance`` (nothing runs)."""
    starts_device_us: int
    ends_device_us: int
    id: str | None = None
    """Of your own ones."""


class BackendStatus(ResponseDocument):
    """``GET /backends/{name}/status``."""

    name: str
    operational: bool
    status_msg: str
    pending_jobs: int
    calibration_id: str
    device_time_us: int
    calibrated_at: datetime | None = None
    calibration_age_s: float | None = None
    """How much device time has passed since the calibration: the device has drifted for so long."""
    windows: tuple[DeviceWindow, ...] = ()
    """Bookings of the device that are not over, by their start."""
