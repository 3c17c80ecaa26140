"""Wake-up calls inside one process: a hint that a table changed, never the change itself.

The tables are the truth. Who waits reads them, waits for a hint or a while, and reads again, so a lost hint costs
time and nothing else. Settlement threads call :meth:`NoticeBoard.post`; waiting routes hold no thread and no database
connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

from contextlib import contextmanager, suppress


class NoticeBoard:
    """Hints about topics: a tenant's events, a device's queue."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._async_waiters: defaultdict[str, set[tuple[asyncio.AbstractEventLoop, asyncio.Event]]] = defaultdict(set)
        self._thread_waiters: defaultdict[str, set[threading.Event]] = defaultdict(set)
        self._closed = False

    def post(self, topics: Iterable[str]) -> None:
        """Wake everybody who waits for one of the topics. Any thread may call this."""
        with self._lock:
            for topic in topics:
                for waiter in self._thread_waiters.get(topic, ()):
                    waiter.set()
                for loop, event in self._async_waiters.get(topic, ()):
                    with suppress(RuntimeError):  # the loop has been closed
                        loop.call_soon_threadsafe(event.set)

    @contextmanager
    def watch_async(self, topic: str) -> Generator[asyncio.Event]:
        """An event of the running loop, set at every hint while the block lasts."""
        waiter = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._async_waiters[topic].add(waiter)
            if self._closed:
                waiter[1].set()
        try:
            yield waiter[1]
        finally:
            with self._lock:
                self._async_waiters[topic].discard(waiter)
                if not self._async_waiters[topic]:
                    del self._async_waiters[topic]

    @contextmanager
    def watch(self, topic: str) -> Generator[threading.Event]:
        """A thread's event, set at every hint while the block lasts."""
        waiter = threading.Event()
        with self._lock:
            self._thread_waiters[topic].add(waiter)
        try:
            yield waiter
        finally:
            with self._lock:
                self._thread_waiters[topic].discard(waiter)

    @property
    def closed(self) -> bool:
        """Whether the service is going away, so that open streams end."""
        return self._closed

    def close(self) -> None:
        """Wake everybody, for the last time."""
        with self._lock:
            self._closed = True
            topics = {*self._async_waiters, *self._thread_waiters}
        self.post(topics)


def tenant_topic(tenant_id: str) -> str:
    """The topic of a tenant's job events."""
    return f"tenant:{tenant_id}"


def queue_topic(device_id: str) -> str:
    """The topic of a device's queue."""
    return f"queue:{device_id}"
