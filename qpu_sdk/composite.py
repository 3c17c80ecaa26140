# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""A job larger than the limits: several jobs on the service behind one handle, with the face of one.

Every part carries two tags, the group's id and its place in the group, so the whole can be found again by the id from
any program: ``provider.job("grp_…")``. All parts are in the journal before the first is sent.
"""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any, Final

from qpu_sdk.errors import (
    CostCapExceededError,
    IllegalTransitionError,
    JobCancelledError,
    JobFailedError,
    NotFoundError,
    QPUError,
    QPUJobError,
)
from qpu_sdk.fetching import fetch_replay, fetch_result
from qpu_sdk.job import QPUJob
from qpu_sdk.search import documents, filters_of
from qpu_sdk.splitting import Begins, join
from qpu_sdk.wire.codec import digest
from qpu_sdk.wire.models import JobDocument, JobState
from qpu_sdk.wire.quotes import QuoteDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qiskit.providers import BackendV2

    from qpu_sdk.connection import Connection
    from qpu_sdk.wire.answers import PubOnClient
    from qpu_sdk.wire.models import JobEvent, JobRequest
    from qpu_sdk.wire.results import JobResult
    from qpu_sdk.wire.usage import MeteringRecord

GROUP_PREFIX: Final = "grp_"
TAGS_OF_A_PART: Final = 2
_PLACE: Final = re.compile(rf"part (\d+)/(\d+) ({'|'.join(Begins)})")


def group_of(principal_id: str, idempotency_key: str) -> str:
    """The id of the group that this principal submits under this key: another's key may be the same word."""
    return f"{GROUP_PREFIX}{digest(repr((principal_id, idempotency_key)).encode())[:32]}"


def group_in(document: JobDocument) -> str | None:
    """The group that a job is part of."""
    if not any(map(_PLACE.fullmatch, document.tags)):
        return None
    return next((tag for tag in document.tags if tag.startswith(GROUP_PREFIX)), None)


class CompositeJob(QPUJob):
    """Several jobs that together are one. What :class:`~qpu_sdk.QPUJob` does, it does for all of them.

    Its result is joined to what one job would have given; what the parts cost is added up, each with its own overhead.
    """

    def __init__(
        self,
        parts: Sequence[JobDocument],
        connection: Connection,
        *,
        find_backend: Callable[[str], BackendV2],
        pubs: Sequence[PubOnClient] = (),
        memory: bool = False,
        cancel_rest: bool = False,
    ) -> None:
        """Made by ``run(..., split=True)`` and by ``provider.job``.

        Args:
            parts: documents of the jobs, in any order.
            connection: to the service.
            find_backend: name → backend.
            pubs: what of the pubs stayed on the client.
            memory: whether the result shows every shot.
            cancel_rest: whether a part that fails cancels the others as soon as whoever waits hears of it.
        """
        placed = sorted(((_placed(document), document) for document in parts), key=lambda one: one[0])
        self._places = [place for place, _ in placed]
        self._parts = [QPUJob(document, connection, find_backend=find_backend) for _, document in placed]
        self._group_id = group_in(placed[0][1]) or ""
        self._cancel_rest = cancel_rest
        super().__init__(self._merged(), connection, find_backend=find_backend, pubs=pubs, memory=memory)

    @classmethod
    def find(cls, group_id: str, connection: Connection, *, find_backend: Callable[[str], BackendV2]) -> CompositeJob:
        """The whole of which jobs on the service are parts.

        Raises:
            NotFoundError: no job of this tenant is part of it.
        """
        tagged = documents(connection, filters_of(tag=group_id))
        found = [document for document in tagged if group_in(document) == group_id]
        if not found:
            raise NotFoundError(f"there is no job {group_id!r}")
        return cls(found, connection, find_backend=find_backend)

    def __repr__(self) -> str:
        return f"<CompositeJob {self._group_id}: {len(self._parts)} jobs on {self._document.backend}, {self._state}>"

    # --- its parts -------------------------------------------------------------------------------------------------

    @property
    def parts(self) -> list[QPUJob]:
        """Its jobs, in order; each has a result of its own, flat and without circuit metadata."""
        return list(self._parts)

    def job_ids(self) -> list[str]:
        """The ids of its jobs on the service, in order."""
        return [part.job_id() for part in self._parts]

    @property
    def missing(self) -> list[int]:
        """Numbers of the parts that were never submitted, because the program ended before."""
        return sorted(set(range(self._places[0][1])) - {number for number, _, _ in self._places})

    # --- how it is doing -------------------------------------------------------------------------------------------

    def document(self) -> JobDocument:
        """All its jobs as the service tells them now, as one; ``state`` is final once that of every job is."""
        if not self._document.state.final:
            for part in self._parts:
                part.document()
            self._learn(self._merged())
        return self._document

    def events(self) -> list[JobEvent]:
        """Everything that happened to its jobs so far, in order; each event names its job."""
        return sorted((event for part in self._parts for event in part.events()), key=lambda event: event.cursor)

    def metering(self) -> MeteringRecord:
        """What its jobs used and cost together; where they ran is asked of each of :attr:`parts`."""
        records = [part.metering() for part in self._parts]
        last = records[-1]
        starts = [record.started_at for record in records if record.started_at is not None]
        return last.model_copy(
            update={
                "job_id": self._group_id,
                "usage_id": None,
                "quote_id": None,
                "state": self._merged_state(),
                "shots": sum(record.shots for record in records),
                "device_us": sum(record.device_us for record in records),
                "footprint_qubits": max(record.footprint_qubits for record in records),
                "price_micro": sum(record.price_micro for record in records),
                "simulator_cpu_us": sum(record.simulator_cpu_us for record in records),
                "result_bytes": sum(record.result_bytes for record in records),
                "placement": None,
                "co_tenants": max((record.co_tenants for record in records if record.co_tenants), default=None),
                "crosstalk_loss": None,
                "seed": records[0].seed,
                "started_at": min(starts, default=None),
            }
        )

    def _where(self) -> MeteringRecord:
        """With the qubits of all its jobs that ran."""
        placed = [record.placement for part in self._parts if (record := part.metering()).placement is not None]
        qubits = sorted({qubit for region in placed for qubit in region}) or None
        return self.metering().model_copy(update={"placement": qubits})

    def cancel(self) -> bool:
        """Ask for cancellation of all its jobs; what has ended stays.

        Returns:
            Whether one of them is, or will be, cancelled: then there will be no joined result.

        Raises:
            QPUError: one could not be asked; all the others were.
        """
        cancelled = self._cancel_each(self._parts)
        self._learn(self._merged())
        return cancelled

    # --- waiting ---------------------------------------------------------------------------------------------------

    def unfinished(self) -> list[str]:
        """Ids of its jobs that are not known to have ended."""
        return [part.job_id() for part in self._parts if not part.last_known.state.final]

    def all_ids(self) -> list[str]:
        """The same as :meth:`job_ids`."""
        return self.job_ids()

    def take_note(self, last: JobEvent | JobDocument) -> None:
        """One of its jobs has ended; if it failed, and that was asked for, the others are cancelled."""
        ended = last.id if isinstance(last, JobDocument) else last.job_id
        (part,) = (part for part in self._parts if part.job_id() == ended)
        if part.document().state is JobState.FAILED and self._cancel_rest:
            self._cancel_each([other for other in self._parts if not other.last_known.state.final])
        self._learn(self._merged())

    @staticmethod
    def _cancel_each(parts: Sequence[QPUJob]) -> bool:
        """Ask each, whatever becomes of the others; whether one is, or will be, cancelled."""
        cancelled, failures = False, list[QPUError]()
        for part in parts:
            try:
                cancelled |= part.cancel()
            except QPUError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return cancelled

    def _measured(self, timeout: float | None) -> JobResult:
        self.wait_for_final_state(timeout)
        self._require_all()
        return self._joined([fetch_result(self._connection.transport, job_id) for job_id in self.job_ids()])

    def _replayed(self, *, alone: bool, timeout: float | None) -> JobResult:
        self.wait_for_final_state(timeout)
        self._require_all()
        transport = self._connection.transport
        return self._joined([fetch_replay(transport, one, alone=alone, timeout=timeout) for one in self.job_ids()])

    def _joined(self, results: Sequence[JobResult]) -> JobResult:
        return join(self._group_id, results, [begins for _, _, begins in self._places])

    def _require_all(self) -> None:
        if self.missing:
            raise QPUJobError(
                f"parts {', '.join(map(str, self.missing))} of {self._places[0][1]} of {self._group_id} were never "
                "submitted: provider.recover() submits them where their program ended; the others keep their results"
            )
        if self._merged_state() is not JobState.DONE:
            raise self._failure()

    def _failure(self) -> QPUJobError:
        lost = [part for part in self._parts if part.last_known.state is not JobState.DONE]
        failed = [part.last_known for part in lost if part.last_known.state is JobState.FAILED]
        kept = len(self._parts) - len(lost)
        rest = f"; {kept} of {len(self._parts)} parts are done and keep their results" if kept else ""
        if not failed:
            names = ", ".join(part.job_id() for part in lost)
            return JobCancelledError(
                f"{names} of {self._group_id} {'was' if len(lost) == 1 else 'were'} cancelled{rest}"
            )
        reasons = "; ".join(f"{one.id} failed: {one.error_message or one.error_code}" for one in failed)
        return JobFailedError(f"{reasons} ({self._group_id}){rest}")

    def _merged_state(self) -> JobState:
        states = {part.last_known.state for part in self._parts}
        if all(state.final for state in states):
            return max(states, key=[JobState.DONE, JobState.CANCELLED, JobState.FAILED].index)
        return JobState.QUEUED if states == {JobState.QUEUED} else JobState.RUNNING

    def _merged(self) -> JobDocument:
        documents = [part.last_known for part in self._parts]
        state = self._merged_state()
        first, last = documents[0], documents[-1]
        key = (first.idempotency_key or "").removesuffix(f"-{self._places[0][0]}") or None
        failed = [one for one in documents if one.state is JobState.FAILED]
        ends = [one.finished_at for one in documents if one.finished_at is not None]
        waits = [one.waiting for one in documents if one.waiting is not None]
        return last.model_copy(
            update={
                "id": self._group_id,
                "state": state,
                "created_at": min(one.created_at for one in documents),
                "finished_at": max(ends) if state.final and ends else None,
                "tags": [tag for tag in first.tags if tag != self._group_id and not _PLACE.fullmatch(tag)],
                "num_circuits": sum(one.num_circuits for one in documents),
                "num_executions": sum(one.num_executions for one in documents),
                "shots": sum(one.shots for one in documents),
                "price_micro": sum(one.price_micro for one in documents),
                "quote_id": None,
                "estimated_device_s": sum(one.estimated_device_s for one in documents),
                "idempotency_key": key,
                "error_code": failed[0].error_code if failed else None,
                "error_message": "; ".join(f"{one.id}: {one.error_message}" for one in failed) or None,
                "legs": sum(one.legs for one in documents),
                "legs_done": sum(one.legs_done for one in documents),
                "waiting": waits[0] if waits and state is JobState.QUEUED else None,
                "replayed": all(one.replayed for one in documents),
            }
        )


def submit_parts(
    requests: Sequence[JobRequest],
    begins: Sequence[Begins],
    connection: Connection,
    *,
    idempotency_key: str | None,
    max_cost_micro: int | None,
    cancel_rest: bool,
) -> list[JobDocument]:
    """Submit the parts, each under a key of its own that follows from the whole's.

    Args:
        requests: one a part, without a price cap.
        begins: how each goes on where the one before ended.
        connection: to the service.
        idempotency_key: of the whole; ``None`` draws one.
        max_cost_micro: of all parts together.
        cancel_rest: whether to cancel what was submitted if a part is refused.

    Raises:
        CostCapExceededError: together they cost more; nothing was submitted.
        QPUError: a part was refused, or the service was lost on the way; a note says what was submitted.
    """
    key = idempotency_key or f"sdk-{uuid.uuid4()}"
    group_id, total = group_of(connection.principal_id, key), len(requests)
    tagged = [
        request.model_copy(update={"tags": [*request.tags, group_id, f"part {number}/{total} {begin}"]})
        for number, (request, begin) in enumerate(zip(requests, begins, strict=True))
    ]
    if max_cost_micro is not None and requests[0].quote is None:
        tagged = _capped(tagged, connection, max_cost_micro)
    done: list[JobDocument] = []
    with connection.submitting([(f"{key}-{number}", request) for number, request in enumerate(tagged)]) as submissions:
        for submit in submissions:
            try:
                done.append(submit())
            except QPUError as error:
                error.idempotency_key = key
                if cancel_rest and not error.in_doubt:
                    error.add_note(f"{len(done)} of {total} parts had been submitted, {_cancelled(done, connection)}.")
                else:
                    error.add_note(
                        f"{len(done)} of {total} parts are submitted: provider.job({group_id!r}). Run the same again "
                        f"with idempotency_key={key!r} to submit the others, and nothing twice."
                    )
                raise
    return done


def _cancelled(parts: Sequence[JobDocument], connection: Connection) -> str:
    """Cancel each, whatever becomes of the others; says what came of it."""
    going_on: list[str] = []
    for document in parts:
        try:
            connection.transport.post(f"/jobs/{document.id}/cancel", JobDocument)
        except IllegalTransitionError:  # it has ended already
            pass
        except QPUError as error:
            going_on.append(f"{document.id} ({error.message})")
    if not going_on:
        return "and are cancelled"
    return f"and are cancelled but for {', '.join(going_on)}: cancel these yourself"


def _capped(requests: list[JobRequest], connection: Connection, max_cost_micro: int) -> list[JobRequest]:
    """The requests with the prices that were promised for them, if these keep to the cap together."""
    quotes = [
        connection.transport.post("/quotes", QuoteDocument, request.model_dump_json(exclude_none=True).encode())
        for request in requests
    ]
    total = sum(quote.price_micro for quote in quotes)
    if total > max_cost_micro:
        raise CostCapExceededError(
            f"in {len(requests)} parts the job costs {total} micro-credits; at most {max_cost_micro} were allowed",
            field="max_cost_micro",
        )
    return [
        request.model_copy(update={"quote": quote.token, "max_cost_micro": quote.price_micro})
        for request, quote in zip(requests, quotes, strict=True)
    ]


def _placed(document: JobDocument) -> tuple[int, int, Begins]:
    match: Any = next(filter(None, map(_PLACE.fullmatch, document.tags)))
    return int(match[1]), int(match[2]), Begins(match[3])
