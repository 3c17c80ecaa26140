"""The documents that only operators see: everybody who was on the chip."""

from __future__ import annotations

from datetime import datetime

from qpu_sdk.wire.models import ResponseDocument


class PlacementDocument(ResponseDocument):
    """One job of a batch, as the operator sees it."""

    job_id: str
    tenant: str
    region: list[int]
    co_tenants: str
    crosstalk_loss: float
    fairness_cost_us_qubits: int


class BatchDocument(ResponseDocument):
    """A batch, as the operator sees it: everybody who was on the chip."""

    id: str
    device: str
    state: str
    attempt: int
    calibration_id: str
    created_at: datetime
    device_start_us: int
    device_us: int
    placements: list[PlacementDocument]
    explanation: list[str]


class BatchPage(ResponseDocument):
    """``GET /operations/{device}/batches``, newest first."""

    batches: list[BatchDocument]
