"""Submissions that come together are admitted as if they came one after the other, on both databases."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, select
from togetherness import at_once

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.errors import DomainError, QuotaExceeded
from qpu_backend.domain.policies import Policy
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.pipeline.combining import Combiner
from qpu_backend.pipeline.enqueueing import Submission
from qpu_backend.stores import events, fairness, jobs, policies, quota, sessions
from qpu_backend.stores.errors import DatabaseGone, IdempotencyKeyTaken
from qpu_sdk.wire.sessions import SessionRequest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.pipeline.enqueueing import Enqueueing
    from qpu_backend.pipeline.prepared import Prepared
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.jobs import JobRow
    from qpu_sdk.wire.models import JobRequest
    from tests.pipeline.conftest import Lab

NOW_US = 1_780_000_000_000_000
SHOTS = Resource.SHOTS


class Still:
    """A clock that stands."""

    def now_us(self) -> int:
        return NOW_US


@dataclass(frozen=True)
class Rules:
    """What limits a tenant and its principal; ``None`` does not."""

    shots: int | None = None
    own_shots: int | None = None
    queued: int = 1000
    own_queued: int | None = None
    burst: int | None = None
    own_burst: int | None = None


@dataclass(frozen=True)
class Order:
    """What somebody submits."""

    who: int
    shots: int = 100
    key: str | None = None
    changes: dict[str, Any] = field(default_factory=dict)


class Desk:
    """A service that admits and runs nothing, and orders of so many shots with what admission makes of them."""

    def __init__(self, lab: Lab, prepared: dict[int, tuple[JobRequest, Prepared]]) -> None:
        self.lab = lab
        self.prepared = prepared

    @property
    def database(self) -> Database:
        return self.lab.database

    @property
    def enqueueing(self) -> Enqueueing:
        return self.lab.service.door.admission._enqueueing

    def submission(self, scope: TenantScope, order: Order) -> Submission:
        """As admission would hand it on."""
        request, prepared = self.prepared[order.shots]
        with self.database.read() as connection:
            standing = policies.read_standing(connection, scope)
        lane = self.lab.service.door.admission._lanes["standard"]
        asked = request.model_copy(update=order.changes)
        return Submission(scope, asked, prepared, lane, standing, f"raw {order}", order.key)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def desk(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, laboratories: Any, make: Any
) -> Iterator[Desk]:
    url = None
    if request.param == "postgresql":
        server: Any = request.getfixturevalue("postgres")
        url = server.url(server.new_database(tables=True))
    with laboratories(tmp_path_factory.mktemp("desk"), database=url, started=False, clock=Still()) as lab:
        admission, scope = lab.service.door.admission, lab.tenant()
        orders = [make.sample(make.ghz(2), backend="eagle127:line-2", shots=shots) for shots in (100, 300)]
        yield Desk(lab, {order.pubs[0].shots: (order, admission.check(scope, order, 1000)) for order in orders})


def tenant(desk: Desk, rules: Rules) -> TenantScope:
    scope = desk.lab.tenant(max_queued_jobs=rules.queued)
    with desk.database.write() as connection:
        for amount, whose in ((rules.shots, ""), (rules.own_shots, scope.principal_id)):
            for window in (Window.DAY, Window.MONTH):
                quota.set_limit(
                    connection,
                    SYSTEM,
                    tenant_id=scope.tenant_id,
                    resource=SHOTS,
                    window=window,
                    amount=amount,
                    principal_id=whose,
                )
        for burst, queued, whose in (
            (rules.burst, None, ""),
            (rules.own_burst, rules.own_queued, scope.principal_id),
        ):
            rate = None if burst is None else 1
            policy = Policy(max_queued_jobs=queued, submissions_per_minute=rate, burst=burst)
            policies.write_policy(connection, SYSTEM, scope.tenant_id, policy, whose)
    return scope


def told(answer: JobRow | Exception) -> str:
    """Of an answer, what does not name one tenant or the other."""
    if isinstance(answer, Exception):
        return f"{type(answer).__name__}: {answer}"
    return f"job of {answer.shots} at {answer.start_tag} to {answer.finish_tag}, {answer.price_micro}"


def books(desk: Desk, scope: TenantScope) -> dict[str, Any]:
    """All that admission changes of a tenant."""
    with desk.database.read() as connection:
        page = jobs.list_jobs(connection, scope, limit=100).jobs
        found = events.read_tenant_events(connection, scope)
        arrivals = policies.read_standing(connection, scope).arrivals
        return {
            "jobs": Counter((row.shots, row.start_tag, row.finish_tag, row.idempotency_key) for row in page),
            "lines": [
                (line.window, bool(line.principal_id), line.reserved, line.free)
                for line in quota.read_lines(connection, scope, NOW_US)
            ],
            "tag": fairness.read_finish_tag(connection, scope, "eagle127", "standard"),
            "arrivals": sorted((bool(whose), at_us) for whose, at_us in arrivals.items() if at_us),
            "cursors": [(one.cursor, one.seq, one.name) for one in found],
            "unfinished": jobs.count_unfinished(connection, scope),
        }


def some(values: Sequence[int]) -> st.SearchStrategy[int | None]:
    return st.none() | st.sampled_from(values)


RULES = st.builds(
    Rules,
    shots=some([0, 250, 600]),
    own_shots=some([150, 400]),
    queued=st.sampled_from([1, 2, 3, 1000]),
    own_queued=some([1, 2]),
    burst=some([1, 2, 3]),
    own_burst=some([1, 2]),
)
CHANGES = st.sampled_from(
    [
        {},
        {},
        {},
        {"max_cost_micro": 0},
        {"calibration_id": "cal_old"},
        {"calibration_id": "x", "drift_policy": "refuse"},
    ]
)
ORDERS = st.lists(
    st.builds(
        Order,
        who=st.integers(0, 1),
        shots=st.sampled_from([100, 300]),
        key=st.sampled_from([None, None, "a", "b"]),
        changes=CHANGES,
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rules=st.tuples(RULES, RULES), orders=ORDERS, cuts=st.sets(st.integers(1, 7)))
def test_a_group_is_answered_as_its_members_one_after_the_other(
    desk: Desk, rules: tuple[Rules, Rules], orders: list[Order], cuts: set[int]
) -> None:
    singly = [tenant(desk, one) for one in rules]
    grouped = [tenant(desk, one) for one in rules]

    def submitted(scopes: list[TenantScope], some_orders: Sequence[Order]) -> list[JobRow | Exception]:
        group = [desk.submission(scopes[order.who], order) for order in some_orders]
        answers = desk.enqueueing.enqueue(group)
        for one, answer in zip(group, answers, strict=True):
            if not isinstance(answer, Exception):
                owner = (answer.tenant_id, answer.principal_id, answer.idempotency_key, answer.raw_digest)
                assert owner == (one.scope.tenant_id, one.scope.principal_id, one.idempotency_key, one.raw_digest)
        return answers

    alone = [answer for order in orders for answer in submitted(singly, [order])]
    ends = [0, *sorted(cut for cut in cuts if cut < len(orders)), len(orders)]
    together = [answer for a, b in itertools.pairwise(ends) for answer in submitted(grouped, orders[a:b])]
    assert [told(answer) for answer in together] == [told(answer) for answer in alone]
    assert [books(desk, scope) for scope in grouped] == [books(desk, scope) for scope in singly]
    with desk.database.read() as connection:
        stored = [answer for answer in together if not isinstance(answer, Exception)]
        assert jobs.read_jobs(connection, SYSTEM, [row.id for row in stored]) == {row.id: row for row in stored}
        for scope in grouped:
            expected = [row.id for row in stored if row.tenant_id == scope.tenant_id]
            assert [one.job_id for one in events.read_tenant_events(connection, scope)] == expected


def test_the_last_of_a_quota_goes_to_the_first_that_it_is_enough_for(desk: Desk) -> None:
    scope, other = tenant(desk, Rules(shots=450)), tenant(desk, Rules())
    orders = [Order(0, 300), Order(0, 300), Order(1, 300), Order(0, 100), Order(0, 100)]
    group = [desk.submission((scope, other)[order.who], order) for order in orders]
    answers = desk.enqueueing.enqueue(group)
    assert [isinstance(answer, QuotaExceeded) for answer in answers] == [False, True, False, False, True]
    assert {reserved for _, _, reserved, _ in books(desk, scope)["lines"]} == {400}


def test_a_key_that_has_made_a_job_before_costs_nobody_else_of_the_group_anything(desk: Desk) -> None:
    scope, other = tenant(desk, Rules(shots=900)), tenant(desk, Rules())
    (earlier,) = desk.enqueueing.enqueue([desk.submission(scope, Order(0, key="a"))])
    orders = [Order(0, key="b"), Order(0, key="a"), Order(1, key="a"), Order(0, key="b"), Order(0)]
    group = [desk.submission((scope, other)[order.who], order) for order in orders]
    answers = desk.enqueueing.enqueue(group)
    assert not isinstance(earlier, Exception)
    assert [isinstance(answer, IdempotencyKeyTaken) for answer in answers] == [False, True, False, True, False]
    assert {reserved for _, _, reserved, _ in books(desk, scope)["lines"]} == {300}
    assert books(desk, scope)["cursors"] == [(1, 1, "admitted"), (2, 1, "admitted"), (3, 1, "admitted")]


def test_a_group_of_refused_ones_leaves_nothing(desk: Desk) -> None:
    scope = tenant(desk, Rules(shots=50, burst=2))
    before = books(desk, scope)
    answers = desk.enqueueing.enqueue([desk.submission(scope, Order(0)) for _ in range(3)])
    assert [type(answer) for answer in answers] == [QuotaExceeded] * 3
    assert books(desk, scope) == before


def test_one_that_the_database_refuses_takes_nobody_with_it(desk: Desk) -> None:
    """Whatever is wrong with it: here its row is none that PostgreSQL can hold, or its session is none."""
    scope = tenant(desk, Rules())
    good = desk.submission(scope, Order(0))
    bad = replace(good, raw_digest=None)  # type: ignore[arg-type]
    admit = desk.enqueueing.admit
    answers = at_once([lambda one=one: admit(one) for one in (good, bad, good, good, bad, good)])
    assert [isinstance(answer, Exception) for answer in answers] == [False, True, False, False, True, False]
    assert not any(isinstance(answer, DomainError) for answer in answers)
    assert books(desk, scope)["unfinished"] == 4


def test_of_a_crowd_each_gets_the_answer_to_its_own_and_all_together_no_more_than_there_is(desk: Desk) -> None:
    scopes = [tenant(desk, Rules(shots=700)), tenant(desk, Rules(queued=5)), tenant(desk, Rules(own_burst=3))]
    asked = [(scope, Order(0, key=f"key {number}")) for number in range(10) for scope in scopes]
    admit = desk.enqueueing.admit

    def submit(scope: TenantScope, order: Order) -> JobRow:
        return admit(desk.submission(scope, order))

    answers = at_once([lambda one=one: submit(*one) for one in asked])
    for (scope, order), answer in zip(asked, answers, strict=True):
        if isinstance(answer, Exception):
            assert isinstance(answer, DomainError), answer
        else:
            assert (answer.tenant_id, answer.idempotency_key) == (scope.tenant_id, order.key)
    assert [books(desk, scope)["unfinished"] for scope in scopes] == [7, 5, 3]
    for scope in scopes:
        tags = sorted((start, finish) for _, start, finish, _ in books(desk, scope)["jobs"])
        assert all(finish == start for (_, finish), (start, _) in itertools.pairwise(tags))


def test_repeats_that_come_together_are_one_job(desk: Desk, make: Any) -> None:
    scope, admission = desk.lab.tenant(), desk.lab.service.door.admission
    order = make.sample(make.ghz(2), backend="eagle127:line-2")
    raw = order.model_dump_json().encode()
    answers = at_once([lambda: admission.admit(scope, order, raw, "once")] * 6)
    assert len({row.id for row, _ in answers}) == 1
    assert sorted(replayed for _, replayed in answers) == [False] + [True] * 5


def test_a_refused_job_of_a_session_leaves_the_session_as_it_was_and_is_in_no_group(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it locks and changes comes before the quotas, and is undone only with the whole transaction."""

    def nobody(_: Sequence[Submission]) -> list[JobRow | Exception]:
        raise AssertionError

    monkeypatch.setattr(desk.enqueueing, "_combiner", Combiner(nobody, 8))
    scope = tenant(desk, Rules(shots=50))
    door = desk.lab.service.door
    session = door.sessions.open(scope, SessionRequest(backend="eagle127:line-2"), None)
    request, _ = desk.prepared[100]
    options = request.options.model_copy(update={"session": session.id})
    asked = desk.submission(scope, Order(0, changes={"options": options}))
    with pytest.raises(QuotaExceeded):
        desk.enqueueing.admit(asked)
    with desk.database.read() as connection:
        found = sessions.get_session(connection, scope, session.id)
    assert found is not None
    assert (found.lane, found.expires_at_us) == (session.lane, session.expires_at_us)


def test_of_a_lost_connection_each_hears_and_nothing_is_done_again(desk: Desk) -> None:
    """What was being committed may be stored: who has no idempotency key would have the job twice."""
    if desk.database.dialect == "sqlite":
        pytest.skip("SQLite is not reached through a connection that can be lost")
    scope = tenant(desk, Rules())
    begun: list[Connection] = []

    def begin(connection: Connection) -> None:
        begun.append(connection)

    def lose(connection: Connection) -> None:
        with desk.database.read() as other:
            pid = connection.connection.driver_connection.info.backend_pid  # type: ignore[union-attr]
            other.execute(select(func.pg_terminate_backend(pid)))

    writers = desk.database._writers
    event.listen(writers, "begin", begin)
    event.listen(writers, "commit", lose)
    try:
        answers = desk.enqueueing.enqueue([desk.submission(scope, Order(0)) for _ in range(3)])
    finally:
        event.remove(writers, "begin", begin)
        event.remove(writers, "commit", lose)
    assert [type(answer) for answer in answers] == [DatabaseGone] * 3
    assert len(begun) == 1
