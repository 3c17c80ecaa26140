# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""A job on the service: state, result, what it cost. It outlives this object, the provider and the interpreter."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from qiskit.primitives import BasePrimitiveJob
from qiskit.providers import JobStatus, JobV1

from qpu_sdk.awaiting import AioJob
from qpu_sdk.connection import OfThisProcess
from qpu_sdk.display.documents import Metering
from qpu_sdk.display.faces import DrawnJob
from qpu_sdk.errors import (
    IllegalTransitionError,
    JobCancelledError,
    JobFailedError,
    JobNotDoneError,
    NotFoundError,
    QPUJobError,
)
from qpu_sdk.fetching import as_asked, fetch_replay, fetch_result
from qpu_sdk.wire.models import (
    BackendDocument,
    EventPage,
    JobDocument,
    JobState,
    ProgramKind,
    WaitReason,
)
from qpu_sdk.wire.paths import quoted, quoted_backend

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from datetime import datetime

    from qiskit.primitives import PrimitiveResult
    from qiskit.providers import BackendV2
    from qiskit.result import Result

    from qpu_sdk.connection import Connection
    from qpu_sdk.wire.answers import PubOnClient
    from qpu_sdk.wire.models import JobEvent
    from qpu_sdk.wire.results import JobResult
    from qpu_sdk.wire.usage import MeteringRecord

_PROMPT_S: Final = 10.0
"""How long a result is asked for with one held request; a job that takes longer is waited for with all others."""

STATUS_OF_STATE: Final = {
    JobState.QUEUED: JobStatus.QUEUED,
    JobState.RUNNING: JobStatus.RUNNING,
    JobState.DONE: JobStatus.DONE,
    JobState.FAILED: JobStatus.ERROR,
    JobState.CANCELLED: JobStatus.CANCELLED,
}


class QPUJob(DrawnJob, OfThisProcess, JobV1, BasePrimitiveJob[Any, JobStatus]):  # pyright: ignore[reportUntypedBaseClass]
    """A submitted job. Both Qiskit's ``Job`` and its ``PrimitiveJob``.

    Circuit metadata never leaves the client: it is put back on the result of a job that this object submitted, while a
    job fetched later by its id has none. Its results have the shapes of their pubs either way.

    Examples:
        >>> job = backend.run(measured, shots=200)
        >>> sum(job.result().get_counts().values()), job.done()
        (200, True)
        >>> job.metering().price_micro == job.usage_estimate()["price_micro"]
        True
        >>> provider.job(job.job_id()).status()
        <JobStatus.DONE: 'job has successfully run'>
    """

    def __init__(
        self,
        document: JobDocument,
        connection: Connection,
        *,
        find_backend: Callable[[str], BackendV2],
        pubs: Sequence[PubOnClient] = (),
        memory: bool = False,
    ) -> None:
        """Made by ``run`` and by ``provider.job``.

        Args:
            document: the job as the service told it last.
            connection: to the service.
            find_backend: name → backend.
            pubs: what of the pubs stayed on the client.
            memory: whether the result shows every shot.
        """
        JobV1.__init__(self, None, document.id)
        self._document = document
        self._state = document.state  # may be newer than the document: an event told it
        self._connection = connection
        self._find_backend = find_backend
        self._pubs = pubs
        self._memory = memory
        self._result: Any = None

    def __repr__(self) -> str:
        return f"<QPUJob {self._document.id} on {self._document.backend}: {self._state}>"

    # --- what it is ------------------------------------------------------------------------------------------------

    def backend(self) -> BackendV2:
        """The backend the job was sent to."""
        return self._find_backend(self._document.backend)

    @property
    def last_known(self) -> JobDocument:
        """The job as the service told it last; nothing is asked."""
        return self._document

    @property
    def program(self) -> ProgramKind:
        """``circuits``, ``sampler`` or ``estimator``."""
        return self._document.program

    @property
    def tags(self) -> list[str]:
        return list(self._document.tags)

    @property
    def creation_date(self) -> datetime:
        return self._document.created_at

    @property
    def idempotency_key(self) -> str | None:
        """The name of the submission: submitting the same again under it gives this job, not another."""
        return self._document.idempotency_key

    @property
    def session_id(self) -> str | None:
        """The session it is part of."""
        return self._document.session

    @property
    def calibration_id(self) -> str | None:
        """The calibration the job ran with; before it ran, the one it was transpiled against."""
        return self._document.calibration_id

    def submit(self) -> None:
        """Jobs are submitted by ``run``.

        Raises:
            QPUJobError: always.
        """
        raise QPUJobError(f"job {self._document.id} is already submitted")

    # --- how it is doing -------------------------------------------------------------------------------------------

    def document(self) -> JobDocument:
        """The job as the service tells it now; once final it never changes and is not asked for again."""
        if not self._document.state.final:
            self._learn(self._connection.transport.get(self._path(), JobDocument))
        return self._document

    def status(self) -> JobStatus:
        """State now, as Qiskit names it."""
        return STATUS_OF_STATE[self._state if self._state.final else self.document().state]

    def queue(self) -> WaitReason | None:
        """Why the job is not running yet and when it will; ``None`` once it runs.

        Its ``start_in_s`` is ``None`` where there is no estimate, e.g. while the device is paused.
        """
        return self.document().waiting

    def events(self) -> list[JobEvent]:
        """Everything that happened to the job so far, in order."""
        return self._connection.transport.get(self._path("/events"), EventPage, {"after": 0}).events

    def error_message(self) -> str | None:
        """Why the job failed, or ``None``."""
        return self.document().error_message

    def usage_estimate(self) -> dict[str, float]:
        """What the job takes if it completes: device time in s and price in micro-credits (exact)."""
        return {"device_s": self._document.estimated_device_s, "price_micro": self._document.price_micro}

    def metering(self) -> MeteringRecord:
        """What was used and what it cost: final once the job is."""
        return self._connection.transport.get(self._path("/metering"), Metering)

    def properties(self) -> BackendDocument:
        """The device with the calibration the job ran with.

        Raises:
            NotFoundError: the job is of no calibration yet.
        """
        calibration_id = self.document().calibration_id
        if calibration_id is None:
            raise NotFoundError(f"job {self._document.id} has no calibration yet")
        path = f"/backends/{quoted_backend(self._document.backend)}/calibrations/{quoted(calibration_id)}"
        return self._connection.transport.get(path, BackendDocument)

    # --- waiting ---------------------------------------------------------------------------------------------------

    def wait_for_final_state(
        self, timeout: float | None = None, wait: float = 0.0, callback: Callable[..., object] | None = None
    ) -> None:
        """Block until the job is final. Interrupting (Ctrl-C) stops the waiting, not the job.

        Args:
            timeout: in s; ``None`` waits for ever.
            wait: ignored: the service tells us, nothing is polled.
            callback: called as ``callback(job_id, status, job)`` at every event.

        Raises:
            QPUJobTimeoutError: the time is over; the job goes on.
        """
        del wait

        def tell(event: JobEvent) -> None:
            if callback is not None:
                callback(self.job_id(), STATUS_OF_STATE[event.state], self)

        for last in self._connection.events.ends(self.unfinished(), timeout_s=timeout, on_event=tell):
            self.take_note(last)

    def unfinished(self) -> list[str]:
        """Ids of the jobs on the service that it stands for and that are not known to have ended."""
        return [] if self._state.final else [self._document.id]

    def all_ids(self) -> list[str]:
        """Ids of all jobs on the service that it stands for."""
        return [self._document.id]

    def take_note(self, last: JobEvent | JobDocument) -> None:
        """One of these has ended: this is the last that was heard of it."""
        self._state = last.state
        if isinstance(last, JobDocument):
            self._learn(last)

    @property
    def aio(self) -> AioJob:
        """The same, to be awaited: ``await job.aio.result()``."""
        return AioJob(self, self._connection.events, self._connection.aside)

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the job and fetch its result.

        Args:
            timeout: in s; ``None`` waits for ever.

        Returns:
            A ``Result`` for ``backend.run``, a ``PrimitiveResult`` for the primitives.

        Raises:
            JobFailedError: the job failed; the message says why.
            JobCancelledError: it was cancelled.
            QPUJobTimeoutError: the time is over; the job goes on.
        """
        if self._result is None:
            self._result = self._as_asked(self._measured(timeout))
            self._state = JobState.DONE
        return self._result

    def _measured(self, timeout: float | None) -> JobResult:
        """The result. The service answers a short job as soon as it is done; for a long one we listen."""
        prompt_s = 0.0 if self._state.final else min(_PROMPT_S, _PROMPT_S if timeout is None else timeout)
        asked_at = time.monotonic()
        with self._failing():
            try:
                return fetch_result(self._connection.transport, self._document.id, wait_s=prompt_s)
            except JobNotDoneError:
                left_s = None if timeout is None else max(0.0, timeout - (time.monotonic() - asked_at))
            self.wait_for_final_state(left_s)
            return fetch_result(self._connection.transport, self._document.id)

    def replay(self, *, alone: bool = False, timeout: float | None = None) -> Any:
        """Run the job's record once more, free and without device time: what did sharing the chip cost?

        The record is what was executed: circuits in place, seeds, the device as it was, and what neighbours did. The
        result's metadata has ``replay``: with ``exact`` the service computed it with the software that computed the
        result, and the same shots come out; without, only their statistics can be compared.

        Args:
            alone: leave the neighbours out: what the job would have measured without them, with the same seed.
            timeout: in s; ``None`` waits for ever, for the job as well.

        Returns:
            The same as :meth:`result`.

        Raises:
            JobFailedError: the job failed.
            JobCancelledError: it was cancelled.
            QPUJobTimeoutError: the time is over; asked for again, the replay goes on where it is.
        """
        return self._as_asked(self._replayed(alone=alone, timeout=timeout))

    def _replayed(self, *, alone: bool, timeout: float | None) -> JobResult:
        deadline = None if timeout is None else time.monotonic() + timeout
        self.wait_for_final_state(timeout)
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        with self._failing():
            return fetch_replay(self._connection.transport, self._document.id, alone=alone, timeout=left_s)

    def _as_asked(self, result: JobResult) -> Result | PrimitiveResult[Any]:
        return as_asked(result, self._document, self._pubs, self._connection, memory=self._memory)

    @contextmanager
    def _failing(self) -> Generator[None]:
        """That the job failed, said with the reason."""
        try:
            yield
        except (JobFailedError, JobCancelledError):
            raise self._failure() from None

    def _failure(self) -> QPUJobError:
        document = self.document()
        if document.state is JobState.CANCELLED:
            return JobCancelledError(f"job {document.id} was cancelled")
        reason = document.error_message or document.error_code or "the service did not say why"
        return JobFailedError(f"job {document.id} failed: {reason}")

    def cancel(self) -> bool:
        """Ask for cancellation: free while queued; a running batch is never cut, but its result is discarded.

        Returns:
            Whether the job is, or will be, cancelled.
        """
        try:
            latest = self._connection.transport.post(self._path("/cancel"), JobDocument)
        except IllegalTransitionError:
            return False
        self._learn(latest)
        return latest.state not in {JobState.DONE, JobState.FAILED}

    # --- Qiskit's two job interfaces both ask for these ------------------------------------------------------------

    def job_id(self) -> str:
        """The job's name on the service."""
        return self._document.id

    def done(self) -> bool:
        """Whether it completed."""
        return self.status() is JobStatus.DONE

    def running(self) -> bool:
        """Whether it is on the device now."""
        return self.status() is JobStatus.RUNNING

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.status() is JobStatus.CANCELLED

    def in_final_state(self) -> bool:
        """Whether nothing will change any more."""
        return self._state.final or self.document().state.final

    def _learn(self, document: JobDocument) -> None:
        key = document.idempotency_key or self._document.idempotency_key
        self._document = document.model_copy(update={"idempotency_key": key})
        self._state = document.state

    def _path(self, rest: str = "") -> str:
        return f"/jobs/{quoted(self._document.id)}{rest}"
