"""Opaque identifiers: a prefix that names the kind, then a UUIDv7. Later ids of a process sort after earlier ones."""

from __future__ import annotations

import os
import threading
import time
from typing import Final, final

_VERSION: Final = 0x7 << 76
_VARIANT: Final = 0b10 << 62


@final
class _Ticks:
    """Time in 1/4096 ms since 1970, never the same twice."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self) -> int:
        now = (time.time_ns() << 12) // 1_000_000
        with self._lock:
            self._last = max(now, self._last + 1)
            return self._last


_ticks: Final = _Ticks()


def new_id(prefix: str) -> str:
    """A new id, e.g. ``job_0193f0c2a4b87c3e9d5a6b7c8d9e0f1a``.

    RFC 9562, method 3: 48 bits of milliseconds and 12 bits of 1/4096 ms, which also count, then 62 random bits.
    """
    tick = _ticks.next()
    random = int.from_bytes(os.urandom(8), "big") >> 2
    value = (tick >> 12) << 80 | _VERSION | (tick & 0xFFF) << 64 | _VARIANT | random
    return f"{prefix}_{value:032x}"
