"""The documents of sessions: a loop of jobs that keeps its region between them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import ConfigDict, Field

from qpu_sdk.wire.models import MAX_INTEGER, WIRE_VERSION, RequestDocument, ResponseDocument, SmallText


class SessionState(StrEnum):
    """``open → closing → closed``; an open one may also end without closing."""

    OPEN = "open"
    """It takes jobs."""
    CLOSING = "closing"
    """It takes none any more, and ends with its last one."""
    CLOSED = "closed"
    """It holds nothing, and has its price."""


class SessionKind(StrEnum):
    """What it is for."""

    SESSION = "session"
    """A loop: it keeps its region between its jobs."""
    BATCH = "batch"
    """Jobs that belong together: it holds nothing, and its jobs may run at the same time."""


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
    kind: SessionKind = SessionKind.SESSION
    max_time_s: float | None = Field(default=None, gt=0, le=1e9, allow_inf_nan=False)
    """Wall time from its opening for which it takes jobs, however busy it is; the service's longest by default."""
    max_cost_micro: int | None = Field(default=None, ge=1, le=MAX_INTEGER)
    """Of all its jobs, and what it holds: the job that would pass it is refused, and holding ends between jobs."""
    on_failure: Literal["continue", "cancel_rest"] = "continue"
    """What becomes of its waiting jobs when one fails."""


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
    kind: SessionKind = SessionKind.SESSION
    on_failure: Literal["continue", "cancel_rest"] = "continue"
    max_cost_micro: int | None = None
    spent_micro: int = 0
    """By its jobs: what ended ones cost, and the prices of those that wait or run. ``price_micro`` comes on top."""


class SessionPage(ResponseDocument):
    """``GET /sessions``, newest first."""

    sessions: list[SessionDocument]
    next_cursor: str | None
