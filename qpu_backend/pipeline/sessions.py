"""Sessions, from opening to their end: opened and closed by tenants, joined by jobs, ended between jobs.

A session holds its region from the batch of its first job on (see ``commitment.py``), and until it ends. What it held
is priced and posted once, in the transaction that ends it.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from qpu_backend.domain import ledger
from qpu_backend.domain.errors import IdempotencyConflict, InvalidRequest, NotFound
from qpu_backend.domain.lanes import STANDARD
from qpu_backend.domain.quota import Resource, reserve_all
from qpu_backend.domain.sessions import (
    SessionState,
    Term,
    price_of_hold,
    require_affordable,
    require_share,
    room,
)
from qpu_backend.domain.tenancy import TenantId
from qpu_backend.pipeline.endings import end_cancelled
from qpu_backend.pipeline.notices import queue_topic
from qpu_backend.stores import job_states, jobs, money, policies, quota, sessions
from qpu_backend.stores.errors import MissingRow
from qpu_backend.stores.ids import new_id
from qpu_backend.telemetry.logs import logger
from qpu_sdk.wire.codec import digest
from qpu_sdk.wire.sessions import SessionKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from qpu_backend.domain.sessions import SessionPolicy
    from qpu_backend.domain.tenancy import SystemScope, TenantScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.pipeline.fleet import Backend, Fleet
    from qpu_backend.pipeline.notices import NoticeBoard
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.sessions import SessionRow
    from qpu_sdk.wire.sessions import SessionRequest

_FIELD = "options.session"


def join(
    connection: Connection,
    scope: TenantScope,
    session_id: str,
    *,
    backend: str,
    qubits: int | None,
    lane: str,
    weight: int,
    price_micro: int,
    now_us: int,
) -> None:
    """A job becomes part of a session, and keeps it alive; part of the transaction that admits the job.

    Args:
        connection: of that transaction.
        scope: whose job it is.
        session_id: what the job names.
        backend: of the job.
        qubits: on a device, what the job would hold, idle ones around it included; ``None`` on a virtual backend.
        lane: of the job.
        weight: of that lane and the tenant together.
        price_micro: of the job.
        now_us: wall time.

    Raises:
        InvalidRequest: there is no such session of this tenant, or the job is not one for it.
        SessionClosed: it takes no jobs any more.
        SessionCostExceeded: with this job it would cost more than it may.
    """
    row = sessions.lock_session(connection, scope, session_id)
    row = _joinable(connection, scope, row, session_id, backend=backend, qubits=qubits, lane=lane, now_us=now_us)
    _require_affordable(connection, row, price_micro)
    sessions.spend(connection, scope, row.id, price_micro)
    if (row.lane, row.weight) != (lane, weight):
        sessions.set_lane(connection, scope, row.id, lane, weight)
    sessions.set_term(connection, scope, row.id, row.term.prolonged(now_us))


def require_joinable(
    connection: Connection,
    scope: TenantScope,
    session_id: str,
    *,
    backend: str,
    qubits: int | None,
    lane: str,
    price_micro: int,
    now_us: int,
) -> None:
    """Whether a job could :func:`join` a session now; nothing is locked or changed.

    Raises:
        InvalidRequest, SessionClosed, SessionCostExceeded: as there.
    """
    row = sessions.get_session(connection, scope, session_id)
    row = _joinable(connection, scope, row, session_id, backend=backend, qubits=qubits, lane=lane, now_us=now_us)
    _require_affordable(connection, row, price_micro)


def _require_affordable(connection: Connection, row: SessionRow, price_micro: int) -> None:
    if row.max_cost_micro is not None:
        require_affordable(row.id, row.max_cost_micro, row.spent_micro + _price(connection, row), price_micro)


def _joinable(
    connection: Connection,
    scope: TenantScope,
    row: SessionRow | None,
    session_id: str,
    *,
    backend: str,
    qubits: int | None,
    lane: str,
    now_us: int,
) -> SessionRow:
    if row is None:
        raise InvalidRequest(f"you have no session {session_id!r}", field=_FIELD)
    if row.backend != backend:
        raise InvalidRequest(f"session {row.id} is one on {row.backend}, and the job is for {backend}", field=_FIELD)
    unfinished = sessions.unfinished_by_session(connection, scope).get(row.id, 0)
    row.term.require_open(row.id, now_us, unfinished, field=_FIELD)
    if qubits is not None and qubits > row.qubits and row.kind == SessionKind.SESSION:
        raise InvalidRequest(
            f"with the idle qubits around it the job would hold {qubits} qubits, and session {row.id} may hold "
            f"{row.qubits}",
            field=_FIELD,
        )
    if row.lane not in {None, lane}:
        raise InvalidRequest(
            f"session {row.id} is in lane {row.lane!r}, that of its first job; ask for the same", field="options.lane"
        )
    return row


class Sessions:
    """Opens, prolongs and ends sessions. Safe to call from many threads."""

    def __init__(
        self,
        *,
        database: Database,
        scope: SystemScope,
        fleet: Fleet,
        clock: WallClock,
        notices: NoticeBoard,
        policy: SessionPolicy,
    ) -> None:
        self._database = database
        self._scope = scope
        self._fleet = fleet
        self._clock = clock
        self._notices = notices
        self._policy = policy
        self._log = logger("sessions")

    # --- for tenants -----------------------------------------------------------------------------------------------

    def open(self, scope: TenantScope, order: SessionRequest, idempotency_key: str | None = None) -> SessionRow:
        """A new session, or the one that this idempotency key already opened.

        Raises:
            UnknownBackend: there is no such backend.
            SliceRefused: it is a slice that is not open to this principal.
            InvalidRequest: a value of the request is wrong.
            SessionShareExceeded: the tenant's sessions hold as much of the device as they may.
            QuotaExceeded: the tenant has no money left to hold anything with.
            IdempotencyConflict: the key opened a session with which something else was asked for.
        """
        now_us = self._clock.now_us()
        term = Term.begin(self._policy, now_us, _us(order.ttl_s), _us(order.max_time_s))
        asked = digest(order.model_dump_json().encode())
        session_id = _id_of(scope, idempotency_key)
        with self._database.read() as connection:
            backend = self._fleet.backend(connection, order.backend, scope)
            policies.read_standing(connection, scope).policies.require_slice(backend.name.slice)
        self.expire(backend.device_id)  # what is over holds nothing back
        with self._database.write() as connection:
            held = sessions.lock_held_qubits(connection, scope, backend.device_id)
            earlier = sessions.get_session(connection, scope, session_id)
            if earlier is not None:
                if earlier.asked != asked:
                    raise IdempotencyConflict(idempotency_key or "")
                return earlier
            qubits = 0 if order.kind is SessionKind.BATCH else _qubits(backend, order, held)
            reserve_all(quota.read_lines(connection, scope, now_us), {Resource.SPEND_MICRO: 1})
            book = money.current_price_book(connection, now_us)
            if book is None:  # pragma: no cover - bootstrap publishes one
                raise MissingRow("price book", "in force now")
            opened = sessions.NewSession(
                id=session_id,
                tenant_id=scope.tenant_id,
                principal_id=scope.principal_id,
                device_id=backend.device_id,
                backend=order.backend,
                qubits=qubits,
                opened_at_us=now_us,
                ttl_us=term.ttl_us,
                expires_at_us=term.expires_at_us,
                ends_at_us=term.ends_at_us,
                price_book=book.id,
                kind=order.kind,
                on_failure=order.on_failure,
                max_cost_micro=order.max_cost_micro,
                asked=asked,
            )
            sessions.insert_session(connection, scope, opened)
            row = _own(sessions.get_session(connection, scope, session_id), session_id)
        self._log.info("session_opened", tenant=row.tenant_id, session=row.id, backend=row.backend, qubits=row.qubits)
        return row

    def touch(self, scope: TenantScope, session_id: str) -> SessionRow:
        """Keep a session alive for another TTL from now.

        Raises:
            NotFound: the tenant has no such session.
            SessionClosed: it is over.
        """
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            row = _own(sessions.lock_session(connection, scope, session_id), session_id)
            unfinished = sessions.unfinished_jobs(connection, self._scope, row)
            row.term.require_open(row.id, now_us, unfinished)
            sessions.set_term(connection, scope, row.id, row.term.prolonged(now_us))
            return _own(sessions.get_session(connection, scope, session_id), session_id)

    def close(self, scope: TenantScope, session_id: str) -> SessionRow:
        """Take no jobs any more, and end with the last one: at once if there is none. Closing twice is closing once.

        Raises:
            NotFound: the tenant has no such session.
        """
        now_us = self._clock.now_us()
        with self._database.write() as connection:
            row = _own(sessions.lock_session(connection, scope, session_id), session_id)
            ended = False
            if row.term.state is not SessionState.CLOSED:
                sessions.set_term(connection, scope, row.id, row.term.closing(now_us))
                ended = self._end(connection, row, now_us)
            row = _own(sessions.get_session(connection, scope, session_id), session_id)
        if ended:
            self._tell(row, "closed")
        return row

    def price_so_far(self, connection: Connection, row: SessionRow) -> int:
        """Of what a session has held, micro-credits; its price once it is closed."""
        return _price(connection, row) if row.price_micro is None else row.price_micro

    # --- their end -------------------------------------------------------------------------------------------------

    def expire(self, device_id: str) -> int:
        """End the sessions of a device that are over, that reached their cost, or whose tenants have no money left.

        What waits in a session that gives up when a job fails is cancelled before. How many were ended.
        """
        now_us = self._clock.now_us()
        self._give_up(device_id, now_us)
        with self._database.read() as connection:
            opened = sessions.open_sessions(connection, self._scope, device_id)
            over = self._over(connection, opened, now_us)
        return sum(self._expire(device_id, session_id, now_us) for session_id in sorted(over))

    def _over(self, connection: Connection, opened: Iterable[SessionRow], now_us: int) -> set[str]:
        """Those of a device's open sessions that are to end if no job of theirs waits or runs."""
        over = {row.id for row in opened if row.expires_at_us <= now_us or _used_up(connection, row)}
        return over.union(row.id for row in self._unpaid(connection, opened, now_us))

    def _give_up(self, device_id: str, now_us: int) -> None:
        """Cancel what waits in sessions of which a job has failed and that were to end with that."""
        with self._database.read() as connection:
            waiting = sessions.given_up(connection, self._scope, device_id)
        if not waiting:
            return
        with self._database.write() as connection:
            rows = jobs.lock_jobs(connection, self._scope, waiting)  # a leg may have run meanwhile: it is billed
            cancelled = job_states.discard_queued(connection, self._scope, waiting, finished_at_us=now_us)
            ended = [row for row in rows.values() if row.id in cancelled]
            end_cancelled(connection, self._scope, ended, "cancelled: another job of its batch failed", now_us)
        self._notices.ended([(row.tenant_id, row.id) for row in ended])

    def _expire(self, device_id: str, session_id: str, now_us: int) -> bool:
        """One of them, in a transaction of its own: several tenants' limits are never locked together."""
        with self._database.write() as connection:
            row = sessions.lock_open(connection, self._scope, [session_id]).get(session_id)
            if row is None:
                return False  # ended meanwhile
            opened = sessions.open_sessions(connection, self._scope, device_id)
            own = [one for one in opened if one.tenant_id == row.tenant_id]
            if session_id not in self._over(connection, own, now_us):
                return False  # prolonged, or paid for, meanwhile
            if not self._end(connection, row, now_us):
                return False
        why = "closed" if row.ttl_us == 0 else "expired" if row.expires_at_us <= now_us else "money"
        self._tell(row, why)
        return True

    def _unpaid(self, connection: Connection, opened: Iterable[SessionRow], now_us: int) -> list[SessionRow]:
        """The open sessions of tenants and principals that have spent what they may, with what they held so far."""
        together: dict[tuple[str, str], list[SessionRow]] = defaultdict(list)
        for row in opened:
            if row.held_cost:
                together[row.tenant_id, ""].append(row)
                together[row.tenant_id, row.principal_id].append(row)
        unpaid: list[SessionRow] = []
        for (tenant_id, principal_id), rows in together.items():
            free = quota.least_free(connection, self._scope, tenant_id, Resource.SPEND_MICRO, now_us, principal_id)
            if free is not None and sum(_price(connection, row) for row in rows) > free:
                unpaid += rows
        return unpaid

    def _end(self, connection: Connection, row: SessionRow, now_us: int) -> bool:
        """Between jobs: release the region, price what was held, and post it. Whether no job of it waits or runs."""
        if sessions.unfinished_jobs(connection, self._scope, row):
            return False
        price_micro = _price(connection, row)
        sessions.close_session(connection, self._scope, row.id, closed_at_us=now_us, price_micro=price_micro)
        if price_micro:
            charge = ledger.charge(row.id, TenantId(row.tenant_id), price_micro)
            money.insert_postings(connection, self._scope, [charge], posted_at_us=now_us)
            spent = Resource.SPEND_MICRO
            quota.spend(connection, self._scope, row.tenant_id, spent, price_micro, now_us, row.principal_id)
        return True

    def _tell(self, row: SessionRow, why: str) -> None:
        self._log.info("session_closed", tenant=row.tenant_id, session=row.id, why=why, held_us_qubits=row.held_cost)
        self._notices.post([queue_topic(row.device_id)])  # what it held is free


def _own(row: SessionRow | None, session_id: str) -> SessionRow:
    if row is None:
        raise NotFound("session", session_id)
    return row


def _id_of(scope: TenantScope, idempotency_key: str | None) -> str:
    """The same for the same principal and key, so that a request that is repeated opens one session."""
    if idempotency_key is None:
        return new_id("ses")
    return f"ses_{digest(repr((scope.tenant_id, scope.principal_id, idempotency_key)).encode())[:32]}"


def _us(seconds: float | None) -> int | None:
    return None if seconds is None else round(1e6 * seconds)


def _used_up(connection: Connection, row: SessionRow) -> bool:
    """Whether nothing more can be had for what the session may cost."""
    return row.max_cost_micro is not None and row.spent_micro + _price(connection, row) >= row.max_cost_micro


def _price(connection: Connection, row: SessionRow) -> int:
    book = money.read_price_book(connection, row.price_book)
    if book is None:
        raise MissingRow("price book", row.price_book)
    return price_of_hold(book, row.held_cost, row.lane or STANDARD)  # without a lane it has held nothing yet


def _qubits(backend: Backend, order: SessionRequest, held: list[int]) -> int:
    """Of the device, that the session may hold, idle ones around it included."""
    calibrated, shape = backend.calibrated, backend.shape
    share, usable = calibrated.policy.session_share, calibrated.usable_mask.bit_count()
    if shape is None:
        asked = order.max_qubits or room(share, usable, held)
    elif order.max_qubits is not None:
        raise InvalidRequest(
            f"max_qubits is for sessions on a device; one on {order.backend} holds a region of its shape",
            field="max_qubits",
        )
    else:
        asked = shape.usual_qubits_with_buffer if calibrated.policy.buffer else shape.table.regions.shape[1]
    require_share(backend.device_id, share, usable, held, asked)
    return asked
