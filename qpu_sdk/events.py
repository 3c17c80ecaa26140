"""Waiting for jobs: one stream of the tenant's events serves every waiting thread of a provider.

::

    service ──SSE /events──► one daemon thread ──► inbox of each waiting thread
       ▲                                               │ stream down
       └───────── long poll /jobs/{id}/events ─────────┘

The stream is opened by the first wait. It resumes after the last event it saw; whoever waits
then asks once more for the job itself, so an event that was lost with a connection cannot strand a waiter. Nothing
polls.
"""

from __future__ import annotations

import contextlib
import itertools
import queue
import random
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from pydantic import ValidationError

from qpu_sdk.errors import (
    ForbiddenError,
    NotFoundError,
    ProtocolError,
    QPUError,
    QPUJobTimeoutError,
    UnauthenticatedError,
)
from qpu_sdk.wire.models import EventPage, JobDocument, JobEvent
from qpu_sdk.wire.paths import quoted
from qpu_sdk.wire.sse import parse_events

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpu_sdk.transport import EventSource, Transport

_REMEMBERED: Final = 10_000
"""Jobs whose latest event is kept, for waits that begin after it came."""
_LONG_POLL_S: Final = 20.0
_OPENING_S: Final = 2.0
"""How long a wait gives the first connection before it falls back to a long poll."""
_SAFETY_CHECK_S: Final = 120.0
"""A waiter that heard nothing for that long asks once, whatever the stream says."""


class JobEvents:
    """The tenant's job events as they happen. Safe to share between threads."""

    def __init__(self, transport: Transport) -> None:
        """Nothing is opened yet."""
        self._transport = transport
        self._lock = threading.Lock()
        self._latest: OrderedDict[str, JobEvent] = OrderedDict()
        self._inboxes: dict[str, list[queue.SimpleQueue[JobEvent | None]]] = {}
        self._cursor: str | None = None
        self._connected = False
        self._tried = False  # the first attempt to connect is over, well or not
        self._thread: threading.Thread | None = None
        self._source: EventSource | None = None
        self._closed = threading.Event()

    def open(self) -> bool:
        """Start listening, without waiting for it; whether the stream is open already."""
        with self._lock:
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(target=self._listen, name="qpu-events", daemon=True)
                self._thread.start()
            return self._connected

    def anew(self) -> JobEvents:
        """In a forked child, where the listening thread does not exist: the same, with nothing opened yet."""
        return JobEvents(self._transport)

    def close(self) -> None:
        """Stop listening. Waits go on by long poll."""
        self._closed.set()
        with self._lock:
            source, thread = self._source, self._thread
        if source is not None:
            source.abort()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=1.0)

    def wait(
        self,
        job_id: str,
        *,
        timeout_s: float | None = None,
        on_event: Callable[[JobEvent], object] | None = None,
    ) -> JobEvent | JobDocument:
        """Block until the job is final. Interrupting the wait does nothing to the job.

        Args:
            job_id: which.
            timeout_s: give up after that many seconds; ``None`` waits for ever.
            on_event: called in this thread with every event that comes while we wait.

        Raises:
            QPUJobTimeoutError: the time is over; the job goes on.
            NotFoundError: there is no such job.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        inbox: queue.SimpleQueue[JobEvent | None] = queue.SimpleQueue()
        with self._lock:
            self._inboxes.setdefault(job_id, []).append(inbox)
            latest = self._latest.get(job_id)
        try:
            if latest is not None and latest.state.final:
                return latest
            self.open()
            seq = 0 if latest is None else latest.seq
            if (final := self._ask(job_id)) is not None:
                return final
            while True:
                if not self._connected and not self._opening():
                    event = self._long_poll(job_id, seq, _remaining(deadline, job_id, _LONG_POLL_S), on_event)
                else:
                    patience_s = _SAFETY_CHECK_S if self._connected else _OPENING_S
                    event = _next(inbox, _remaining(deadline, job_id, patience_s))
                    if event is not None and on_event is not None:
                        on_event(event)
                    if event is None and (final := self._ask(job_id)) is not None:
                        return final
                if event is not None:
                    seq = max(seq, event.seq)
                    if event.state.final:
                        return event
        finally:
            with self._lock:
                inboxes = self._inboxes.get(job_id, [])
                inboxes.remove(inbox)
                if not inboxes:
                    self._inboxes.pop(job_id, None)

    def _ask(self, job_id: str) -> JobDocument | None:
        document = self._transport.get(f"/jobs/{quoted(job_id)}", JobDocument)
        return document if document.state.final else None

    def _long_poll(
        self, job_id: str, seq: int, wait_s: float, on_event: Callable[[JobEvent], object] | None
    ) -> JobEvent | None:
        page = self._transport.get(
            f"/jobs/{quoted(job_id)}/events", EventPage, {"after": seq, "wait": max(1, round(wait_s))}, wait_s=wait_s
        )
        for event in page.events:
            if on_event is not None:
                on_event(event)
        return page.events[-1] if page.events else None

    def _opening(self) -> bool:
        """Whether the first attempt to connect is still on its way."""
        return not self._tried and self._thread is not None and not self._closed.is_set()

    # --- the listening thread --------------------------------------------------------------------------------------

    def _listen(self) -> None:
        failures = itertools.count()
        while not self._closed.is_set():
            try:
                if self._read_stream():
                    failures = itertools.count()
            except (UnauthenticatedError, ForbiddenError, NotFoundError, ProtocolError):
                break  # will not get better by itself: waits go on by long poll, which reports what is wrong
            except (QPUError, ValueError, OSError, RuntimeError):
                pass  # the connection broke, or was closed under us
            finally:
                self._disconnected()
            self._closed.wait(random.uniform(0.05, min(15.0, 0.1 * 2 ** min(next(failures), 10))))  # noqa: S311

    def _read_stream(self) -> bool:
        """Read until the stream ends; whether it gave anything."""
        heard = False
        with self._transport.stream("/events", self._cursor) as source:
            with self._lock:
                self._source = source
            for message in parse_events(source):
                if self._closed.is_set():
                    break
                heard = True
                self._cursor = message.id or self._cursor
                if not self._connected:
                    self._now_connected()
                if message.name != "hello":
                    with contextlib.suppress(ValidationError):  # an event of a later version
                        self._deliver(JobEvent.model_validate_json(message.data))
        return heard

    def _now_connected(self) -> None:
        with self._lock:
            self._connected = self._tried = True
            self._wake_all()

    def _disconnected(self) -> None:
        with self._lock:
            self._source = None
            if self._connected or not self._tried:
                self._connected, self._tried = False, True
                self._wake_all()

    def _wake_all(self) -> None:
        """Tell every waiter to look at the connection, and to ask for its job, again."""
        for inbox in itertools.chain.from_iterable(self._inboxes.values()):
            inbox.put(None)

    def _deliver(self, event: JobEvent) -> None:
        with self._lock:
            self._latest[event.job_id] = event
            self._latest.move_to_end(event.job_id)
            if len(self._latest) > _REMEMBERED:
                self._latest.popitem(last=False)
            for inbox in self._inboxes.get(event.job_id, ()):
                inbox.put(event)


def _next(inbox: queue.SimpleQueue[JobEvent | None], timeout_s: float) -> JobEvent | None:
    try:
        return inbox.get(timeout=timeout_s)
    except queue.Empty:
        return None


def _remaining(deadline: float | None, job_id: str, at_most_s: float) -> float:
    if deadline is None:
        return at_most_s
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise QPUJobTimeoutError(f"job {job_id} is not done yet; it goes on without you waiting")
    return min(left_s, at_most_s)
