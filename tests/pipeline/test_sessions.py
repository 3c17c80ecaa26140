"""Sessions, whole: a loop keeps its region while others fill the chip, and pays for exactly what it held."""

from __future__ import annotations

from collections import Counter

import pytest
from holding import DEVICE, closed, finish_tag, opened, placed, plans, row_of
from sqlalchemy import select

from qpu_backend.domain.errors import (
    IdempotencyConflict,
    InvalidRequest,
    NotFound,
    QuotaExceeded,
    SessionClosed,
    SessionShareExceeded,
)
from qpu_backend.domain.fairshare import tag
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.sessions import SessionState, price_of_hold
from qpu_backend.stores import money, schema_money, sessions

RATE_MICRO = 20_000


# --- a loop --------------------------------------------------------------------------------------------------------


def test_a_loop_runs_each_time_on_the_same_region_while_others_fill_the_chip_beside_it(either_lab, make):
    lab = either_lab
    scope, crowd = lab.tenant(), [lab.tenant() for _ in range(3)]
    session_id = opened(lab, scope)
    order = make.sample(make.ghz(), shots=50, session=session_id)
    mine: list[str] = []
    others: list[str] = []
    for _ in range(4):
        with lab.queueing():
            others += [lab.submit(each, make.sample(make.ghz(4), backend="eagle127:line-4")) for each in crowd * 8]
            mine.append(lab.submit(scope, order))
        lab.ended(mine[-1], *others)
        with lab.queueing():  # and a batch of others only, between its jobs
            others += [lab.submit(each, make.sample(make.ghz(3), backend="eagle127:line-3")) for each in crowd * 8]
        lab.ended(*others)
    region = set(row_of(lab, scope, session_id).region or ())
    assert [set(placed(lab, job_id)) for job_id in mine] == [region] * 4
    topology = lab.service.door.fleet.calibrated(DEVICE).model.topology
    apart = region | {other for qubit in region for other in topology.neighbours(qubit)}
    first = lab.batches(mine[0])[0].batch.device_start_us
    since = [ran for ran in lab.batches(*others) if ran.batch.device_start_us > first]
    assert len(since) >= 4
    for ran in since:
        for placement in ran.placements:
            assert placement.job_id in mine or not set(placement.region) & apart
    end = closed(lab, scope, session_id)
    assert end.term.state is SessionState.CLOSED
    assert end.held_cost > 0
    lab.check_books()


def test_what_was_held_is_charged_exactly_as_planned_and_nothing_is_lost(either_lab, make):
    """P7 over stored batches: charges + holds + idle = capacity · device time; the price and the books follow."""
    lab = either_lab
    scope, other = lab.tenant(weight=300), lab.tenant()
    session_id = opened(lab, scope)
    ids = [lab.submit(scope, make.sample(make.ghz(), shots=100, session=session_id))]
    lab.ended(*ids)
    before = finish_tag(lab, scope)
    for shots in (100, 700, 40):
        ids.append(lab.submit(other, make.sample(make.ghz(), shots=shots)))
        lab.ended(ids[-1])
    found = plans(lab, *ids)
    charged: Counter[str] = Counter()
    for ran, decision in found:
        paid = sum(placement.fairness_cost for placement in ran.placements)
        held = sum(hold.fairness_cost for hold in decision.holds)
        assert paid + held + decision.idle == decision.capacity_qubits * ran.batch.device_us
        charged.update({hold.session: hold.fairness_cost for hold in decision.holds})
    assert charged[session_id] > 0
    after = before
    for _, decision in found[1:]:
        for hold in decision.holds:
            if hold.session == session_id:
                after = tag(decision.virtual_time, after, hold.fairness_cost, 300)[1]
    assert finish_tag(lab, scope) == after > before
    end = closed(lab, scope, session_id)
    assert end.held_cost == charged[session_id]
    with lab.database.read() as connection:
        book = money.read_price_book(connection, end.price_book)
        jobs_micro = money.usage_totals(connection, scope, since_us=0).price_micro
        balance = money.balance(connection, scope)
        totals = sessions.session_totals(connection, scope, since_us=0)
    price_micro = price_of_hold(book, end.held_cost, "standard")
    assert end.price_micro == price_micro == round(end.held_cost * RATE_MICRO / 1e6) > 0
    assert balance == -(jobs_micro + end.price_micro)
    assert totals == sessions.SessionTotals(1, end.held_cost, end.price_micro)
    lab.check_books()


def test_sessions_on_pinned_qubits_hold_those_of_the_job_and_move_with_it(lab, make):
    scope, other = lab.tenant(), lab.tenant()
    session_id = opened(lab, scope, DEVICE)
    for qubits in ((0, 1, 2), (4, 5), (4, 5)):
        job_id = lab.submit(scope, make.sample(make.pinned(*qubits), backend=DEVICE, shots=10, session=session_id))
        lab.ended(job_id)
        assert row_of(lab, scope, session_id).region == list(qubits) == placed(lab, job_id)
    lab.ended(lab.submit(other, make.sample(make.pinned(0, 1, 2), backend=DEVICE, shots=10)))
    closed(lab, scope, session_id)


def test_a_session_that_is_closed_ends_with_its_last_job_on_its_region(lab, make):
    scope = lab.tenant()
    session_id = opened(lab, scope)
    first = lab.submit(scope, make.sample(make.ghz(), session=session_id))
    lab.ended(first)
    with lab.queueing():
        last = lab.submit(scope, make.sample(make.ghz(), session=session_id))
        assert closed(lab, scope, session_id).term.state is SessionState.CLOSING
        assert closed(lab, scope, session_id).term.state is SessionState.CLOSING
        with pytest.raises(SessionClosed):
            lab.submit(scope, make.sample(make.ghz(), session=session_id))
        with pytest.raises(SessionClosed):
            lab.service.door.sessions.touch(scope, session_id)
    lab.ended(last)
    assert set(placed(lab, last)) == set(placed(lab, first))
    lab.service.door.sessions.expire(DEVICE)
    assert row_of(lab, scope, session_id).term.state is SessionState.CLOSED
    assert closed(lab, scope, session_id).price_micro == row_of(lab, scope, session_id).price_micro


# --- who may -------------------------------------------------------------------------------------------------------


def test_a_job_names_an_open_session_of_its_own_tenant_backend_and_lane(lab, make):
    scope, other = lab.tenant(), lab.tenant()
    session_id, foreign, ended = opened(lab, scope), opened(lab, other), opened(lab, scope)
    pinned = opened(lab, scope, DEVICE, max_qubits=6)
    closed(lab, scope, ended)
    lab.ended(lab.submit(scope, make.sample(make.ghz(), session=session_id)))
    orders = [
        (make.sample(make.ghz(), session="ses_nobody's"), "options.session", InvalidRequest),
        (make.sample(make.ghz(), session=foreign), "options.session", InvalidRequest),
        (make.sample(make.ghz(), session=ended), "options.session", SessionClosed),
        (make.sample(make.ghz(4), backend="eagle127:line-4", session=session_id), "options.session", InvalidRequest),
        (
            make.sample(make.pinned(0, 1, 2, 3, 4, 5), backend=DEVICE, session=pinned),
            "options.session",
            InvalidRequest,
        ),
        (make.sample(make.ghz(), session=session_id, lane="batch"), "options.lane", InvalidRequest),
    ]
    for order, field, kind in orders:
        with pytest.raises(kind) as refusal:
            lab.submit(scope, order)
        assert refusal.value.field == field
    told: list[str] = []
    for name in ("ses_x", foreign):
        with pytest.raises(InvalidRequest) as refusal:
            lab.submit(scope, make.sample(make.ghz(), session=name))
        told.append(str(refusal.value).replace(name, "…"))
    assert told[0] == told[1]
    for session, owner in ((session_id, scope), (foreign, other), (pinned, scope)):
        closed(lab, owner, session)


def test_what_is_not_mine_is_not_found(lab):
    session_id, stranger = opened(lab, owner := lab.tenant()), lab.tenant()
    for change in (lab.service.door.sessions.touch, lab.service.door.sessions.close):
        with pytest.raises(NotFound):
            change(stranger, session_id)
    assert row_of(lab, owner, session_id).term.state is SessionState.OPEN
    closed(lab, owner, session_id)


def test_a_refused_job_leaves_its_session_as_it_was(lab, make):
    scope = lab.tenant(limits={(Resource.SHOTS, Window.DAY): 10})
    session_id = opened(lab, scope)
    before = row_of(lab, scope, session_id)
    with pytest.raises(QuotaExceeded):
        lab.submit(scope, make.sample(make.ghz(), shots=11, session=session_id))
    assert row_of(lab, scope, session_id) == before
    closed(lab, scope, session_id)


def test_concurrent_openings_never_hold_more_than_the_share(either_lab):
    lab = either_lab
    scope = lab.tenant()
    answers = lab.at_once([lambda: opened(lab, scope)] * 6)
    ids = [answer for answer in answers if isinstance(answer, str)]
    assert all(isinstance(answer, SessionShareExceeded) for answer in answers if answer not in ids)
    usable = lab.service.door.fleet.calibrated(DEVICE).usable_mask.bit_count()
    each = row_of(lab, scope, ids[0]).qubits
    assert len(ids) == int(0.25 * usable) // each < 6
    with pytest.raises(SessionShareExceeded):
        opened(lab, scope)
    rest = row_of(lab, scope, opened(lab, scope, DEVICE))  # on a device: what is left
    assert rest.qubits == int(0.25 * usable) - each * len(ids)
    with pytest.raises(InvalidRequest) as refusal:
        opened(lab, scope, max_qubits=3)
    assert refusal.value.field == "max_qubits"
    for session_id in (*ids, rest.id):
        closed(lab, scope, session_id)
    closed(lab, scope, opened(lab, scope))


def test_the_same_key_opens_one_session(either_lab):
    lab = either_lab
    scope, other = lab.tenant(), lab.tenant()
    answers = lab.at_once([lambda: opened(lab, scope, key="k")] * 4)
    assert len(set(answers)) == 1
    assert opened(lab, other, key="k") != answers[0]
    with pytest.raises(IdempotencyConflict):
        opened(lab, scope, "eagle127:line-4", key="k")
    with lab.database.read() as connection:
        assert len(sessions.list_sessions(connection, scope)[0]) == 1
    closed(lab, scope, answers[0])


# --- money ---------------------------------------------------------------------------------------------------------


def test_a_session_ends_when_its_tenant_has_no_money_left_for_it(lab, make):
    scope, other = lab.tenant(limits={(Resource.SPEND_MICRO, Window.MONTH): 500_000}), lab.tenant()
    session_id = opened(lab, scope)
    job_id = lab.submit(scope, make.sample(make.ghz(), shots=10, session=session_id))
    (mine,) = lab.ended(job_id)
    for _ in range(20):
        lab.ended(lab.submit(other, make.sample(make.ghz(), shots=400)))
        lab.service.door.sessions.expire(DEVICE)
        end = row_of(lab, scope, session_id)
        if end.closed_at_us is not None:
            break
    assert end.price_micro > 500_000 - mine.price_micro  # by less than what one more batch cost
    assert end.price_micro - (500_000 - mine.price_micro) < 400_000
    assert lab.windows(scope) == [("spend_micro", 0, mine.price_micro + end.price_micro)]
    with pytest.raises(QuotaExceeded):
        opened(lab, scope)
    lab.check_books()


def test_a_session_that_held_nothing_is_free_and_posts_nothing(lab):
    scope = lab.tenant()
    end = closed(lab, scope, opened(lab, scope))
    assert end.price_micro == 0
    with lab.database.read() as connection:
        posted = connection.execute(
            select(schema_money.postings).where(schema_money.postings.c.transaction_id == end.id)
        ).all()
    assert posted == []
    lab.check_books()
