"""Enqueueing: checked submissions become queued jobs, all that come at the same time in one transaction.

    lock and read for all  →  decide one after the other, each refused or admitted by itself  →  write for all

A group of one is a group: there is no other way into the queue. What one is granted (quota, a place under a limit, a
tag) counts for the next; one that is refused leaves nothing for the next to notice.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, final

from qpu_backend.domain import fairshare
from qpu_backend.domain.errors import CalibrationDrifted, DomainError, UnknownBackend
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.quota import Resource
from qpu_backend.pipeline.combining import Combiner
from qpu_backend.pipeline.policing import Counts
from qpu_backend.pipeline.promising import promise_start
from qpu_backend.pipeline.sessions import join
from qpu_backend.stores import blobs, devices, events, fairness, money, new_jobs, reservations
from qpu_backend.stores.errors import DatabaseBusy, DatabaseTrouble, IdempotencyKeyTaken
from qpu_backend.stores.ids import new_id
from qpu_backend.stores.new_jobs import NewJob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    from qpu_backend.domain.lanes import Lane
    from qpu_backend.domain.legs import Legs
    from qpu_backend.domain.pricing import PriceBook
    from qpu_backend.domain.tenancy import SystemScope, TenantScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.fleet import Fleet
    from qpu_backend.pipeline.prepared import Prepared
    from qpu_backend.pipeline.pricing import Priced, Pricing
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.devices import DeviceRow
    from qpu_backend.stores.jobs import JobRow
    from qpu_backend.stores.policies import Standing
    from qpu_backend.stores.reservations import Reservation
    from qpu_sdk.wire.models import JobRequest

MOST: Final = 32
"""Submissions of one transaction."""
_SEED_BOUND: Final = 2**31
"""Seeds we draw fit every simulator's integer."""


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """A submission that was checked as far as that can be done without a lock.

    Attributes:
        lane: that it gets.
        standing: of the principal, some milliseconds ago.
        raw_digest: of the request's bytes.
    """

    scope: TenantScope
    order: JobRequest
    prepared: Prepared
    lane: Lane
    standing: Standing
    raw_digest: str
    idempotency_key: str | None

    @property
    def weight(self) -> int:
        return self.lane.weight_of(self.standing.tenant.weight)

    @property
    def queue(self) -> fairness.Queue:
        """Where it is tagged."""
        return self.prepared.analysis.backend.device_id, self.scope.tenant_id, self.lane.name

    @property
    def comes_alone(self) -> bool:
        """Whether it locks what comes before quotas: a session, or a device for a promised start."""
        return self.order.options.session is not None or self.lane.promise_us is not None


@dataclass(frozen=True, slots=True)
class _Terms:
    """Under which a submission is admitted, as far as no other one matters."""

    device: DeviceRow
    start_by_us: int | None
    priced: Priced


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """A job to store."""

    submission: Submission
    terms: _Terms
    reservation: Reservation
    legs: Legs | None
    cost: int
    start_tag: int
    finish_tag: int

    def new_job(self, program_sha: str, now_us: int) -> NewJob:
        """The row."""
        submission, order, prepared = self.submission, self.submission.order, self.submission.prepared
        program, footprint, legs = prepared.analysis.program, prepared.footprint, self.legs
        seed = order.options.seed if order.options.seed is not None else secrets.randbelow(_SEED_BOUND)
        return NewJob(
            id=new_id("job"),
            tenant_id=submission.scope.tenant_id,
            principal_id=submission.scope.principal_id,
            device_id=self.terms.device.id,
            backend=order.backend,
            program=order.program.value,
            created_at_us=now_us,
            tags=list(order.tags),
            options=order.options.model_dump(mode="json") | {"drift_policy": order.drift_policy},
            seed=seed,
            calibration_id=order.calibration_id,
            idempotency_key=submission.idempotency_key,
            raw_digest=submission.raw_digest,
            canonical_digest=prepared.canonical_digest,
            program_sha=program_sha,
            footprint=(footprint if legs is None else legs.footprint(footprint, 0)).to_document(),
            legs=None if legs is None else legs.to_document(),
            num_legs=1 if legs is None else legs.number,
            num_circuits=program.num_pubs,
            num_executions=len(program.executions),
            shots=program.shots,
            device_us=prepared.device_us,
            footprint_qubits=prepared.occupied_qubits,
            price_micro=self.terms.priced.price_micro,
            price_book=self.terms.priced.price_book,
            quote_id=self.terms.priced.quote_id,
            max_cost_micro=order.max_cost_micro,
            quota_start=self.reservation,
            start_tag=self.start_tag,
            finish_tag=self.finish_tag,
            fairness_cost=self.cost,
            lane=submission.lane.name,
            start_by_us=self.terms.start_by_us,
            slice=prepared.analysis.backend.name.slice,
            session_id=order.options.session,
        )

    def event(self, job: NewJob) -> events.NewEvent:
        """That it was admitted."""
        note = _drift_note(self.submission.order, self.terms.device)
        return events.NewEvent(job.id, job.tenant_id, "admitted", JobState.QUEUED, job.created_at_us, message=note)


class _Books:
    """What a transaction has locked, as one submission after the other is admitted."""

    def __init__(self, connection: Connection, group: Sequence[Submission], now_us: int) -> None:
        """Lock and read everything that they may share, in the order of the locks."""
        self._scopes = [submission.scope for submission in group]
        self._now_us = now_us
        self._held = reservations.hold(connection, self._scopes, now_us)
        self._counts = Counts([(submission.scope, submission.standing) for submission in group])
        self._counts.lock_rates(connection)
        queues = {submission.queue for submission in group}
        self._tags_before = fairness.lock_finish_tags(connection, self._scopes, queues)
        self._tags = dict(self._tags_before)
        self._counts.read_queues(connection)  # under those locks

    def admit(self, submission: Submission, terms: _Terms) -> _Draft:
        """Grant what the next one needs, or change nothing.

        Raises:
            DomainError: it is refused.
        """
        prepared, weight = submission.prepared, submission.weight
        asked = {
            Resource.SHOTS: prepared.analysis.program.shots,
            Resource.DEVICE_US: prepared.device_us,
            Resource.SPEND_MICRO: terms.priced.price_micro,
        }
        grant = self._held.grant(submission.scope, asked)
        moved = self._counts.require(submission.scope, submission.standing, self._now_us)
        self._counts.count(submission.scope, moved)  # from here on nothing is refused
        reservation = self._held.reserve(grant, asked)
        legs = prepared.legs(submission.order.options.isolation, weight)
        cost = prepared.device_us * prepared.fairness_qubits if legs is None else legs.cost(0)
        previous = self._tags[submission.queue]
        start_tag, finish_tag = fairshare.tag(terms.device.virtual_time, previous, cost, weight)
        self._tags[submission.queue] = finish_tag
        return _Draft(submission, terms, reservation, legs, cost, start_tag, finish_tag)

    def write(self, connection: Connection) -> None:
        """Store what was granted."""
        reservations.write(connection, self._scopes, self._held)
        self._counts.write_rates(connection)
        moved = {queue: tag for queue, tag in self._tags.items() if tag != self._tags_before[queue]}
        fairness.write_finish_tags(connection, self._scopes, moved)


class _NamesTaken(Exception):
    """Jobs of these positions in a group were submitted before, or earlier in it, under the same idempotency keys."""

    def __init__(self, positions: set[int]) -> None:
        super().__init__()
        self.positions = positions


class _NobodyAdmitted(Exception):
    """The transaction has nothing to store."""


@final
class Enqueueing:
    """The way into the queue. Safe to call from many threads."""

    def __init__(
        self, *, database: Database, fleet: Fleet, pricing: Pricing, system: SystemScope, clock: WallClock
    ) -> None:
        self._database = database
        self._fleet = fleet
        self._pricing = pricing
        self._system = system
        self._clock = clock
        self._combiner = Combiner(self.enqueue, MOST)

    def expected(self) -> AbstractContextManager[None]:
        """For as long as this lasts a submission is being checked, and may come."""
        return self._combiner.expected()

    def admit(self, submission: Submission) -> JobRow:
        """Queue a job, together with those that come at the same time.

        Raises:
            DomainError: it is refused.
            IdempotencyKeyTaken: a job was stored before under its key.
            DatabaseTrouble: the database cannot serve now.
        """
        if not submission.comes_alone:
            return self._combiner.ask(submission)
        (answer,) = self.enqueue([submission])
        if isinstance(answer, Exception):
            raise answer
        return answer

    def enqueue(self, group: Sequence[Submission]) -> list[JobRow | Exception]:
        """Queue the jobs of a group, each or its refusal in the order given.

        Raises:
            Exception: nothing was stored, and it may be done again.
        """
        answers: dict[int, JobRow | Exception] = {}
        left: list[int] = list(range(len(group)))
        while left:
            now_us = self._clock.now_us()
            try:
                answers.update(zip(left, self._enqueue([group[one] for one in left], now_us), strict=True))
            except _NamesTaken as taken:  # hardly any submission is a repeat
                for position in taken.positions:
                    answers[left[position]] = IdempotencyKeyTaken(str(group[left[position]].idempotency_key))
            except DatabaseTrouble as trouble:
                if isinstance(trouble, DatabaseBusy):
                    raise
                # Not again: whether the jobs were stored is not known when a connection is lost at the end.
                answers.update((one, type(trouble)(str(trouble))) for one in left)
            left = [one for one in left if one not in answers]
        return [answers[one] for one in range(len(group))]

    def _enqueue(self, group: Sequence[Submission], now_us: int) -> list[JobRow | Exception]:
        refusals: dict[int, Exception] = {}
        rows: list[JobRow] = []
        try:
            with self._database.write() as connection:
                drafts = self._decide(connection, group, refusals, now_us)
                rows = _store(connection, drafts, now_us)
        except _NobodyAdmitted:
            pass
        stored = iter(rows)
        return [refusals[one] if one in refusals else next(stored) for one in range(len(group))]

    def _decide(
        self, connection: Connection, group: Sequence[Submission], refusals: dict[int, Exception], now_us: int
    ) -> dict[int, _Draft]:
        """What to store, by position in the group; all others are refused.

        Raises:
            _NobodyAdmitted: all are; the transaction is given up, so that a session that was joined is as before.
        """
        terms: dict[int, _Terms] = {}
        known = devices.read_devices(connection, {submission.queue[0] for submission in group})
        book = money.current_price_book(connection, now_us)
        for position, submission in enumerate(group):
            try:
                terms[position] = self._terms(connection, submission, known, book, now_us)
            except DomainError as refusal:
                refusals[position] = refusal
        drafts: dict[int, _Draft] = {}
        books = _Books(connection, [group[position] for position in terms], now_us)
        for position, term in terms.items():
            try:
                drafts[position] = books.admit(group[position], term)
            except DomainError as refusal:
                refusals[position] = refusal
        if not drafts:
            raise _NobodyAdmitted
        books.write(connection)
        return drafts

    def _terms(
        self,
        connection: Connection,
        submission: Submission,
        known: Mapping[str, DeviceRow],
        book: PriceBook | None,
        now_us: int,
    ) -> _Terms:
        scope, order, prepared, lane = submission.scope, submission.order, submission.prepared, submission.lane
        device = known.get(prepared.analysis.backend.device_id)
        if device is None:
            raise UnknownBackend(order.backend)
        calibrated = prepared.analysis.backend.calibrated
        start_by_us = promise_start(connection, self._system, self._fleet, lane, calibrated, prepared.device_us)
        require_undrifted(order, device)
        priced = self._pricing.price(connection, scope, order, prepared.work, now_us, book)
        if order.options.session is not None:
            join(
                connection,
                scope,
                order.options.session,
                backend=order.backend,
                qubits=prepared.session_qubits(),
                lane=lane.name,
                weight=submission.weight,
                price_micro=priced.price_micro,
                now_us=now_us,
            )
        return _Terms(device, start_by_us, priced)


def _store(connection: Connection, drafts: Mapping[int, _Draft], now_us: int) -> list[JobRow]:
    scopes = [draft.submission.scope for draft in drafts.values()]
    shas = blobs.put_blobs(connection, [draft.submission.prepared.analysis.body for draft in drafts.values()])
    jobs = [draft.new_job(sha, now_us) for draft, sha in zip(drafts.values(), shas, strict=True)]
    rows = new_jobs.insert_jobs(connection, scopes, jobs, event_seq=1)
    taken = {position for position, row in zip(drafts, rows, strict=True) if row is None}
    if taken:
        raise _NamesTaken(taken)
    admitted = [draft.event(job) for draft, job in zip(drafts.values(), jobs, strict=True)]
    events.append_first(connection, scopes, admitted)
    return [row for row in rows if row is not None]


def require_undrifted(order: JobRequest, device: DeviceRow) -> None:
    """Refuse a job that minds that the device has been calibrated since its circuits were transpiled.

    Raises:
        CalibrationDrifted: it has.
    """
    if order.drift_policy == "refuse" and order.calibration_id not in {None, device.snapshot_id}:
        raise CalibrationDrifted(transpiled=str(order.calibration_id), current=str(device.snapshot_id))


def _drift_note(order: JobRequest, device: DeviceRow) -> str | None:
    if order.calibration_id in {None, device.snapshot_id}:
        return None
    note = f"transpiled against {order.calibration_id}; the device has been calibrated since ({device.snapshot_id})"
    return f"{note}; checked against the former, as asked" if order.drift_policy == "pin" else note
