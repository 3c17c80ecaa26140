"""How long to wait and how often to try again: time-outs, retries, and a budget of retries that successes refill."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait and how often to try again.

    Attributes:
        connect_s: for a connection.
        read_s: for the next bytes of an answer (a long poll adds its own wait).
        write_s: for the request's bytes to leave.
        attempts: tries per request, the first included.
        first_delay_s: mean pause before the second try; doubles from try to try, with full jitter.
        longest_delay_s: no pause, also none asked for by ``Retry-After``, is longer: beyond it the error is raised.
        retry_budget: retries in store; each retry takes 1, each success gives back 0.1.
        silence_s: an event stream without even a heartbeat for that long is dead.
    """

    connect_s: float = 5.0
    read_s: float = 30.0
    write_s: float = 30.0
    attempts: int = 6
    first_delay_s: float = 0.1
    longest_delay_s: float = 30.0
    retry_budget: float = 20.0
    silence_s: float = 45.0


class RetryBudget:
    """Retries in store, shared by all threads."""

    _REFILL: Final = 0.1

    def __init__(self, size: float) -> None:
        self._size = self._left = size
        self._lock = threading.Lock()

    def spend(self) -> bool:
        with self._lock:
            if self._left < 1:
                return False
            self._left -= 1
            return True

    def refill(self) -> None:
        if self._left < self._size:
            with self._lock:
                self._left = min(self._size, self._left + self._REFILL)
