"""What goes wrong between a provider and its service, when a test says so."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Self

from qpu_sdk.testing.proxy import Proxy, Refusal

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType

STATUS_OF_CODE: Final = {
    "cost_cap_exceeded": 422,
    "forbidden": 403,
    "internal": 500,
    "invalid_request": 422,
    "queue_full": 503,
    "quota_exceeded": 429,
    "rate_limited": 429,
    "unauthenticated": 401,
    "unavailable": 503,
}
"""The refusals that :meth:`Faults.refuse_submissions` can give, as the service answers them."""

_SUBMIT: Final = "POST /v1/jobs"


class Faults:
    """A way to a service on which requests are refused, lost and delayed. Nothing is until a test says so.

    Attributes:
        url: an address of the service with the faults in between.
    """

    def __init__(self, service_url: str) -> None:
        """It listens from now on.

        Args:
            service_url: ``unix:/…`` or ``http://…`` on this machine.
        """
        self._course = _Course()
        self._proxy = Proxy(service_url, self._course)
        self.url = self._proxy.url

    def __repr__(self) -> str:
        return f"<Faults at {self.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def requests(self) -> list[str]:
        """Every request that arrived here so far, e.g. ``POST /v1/jobs``, in order."""
        with self._course.lock:
            return list(self._course.requests)

    @property
    def submissions(self) -> int:
        """How many of them submitted a job, repetitions included."""
        return self.requests.count(_SUBMIT)

    def refuse_submissions(
        self, times: int = 1, *, code: str = "unavailable", retry_after_s: float | None = None
    ) -> None:
        """Refuse the next submissions, as the service would: it never hears of them.

        Args:
            times: how many requests; a client that tries again uses them up.
            code: one of :data:`STATUS_OF_CODE`.
            retry_after_s: what the answer says of when to come back.

        Raises:
            ValueError: there is no such code here.
        """
        if code not in STATUS_OF_CODE:
            raise ValueError(f"no refusal {code!r}; there are {', '.join(STATUS_OF_CODE)}")
        with self._course.lock:
            self._course.refusals += [Refusal(STATUS_OF_CODE[code], code, retry_after_s)] * times

    def lose_answers(self, times: int = 1) -> None:
        """Let the next submissions reach the service, and cut the connection instead of answering."""
        with self._course.lock:
            self._course.answers_to_lose += times

    def lose_requests(self, times: int = 1) -> None:
        """Cut the connection of the next submissions before the service hears of them."""
        with self._course.lock:
            self._course.requests_to_lose += times

    def slow_down(self, seconds: float) -> None:
        """Keep every answer back for so long from now on; 0 ends it."""
        self._course.delay_s = seconds

    @contextmanager
    def unreachable(self) -> Generator[None]:
        """In the block nobody answers, and streams of events are cut."""
        self._course.unreachable = True
        self.cut()
        try:
            yield
        finally:
            self._course.unreachable = False

    def cut(self) -> None:
        """Break every connection that is open now."""
        self._proxy.cut()

    def close(self) -> None:
        """Stop listening and break every connection."""
        self._course.ended.set()
        self._proxy.close()


class _Course:
    """What is still to happen, under one lock."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self.requests: list[str] = []
        self.refusals: list[Refusal] = []
        self.answers_to_lose = 0
        self.requests_to_lose = 0
        self.delay_s = 0.0
        self.unreachable = False

    def arrived(self, line: str) -> Refusal | None:
        with self.lock:
            self.requests.append(line)
            if self.unreachable:
                raise ConnectionAbortedError
            if line != _SUBMIT:
                return None
            if self.requests_to_lose:
                self.requests_to_lose -= 1
                raise ConnectionAbortedError
            return self.refusals.pop(0) if self.refusals else None

    def answered(self, line: str) -> None:
        if self.delay_s:
            self.ended.wait(self.delay_s)
        with self.lock:
            if line == _SUBMIT and self.answers_to_lose:
                self.answers_to_lose -= 1
                raise ConnectionAbortedError
