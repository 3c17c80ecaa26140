"""Waiting for jobs as a course of steps, without IO: who takes the steps blocks in a thread, or awaits.

::

    course ──Hello(s)──► whoever drives it ──JobEvent | None─► course  while the stream of events is being opened
           ──Ask(job)──►                   ──JobDocument──►            once, and when nothing was heard for long
           ──Listen(s)─►                   ──JobEvent | None─►         while the stream is open
           ──Poll(job)─►                   ──JobEvent | JobDocument─►  while it is not
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from qpu_sdk.wire.models import JobDocument, JobEvent

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

_LONG_POLL_S: Final = 20.0
_SHORT_POLL_S: Final = 5.0
"""Where several jobs are waited for, one after the other is asked for."""
_OPENING_S: Final = 2.0
"""How long a wait gives the first connection before it falls back to a long poll."""
_HELLO_S: Final = 0.25
"""How long nothing is asked because it would be asked again once the connection is there."""
_SAFETY_CHECK_S: Final = 120.0
"""A waiter that heard nothing for that long asks once, whatever the stream says."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Get the job's document."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Hello:
    """Wait for the stream to open, at most so long, whatever time is left to wait for the jobs."""

    at_most_s: float


@dataclass(frozen=True, slots=True)
class Listen:
    """Wait for the next event of the jobs, at most so long."""

    at_most_s: float


@dataclass(frozen=True, slots=True)
class Poll:
    """Ask for the events of a job after ``seq``, which the service may hold back; or for the job, after a while."""

    job_id: str
    seq: int
    at_most_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """A job is final: this is the last that was heard of it."""

    last: JobEvent | JobDocument

    @property
    def job_id(self) -> str:
        return self.last.id if isinstance(self.last, JobDocument) else self.last.job_id


Step = Ask | Hello | Listen | Poll | Ended
"""What a course asks for. :class:`Ended` is told, and answered by nothing."""


class Line(Protocol):
    """What a course must know of the stream of events."""

    def open(self) -> bool:
        """Start to open it, without waiting for that; whether it is open already."""
        ...

    @property
    def connected(self) -> bool:
        """Whether the stream is open."""
        ...

    @property
    def opening(self) -> bool:
        """Whether the first attempt to open it is still on its way."""
        ...


def course(
    job_ids: Iterable[str], known: Iterable[JobEvent], line: Line
) -> Generator[Step, JobDocument | JobEvent | None]:
    """The steps to take until every job is final, with an :class:`Ended` for each as it becomes so.

    Args:
        job_ids: to wait for.
        known: the latest events of some of them.
        line: to the service's events; opened where there is something to wait for.
    """
    pending = dict.fromkeys(job_ids, 0)
    for event in known:
        pending[event.job_id] = event.seq
        if event.state.final:
            del pending[event.job_id]
            yield Ended(event)
    if pending and not line.open() and line.opening:
        yield Hello(_HELLO_S)
    yield from _ask(pending)
    while pending:
        if line.connected or line.opening:
            event = yield Listen(_SAFETY_CHECK_S if line.connected else _OPENING_S)
            if event is None:  # it was silent for long, or the connection changed: something may have been missed
                yield from _ask(pending)
        else:
            job_id, seq = next(iter(pending.items()))
            pending[job_id] = pending.pop(job_id)  # the next one's turn
            event = yield Poll(job_id, seq, _LONG_POLL_S if len(pending) == 1 else _SHORT_POLL_S)
        if isinstance(event, JobDocument) and event.state.final:
            del pending[event.id]
            yield Ended(event)
        if isinstance(event, JobEvent) and event.job_id in pending:
            pending[event.job_id] = max(pending[event.job_id], event.seq)
            if event.state.final:
                del pending[event.job_id]
                yield Ended(event)


def _ask(pending: dict[str, int]) -> Generator[Step, JobDocument | JobEvent | None]:
    for job_id in list(pending):
        document = yield Ask(job_id)
        if isinstance(document, JobDocument) and document.state.final:
            del pending[job_id]
            yield Ended(document)
