"""Values that are dear to make and cheap to keep: the most recently used ones, within a size."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

from cachetools import LRUCache

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


class Recent(Generic[_Key, _Value]):
    """A bounded memory of immutable values. Safe to call from many threads; forgetting costs time and nothing else."""

    def __init__(self, max_size: int) -> None:
        """Nothing is remembered yet.

        Args:
            max_size: of all values together, in the unit that :meth:`put` is told.
        """
        self._lock = threading.Lock()
        self._max_size = max_size
        self._sized: LRUCache[_Key, tuple[_Value, int]] = LRUCache(max_size, lambda entry: entry[1])

    def get(self, key: _Key) -> _Value | None:
        """The value, if it is still remembered."""
        with self._lock:
            entry = self._sized.get(key)
        return None if entry is None else entry[0]

    def put(self, key: _Key, value: _Value, size: int) -> None:
        """Remember a value in place of those that were not asked for the longest; one too large is not remembered."""
        if size <= self._max_size:
            with self._lock:
                self._sized[key] = (value, size)
