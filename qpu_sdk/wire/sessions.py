"""The documents of sessions: a loop of jobs that keeps its region between them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field

from qpu_sdk.wire.models import WIRE_VERSION, RequestDocument, ResponseDocument, SmallText


class SessionState(StrEnum):
    """``open → closing → closed``; an open one may also end without closing."""

    OPEN = "open"
    """It takes jobs."""
    CLOSING = "closing"
    """It takes none any more, and ends with its last one."""
    CLOSED = "closed"
    """It holds nothing, and has its price."""


class SessionRequest(RequestDocument):
    """``POST /sessions``."""

    model_config = ConfigDict(defer_build=False)  # a deferred one makes FastAPI warn

    wire_version: Literal[1] = WIRE_VERSION
    backend: SmallText
    ttl_s: float | None = Field(default=None, gt=0, le=1e9, allow_inf_nan=False)
    """Wall time that it lives without a job or a call; the service's default where nothing is said."""
    max_qubits: int | None = Field(default=None, ge=1, lt=2**31)
    """On a device: how many qubits it may hold, idle ones around its jobs included; by default all that the tenant may
    still hold. On a virtual backend it holds a region of its shape."""


class SessionDocument(ResponseDocument):
    """``GET /sessions/{id}``."""

    id: str
    backend: str
    state: SessionState
    opened_at: datetime
    expires_at: datetime
    """When it ends if nothing happens; never while a job of it waits or runs."""
    ends_at: datetime
    """Nothing prolongs it beyond this; jobs that wait or run then are its last ones."""
    closed_at: datetime | None
    ttl_s: float
    max_qubits: int
    """That it may hold, idle ones around its jobs included."""
    region: list[int] | None
    """Physical qubits that it holds, or held last; ``None`` before its first job was placed."""
    lane: str | None
    """Of all its jobs; ``None`` before the first."""
    unfinished_jobs: int
    held_us_qubits: int
    """What it kept and nobody used so far, of the device's own time."""
    price_book: str
    price_micro: int
    """Of that, so far; posted when it is closed. Its jobs are billed for themselves."""


class SessionPage(ResponseDocument):
    """``GET /sessions``, newest first."""

    sessions: list[SessionDocument]
    next_cursor: str | None
