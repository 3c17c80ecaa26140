"""The wall clock, as the pipeline reads it. Device time is not here: it is a column that transactions advance."""

from __future__ import annotations

import time
from typing import Protocol


class WallClock(Protocol):
    """Where wall time comes from."""

    def now_us(self) -> int:
        """UTC microseconds since 1970."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_us(self) -> int:
        """UTC microseconds since 1970."""
        return time.time_ns() // 1_000


class HandDrivenClock:
    """A clock for tests: it stands still until it is moved."""

    def __init__(self, start_us: int = 1_800_000_000_000_000) -> None:
        self._now_us = start_us

    def now_us(self) -> int:
        """UTC microseconds since 1970."""
        return self._now_us

    def advance(self, *, seconds: float) -> None:
        """Move the hands forward."""
        self._now_us += round(seconds * 1_000_000)
