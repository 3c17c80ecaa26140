"""The documents of what a job or a tenant used, and of what its quotas leave."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from qpu_sdk.wire.models import JobState, ResponseDocument


class MeteringRecord(ResponseDocument):
    """``GET /jobs/{id}/metering``: what was used and what it cost. An immutable fact once the job is final."""

    job_id: str
    usage_id: str | None = None
    """Of the usage record, once there is one: what an invoice opens into, and a refund names."""
    state: JobState
    shots: int
    device_us: int
    """Stand-alone device time of the job: overhead once, plus Σ shots · (rep_delay + T)."""
    footprint_qubits: int
    price_book: str
    price_micro: int
    quote_id: str | None = None
    """Of the quote that the job was submitted with."""
    lane: str = "standard"
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
    """One limit of the caller's tenant, or of the caller itself: ``free + reserved + spent = limit``."""

    resource: Literal["shots", "device_us", "spend_micro"]
    window: Literal["hour", "day", "month"]
    window_start: datetime
    window_end: datetime
    limit: int
    """Of this window, what it carries over from the one before included."""
    reserved: int
    spent: int
    free: int
    carried: int = 0
    """Of the limit: what the window before left, and its burst allows to take over."""
    principal: bool = False
    """Whether it is the caller's own limit, and not that of its tenant as a whole."""


class PrincipalUsage(ResponseDocument):
    """What the jobs of one principal used."""

    principal_id: str
    principal: str
    jobs: int
    shots: int
    device_us: int
    price_micro: int


class TagUsage(ResponseDocument):
    """What the jobs with one tag used. A job with two tags counts under both, so tags add up to more than the total."""

    tag: str | None
    """``None``: jobs without a tag."""
    jobs: int
    shots: int
    device_us: int
    price_micro: int


class UsageReport(ResponseDocument):
    """``GET /usage``: totals of the tenant since ``since``, and its quotas and the caller's own now.

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
    principals: list[PrincipalUsage] | None = None
    """With ``by=principal``: a page of them, oldest first, those without a job too."""
    tags: list[TagUsage] | None = None
    """With ``by=tag``: a page of them, jobs without a tag first; what sessions held is of no tag, and not in here."""
    next_cursor: str | None = None
    """Of the next page of principals, or of tags."""
