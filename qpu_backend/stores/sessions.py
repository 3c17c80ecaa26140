"""Sessions: whose they are, how long they last, what region they hold and what that has cost so far.

Rows are changed under their own lock, so a job that joins a session and the end of that session exclude each other.
``domain/sessions.py`` has the rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import (
    BigInteger,
    Connection,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    select,
    tuple_,
    update,
)

from qpu_backend.domain.sessions import Term
from qpu_backend.stores.cursors import CURSOR, page_of
from qpu_backend.stores.errors import ForeignTenant, InvalidCursor
from qpu_backend.stores.expressions import insert_ignoring
from qpu_backend.stores.rows import columns_of, parameters_of
from qpu_backend.stores.schema import jobs, sessions
from qpu_backend.stores.schema_access import tenants

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from qpu_backend.domain.tenancy import SystemScope, TenantScope


@dataclass(frozen=True, slots=True)
class NewSession:
    """A session as it is opened: without a job, and so without a region.

    Attributes:
        qubits: of the device that it may hold, idle ones around it included.
        ttl_us, expires_at_us, ends_at_us: see :class:`qpu_backend.domain.sessions.Term`.
        price_book: in force now.
        kind: ``session``, or ``batch``: one that never holds anything.
        on_failure: ``continue``, or ``cancel_rest``: when a job of it fails, those that wait are cancelled.
        max_cost_micro: of all its jobs and what it holds.
        asked: digest of what it is opened with.
    """

    id: str
    tenant_id: str
    principal_id: str
    device_id: str
    backend: str
    qubits: int
    opened_at_us: int
    ttl_us: int
    expires_at_us: int
    ends_at_us: int
    price_book: str
    kind: str = "session"
    on_failure: str = "continue"
    max_cost_micro: int | None = None
    asked: str | None = None


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session.

    Attributes:
        region: physical qubits that it holds, or held last; ``None`` before its first job was placed.
        lane: of all its jobs; ``None`` before the first.
        weight: of that lane and its tenant together.
        held_cost: what it kept and nobody used, µs · qubit.
        price_micro: of that; ``None`` until it is closed.
        spent_micro: what its ended jobs cost, and the prices of those that wait or run.
    """

    id: str
    tenant_id: str
    principal_id: str
    device_id: str
    backend: str
    qubits: int
    opened_at_us: int
    ttl_us: int
    expires_at_us: int
    ends_at_us: int
    closed_at_us: int | None
    region: list[int] | None
    lane: str | None
    weight: int | None
    held_cost: int
    price_book: str
    price_micro: int | None
    kind: str
    on_failure: str
    max_cost_micro: int | None
    spent_micro: int
    asked: str | None

    @property
    def term(self) -> Term:
        return Term(self.ttl_us, self.expires_at_us, self.ends_at_us, self.closed_at_us)


@dataclass(frozen=True, slots=True)
class SessionTotals:
    """Sums over closed sessions."""

    sessions: int
    held_cost: int
    price_micro: int


# --- for a tenant -------------------------------------------------------------------------------------------------


def insert_session(connection: Connection, scope: TenantScope, session: NewSession) -> bool:
    """Store a session. Whether it is new, or one of that id was there.

    Raises:
        ForeignTenant: it names another tenant or principal than the scope.
    """
    if (session.tenant_id, session.principal_id) != (scope.tenant_id, scope.principal_id):
        raise ForeignTenant(f"session {session.id} names {session.tenant_id}/{session.principal_id}")
    return connection.execute(_INSERT, _parameters(session)).rowcount == 1


def get_session(connection: Connection, scope: TenantScope, session_id: str) -> SessionRow | None:
    """The tenant's session of that id; somebody else's is ``None`` like one that never was."""
    row = connection.execute(_GET, {"session": session_id, "tenant": scope.tenant_id}).one_or_none()
    return None if row is None else SessionRow(*row)


def lock_session(connection: Connection, scope: TenantScope, session_id: str) -> SessionRow | None:
    """As :func:`get_session`, and nothing about it changes until this transaction has ended."""
    row = connection.execute(_LOCK, {"session": session_id, "tenant": scope.tenant_id}).one_or_none()
    return None if row is None else SessionRow(*row)


def list_sessions(
    connection: Connection,
    scope: TenantScope,
    *,
    open_only: bool = False,
    cursor: str | None = None,
    limit: int = 100,
) -> tuple[list[SessionRow], str | None]:
    """A page of the tenant's sessions, newest first, and the cursor of the next page, ``None`` on the last.

    Raises:
        InvalidCursor: the cursor is not one that a page before this gave out.
    """
    query = _NEWEST.where(_OPEN) if open_only else _NEWEST
    values: dict[str, object] = {"tenant": scope.tenant_id, "limit": limit + 1}
    if cursor is not None:
        last = get_session(connection, scope, cursor)
        if last is None:
            raise InvalidCursor
        query = query.where(_OLDER)
        values |= {"cursor_us": last.opened_at_us, "cursor_id": last.id}
    rows = [SessionRow(*row) for row in connection.execute(query, values)]
    return page_of(rows, limit, lambda row: row.id)


def lock_held_qubits(connection: Connection, scope: TenantScope, device_id: str) -> list[int]:
    """What each open session of the tenant may hold of a device.

    Nobody else gets an answer for this tenant before this transaction has ended: concurrent twins are counted.
    """
    connection.execute(_LOCK_TENANT, {"tenant": scope.tenant_id})
    return list(connection.execute(_HELD, {"tenant": scope.tenant_id, "device": device_id}).scalars())


def unfinished_by_session(connection: Connection, scope: TenantScope) -> dict[str, int]:
    """How many jobs of each of the tenant's sessions wait or run; those without any are left out."""
    rows = connection.execute(_UNFINISHED_BY_SESSION, {"tenant": scope.tenant_id})
    return {session_id: int(number) for session_id, number in rows}


def set_term(connection: Connection, scope: TenantScope, session_id: str, term: Term) -> None:
    """Prolong the tenant's open session, or begin to close it; follows :func:`lock_session`."""
    values = {"session": session_id, "tenant": scope.tenant_id, "ttl": term.ttl_us, "expires": term.expires_at_us}
    connection.execute(_SET_TERM, values)


def set_lane(connection: Connection, scope: TenantScope, session_id: str, lane: str, weight: int) -> None:
    """Note the lane of the tenant's session: that of its first job; follows :func:`lock_session`."""
    connection.execute(
        _SET_LANE, {"session": session_id, "tenant": scope.tenant_id, "of_lane": lane, "by_weight": weight}
    )


def spend(connection: Connection, scope: TenantScope, session_id: str, price_micro: int) -> None:
    """A job of the tenant's session may cost so much; follows :func:`lock_session`."""
    connection.execute(_SPEND, {"session": session_id, "tenant": scope.tenant_id, "more": price_micro})


def session_totals(connection: Connection, scope: TenantScope, *, since_us: int) -> SessionTotals:
    """What the tenant's sessions held that were closed at or after this wall time."""
    row = connection.execute(_TOTALS, {"tenant": scope.tenant_id, "since": since_us}).one()
    return SessionTotals(*(int(value) for value in row))


# --- for the dispatcher and settlement ----------------------------------------------------------------------------


def open_sessions(connection: Connection, _scope: SystemScope, device_id: str) -> list[SessionRow]:
    """The sessions of a device that are not closed, by id."""
    return [SessionRow(*row) for row in connection.execute(_OF_DEVICE, {"device": device_id})]


def lock_open(connection: Connection, _scope: SystemScope, session_ids: Collection[str]) -> dict[str, SessionRow]:
    """Those of some sessions that are not closed; nothing about them changes until this transaction has ended."""
    if not session_ids:
        return {}
    return {row.id: SessionRow(*row) for row in connection.execute(_LOCK_MANY, {"ids": list(session_ids)})}


def unfinished_jobs(connection: Connection, _scope: SystemScope, session: SessionRow) -> int:
    """How many jobs of a session wait or run."""
    return int(connection.execute(_UNFINISHED, {"session": session.id, "tenant": session.tenant_id}).scalar_one())


def hold_region(connection: Connection, _scope: SystemScope, session_id: str, region: Sequence[int]) -> None:
    """An open session keeps this region from now on; follows :func:`lock_open`."""
    connection.execute(_SET_REGION, {"session": session_id, "to_region": list(region)})


def add_held_cost(connection: Connection, _scope: SystemScope, costs: Mapping[str, int]) -> None:
    """Charge open sessions, µs · qubit each; follows :func:`lock_open`."""
    if costs:
        connection.execute(_ADD_COST, [{"session": session, "more": costs[session]} for session in sorted(costs)])


def prolong(connection: Connection, _scope: SystemScope, session_ids: Collection[str], *, now_us: int) -> None:
    """Jobs of these sessions have ended: those that are not closed live on for their TTL.

    The same as :meth:`qpu_backend.domain.sessions.Term.prolonged`, for many.
    """
    if lock_open(connection, _scope, session_ids):
        connection.execute(_PROLONG, [{"session": session, "at_us": now_us} for session in sorted(set(session_ids))])


def settle(connection: Connection, _scope: SystemScope, differences: Mapping[str, int]) -> None:
    """Jobs of these sessions have cost so much less than their prices; follows :func:`prolong`, which locks them."""
    rows = [{"session": session, "less": less} for session, less in sorted(differences.items()) if less]
    if rows:
        connection.execute(_SETTLE, rows)


def given_up(connection: Connection, _scope: SystemScope, device_id: str) -> list[str]:
    """Jobs that wait although another one of their session has failed, and the session was to end with that."""
    return list(connection.execute(_GIVEN_UP, {"device": device_id}).scalars())


def close_session(
    connection: Connection, _scope: SystemScope, session_id: str, *, closed_at_us: int, price_micro: int
) -> bool:
    """An open session holds nothing any more, and has its price. Whether it was open."""
    values = {"session": session_id, "at_us": closed_at_us, "price": price_micro}
    return connection.execute(_CLOSE, values).rowcount == 1


_parameters: Final = parameters_of(NewSession)
_ROW: Final = columns_of(SessionRow, sessions)
_THIS: Final = sessions.c.id == bindparam("session")
_OF_TENANT: Final = sessions.c.tenant_id == bindparam("tenant")
_OPEN: Final = sessions.c.closed_at_us.is_(None)
_LIVED: Final = bindparam("at_us", type_=BigInteger()) + sessions.c.ttl_us

_INSERT: Final = insert_ignoring(sessions).execution_options(preserve_rowcount=True)
_GET: Final = select(*_ROW).where(_THIS, _OF_TENANT)
_LOCK: Final = _GET.with_for_update(key_share=True)
_NEWEST: Final = (
    select(*_ROW)
    .where(_OF_TENANT)
    .order_by(sessions.c.opened_at_us.desc(), sessions.c.id.desc())
    .limit(bindparam("limit"))
)
_OLDER: Final = tuple_(sessions.c.opened_at_us, sessions.c.id) < CURSOR
_LOCK_TENANT: Final = select(tenants.c.id).where(tenants.c.id == bindparam("tenant")).with_for_update(key_share=True)
_HELD: Final = select(sessions.c.qubits).where(_OF_TENANT, sessions.c.device_id == bindparam("device"), _OPEN)
_OF_SESSION: Final = jobs.c.session_id == bindparam("session")
_IS_UNFINISHED: Final = and_(
    jobs.c.tenant_id == bindparam("tenant"), jobs.c.state.in_([literal_column("'queued'"), literal_column("'running'")])
)
_UNFINISHED: Final = select(func.count()).select_from(jobs).where(_IS_UNFINISHED, _OF_SESSION)
_UNFINISHED_BY_SESSION: Final = (
    select(jobs.c.session_id, func.count())
    .where(_IS_UNFINISHED, jobs.c.session_id.is_not(None))
    .group_by(jobs.c.session_id)
)
_SET_TERM: Final = (
    update(sessions).where(_THIS, _OF_TENANT, _OPEN).values(ttl_us=bindparam("ttl"), expires_at_us=bindparam("expires"))
)
_SET_LANE: Final = (
    update(sessions).where(_THIS, _OF_TENANT, _OPEN).values(lane=bindparam("of_lane"), weight=bindparam("by_weight"))
)
_TOTALS: Final = select(
    func.count(),
    func.coalesce(func.sum(sessions.c.held_cost), 0),
    func.coalesce(func.sum(sessions.c.price_micro), 0),
).where(_OF_TENANT, sessions.c.closed_at_us >= bindparam("since"))
_OF_DEVICE: Final = select(*_ROW).where(sessions.c.device_id == bindparam("device"), _OPEN).order_by(sessions.c.id)
_LOCK_MANY: Final = (
    select(*_ROW)
    .where(and_(sessions.c.id.in_(bindparam("ids", expanding=True)), _OPEN))
    .order_by(sessions.c.id)
    .with_for_update(key_share=True)
)
_SET_REGION: Final = update(sessions).where(_THIS, _OPEN).values(region=bindparam("to_region"))
_ADD_COST: Final = (
    update(sessions).where(_THIS, _OPEN).values(held_cost=sessions.c.held_cost + bindparam("more", type_=BigInteger()))
)
_SPEND: Final = (
    update(sessions)
    .where(_THIS, _OF_TENANT)
    .values(spent_micro=sessions.c.spent_micro + bindparam("more", type_=BigInteger()))
)
_SETTLE: Final = (
    update(sessions).where(_THIS).values(spent_micro=sessions.c.spent_micro - bindparam("less", type_=BigInteger()))
)
_FAILED: Final = jobs.alias("failed")
_GIVEN_UP: Final = (
    select(jobs.c.id)
    .join(sessions, sessions.c.id == jobs.c.session_id)
    .where(
        sessions.c.device_id == bindparam("device"),
        _OPEN,
        sessions.c.on_failure == "cancel_rest",
        jobs.c.device_id == bindparam("device"),
        jobs.c.state == literal_column("'queued'"),
        exists().where(_FAILED.c.session_id == jobs.c.session_id, _FAILED.c.state == literal_column("'failed'")),
    )
    .order_by(jobs.c.id)
)
_PROLONG: Final = (
    update(sessions)
    .where(_THIS, _OPEN)
    .values(expires_at_us=case((sessions.c.ends_at_us > _LIVED, _LIVED), else_=sessions.c.ends_at_us))
)
_CLOSE: Final = (
    update(sessions).where(_THIS, _OPEN).values(closed_at_us=bindparam("at_us"), price_micro=bindparam("price"))
)
