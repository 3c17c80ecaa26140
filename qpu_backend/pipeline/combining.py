"""Combining: what several threads ask for at the same time is done together, by one of them for all who wait.

A thread that finds nobody at work does its own at once, without a hand-over. Those who come meanwhile wait, and the
first of them then does everything that waits (flat combining: Hendler, Incze, Shavit and Tzafrir, SPAA 2010). Whoever
works waits a moment for those who are known to be on their way; for nobody else.
"""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")

PATIENCE_S: Final = 0.25
"""Who has waited for so long works beside those before: what holds them up need not concern it."""
GATHER_S: Final = 0.02
"""How long who works waits for those who are on their way."""


class _Ticket(Generic[_Asked, _Answer]):
    """What a thread asks for, and later its answer."""

    __slots__ = ("answer", "asked", "bell", "done", "leads")

    def __init__(self, asked: _Asked) -> None:
        self.asked = asked
        self.answer: _Answer | Exception | None = None
        self.done = False
        self.leads = False
        self.bell = threading.Lock()
        self.bell.acquire()


class Combiner(Generic[_Asked, _Answer]):
    """Does work for groups of those who ask at the same time. Safe to call from many threads."""

    def __init__(
        self,
        work: Callable[[Sequence[_Asked]], Sequence[_Answer | Exception]],
        most: int,
        *,
        patience_s: float = PATIENCE_S,
        gather_s: float = GATHER_S,
    ) -> None:
        """Nobody asks yet.

        Args:
            work: answers each of a group, in the order in which they came. Where it raises for a group of several, it
                is called again for each of them alone: so it has done nothing then, or what may be done twice.
            most: of a group.
            patience_s: how long one waits for those before.
            gather_s: how long one waits for those on their way.
        """
        self._work = work
        self._most = most
        self._patience_s = patience_s
        self._gather_s = gather_s
        self._lock = threading.Lock()
        self._working = False
        self._waiting: deque[_Ticket[_Asked, _Answer]] = deque()
        self._expected = 0
        self._asking = 0
        self._gatherer: _Ticket[_Asked, _Answer] | None = None

    @contextmanager
    def expected(self) -> Generator[None, None, None]:
        """For as long as this lasts somebody is on the way, until it asks."""
        with self._lock:
            self._expected += 1
        try:
            yield
        finally:
            with self._lock:
                self._expected -= 1
                self._call_gatherer()

    def ask(self, asked: _Asked) -> _Answer:
        """Have it done, alone or with what others ask for.

        Raises:
            Exception: the answer is one.
        """
        ticket = _Ticket[_Asked, _Answer](asked)
        with self._lock:
            self._asking += 1
            idle = not self._working
            if idle:
                self._working = True
                ticket.leads = True
            else:
                self._waiting.append(ticket)
            self._call_gatherer()
        try:
            group = self._gather(ticket) if idle else self._wait(ticket)
            if group:
                self._lead(ticket, group)
            if not ticket.done:  # something went wrong for the group
                (ticket.answer,) = self._work([asked])
        finally:
            with self._lock:
                self._asking -= 1
                if ticket in self._waiting:  # interrupted: nobody shall work for it, nor wait for it to work
                    self._waiting.remove(ticket)
            if ticket.leads:
                self._hand_over(ticket)
        if isinstance(ticket.answer, Exception):
            raise ticket.answer
        return ticket.answer  # pyright: ignore[reportReturnType] - it is done

    def _wait(self, ticket: _Ticket[_Asked, _Answer]) -> list[_Ticket[_Asked, _Answer]]:
        """Wait for the answer, or for one's turn: a group to work for, or nothing."""
        called = ticket.bell.acquire(timeout=self._patience_s)
        with self._lock:
            if not (called or ticket.leads) and ticket in self._waiting:
                self._waiting.remove(ticket)  # others may have come before it than a group has room for
                return [ticket, *self._take(self._most - 1)]
        if not called:
            ticket.bell.acquire()
        return self._gather(ticket) if ticket.leads else []

    def _gather(self, ticket: _Ticket[_Asked, _Answer]) -> list[_Ticket[_Asked, _Answer]]:
        """Who works, and who waits by the time nobody is on the way."""
        with self._lock:
            alone = self._gathered() or self._gatherer is not None
            if not alone:
                self._gatherer = ticket
        if not alone:
            ticket.bell.acquire(timeout=self._gather_s)
        with self._lock:
            if self._gatherer is ticket:
                self._gatherer = None
            return [ticket, *self._take(self._most - 1)]

    def _gathered(self) -> bool:
        return self._expected <= self._asking or len(self._waiting) >= self._most - 1

    def _call_gatherer(self) -> None:
        if self._gatherer is not None and self._gathered():
            self._gatherer.bell.release()
            self._gatherer = None

    def _take(self, most: int) -> list[_Ticket[_Asked, _Answer]]:
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def _lead(self, own: _Ticket[_Asked, _Answer], group: list[_Ticket[_Asked, _Answer]]) -> None:
        try:
            answers = self._work([ticket.asked for ticket in group])
            for ticket, answer in zip(group, answers, strict=True):
                ticket.answer = answer
                ticket.done = True
        except Exception:
            if len(group) == 1 and group[0] is own:
                raise
        finally:
            if own.leads:
                self._hand_over(own)
            for ticket in group:
                if ticket is not own:
                    ticket.bell.release()

    def _hand_over(self, ticket: _Ticket[_Asked, _Answer]) -> None:
        """Whoever waits first works next."""
        with self._lock:
            ticket.leads = False
            if self._waiting:
                heir = self._waiting.popleft()
                heir.leads = True
                heir.bell.release()
            else:
                self._working = False
