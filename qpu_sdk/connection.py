"""One tenant's connection to one service: requests, the stream of events, and what the service publishes of itself.

A forked child shares the parent's sockets and has none of its threads, so every connection starts over in it.
"""

from __future__ import annotations

import os
import threading
import uuid
import warnings
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NoReturn, Self
from weakref import WeakSet

from qpu_sdk.awaiting import Aside
from qpu_sdk.errors import BodyTooLargeError, ProtocolError, QPUError
from qpu_sdk.events import JobEvents
from qpu_sdk.journal import Journal
from qpu_sdk.wire.models import WIRE_VERSION, JobDocument, JobRequest, VersionInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from qpu_sdk.credentials import Credentials
    from qpu_sdk.journal import Entry, Submission
    from qpu_sdk.patience import Patience

_OPEN: Final[WeakSet[Connection]] = WeakSet()
"""Connections that a forked child must start over."""


class OfThisProcess:
    """What holds a connection: it can be copied, but not pickled to another process."""

    def __copy__(self) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} holds a connection and cannot be pickled: keep job.job_id(), make a provider "
            "where you need it and use provider.job(id) there"
        )


class Connection:
    """What providers, backends and jobs share. Safe to share between threads."""

    def __init__(
        self, credentials: Credentials, patience: Patience | None = None, journal: Journal | None = None
    ) -> None:
        """Nothing is sent yet.

        Args:
            credentials: of the service and the key.
            patience: time-outs and retries.
            journal: of submissions; ``None`` keeps none.
        """
        # Deferred: httpx brings a command line with it, a tenth of a second that no import of this package should cost.
        from qpu_sdk.transport import Transport  # noqa: PLC0415

        self.transport = Transport(credentials, patience)
        self.events = JobEvents(self.transport)
        self.journal = journal or Journal(None)
        self._aside: Aside | None = None
        self._version: VersionInfo | None = None
        self._principal_id: str | None = None
        self._lock = threading.Lock()
        _OPEN.add(self)

    def __repr__(self) -> str:
        return f"Connection({self.transport.url!r})"

    @property
    def aside(self) -> Aside:
        """Where requests go that are awaited."""
        with self._lock:
            if self._aside is None:
                self._aside = Aside()
            return self._aside

    @property
    def version(self) -> VersionInfo:
        """Versions and limits of the service; asked once.

        Raises:
            ProtocolError: the service does not speak this package's version of the contract.
        """
        with self._lock:
            if self._version is None:
                version = self.transport.get("/version", VersionInfo)
                if WIRE_VERSION not in version.wire_versions:
                    theirs = ", ".join(map(str, version.wire_versions))
                    raise ProtocolError(f"this package speaks contract version {WIRE_VERSION}, the service {theirs}")
                self._version = version
            return self._version

    @property
    def known_version(self) -> str | None:
        """Version of the service, if it was asked before; nothing is asked."""
        return None if self._version is None else self._version.version

    @property
    def principal_id(self) -> str:
        """Whose key this is; asked once."""
        from qpu_sdk.wire.principals import Me  # noqa: PLC0415 - few ask

        if self._principal_id is None:  # of two threads that come here both may ask
            self._principal_id = self.transport.get("/me", Me).principal_id
        return self._principal_id

    def submit(self, request: JobRequest, idempotency_key: str | None = None) -> JobDocument:
        """Submit a job; repeated until there is an answer, and never twice a job."""
        key = idempotency_key or f"sdk-{uuid.uuid4()}"
        with self.submitting([(key, request)]) as (submit,):
            return submit()

    @contextmanager
    def submitting(self, requests: Sequence[tuple[str, JobRequest]]) -> Generator[list[Callable[[], JobDocument]]]:
        """Submissions that belong together, each with its key: all are checked and in the journal before any is sent.

        Gives what submits each. Where the block ends by a refusal, those that were not sent are forgotten; where this
        process ends in it, or the service is lost, they stay in the journal.

        Raises:
            BodyTooLargeError: one has more bytes than the service takes; none is sent.
        """
        bodies = [self._body(key, request) for key, request in requests]
        entries = [
            self.journal.begin(key, body, backend=request.backend, program=request.program.value, tags=request.tags)
            for (key, request), body in zip(requests, bodies, strict=True)
        ]
        forget = True
        try:
            yield [
                partial(self._post, key, body, entry)
                for (key, _), body, entry in zip(requests, bodies, entries, strict=True)
            ]
        except BaseException as error:
            forget = isinstance(error, Exception) and not (isinstance(error, QPUError) and error.in_doubt)
            raise
        finally:
            for entry in entries:
                if entry is not None:
                    entry.end(forget=forget)

    def _body(self, key: str, request: JobRequest) -> bytes:
        body = request.model_dump_json(exclude_none=True).encode()
        limit = self.version.limits.max_body_bytes
        if len(body) > limit:
            raise BodyTooLargeError(f"the job has {len(body)} bytes; the service takes {limit}", idempotency_key=key)
        return body

    def recover(self) -> list[JobDocument]:
        """The jobs of all journalled submissions that nobody is sending; see :meth:`QPUProvider.recover`."""
        found: list[JobDocument] = []
        for submission in self.journal.unfinished():
            try:
                document = self.submit_again(submission)
            except QPUError as error:
                if error.in_doubt:
                    if not found:
                        raise
                    warnings.warn(f"some submissions are still to be recovered: {error.message}", stacklevel=3)
                    break
                warnings.warn(
                    f"the submission to {submission.backend} of {submission.begun_at:%Y-%m-%d %H:%M} UTC made no job, "
                    f"and is refused now: {error.message}",
                    stacklevel=3,
                )
            else:
                if document is not None:
                    found.append(document)
        return found

    def submit_again(self, submission: Submission) -> JobDocument | None:
        """Send a journalled submission again, byte for byte under its key.

        Returns:
            Its job; ``None`` if another thread or process is sending it now, or has had its answer meanwhile.

        Raises:
            QPUError: the service refused it, or could not be asked; then it stays in the journal.
        """
        entry = self.journal.take(submission)
        return None if entry is None else self._post(submission.idempotency_key, entry.body(), entry, again=True)

    def _post(self, key: str, body: bytes, entry: Entry | None, *, again: bool = False) -> JobDocument:
        in_doubt = True
        try:
            job = self.transport.post("/jobs", JobDocument, body, idempotency_key=key, again=again)
            in_doubt = False
        except QPUError as error:
            in_doubt = error.in_doubt
            raise
        finally:
            if entry is not None:
                entry.end(forget=not in_doubt)
        return job if job.idempotency_key else job.model_copy(update={"idempotency_key": key})

    def close(self) -> None:
        """Stop listening and close every connection."""
        _OPEN.discard(self)
        self.events.close()
        if self._aside is not None:
            self._aside.close()
        self.transport.close()

    def start_over(self) -> None:
        """In a forked child: leave the parent's sockets and locks alone and open own ones at the next use."""
        self._lock = threading.Lock()
        self._aside = None  # its threads are the parent's
        self.transport.start_over()
        self.journal.start_over()
        self.events = self.events.anew()


def _start_over_after_fork() -> None:
    for connection in list(_OPEN):
        connection.start_over()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_start_over_after_fork)
