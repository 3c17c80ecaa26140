# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""The front door: connect to a service, or start one in this process, and get backends, jobs and usage from it.

The server is never imported from here. An installed ``qpu-sdk[server]`` announces its embedded service by the entry
point group ``qpu_sdk.embedded``.
"""

from __future__ import annotations

import difflib
import os
from enum import StrEnum
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, cast

from pydantic import ValidationError

from qpu_sdk.backend import QPUBackend
from qpu_sdk.connection import Connection, OfThisProcess
from qpu_sdk.credentials import find_credentials
from qpu_sdk.errors import BackendNotFoundError, InvalidRequestError, QPUError
from qpu_sdk.job import QPUJob
from qpu_sdk.session import Session
from qpu_sdk.wire.models import (
    BackendDocument,
    BackendKind,
    BackendList,
    BackendSummary,
    JobDocument,
    JobPage,
    JobState,
    VersionInfo,
)
from qpu_sdk.wire.operations import BatchPage
from qpu_sdk.wire.paths import quoted, quoted_backend
from qpu_sdk.wire.sessions import SessionPage
from qpu_sdk.wire.usage import UsageReport

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from qpu_sdk.transport import Patience
    from qpu_sdk.wire.operations import BatchDocument

ChoiceT = TypeVar("ChoiceT", bound=StrEnum)

_PAGE = 100
_NO_SERVER = 'the embedded service is not installed: pip install "qpu-sdk[server]"'


class EmbeddedService(Protocol):
    """What the entry point ``qpu_sdk.embedded`` gives: a whole service in this process."""

    url: str
    token: str

    def create_tenant(self, name: str, *, weight: int = 100, shots_per_day: int | None = None) -> str:
        """Make a tenant and return a token of it."""
        ...

    def calibrate(self, device: str) -> bool:
        """Calibrate a device now; whether it succeeded."""
        ...

    def pass_time(self, device: str, *, hours: float) -> None:
        """Let a device idle for so many hours of its own time."""
        ...

    def close(self) -> None:
        """Stop the service; what was started without a path is removed."""
        ...


class QPUProvider(OfThisProcess):
    """One tenant's way to one service.

    ``QPUProvider()`` takes address and token from the environment or the profile, :meth:`connect` from its arguments,
    :meth:`embedded` starts a service in this process. Close it, or use it in ``with``, to stop what it started.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        profile: str = "default",
        patience: Patience | None = None,
        service: EmbeddedService | None = None,
    ) -> None:
        """Nothing is sent yet.

        Args:
            url: ``https://…``, ``http://`` on loopback, or ``unix:/path``; else ``QPU_URL``, else the profile.
            token: else ``QPU_TOKEN``, else the profile.
            profile: which profile of ``qpu login``.
            patience: time-outs and retries.
            service: a service to close together with this provider.

        Raises:
            CredentialsError: there is no address or no token, or the address is not safe to send a token to.
        """
        self.service = service
        self._pid = os.getpid()
        self._connection = Connection(find_credentials(url, token, profile=profile), patience)

    @classmethod
    def connect(cls, url: str, token: str, *, patience: Patience | None = None) -> Self:
        """A provider for this service and this key."""
        return cls(url, token, patience=patience)

    @classmethod
    def embedded(cls, path: Path | str | None = None, **settings: Any) -> Self:
        """A provider on a service that runs in this process, with nothing to start or configure.

        Args:
            path: folder that keeps its database; ``None`` is a private one that is removed in the end. A second process
                on the same path becomes a client of the first.
            **settings: of the service, e.g. ``workers=2`` or ``devices={"eagle127": {"buffer": 0}}``.

        Raises:
            QPUError: the server part of the package is not installed, or the service refuses these settings.
        """
        service = start_service(path, **settings)
        try:
            return cls(service.url, service.token, service=service)
        except BaseException:
            service.close()
            raise

    def __repr__(self) -> str:
        return f"<QPUProvider on {self._connection.transport.url}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close connections and, if it was started here, the service. Jobs go on and can be fetched later by id."""
        self._connection.close()
        if self.service is not None and os.getpid() == self._pid:  # a forked child does not stop its parent's service
            self.service.close()

    def version(self) -> VersionInfo:
        """Versions and limits of the service."""
        return self._connection.version

    # --- backends --------------------------------------------------------------------------------------------------

    def summaries(self) -> list[BackendSummary]:
        """One line per backend: size, state, queue."""
        return self._connection.transport.get("/backends", BackendList).backends

    def backends(
        self, name: str | None = None, *, min_num_qubits: int | None = None, kind: BackendKind | str | None = None
    ) -> list[QPUBackend]:
        """All backends that this tenant may use and that fit: devices, and the usual shapes on them.

        Args:
            name: only the backend of that name, which may be any shape, e.g. ``eagle127:tee-4-3-1``.
            min_num_qubits: at least that many qubits.
            kind: ``device`` or ``virtual``.

        Raises:
            InvalidRequestError: there is no such kind.
        """
        wanted_kind = _one_of(BackendKind, kind, "kind")

        def fitting(each: BackendSummary | BackendDocument) -> bool:
            return each.num_qubits >= (min_num_qubits or 0) and (wanted_kind is None or each.kind is wanted_kind)

        if name is None:
            return [self.backend(summary.name) for summary in self.summaries() if fitting(summary)]
        try:
            backend = self.backend(name)
        except BackendNotFoundError:
            return []
        return [backend] if fitting(backend.document) else []

    def backend(self, name: str) -> QPUBackend:
        """The backend of that name.

        Raises:
            BackendNotFoundError: there is none; the message says why and names similar ones.
        """
        try:
            document = self._connection.transport.get(f"/backends/{quoted_backend(name)}", BackendDocument)
        except BackendNotFoundError as error:
            names = [summary.name for summary in self.summaries()]
            near = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names
            hint = f"{error.message}; did you mean {', '.join(near)}?" if near else str(error.message)
            raise BackendNotFoundError(
                hint, status_code=error.status_code, request_id=error.request_id, field="backend"
            ) from error
        return QPUBackend(document, self._connection, provider=self)

    def get_backend(self, name: str) -> QPUBackend:
        """The same as :meth:`backend`, as older providers call it."""
        return self.backend(name)

    def least_busy(self, min_num_qubits: int | None = None, *, kind: BackendKind | str | None = None) -> QPUBackend:
        """The working backend with the fewest jobs before yours; among equals the smallest that fits, lines first.

        Raises:
            BackendNotFoundError: none fits.
            InvalidRequestError: there is no such kind.
        """
        wanted_kind = _one_of(BackendKind, kind, "kind")
        fitting = [
            summary
            for summary in self.summaries()
            if summary.operational
            and summary.num_qubits >= (min_num_qubits or 0)
            and (wanted_kind is None or summary.kind is wanted_kind)
        ]
        if not fitting:
            raise BackendNotFoundError(f"no working backend has {min_num_qubits or 0} qubits or more", field="backend")
        best = min(fitting, key=lambda summary: (summary.pending_jobs, summary.num_qubits, summary.device))
        return self.backend(best.name)

    # --- sessions --------------------------------------------------------------------------------------------------

    def session(
        self, backend: QPUBackend | str, *, ttl_s: float | None = None, max_qubits: int | None = None
    ) -> Session:
        """Open a session on a backend; see :meth:`QPUBackend.session`."""
        opened = backend if isinstance(backend, QPUBackend) else self.backend(backend)
        return opened.session(ttl_s=ttl_s, max_qubits=max_qubits)

    def sessions(self, *, open_only: bool = True, limit: int | None = 20) -> list[Session]:
        """The tenant's sessions, newest first, from whichever program they were opened.

        Args:
            open_only: not those that are closed.
            limit: at most that many; ``None`` fetches all, page by page.
        """
        found: list[Session] = []
        cursor: str | None = None
        while limit is None or len(found) < limit:
            size = _PAGE if limit is None else min(_PAGE, limit - len(found))
            asked = {"open": str(open_only).lower(), "cursor": cursor, "limit": size}
            page = self._connection.transport.get("/sessions", SessionPage, asked)
            found.extend(
                Session.known(document, self._connection, find_backend=self.backend) for document in page.sessions
            )
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    # --- jobs ------------------------------------------------------------------------------------------------------

    def jobs(
        self,
        *,
        state: JobState | str | None = None,
        backend: QPUBackend | str | None = None,
        tag: str | None = None,
        limit: int | None = 20,
    ) -> list[QPUJob]:
        """The tenant's jobs, newest first.

        Args:
            state: only jobs in that state.
            backend: only jobs on that backend.
            tag: only jobs with that tag.
            limit: at most that many; ``None`` fetches all, page by page.

        Raises:
            InvalidRequestError: there is no such state.
        """
        filters = {
            "state": _one_of(JobState, state, "state"),
            "backend": backend.name if isinstance(backend, QPUBackend) else backend,
            "tag": tag,
        }
        found: list[QPUJob] = []
        cursor: str | None = None
        while limit is None or len(found) < limit:
            size = _PAGE if limit is None else min(_PAGE, limit - len(found))
            page = self._connection.transport.get("/jobs", JobPage, {**filters, "cursor": cursor, "limit": size})
            found.extend(self._job(document) for document in page.jobs)
            cursor = page.next_cursor
            if cursor is None:
                break
        return found

    def job(self, job_id: str) -> QPUJob:
        """A job by its id, from whichever program it was submitted.

        Raises:
            NotFoundError: there is no such job, or it is another tenant's.
        """
        return self._job(self._connection.transport.get(f"/jobs/{quoted(job_id)}", JobDocument))

    def batches(self, device: str, *, limit: int = 20) -> list[BatchDocument]:
        """The last batches of a device with everybody in them, newest first. For operators.

        Raises:
            ForbiddenError: the key is not an operator's.
        """
        path = f"/operations/{quoted(device)}/batches"
        return self._connection.transport.get(path, BatchPage, {"limit": limit}).batches

    def usage(self) -> UsageReport:
        """What the tenant used and paid, and what its quotas leave."""
        return self._connection.transport.get("/usage", UsageReport)

    def _job(self, document: JobDocument) -> QPUJob:
        return QPUJob(document, self._connection, find_backend=self.backend)


def start_service(path: Path | str | None = None, **settings: Any) -> EmbeddedService:
    """Start the embedded service by its entry point.

    Raises:
        QPUError: the server part of the package is not installed, or the service refuses these settings.
    """
    points = entry_points(group="qpu_sdk.embedded")
    if not points:
        raise QPUError(_NO_SERVER)
    try:
        kind: Any = next(iter(points)).load()
    except ModuleNotFoundError as error:
        raise QPUError(f"{_NO_SERVER} ({error})") from error
    try:
        return cast("EmbeddedService", kind.start(None if path is None else str(path), **settings))
    except QPUError:
        raise
    except Exception as error:  # another package's: what it raises for what is its own affair
        raise QPUError(f"the embedded service does not start: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
    return f"{type(error).__name__}: {error}"


def _one_of(kind: type[ChoiceT], value: str | None, field: str) -> ChoiceT | None:
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(kind)
        raise InvalidRequestError(f"there is no {field} {value!r}; it is one of {allowed}", field=field) from None
