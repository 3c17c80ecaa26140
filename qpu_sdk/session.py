"""Jobs that belong together: a session keeps its qubits between them, a batch is what one asks for at once."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, Self

from pydantic import ValidationError

from qpu_sdk.connection import OfThisProcess
from qpu_sdk.errors import InvalidRequestError
from qpu_sdk.wire.paths import quoted
from qpu_sdk.wire.sessions import SessionDocument, SessionKind, SessionRequest, SessionState

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from qpu_sdk.connection import Connection
    from qpu_sdk.wire.models import BackendDocument


class Connected(Protocol):
    """A backend of this SDK, as far as a session needs to know it."""

    @property
    def document(self) -> BackendDocument:
        """As it is published."""
        ...

    @property
    def connection(self) -> Connection:
        """To its service."""
        ...


class Session(OfThisProcess):
    """An open session. ``with Session(backend) as session: SamplerV2(session).run(…)``.

    From its first job on it holds the region where that ran. Between its jobs nobody else runs there, for which the
    tenant pays, in money and in fair share. It ends when it is closed and its last job has ended, when nothing happened
    for its TTL (wall time; a job that is submitted or ends, or :meth:`touch`, starts it anew), or at its longest.

    Examples:
        >>> with Session(backend, max_cost=5.0) as session:
        ...     first = SamplerV2(session).run([measured], shots=100)
        ...     same = SamplerV2(session).run([measured], shots=100)
        >>> first.wait_for_final_state(), same.wait_for_final_state()
        (None, None)
        >>> first.metering().placement == same.metering().placement
        True
    """

    _KIND: ClassVar[SessionKind] = SessionKind.SESSION

    def __init__(
        self,
        backend: Connected,
        *,
        max_time: float | None = None,
        max_cost: float | None = None,
        ttl_s: float | None = None,
        max_qubits: int | None = None,
        on_failure: str = "continue",
    ) -> None:
        """Open a session.

        Args:
            backend: of this SDK; all jobs of the session run there.
            max_time: wall time in s, from now, for which it takes jobs, however busy it is; ``None`` is the service's
                longest.
            max_cost: in credits, of all its jobs and of what it holds: the service refuses the job that would pass it,
                and lets go of the qubits between jobs once nothing more can be had for it. ``None`` is no limit.
            ttl_s: wall time that it lives without a job or a call; ``None`` is the service's default.
            max_qubits: on a device, how many qubits it may hold, idle ones around its jobs included; ``None`` is all
                that the tenant may still hold.
            on_failure: ``continue``, or ``cancel_rest``: when one of its jobs fails, the service cancels those that
                wait.

        Raises:
            InvalidRequestError: an argument is wrong.
            SessionShareExceededError: the tenant's sessions hold as much of the device as they may.
        """
        connection = getattr(backend, "connection", None)
        if connection is None:
            raise InvalidRequestError(
                f"a session needs a backend of this SDK: provider.backend('eagle127:line-5'); got a "
                f"{type(backend).__name__}",
                field="backend",
            )
        try:
            request = SessionRequest.model_validate(
                {
                    "backend": backend.document.name,
                    "kind": self._KIND,
                    "ttl_s": ttl_s,
                    "max_qubits": max_qubits,
                    "max_time_s": max_time,
                    "max_cost_micro": None if max_cost is None else round(1e6 * max_cost),
                    "on_failure": on_failure,
                }
            )
        except (TypeError, ValueError, OverflowError) as error:
            if not isinstance(error, ValidationError):
                message = f"max_cost is a number of credits, not {max_cost!r}"
                raise InvalidRequestError(message, field="max_cost") from error
            fault = error.errors(include_url=False)[0]
            field = ".".join(map(str, fault["loc"]))
            raise InvalidRequestError(f"{field}: {fault['msg']}", field=field) from error
        body = request.model_dump_json(exclude_none=True).encode()
        self._connection: Connection = connection
        self._document = self._connection.transport.post(
            "/sessions", SessionDocument, body, idempotency_key=f"sdk-{uuid.uuid4()}"
        )
        self._find_backend: Callable[[str], Any] = lambda _: backend

    @classmethod
    def known(cls, document: SessionDocument, connection: Connection, *, find_backend: Callable[[str], Any]) -> Self:
        """A session that exists, as ``provider.sessions()`` gives it."""
        session: Self = object.__new__(cls if document.kind is cls._KIND else _CLASS_OF_KIND[document.kind])
        session._document, session._connection, session._find_backend = document, connection, find_backend
        return session

    @classmethod
    def from_id(cls, session_id: str, backend: Connected) -> Self:
        """The session of that id, e.g. one that another program opened.

        Raises:
            NotFoundError: there is no such session, or it is another tenant's.
        """
        document = backend.connection.transport.get(f"/sessions/{quoted(session_id)}", SessionDocument)
        return cls.known(document, backend.connection, find_backend=lambda _: backend)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} on {self._document.backend}: {self._document.state}>"

    def _repr_html_(self) -> str:
        from qpu_sdk.display.cards import session_html  # noqa: PLC0415 - only when it is shown

        return session_html(self._document)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def id(self) -> str:
        """The session's name on the service."""
        return self._document.id

    @property
    def session_id(self) -> str:
        """The same as :attr:`id`, as Qiskit's own sessions call it."""
        return self._document.id

    def backend(self) -> Any:
        """The :class:`~qpu_sdk.QPUBackend` where its jobs run."""
        return self._find_backend(self._document.backend)

    @property
    def last_known(self) -> SessionDocument:
        """The session as the service told it last; nothing is asked."""
        return self._document

    def document(self) -> SessionDocument:
        """The session as the service tells it now: what it holds, how long it lives, what it has cost so far."""
        if self._document.state is not SessionState.CLOSED:
            self._document = self._connection.transport.get(self._path(), SessionDocument)
        return self._document

    def status(self) -> SessionState:
        """``open``, ``closing`` or ``closed``, now."""
        return self.document().state

    @property
    def region(self) -> list[int] | None:
        """Physical qubits that it holds, or held last; ``None`` before its first job was placed. Asks the service."""
        return self.document().region

    def touch(self) -> None:
        """Keep it alive for another TTL from now.

        Raises:
            SessionClosedError: it is over.
        """
        self._document = self._connection.transport.post(self._path("/touch"), SessionDocument)

    def close(self) -> None:
        """Take no jobs any more. Jobs that wait or run go on, on its qubits; with the last one it ends."""
        if self._document.state is not SessionState.CLOSED:
            self._document = self._connection.transport.delete(self._path(), SessionDocument)

    def cost(self) -> float:
        """In credits, now: what its ended jobs cost, the price of those that wait or run, and what it held so far."""
        document = self.document()
        return (document.spent_micro + document.price_micro) / 1e6

    def _path(self, rest: str = "") -> str:
        return f"/sessions/{quoted(self._document.id)}{rest}"


class Batch(Session):
    """Jobs that one asks for at once. ``with Batch(backend) as batch: SamplerV2(batch).run(…)``.

    It holds no qubits and costs nothing of itself: its jobs run as soon as there is room, beside each other where there
    is. What a batch adds is a cap on what all of them cost, one name to find them by, and what becomes of those that
    wait when one fails.
    """

    _KIND = SessionKind.BATCH


_CLASS_OF_KIND: Final[dict[SessionKind, Any]] = {SessionKind.SESSION: Session, SessionKind.BATCH: Batch}
