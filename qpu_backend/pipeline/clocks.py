"""The wall clock, as the pipeline reads it. Device time is not here: it is a column that transactions advance."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Protocol

from qpu_backend.telemetry.logs import logger

if TYPE_CHECKING:
    from collections.abc import Callable

_WORTH_TELLING_US: Final = 100_000
"""A clock that is disciplined over the network may go back by less than that."""


class WallClock(Protocol):
    """Where wall time comes from."""

    def now_us(self) -> int:
        """UTC microseconds since 1970."""
        ...


class SystemClock:
    """The machine's clock, which for this process never goes back. Safe to call from many threads.

    After the machine's clock was set back, this one goes at half its speed until the machine's has caught up: what is
    noted stays in order, and what runs out still does.
    """

    def __init__(
        self,
        *,
        wall_ns: Callable[[], int] = time.time_ns,
        steady_ns: Callable[[], int] = time.monotonic_ns,
        stepped_back: Callable[[], None] | None = None,
    ) -> None:
        """It is now.

        Args:
            wall_ns: the machine's clock.
            steady_ns: one that nobody sets.
            stepped_back: told each time that the machine's clock was set back.
        """
        self._wall_ns = wall_ns
        self._steady_ns = steady_ns
        self._stepped_back = stepped_back
        self._lock = threading.Lock()
        self._last_us = 0
        self._last_wall_us = 0
        self._at_us: int = steady_ns() // 1_000
        self._log = logger("clock")

    def now_us(self) -> int:
        """UTC microseconds since 1970."""
        with self._lock:
            wall_us, at_us = self._wall_ns() // 1_000, self._steady_ns() // 1_000
            back_us = self._last_wall_us - wall_us
            slow_us = self._last_us + (at_us - self._at_us) // 2
            now_us = max(wall_us, slow_us)
            self._at_us = at_us if now_us == wall_us else self._at_us + 2 * (slow_us - self._last_us)
            self._last_us, self._last_wall_us = now_us, wall_us
        if back_us >= _WORTH_TELLING_US:
            self._log.warning("clock_stepped_back", by_us=back_us)
            if self._stepped_back is not None:
                self._stepped_back()
        return now_us


class MovableClock:
    """A clock that goes as another does, but may be put forward: for tests of what is hours away."""

    def __init__(self, clock: WallClock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._ahead_us = 0

    def now_us(self) -> int:
        """UTC microseconds since 1970."""
        return self._clock.now_us() + self._ahead_us

    def advance(self, *, seconds: float) -> None:
        """Move the hands forward; they never go back."""
        self._ahead_us += max(0, round(seconds * 1_000_000))


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
