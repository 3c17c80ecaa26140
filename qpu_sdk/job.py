# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""A job on the service: state, result, what it cost. It outlives this object, the provider and the interpreter."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from qiskit.primitives import BasePrimitiveJob, PrimitiveResult
from qiskit.providers import JobStatus, JobV1

from qpu_sdk import display
from qpu_sdk.connection import OfThisProcess
from qpu_sdk.errors import (
    IllegalTransitionError,
    JobCancelledError,
    JobFailedError,
    JobNotDoneError,
    NotFoundError,
    ProtocolError,
    QPUJobError,
    QPUJobTimeoutError,
    ReplayNotDoneError,
)
from qpu_sdk.wire.answers import to_estimator_result, to_result, to_sampler_result
from qpu_sdk.wire.codec import digest
from qpu_sdk.wire.models import (
    RESULT_MEDIA_TYPE,
    BackendDocument,
    EventPage,
    JobDocument,
    JobState,
    ProgramKind,
    WaitReason,
)
from qpu_sdk.wire.paths import quoted, quoted_backend
from qpu_sdk.wire.replays import ReplayRequest
from qpu_sdk.wire.results import decode_result
from qpu_sdk.wire.usage import MeteringRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from qiskit.providers import BackendV2
    from qiskit.result import Result

    from qpu_sdk.connection import Connection
    from qpu_sdk.wire.answers import PubOnClient
    from qpu_sdk.wire.models import JobEvent

_REPLAY_S: Final = 20.0
"""How long one request for a replay is held."""
_PROMPT_S: Final = 10.0
"""How long a result is asked for with one held request; a job that takes longer is waited for with all others."""

STATUS_OF_STATE: Final = {
    JobState.QUEUED: JobStatus.QUEUED,
    JobState.RUNNING: JobStatus.RUNNING,
    JobState.DONE: JobStatus.DONE,
    JobState.FAILED: JobStatus.ERROR,
    JobState.CANCELLED: JobStatus.CANCELLED,
}


class QPUJob(OfThisProcess, JobV1, BasePrimitiveJob[Any, JobStatus]):  # pyright: ignore[reportUntypedBaseClass]
    """A submitted job. Both Qiskit's ``Job`` and its ``PrimitiveJob``.

    Circuit metadata never leaves the client: it is put back on the result of a job that this object submitted, while a
    job fetched later by its id has none, and its results keep the flat order of bindings.
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

    def _repr_html_(self) -> str:
        return display.job_html(self._document)

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
        return self._connection.transport.get(self._path("/metering"), MeteringRecord)

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
        if self._state.final:
            return

        def tell(event: JobEvent) -> None:
            self._state = event.state
            if callback is not None:
                callback(event.job_id, STATUS_OF_STATE[event.state], self)

        last = self._connection.events.wait(self._document.id, timeout_s=timeout, on_event=tell)
        self._state = last.state
        if isinstance(last, JobDocument):
            self._learn(last)

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
            self._result = self._decoded(self._fetch_result(timeout))
            self._state = JobState.DONE
        return self._result

    def _fetch_result(self, timeout: float | None) -> bytes:
        """The result's bytes. The service answers a short job as soon as it is done; for a long one we listen."""
        prompt_s = 0.0 if self._state.final else min(_PROMPT_S, _PROMPT_S if timeout is None else timeout)
        asked_at = time.monotonic()
        try:
            body, etag = self._get_result(wait_s=prompt_s)
        except JobNotDoneError:
            left_s = None if timeout is None else max(0.0, timeout - (time.monotonic() - asked_at))
            self.wait_for_final_state(left_s)
            body, etag = self._get_result()
        self._check_intact(body, etag)
        return body

    def _check_intact(self, body: bytes, etag: str | None) -> None:
        if etag is not None and etag != digest(body):
            raise ProtocolError(f"the result of {self._document.id} was damaged on its way: SHA-256 and ETag differ")

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
        deadline = None if timeout is None else time.monotonic() + timeout
        self.wait_for_final_state(timeout)
        request = ReplayRequest(alone=alone).model_dump_json().encode()
        while True:
            left_s = _REPLAY_S if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                body, etag = self._connection.transport.post_for_bytes(
                    self._path("/replay"), RESULT_MEDIA_TYPE, request, wait_s=min(left_s, _REPLAY_S)
                )
            except (JobFailedError, JobCancelledError):
                raise self._failure() from None
            except ReplayNotDoneError as error:
                if deadline is not None and time.monotonic() >= deadline:
                    raise QPUJobTimeoutError(f"no replay of {self._document.id} within {timeout} s") from error
                time.sleep(min(left_s, error.retry_after_s or 0.0))
                continue
            self._check_intact(body, etag)
            return self._decoded(body)

    def _get_result(self, *, wait_s: float = 0.0) -> tuple[bytes, str | None]:
        try:
            return self._connection.transport.get_bytes(self._path("/result"), RESULT_MEDIA_TYPE, wait_s=wait_s)
        except (JobFailedError, JobCancelledError):
            raise self._failure() from None

    def _decoded(self, body: bytes) -> Result | PrimitiveResult[Any]:
        result = decode_result(body)
        match result.program:
            case ProgramKind.SAMPLER:
                return to_sampler_result(result, self._pubs)
            case ProgramKind.ESTIMATOR:
                return to_estimator_result(result, self._pubs)
            case ProgramKind.CIRCUITS:
                return to_result(
                    result,
                    self._pubs,
                    backend_name=self._document.backend,
                    backend_version=self._connection.version.version,
                    memory=self._memory,
                    date=self._document.created_at,
                )

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
