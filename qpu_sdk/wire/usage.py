"""The documents of what a tenant used, and of what its quotas leave."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from qpu_sdk.wire.models import ResponseDocument


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
    """``GET /usage``: totals of the tenant since ``since`` and its quotas now."""

    tenant: str
    since: datetime
    jobs: int
    shots: int
    device_us: int
    price_micro: int
    balance_micro: int
    quotas: list[QuotaUsage]
