"""Wake-up calls inside one process: a hint that a table changed, never the change itself.

The tables are the truth. Who waits reads them, waits for a hint or a while, and reads again, so a lost hint costs
time and nothing else. Settlement threads call :meth:`NoticeBoard.post`; waiting routes hold no thread and no database
connection.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

from contextlib import contextmanager, suppress

_KNOWN_JOBS: Final = 100_000


class _Route:
    """A route that waits on its event loop."""

    def __init__(self) -> None:
        self.hint = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._expected = False

    def wake(self, within_s: float) -> None:
        """Set the hint, at once or soon; from any thread, under the board's lock."""
        with suppress(RuntimeError):  # the loop has closed: nobody waits there any more
            if not within_s:
                self._loop.call_soon_threadsafe(self.hint.set)
            elif not self._expected:
                self._expected = True
                self._loop.call_soon_threadsafe(self._loop.call_later, within_s, self._late)

    def _late(self) -> None:
        self._expected = False
        self.hint.set()


class NoticeBoard:
    """Hints about topics: a tenant's events, a device's queue."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._routes: defaultdict[str, set[_Route]] = defaultdict(set)
        self._threads: defaultdict[str, set[threading.Event]] = defaultdict(set)
        self._unfinished: LRUCache[str, str] = LRUCache(_KNOWN_JOBS)
        self._closed = False

    def admitted(self, tenant_id: str, job_id: str) -> None:
        """A job was admitted here: until :meth:`ended` nobody needs to read whether it is done."""
        with self._lock:
            self._unfinished[job_id] = tenant_id

    def is_unfinished(self, tenant_id: str, job_id: str) -> bool:
        """Whether it is known, without reading, that this job of this tenant has not ended. Ask while watching it."""
        with self._lock:
            return self._unfinished.get(job_id) == tenant_id

    def ended(self, jobs: Iterable[tuple[str, str]]) -> None:
        """Jobs have ended, or may have: (tenant, job) each. Wakes who waits for them or for their tenant's events."""
        ends = list(jobs)
        with self._lock:
            for _, job_id in ends:
                self._unfinished.pop(job_id, None)
        self.post({topic for tenant_id, job_id in ends for topic in (tenant_topic(tenant_id), job_topic(job_id))})

    def post(self, topics: Iterable[str], *, within_s: float = 0.0) -> None:
        """Wake everybody who waits for one of the topics. Any thread may call this.

        Args:
            topics: what changed.
            within_s: how late a waiting route may hear of it. News that nobody acts on (a job is running now) may come
                with what follows it, instead of costing every job another read while it is being run.
        """
        with self._lock:
            for topic in topics:
                for waiter in self._threads.get(topic, ()):
                    waiter.set()
                for route in self._routes.get(topic, ()):
                    route.wake(within_s)

    @contextmanager
    def watch_async(self, topic: str) -> Generator[asyncio.Event]:
        """An event of the running loop, set at every hint while the block lasts."""
        route = _Route()
        with self._lock:
            self._routes[topic].add(route)
            if self._closed:
                route.hint.set()
        try:
            yield route.hint
        finally:
            with self._lock:
                self._routes[topic].discard(route)
                if not self._routes[topic]:
                    del self._routes[topic]

    @contextmanager
    def watch(self, topic: str) -> Generator[threading.Event]:
        """A thread's event, set at every hint while the block lasts."""
        waiter = threading.Event()
        with self._lock:
            self._threads[topic].add(waiter)
        try:
            yield waiter
        finally:
            with self._lock:
                self._threads[topic].discard(waiter)

    @property
    def waiting(self) -> int:
        """How many routes wait: none for a client that has left."""
        with self._lock:
            return sum(len(routes) for routes in self._routes.values())

    @property
    def closed(self) -> bool:
        """Whether the service is going away, so that open streams end."""
        return self._closed

    def close(self) -> None:
        """Wake everybody, for the last time."""
        with self._lock:
            self._closed = True
            topics = {*self._routes, *self._threads}
        self.post(topics)


def tenant_topic(tenant_id: str) -> str:
    """The topic of a tenant's job events."""
    return f"tenant:{tenant_id}"


def job_topic(job_id: str) -> str:
    """The topic of a job's end."""
    return f"job:{job_id}"


def queue_topic(device_id: str) -> str:
    """The topic of a device's queue."""
    return f"queue:{device_id}"


UNHURRIED_S: Final = 0.05
"""How late a waiting client may hear that its job was admitted or has started."""
