"""Readiness on the wire: what ``GET /readyz`` says of the database and of who runs the devices' jobs."""

from __future__ import annotations

from qpu_sdk.wire.models import ResponseDocument


class Readiness(ResponseDocument):
    """``ready``, or ``degraded: `` and why: in all, of the database, and of each device."""

    status: str
    database: str
    devices: dict[str, str]
