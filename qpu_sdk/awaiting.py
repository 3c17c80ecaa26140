"""The same, awaited: requests go aside to a few threads, and waits cost nothing but a place in the stream's inbox.

::

    await job.aio.result()  ──course──► Ask ──► one of the few threads ──► the provider's connections
            ▲                   └─────► Listen: an asyncio.Queue of this task's loop
            └── call_soon_threadsafe ◄── the one thread that reads the tenant's events

No logic is here that the other face does not have: a wait takes the steps of :mod:`qpu_sdk.waiting`, and everything
else is the ordinary method, called aside. Works in any number of event loops at once. Cancelling a task stops the
waiting, not the job.
"""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, Protocol, TypeVar

from qpu_sdk.errors import QPUJobTimeoutError
from qpu_sdk.waiting import Ask, Ended, Hello, Listen, Poll, course

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence

    from qiskit.providers import JobStatus

    from qpu_sdk.events import JobEvents
    from qpu_sdk.wire.models import JobDocument, JobEvent, WaitReason
    from qpu_sdk.wire.usage import MeteringRecord

P = ParamSpec("P")
R = TypeVar("R")

_THREADS: Final = 4
"""For requests, of all tasks of a provider together; each is short."""
_HELD: Final = 64
"""Threads for requests that the service holds back, so that none of these stands in the way of the short ones."""
_POLL_S: Final = 5.0
"""Between two questions for a job, while there is no stream of events."""


class Aside:
    """Calls blocking functions in a few threads, which are started when they are first needed."""

    def __init__(self) -> None:
        """No thread is started yet."""
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="qpu-aside")
        self._held = ThreadPoolExecutor(_HELD, thread_name_prefix="qpu-held")

    def __call__(self, function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
        """The function, which takes little time, to be awaited."""
        return _awaited(function, self._threads)

    def held(self, function: Callable[P, R]) -> Callable[P, Coroutine[Any, Any, R]]:
        """The function, which has a thread of its own as long as it takes, to be awaited."""
        return _awaited(function, self._held)

    def close(self) -> None:
        """Take no more; what is on its way is finished."""
        for threads in (self._threads, self._held):
            threads.shutdown(wait=False, cancel_futures=True)


def _awaited(function: Callable[P, R], threads: ThreadPoolExecutor) -> Callable[P, Coroutine[Any, Any, R]]:
    @wraps(function)
    async def awaited(*arguments: P.args, **named: P.kwargs) -> R:
        import asyncio  # noqa: PLC0415 - dear to import, and only who awaits needs it

        return await asyncio.get_running_loop().run_in_executor(threads, partial(function, *arguments, **named))

    return awaited


class AioPrimitive(Generic[P, R]):
    """A primitive, awaited: ``job = await sampler.aio.run(pubs)``."""

    def __init__(self, run: Callable[P, R], aside: Aside) -> None:
        """Made by ``sampler.aio`` and ``estimator.aio``."""
        self.run = aside(run)


class WaitedFor(Protocol):
    """A job, as far as awaiting needs to know it."""

    def unfinished(self) -> list[str]:
        """Ids of the jobs on the service that are not known to have ended."""
        ...

    def take_note(self, last: JobEvent | JobDocument) -> None:
        """One of these has ended; may ask the service."""
        ...

    def all_ids(self) -> list[str]:
        """Ids of all jobs on the service that it stands for."""
        ...

    def result(self, timeout: float | None = None) -> Any: ...
    def document(self) -> JobDocument: ...
    def status(self) -> JobStatus: ...
    def queue(self) -> WaitReason | None: ...
    def metering(self) -> MeteringRecord: ...
    def cancel(self) -> bool: ...
    def replay(self, *, alone: bool = False, timeout: float | None = None) -> Any: ...


class AioJob:
    """A job, awaited: ``job.aio``.

    ``document``, ``status``, ``queue``, ``metering`` and ``cancel`` are those of the job itself.
    """

    def __init__(self, job: WaitedFor, events: JobEvents, aside: Aside) -> None:
        """Made by ``job.aio``."""
        self._job = job
        self._events = events
        self._aside = aside
        self.document = aside(job.document)
        self.status = aside(job.status)
        self.queue = aside(job.queue)
        self.metering = aside(job.metering)
        self.cancel = aside(job.cancel)

    async def wait_for_final_state(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - Qiskit's word
        """Wait until the job is final. Cancelling the task stops the waiting, not the job.

        Args:
            timeout: in s; ``None`` waits for ever.

        Raises:
            QPUJobTimeoutError: the time is over; the job goes on.
        """
        import asyncio  # noqa: PLC0415 - dear to import, and only who awaits needs it

        waiting = self._job.unfinished()
        try:
            async with asyncio.timeout(timeout):
                async with contextlib.aclosing(_ends(self._events, self._aside, waiting)) as ends:
                    async for last in ends:
                        await self._aside(self._job.take_note)(last)
        except TimeoutError as error:
            which = ", ".join(self._job.unfinished()[:1]) or "the job"
            raise QPUJobTimeoutError(f"{which} is not done yet; it goes on without you waiting") from error

    async def result(self, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        """Wait for the job and fetch its result; the same as ``job.result()``, and as cheap again the second time.

        Args:
            timeout: in s; ``None`` waits for ever.

        Raises:
            JobFailedError: the job failed; the message says why.
            JobCancelledError: it was cancelled.
            QPUJobTimeoutError: the time is over; the job goes on.
        """
        await self.wait_for_final_state(timeout)
        return await self._aside(self._job.result)()

    async def replay(self, *, alone: bool = False, timeout: float | None = None) -> Any:  # noqa: ASYNC109
        """Wait for the job and run its record once more; the same as ``job.replay()``.

        Args:
            alone: leave the neighbours out.
            timeout: in s; ``None`` waits for ever.

        Raises:
            JobFailedError: the job failed.
            JobCancelledError: it was cancelled.
            QPUJobTimeoutError: the time is over; asked for again, the replay goes on where it is.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        await self.wait_for_final_state(timeout)
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        return await self._aside.held(self._job.replay)(alone=alone, timeout=left_s)

    async def events(self) -> AsyncGenerator[JobEvent]:
        """Everything that happens to the job: what has happened so far, then each event as it comes, to the last."""
        seen = dict.fromkeys(self._job.all_ids(), 0)
        inbox, put = _inbox()
        past = self._aside(self._events.past)
        with self._events.subscribed(list(seen), put):
            self._events.open()
            behind: set[str] = set(seen)  # jobs of which something may have been missed
            while seen:
                for job_id in sorted(behind):
                    for event in await past(job_id, seen[job_id]):
                        seen[job_id] = event.seq
                        yield event
                        if event.state.final:
                            del seen[job_id]
                behind.clear()
                if not seen:
                    return
                event = await _next(inbox, _POLL_S if not self._events.connected else None)
                if event is None:
                    behind = set(seen)
                elif event.job_id in seen and event.seq > seen[event.job_id]:
                    behind = {event.job_id}  # of the events before it, too


async def _ends(events: JobEvents, aside: Aside, job_ids: Sequence[str]) -> AsyncGenerator[JobEvent | JobDocument]:
    """The end of each of several jobs as it comes; the steps are those of :meth:`JobEvents.ends`."""
    import asyncio  # noqa: PLC0415 - dear to import, and only who awaits needs it

    inbox, put = _inbox()
    with events.subscribed(job_ids, put) as known:
        steps = course(job_ids, known, events)
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
                    answer = await aside(events.ask)(step.job_id)
                case Hello() | Listen():
                    answer = await _next(inbox, step.at_most_s)
                case Poll():  # many tasks share few threads: none is held for a long poll
                    await asyncio.sleep(min(_POLL_S, step.at_most_s))
                    answer = await aside(events.ask)(step.job_id)


def _inbox() -> tuple[asyncio.Queue[JobEvent | None], Callable[[JobEvent | None], None]]:
    """A queue of the running loop, and what puts something into it from any thread."""
    import asyncio  # noqa: PLC0415 - dear to import, and only who awaits needs it

    loop = asyncio.get_running_loop()
    inbox: asyncio.Queue[JobEvent | None] = asyncio.Queue()

    def put(event: JobEvent | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended, and its tasks with it
            loop.call_soon_threadsafe(inbox.put_nowait, event)

    return inbox, put


async def _next(inbox: asyncio.Queue[JobEvent | None], at_most_s: float | None) -> JobEvent | None:
    import asyncio  # noqa: PLC0415 - dear to import, and only who awaits needs it

    try:
        async with asyncio.timeout(at_most_s):
            return await inbox.get()
    except TimeoutError:
        return None
