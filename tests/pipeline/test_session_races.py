"""What ends sessions looks first and locks then: what happens in between counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest
from holding import DEVICE, opened, row_of
from legs import CUT, large, until
from sqlalchemy import text, update

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.sessions import SessionState
from qpu_backend.pipeline.endings import fail_jobs
from qpu_backend.pipeline.sessions import Sessions
from qpu_backend.stores import quota, schema, sessions

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection

    from qpu_backend.stores.database import Database


_WAITING: Final = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


class Meanwhile:
    """A database in which something happens before its first transaction."""

    def __init__(self, database: Database, happens: Callable[[], object]) -> None:
        self.read = database.read
        self._database = database
        self._happens: list[Callable[[], object]] = [happens]

    def write(self) -> AbstractContextManager[Connection]:
        while self._happens:
            self._happens.pop()()
        return self._database.write()


def ending(lab: Any, happens: Callable[[], object]) -> Sessions:
    door = lab.service.door
    database: Any = Meanwhile(lab.database, happens)
    return Sessions(
        database=database,
        scope=SYSTEM,
        fleet=door.fleet,
        clock=door.sessions._clock,
        notices=door.sessions._notices,
        policy=door.sessions._policy,
    )


@pytest.fixture
def still(new_lab: Any) -> Any:
    """A laboratory whose dispatcher takes no turns."""
    return new_lab(started=False)


def test_a_leg_that_ran_before_its_job_was_cancelled_is_billed(new_lab: Any, postgres: Any, make: Any) -> None:
    lab = new_lab(database=postgres.url(postgres.new_database(tables=True)), started=False, device=CUT)
    lab.dispatcher._sessions_end_s = float("inf")
    scope = lab.tenant()
    batch = opened(lab, scope, DEVICE, kind="batch", on_failure="cancel_rest")
    big = lab.submit(scope, large(make, session=batch))
    lab.dispatcher.dispatch_once()
    until(lambda: lab.rows(big)[0].leg == 1, lab)
    small = lab.submit(scope, make.sample(make.pinned(0), backend=DEVICE, session=batch))
    with lab.database.write() as connection:
        fail_jobs(connection, SYSTEM, lab.rows(small), "internal", "for the test", 0)
        connection.execute(update(schema.jobs).where(schema.jobs.c.id == big).values(leg=0))

    def waits() -> bool:
        with lab.database.read() as connection:
            return connection.execute(_WAITING).scalar_one() > 0

    with ThreadPoolExecutor(1) as pool:
        with lab.database.write() as connection:  # the end of the leg, seen once it is committed
            connection.execute(update(schema.jobs).where(schema.jobs.c.id == big).values(leg=1))
            cancelling = pool.submit(lab.service.door.sessions.expire, DEVICE)
            until(waits, lab)
        cancelling.result(timeout=60)
    (row,) = lab.rows(big)
    assert row.state is JobState.CANCELLED
    assert 0 < lab.usage(scope, big).shots < row.shots
    lab.check_books()


def held(lab: Any, scope: Any, **asked: Any) -> str:
    session_id = opened(lab, scope, **asked)
    with lab.database.write() as connection:
        sessions.add_held_cost(connection, SYSTEM, {session_id: 10**9})
    return session_id


def test_a_session_whose_tenant_was_given_money_meanwhile_goes_on(still: Any) -> None:
    lab = still
    scope = lab.tenant()

    def limited_to(amount: int) -> None:
        with lab.database.write() as connection:
            quota.set_limit(
                connection,
                SYSTEM,
                tenant_id=scope.tenant_id,
                resource=Resource.SPEND_MICRO,
                window=Window.DAY,
                amount=amount,
            )

    limited_to(1)
    session_id = held(lab, scope)
    assert ending(lab, lambda: limited_to(10**12)).expire(DEVICE) == 0
    assert row_of(lab, scope, session_id).term.state is SessionState.OPEN
    limited_to(1)
    assert lab.service.door.sessions.expire(DEVICE) == 1


def test_a_session_that_was_given_back_what_a_job_did_not_cost_goes_on(still: Any) -> None:
    lab = still
    scope = lab.tenant()
    session_id = held(lab, scope, max_cost_micro=10**12)
    with lab.database.write() as connection:
        sessions.spend(connection, scope, session_id, 10**12)

    def settled() -> None:
        with lab.database.write() as connection:
            sessions.lock_open(connection, SYSTEM, [session_id])
            sessions.settle(connection, SYSTEM, {session_id: 10**12})

    assert ending(lab, settled).expire(DEVICE) == 0
    assert row_of(lab, scope, session_id).term.state is SessionState.OPEN
