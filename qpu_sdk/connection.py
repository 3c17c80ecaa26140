"""One tenant's connection to one service: requests, the stream of events, and what the service publishes of itself.

A forked child shares the parent's sockets and has none of its threads, so every connection starts over in it.
"""

from __future__ import annotations

import os
import threading
import uuid
from typing import TYPE_CHECKING, Final, NoReturn, Self
from weakref import WeakSet

from qpu_sdk.errors import BodyTooLargeError, ProtocolError
from qpu_sdk.events import JobEvents
from qpu_sdk.wire.models import WIRE_VERSION, JobDocument, JobRequest, VersionInfo

if TYPE_CHECKING:
    from qpu_sdk.credentials import Credentials
    from qpu_sdk.transport import Patience

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

    def __init__(self, credentials: Credentials, patience: Patience | None = None) -> None:
        """Nothing is sent yet."""
        # Deferred: httpx brings a command line with it, a tenth of a second that no import of this package should cost.
        from qpu_sdk.transport import Transport  # noqa: PLC0415

        self.transport = Transport(credentials, patience)
        self.events = JobEvents(self.transport)
        self._version: VersionInfo | None = None
        self._lock = threading.Lock()
        _OPEN.add(self)

    def __repr__(self) -> str:
        return f"Connection({self.transport.url!r})"

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

    def submit(self, request: JobRequest, idempotency_key: str | None = None) -> JobDocument:
        """Submit a job; repeated until there is an answer, and never twice a job."""
        key = idempotency_key or f"sdk-{uuid.uuid4()}"
        body = request.model_dump_json(exclude_none=True).encode()
        limit = self.version.limits.max_body_bytes
        if len(body) > limit:
            raise BodyTooLargeError(f"the job has {len(body)} bytes; the service takes {limit}", idempotency_key=key)
        job = self.transport.post("/jobs", JobDocument, body, idempotency_key=key)
        return job if job.idempotency_key else job.model_copy(update={"idempotency_key": key})

    def close(self) -> None:
        """Stop listening and close every connection."""
        _OPEN.discard(self)
        self.events.close()
        self.transport.close()

    def start_over(self) -> None:
        """In a forked child: leave the parent's sockets and locks alone and open own ones at the next use."""
        self._lock = threading.Lock()
        self.transport.start_over()
        self.events = self.events.anew()


def _start_over_after_fork() -> None:
    for connection in list(_OPEN):
        connection.start_over()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_start_over_after_fork)
