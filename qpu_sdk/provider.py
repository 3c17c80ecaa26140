# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""The front door: connect to a service, or start one in this process, and get backends, jobs and usage from it."""

from __future__ import annotations

import difflib
import os
from typing import TYPE_CHECKING, Any, Literal, Self

from qiskit.circuit import QuantumCircuit

from qpu_sdk.backend import QPUBackend
from qpu_sdk.composite import GROUP_PREFIX, CompositeJob, group_in
from qpu_sdk.connection import Connection, OfThisProcess
from qpu_sdk.credentials import find_credentials
from qpu_sdk.display.documents import Usage
from qpu_sdk.embedding import start_service
from qpu_sdk.errors import BackendNotFoundError
from qpu_sdk.job import QPUJob
from qpu_sdk.journal import Journal
from qpu_sdk.recommending import primitive_for
from qpu_sdk.search import documents, filters_of, one_of
from qpu_sdk.session import Session
from qpu_sdk.wire.invoices import InvoiceDocument, InvoicePage
from qpu_sdk.wire.models import (
    BackendDocument,
    BackendKind,
    BackendList,
    BackendSummary,
    JobDocument,
    JobState,
    VersionInfo,
)
from qpu_sdk.wire.operations import BatchPage
from qpu_sdk.wire.paths import quoted, quoted_backend
from qpu_sdk.wire.sessions import SessionPage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime
    from pathlib import Path
    from types import TracebackType

    from qpu_sdk.awaiting import Aside
    from qpu_sdk.embedding import EmbeddedService
    from qpu_sdk.journal import Submission
    from qpu_sdk.patience import Patience
    from qpu_sdk.quotes import Quote
    from qpu_sdk.wire.invoices import InvoiceSummary
    from qpu_sdk.wire.operations import BatchDocument
    from qpu_sdk.wire.principals import Me
    from qpu_sdk.wire.usage import UsageReport

_PAGE = 100


class AioProvider:
    """A provider, awaited: ``provider.aio``. Its methods are those of the provider itself."""

    def __init__(self, provider: QPUProvider, aside: Aside) -> None:
        """Made by ``provider.aio``."""
        self.backend = aside(provider.backend)
        self.backends = aside(provider.backends)
        self.least_busy = aside(provider.least_busy)
        self.job = aside(provider.job)
        self.jobs = aside(provider.jobs)
        self.recover = aside(provider.recover)
        self.session = aside(provider.session)
        self.usage = aside(provider.usage)


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
        journal: Path | str | bool = True,
    ) -> None:
        """Nothing is sent yet.

        Args:
            url: ``https://…``, ``http://`` on loopback, or ``unix:/path``; else ``QPU_URL``, else the profile.
            token: else ``QPU_TOKEN``, else the profile.
            profile: which profile of ``qpu login``.
            patience: time-outs and retries.
            service: a service to close together with this provider.
            journal: where submissions are written down until they are answered; see :class:`~qpu_sdk.journal.Journal`.

        Raises:
            CredentialsError: there is no address or no token, or the address is not safe to send a token to.
        """
        self.service = service
        self._pid = os.getpid()
        credentials = find_credentials(url, token, profile=profile)
        self._connection = Connection(credentials, patience, Journal.of(credentials, journal))

    @classmethod
    def connect(
        cls, url: str, token: str, *, patience: Patience | None = None, journal: Path | str | bool = True
    ) -> Self:
        """A provider for this service and this key."""
        return cls(url, token, patience=patience, journal=journal)

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
            return cls(service.url, service.token, service=service, journal=path is not None)
        except BaseException:
            service.close()
            raise

    def __repr__(self) -> str:
        return f"<QPUProvider on {self._connection.transport.url}>"

    def _repr_html_(self) -> str:
        from qpu_sdk.display.cards import provider_html  # noqa: PLC0415 - only when it is shown

        return provider_html(self._connection.transport.url, self._connection.known_version)

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

    @property
    def aio(self) -> AioProvider:
        """The same, to be awaited: ``job = await provider.aio.job(job_id)``."""
        return AioProvider(self, self._connection.aside)

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
        wanted_kind = one_of(BackendKind, kind, "kind")

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
        wanted_kind = one_of(BackendKind, kind, "kind")
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

    def session(self, backend: QPUBackend | str, **asked: Any) -> Session:
        """Open a session on a backend; see :meth:`QPUBackend.session`."""
        opened = backend if isinstance(backend, QPUBackend) else self.backend(backend)
        return opened.session(**asked)

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
        state: JobState | str | Sequence[str] | None = None,
        backend: QPUBackend | str | None = None,
        tag: str | Sequence[str] | None = None,
        session: Session | str | None = None,
        program: str | None = None,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        limit: int | None = 20,
    ) -> list[QPUJob]:
        """The tenant's jobs, newest first.

        Args:
            state: only jobs in that state, or in one of several.
            backend: only jobs on that backend.
            tag: only jobs with that tag, or with all of several.
            session: only jobs of that session or batch, or of that id.
            program: only ``circuits``, ``sampler`` or ``estimator``.
            created_after: submitted then or later; of this machine's zone where it names none.
            created_before: submitted before.
            limit: at most that many; ``None`` fetches all, page by page.

        Raises:
            InvalidRequestError: there is no such state or program.
            BackendNotFoundError: there is no such backend.
        """
        filters = filters_of(
            state=state,
            backend=backend,
            tag=tag,
            session=session,
            program=program,
            created_after=created_after,
            created_before=created_before,
        )
        return [self._job(document) for document in documents(self._connection, filters, limit=limit)]

    def jobs_iter(self, *, limit: int | None = None, **filters: Any) -> Iterator[QPUJob]:
        """The same as :meth:`jobs`, one after the other: a page is fetched when its first job is asked for.

        Args:
            limit: at most that many.
            **filters: of :meth:`jobs`.
        """
        asked = filters_of(**filters)  # a wrong one is told here, not at the first job
        return map(self._job, documents(self._connection, asked, limit=limit))

    def job(self, job_id: str) -> QPUJob:
        """A job by its id, from whichever program it was submitted; the id of a split job gives the whole of it.

        Raises:
            NotFoundError: there is no such job, or it is another tenant's.
        """
        if job_id.startswith(GROUP_PREFIX):
            return CompositeJob.find(job_id, self._connection, find_backend=self.backend)
        return self._job(self._connection.transport.get(f"/jobs/{quoted(job_id)}", JobDocument))

    def unfinished_submissions(self) -> list[Submission]:
        """Submissions of this key, from whichever program, that were never answered: oldest first, nothing is sent.

        Those that another program is sending at this moment are among them, and say so.
        """
        return self._connection.journal.unfinished()

    def recover(self) -> list[QPUJob]:
        """The jobs of :meth:`unfinished_submissions`: each is sent again, byte for byte under its idempotency key.

        Where the first sending had arrived, this gives its job; where it had not, it is submitted now, at its price.
        Either way it is one job. What the service refuses by now is told in a warning and forgotten: there is no job
        of it.

        Returns:
            The jobs, oldest submission first, as :meth:`job` would give them; of a split job the whole, once.

        Raises:
            QPUError: the service cannot be asked; everything is still there for the next time.
        """
        found: dict[str, JobDocument] = {}
        for document in self._connection.recover():
            found.setdefault(group_in(document) or document.id, document)
        return [self.job(name) if name != document.id else self._job(document) for name, document in found.items()]

    def batches(self, device: str, *, limit: int = 20) -> list[BatchDocument]:
        """The last batches of a device with everybody in them, newest first. For operators.

        Raises:
            ForbiddenError: the key is not an operator's.
        """
        path = f"/operations/{quoted(device)}/batches"
        return self._connection.transport.get(path, BatchPage, {"limit": limit}).batches

    def quote(self, backend: QPUBackend | str, pubs: Any, **options: Any) -> Quote:
        """What a job would cost, its device time, and when it would start; nothing is submitted or stored.

        Args:
            backend: where it would run.
            pubs: circuits, as ``backend.run`` takes them; or pubs, as the sampler or the estimator do.
            **options: of ``backend.run``, or of that primitive.
        """
        where = backend if isinstance(backend, QPUBackend) else self.backend(backend)
        several: list[Any] = [pubs] if isinstance(pubs, QuantumCircuit | tuple) else list(pubs)
        if all(isinstance(one, QuantumCircuit) for one in several):
            return where.quote(several, **options)
        return primitive_for(several)(where, options=options).quote(several)

    def invoices(self, *, limit: int = 20) -> list[InvoiceSummary]:
        """The invoices that were issued, the newest month first, for those whose role may read them."""
        return self._connection.transport.get("/invoices", InvoicePage, {"limit": limit}).invoices

    def invoice(self, month: str) -> InvoiceDocument:
        """The invoice of a month of UTC, ``2026-11``; a preview where there is none yet."""
        return self._connection.transport.get(f"/invoices/{quoted(month)}", InvoiceDocument)

    def usage(self, *, by: Literal["principal", "tag"] | None = None, cursor: str | None = None) -> UsageReport:
        """What the tenant used and paid, and what its quotas leave.

        Args:
            by: also what each principal used, for who may know it, or the jobs of each tag.
            cursor: of the next page of these.
        """
        asked = {name: value for name, value in (("by", by), ("cursor", cursor)) if value is not None}
        return self._connection.transport.get("/usage", Usage, params=asked)

    def me(self) -> Me:
        """Whose key this is, what it may do, and what limits it."""
        from qpu_sdk.wire.principals import Me  # noqa: PLC0415 - few ask

        return self._connection.transport.get("/me", Me)

    def _job(self, document: JobDocument) -> QPUJob:
        return QPUJob(document, self._connection, find_backend=self.backend)
