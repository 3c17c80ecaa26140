"""The documents of what a job or a tenant used, and of what its quotas leave."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from qpu_sdk.wire.models import JobState, ResponseDocument


class MeteringRecord(ResponseDocument):
    """``GET /jobs/{id}/metering``: what was used and what it cost. An immutable fact once the job is final."""

    job_id: str
    state: JobState
    shots: int
    device_us: int
    """Stand-alone device time of the job: overhead once, plus Σ shots · (rep_delay + T)."""
    footprint_qubits: int
    price_book: str
    price_micro: int
    simulator_cpu_us: int
    result_bytes: int
    placement: list[int] | None
    """Physical qubit of each of the job's region qubits, in order."""
    co_tenants: Literal["0", "1-3", "4+"] | None
    crosstalk_loss: float | None
    """Predicted loss of success probability to neighbours, rounded to half a point (0.005)."""
    calibration_id: str | None
    seed: int
    started_at: datetime | None
    finished_at: datetime | None


class QuotaUsage(ResponseDocument):
    """One limit of the caller: ``free + reserved + spent = limit``."""

    resource: Literal["shots", "device_us", "spend_micro"]
    window: Literal["hour", "day", "month"]
    window_start: datetime
    window_end: datetime
    limit: int
    reserved: int
    spent: int
    free: int


class UsageReport(ResponseDocument):
    """``GET /usage``: totals of the tenant since ``since`` and its quotas now.

    ``price_micro`` is what its jobs cost, and what its sessions held that were closed since then.
    """

    tenant: str
    since: datetime
    jobs: int
    shots: int
    device_us: int
    price_micro: int
    sessions: int = 0
    """That were closed."""
    held_us_qubits: int = 0
    """What these kept and nobody used, of the devices' own time."""
    held_price_micro: int = 0
    """Of that; part of ``price_micro``."""
    balance_micro: int
    quotas: list[QuotaUsage]
