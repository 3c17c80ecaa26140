"""Refused keys, counted in memory: a flood of them makes one audit row a minute, and none while there are none."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

EVERY_US: Final = 60_000_000
_NAMED_KEYS: Final = 20
"""So many keys of ours are named in a row; what others did is in the count."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What was refused in a span of time.

    Attributes:
        since_us: wall time of the first.
        until_us: wall time of the last.
        reasons: how often for which reason.
        keys: how often which of our own keys: revoked ones, expired ones.
    """

    since_us: int
    until_us: int
    reasons: Mapping[str, int] = field(default_factory=dict[str, int])
    keys: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def facts(self) -> dict[str, object]:
        """For the audit log."""
        return {
            "count": sum(self.reasons.values()),
            "since_us": self.since_us,
            "until_us": self.until_us,
            "reasons": dict(self.reasons),
            "keys": dict(self.keys),
        }


class Refusals:
    """Counts refusals from any thread; whoever writes takes the count, at most once a minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken_us: int | None = None
        self._span: tuple[int, int] | None = None
        self._reasons: Counter[str] = Counter()
        self._keys: Counter[str] = Counter()

    def note(self, reason: str, now_us: int, key_id: str | None = None) -> None:
        """A key was refused.

        Args:
            reason: one of a few words, never anything that the caller sent.
            now_us: wall time.
            key_id: of a key of ours that opens nothing any more.
        """
        with self._lock:
            self._span = (now_us, now_us) if self._span is None else (self._span[0], max(self._span[1], now_us))
            self._reasons[reason] += 1
            if key_id is not None and (key_id in self._keys or len(self._keys) < _NAMED_KEYS):
                self._keys[key_id] += 1

    def take(self, now_us: int, *, at_once: bool = False) -> Refused | None:
        """What was refused since the last time, if a minute has passed since then.

        Args:
            now_us: wall time.
            at_once: do not wait for the minute: the process is ending.
        """
        with self._lock:
            if self._span is None:
                return None
            waited_us = EVERY_US if self._taken_us is None else now_us - self._taken_us
            if 0 <= waited_us < EVERY_US and not at_once:  # a clock that was set back does not stop it
                return None
            refused = Refused(*self._span, dict(self._reasons), dict(self._keys))
            self._taken_us, self._span = now_us, None
            self._reasons.clear()
            self._keys.clear()
            return refused

    def put_back(self, refused: Refused) -> None:
        """It could not be written: count it with what comes next."""
        with self._lock:
            until_us = refused.until_us if self._span is None else max(refused.until_us, self._span[1])
            self._span = (refused.since_us, until_us)
            self._reasons.update(refused.reasons)
            self._keys.update(refused.keys)
