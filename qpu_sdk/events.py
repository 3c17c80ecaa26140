"""Waiting for jobs: one stream of the tenant's events serves every waiting thread of a provider.

::

    service ──SSE /events──► one daemon thread ──► inbox of each waiting thread or task
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
from qpu_sdk.waiting import Ask, Ended, Hello, Listen, Poll, course
from qpu_sdk.wire.models import EventPage, JobDocument, JobEvent
from qpu_sdk.wire.paths import quoted
from qpu_sdk.wire.sse import parse_events

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from qpu_sdk.transport import EventSource, Transport

_REMEMBERED: Final = 10_000
"""Jobs whose latest event is kept, for waits that begin after it came."""


class JobEvents:
    """The tenant's job events as they happen. Safe to share between threads."""

    def __init__(self, transport: Transport) -> None:
        """Nothing is opened yet."""
        self._transport = transport
        self._lock = threading.Lock()
        self._latest: OrderedDict[str, JobEvent] = OrderedDict()
        self._inboxes: dict[str, list[Callable[[JobEvent | None], object]]] = {}
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

    @property
    def connected(self) -> bool:
        """Whether the stream is open."""
        return self._connected

    @property
    def opening(self) -> bool:
        """Whether the first attempt to connect is still on its way."""
        return not self._tried and self._thread is not None and not self._closed.is_set()

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
        with contextlib.closing(self.ends([job_id], timeout_s=timeout_s, on_event=on_event)) as ends:
            return next(ends)

    def ends(
        self,
        job_ids: Sequence[str],
        *,
        timeout_s: float | None = None,
        on_event: Callable[[JobEvent], object] | None = None,
    ) -> Generator[JobEvent | JobDocument]:
        """The end of each of several jobs as it comes; as :meth:`wait` otherwise."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        inbox: queue.SimpleQueue[JobEvent | None] = queue.SimpleQueue()
        with self.subscribed(job_ids, inbox.put) as known:
            steps = course(job_ids, known, self)
            answer: JobDocument | JobEvent | None = None
            while True:
                try:
                    step = steps.send(answer)
                except StopIteration:
                    return
                answer = None
                match step:
                    case Ended():
                        yield step.last
                    case Ask():
                        answer = self.ask(step.job_id)
                    case Hello() | Listen():
                        hello = isinstance(step, Hello)  # what has ended already is told even if no time is left
                        at_most_s = step.at_most_s if hello else _remaining(deadline, job_ids, step.at_most_s)
                        answer = _next(inbox, at_most_s)
                        if answer is not None and on_event is not None:
                            on_event(answer)
                    case Poll():
                        wait_s = _remaining(deadline, job_ids, step.at_most_s)
                        events = self.poll(step.job_id, step.seq, wait_s)
                        for event in events if on_event is not None else ():
                            on_event(event)  # pyright: ignore[reportOptionalCall]
                        answer = events[-1] if events else None

    @contextlib.contextmanager
    def subscribed(self, job_ids: Sequence[str], put: Callable[[JobEvent | None], object]) -> Generator[list[JobEvent]]:
        """Have ``put`` called, from the listening thread, with the jobs' events, and with ``None`` as the line changes.

        Gives the latest event of each job of which one is known already.
        """
        with self._lock:
            for job_id in job_ids:
                self._inboxes.setdefault(job_id, []).append(put)
            known = [self._latest[job_id] for job_id in job_ids if job_id in self._latest]
        try:
            yield known
        finally:
            with self._lock:
                for job_id in job_ids:
                    inboxes = self._inboxes[job_id]
                    inboxes.remove(put)
                    if not inboxes:
                        del self._inboxes[job_id]

    def ask(self, job_id: str) -> JobDocument:
        """The job as the service tells it now."""
        return self._transport.get(f"/jobs/{quoted(job_id)}", JobDocument)

    def past(self, job_id: str, seq: int) -> list[JobEvent]:
        """The job's events after ``seq`` so far."""
        return self._transport.get(f"/jobs/{quoted(job_id)}/events", EventPage, {"after": seq}).events

    def poll(self, job_id: str, seq: int, wait_s: float) -> list[JobEvent]:
        """The job's events after ``seq``; the service may hold the answer back."""
        params = {"after": seq, "wait": max(1, round(wait_s))}
        return self._transport.get(f"/jobs/{quoted(job_id)}/events", EventPage, params, wait_s=wait_s).events

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
        for put in set(itertools.chain.from_iterable(self._inboxes.values())):
            put(None)

    def _deliver(self, event: JobEvent) -> None:
        with self._lock:
            self._latest[event.job_id] = event
            self._latest.move_to_end(event.job_id)
            if len(self._latest) > _REMEMBERED:
                self._latest.popitem(last=False)
            for put in self._inboxes.get(event.job_id, ()):
                put(event)


def _next(inbox: queue.SimpleQueue[JobEvent | None], timeout_s: float) -> JobEvent | None:
    try:
        return inbox.get(timeout=timeout_s)
    except queue.Empty:
        return None


def _remaining(deadline: float | None, job_ids: Sequence[str], at_most_s: float) -> float:
    if deadline is None:
        return at_most_s
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        which = f"job {job_ids[0]} is" if len(job_ids) == 1 else f"one of {len(job_ids)} jobs is"
        raise QPUJobTimeoutError(f"{which} not done yet; it goes on without you waiting")
    return min(left_s, at_most_s)
