"""Wake-up calls inside one process: a hint that a table changed, never the change itself.

The tables are the truth. Who waits reads them, waits for a hint or a while, and reads again, so a lost hint costs
time and nothing else. Settlement threads call :meth:`NoticeBoard.post`; waiting routes hold no thread and no database
connection. ``heralds.py`` passes hints on to the other processes on the database, and theirs to this one.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

from contextlib import contextmanager, suppress

_KNOWN_JOBS: Final = 100_000
_JOB: Final = "job:"
QUEUE: Final = "queue:"
"""What the topics of queues begin with."""


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

    def __init__(self, settling: Callable[[str], int | None] = lambda _: None) -> None:
        """Nobody waits yet.

        Args:
            settling: the epoch under which this process, and surely no other, settles the jobs of a device now.
        """
        self._lock = threading.Lock()
        self._routes: defaultdict[str, set[_Route]] = defaultdict(set)
        self._threads: defaultdict[str, set[threading.Event]] = defaultdict(set)
        self._settling = settling
        self._unfinished: LRUCache[str, tuple[str, str, int]] = LRUCache(_KNOWN_JOBS)
        self._relay: Callable[[Iterable[str], float], None] | None = None
        self._watched = threading.Event()
        self._closed = False

    def relay(self, relay: Callable[[Iterable[str], float], None] | None) -> None:
        """From now on hand every hint of this process to somebody who tells the others; it must not wait."""
        self._relay = relay

    def admitted(self, tenant_id: str, job_id: str, device_id: str) -> None:
        """A job was admitted here: until :meth:`ended` nobody needs to read whether it is done, if it ends here."""
        epoch = self._settling(device_id)
        if epoch is not None:
            with self._lock:
                self._unfinished[job_id] = (tenant_id, device_id, epoch)

    def is_unfinished(self, tenant_id: str, job_id: str) -> bool:
        """Whether it is known, without reading, that this job of this tenant has not ended. Ask while watching it.

        Only of a job that was admitted here, while this process has settled its device ever since: another process
        that took the lease meanwhile may have ended it.
        """
        with self._lock:
            owner, device_id, epoch = self._unfinished.get(job_id, ("", "", 0))
        return owner == tenant_id and self._settling(device_id) == epoch

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
        topics = list(topics)
        self._wake(topics, within_s)
        relay = self._relay  # once: another thread may end it between two looks
        if relay is not None:
            relay(topics, within_s)

    def receive(self, topics: Iterable[str], *, within_s: float = 0.0) -> None:
        """Wake those who wait here for what another process has posted."""
        topics = list(topics)
        with self._lock:
            for topic in topics:
                self._unfinished.pop(topic.removeprefix(_JOB), None)
        self._wake(topics, within_s)

    def receive_all(self, prefix: str = "") -> None:
        """Wake those who wait for any topic that begins so: nobody knows what has changed."""
        with self._lock:
            if not prefix:
                self._unfinished.clear()
            topics = [topic for topic in {*self._routes, *self._threads} if topic.startswith(prefix)]
        self.receive(topics)

    def wait_watched(self, seconds: float) -> bool:
        """Wait until somebody watches anything, at most so long; whether somebody does, or the board is closed."""
        return self._watched.wait(seconds)

    def _wake(self, topics: Iterable[str], within_s: float) -> None:
        with self._lock:
            for topic in topics:
                for waiter in self._threads.get(topic, ()):
                    waiter.set()
                for route in self._routes.get(topic, ()):
                    route.wake(within_s)

    def _count(self) -> None:
        """Somebody came or went; under the lock."""
        if self._routes or self._threads or self._closed:
            self._watched.set()
        else:
            self._watched.clear()

    @contextmanager
    def watch_async(self, topic: str) -> Generator[asyncio.Event]:
        """An event of the running loop, set at every hint while the block lasts."""
        route = _Route()
        with self._lock:
            self._routes[topic].add(route)
            self._count()
            if self._closed:
                route.hint.set()
        try:
            yield route.hint
        finally:
            with self._lock:
                self._routes[topic].discard(route)
                if not self._routes[topic]:
                    del self._routes[topic]
                self._count()

    @contextmanager
    def watch(self, topic: str) -> Generator[threading.Event]:
        """A thread's event, set at every hint while the block lasts."""
        waiter = threading.Event()
        with self._lock:
            self._threads[topic].add(waiter)
            self._count()
        try:
            yield waiter
        finally:
            with self._lock:
                self._threads[topic].discard(waiter)
                if not self._threads[topic]:
                    del self._threads[topic]
                self._count()

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
            self._count()
            topics = {*self._routes, *self._threads}
        self._wake(topics, 0.0)


def tenant_topic(tenant_id: str) -> str:
    """The topic of a tenant's job events."""
    return f"tenant:{tenant_id}"


def job_topic(job_id: str) -> str:
    """The topic of a job's end."""
    return _JOB + job_id


def queue_topic(device_id: str) -> str:
    """The topic of a device's queue."""
    return QUEUE + device_id


UNHURRIED_S: Final = 0.05
"""How late a waiting client may hear that its job was admitted or has started."""
