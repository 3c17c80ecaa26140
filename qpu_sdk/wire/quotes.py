"""The document of a quote."""

from __future__ import annotations

from datetime import datetime

from qpu_sdk.wire.models import ResponseDocument


class QuoteDocument(ResponseDocument):
    """``POST /quotes``: what a job would cost, and a token under which it costs that. Nothing is stored."""

    id: str
    """What a job that is submitted with the token names."""
    token: str
    """For :attr:`qpu_sdk.wire.models.JobRequest.quote`."""
    backend: str
    price_micro: int
    price_book: str
    lane: str
    shots: int
    device_us: int
    """Stand-alone device time."""
    footprint_qubits: int
    """That nobody else can use meanwhile."""
    start_in_s: float | None
    """Estimate of the wait, were it submitted now; no promise. ``None`` where there is nothing to go by."""
    expires_at: datetime
