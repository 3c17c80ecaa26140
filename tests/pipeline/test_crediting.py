"""Credits and refunds: each is in the books once, however often and by however many it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from holding import closed, opened
from sqlalchemy import select

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.errors import InvalidRequest, NotFound
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.pipeline.clocks import SystemClock
from qpu_backend.pipeline.crediting import Crediting
from qpu_backend.stores import access, money
from qpu_backend.stores.errors import MissingRow
from qpu_backend.stores.schema_access import audit_log

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import TenantScope

LIMITS = {(Resource.SPEND_MICRO, Window.MONTH): 10**9}


@pytest.fixture
def office(either_lab) -> Crediting:
    return Crediting(either_lab.database, SYSTEM, SystemClock())


def name_of(lab: Any, scope: TenantScope) -> str:
    with lab.database.read() as connection:
        return access.read_tenant(connection, scope).name


def balance(lab: Any, scope: TenantScope) -> int:
    with lab.database.read() as connection:
        return money.balance(connection, scope)


def audited(lab: Any, scope: TenantScope, action: str) -> list[Any]:
    query = select(audit_log).where(audit_log.c.tenant_id == scope.tenant_id, audit_log.c.action == action)
    with lab.database.read() as connection:
        return list(connection.execute(query))


def charged(lab: Any, scope: TenantScope) -> money.UsageRow:
    job_id = lab.submit(scope)
    lab.ended(job_id)
    return lab.usage(scope, job_id)


def test_a_credit_is_in_the_account_once_for_each_reference(either_lab, office):
    lab, scope = either_lab, either_lab.tenant()
    name = name_of(lab, scope)
    first = office.credit(name, 700, reason="invoice 1", reference="wire-1", actor="cli")
    again = office.credit(name, 700, reason="invoice 1, told again", reference="wire-1", actor="cli")
    assert (first.new, again.new, again.balance_micro) == (True, False, 700)
    assert first.transaction == again.transaction
    office.credit(name, 300, reason="invoice 2", reference="wire-2", actor="cli")
    for _ in range(2):  # without a reference every one is another one
        office.credit(name, 1, reason="a gift", actor="cli")
    assert balance(lab, scope) == 1002
    notes = audited(lab, scope, "tenant.credited")
    assert [(row.actor, row.subject) for row in notes] == [("cli", scope.tenant_id)] * 4
    assert (notes[0].facts["reason"], notes[0].facts["reference"]) == ("invoice 1", "wire-1")
    lab.check_books()


def test_a_reference_stands_for_one_amount_and_for_one_tenant(either_lab, office):
    lab, one, other = either_lab, either_lab.tenant(), either_lab.tenant()
    office.credit(name_of(lab, one), 700, reason="r", reference="wire-1", actor="cli")
    with pytest.raises(InvalidRequest, match="stands for a credit of 700"):
        office.credit(name_of(lab, one), 701, reason="r", reference="wire-1", actor="cli")
    assert office.credit(name_of(lab, other), 701, reason="r", reference="wire-1", actor="cli").new
    assert (balance(lab, one), balance(lab, other)) == (700, 701)


@pytest.mark.parametrize("amount", [0, -1])
def test_nothing_and_less_is_no_credit(either_lab, office, amount):
    scope = either_lab.tenant()
    with pytest.raises(InvalidRequest):
        office.credit(name_of(either_lab, scope), amount, reason="r", actor="cli")
    with pytest.raises(MissingRow):
        office.credit("nobody", 1, reason="r", actor="cli")
    assert balance(either_lab, scope) == 0


def test_a_refund_gives_a_charge_back_once_and_leaves_the_record_and_the_quota(either_lab, office):
    lab, scope = either_lab, either_lab.tenant(limits=LIMITS)
    record = charged(lab, scope)
    assert balance(lab, scope) == -record.price_micro < 0
    entry = office.refund(record.id, reason="the fridge was warm", reference="ticket-9", actor="cli")
    assert (entry.new, entry.amount_micro, entry.balance_micro) == (True, record.price_micro, 0)
    assert not office.refund(record.id, reason="told again", reference="ticket-9", actor="cli").new
    for reference in (None, "ticket-10"):
        with pytest.raises(InvalidRequest, match="refunded already"):
            office.refund(record.id, reason="once more", reference=reference, actor="cli")
    assert balance(lab, scope) == 0
    assert lab.usage(scope, record.job_id) == record
    assert lab.windows(scope) == [("spend_micro", 0, record.price_micro)]
    (note,) = audited(lab, scope, "charge.refunded")
    assert (note.subject, note.facts["amount_micro"], note.facts["reason"]) == (
        record.id,
        record.price_micro,
        "the fridge was warm",
    )
    lab.check_books()


def test_a_refund_without_a_reference_cannot_be_told_again(either_lab, office):
    record = charged(either_lab, either_lab.tenant())
    assert office.refund(record.id, reason="r", actor="cli").new
    with pytest.raises(InvalidRequest):
        office.refund(record.id, reason="r", actor="cli")
    either_lab.check_books()


def test_only_a_charge_can_be_refunded(either_lab, office):
    lab, scope = either_lab, either_lab.tenant()
    credit = office.credit(name_of(lab, scope), 10, reason="r", actor="cli")
    record = charged(lab, scope)
    refund = office.refund(record.id, reason="r", actor="cli")
    with lab.queueing():
        free = lab.submit(scope)
        lab.service.door.cancellation.cancel(scope, free)
    for nothing in (credit.transaction.id, refund.transaction.id, lab.usage(scope, free).id, "use_none"):
        with pytest.raises(NotFound):
            office.refund(nothing, reason="r", actor="cli")
    assert balance(lab, scope) == 10


def test_what_a_session_held_can_be_refunded_too(either_lab, office, make):
    """In a lane that costs what others do: the price books here name none."""
    lab, scope, other = either_lab, either_lab.tenant(), either_lab.tenant()
    session_id = opened(lab, scope)
    lab.ended(lab.submit(scope, make.sample(make.ghz(), session=session_id)))
    lab.ended(lab.submit(other, make.sample(make.ghz(), shots=700)))
    end = closed(lab, scope, session_id)
    before = balance(lab, scope)
    assert end.price_micro > 0
    assert office.refund(session_id, reason="r", actor="cli").amount_micro == end.price_micro
    assert balance(lab, scope) == before + end.price_micro
    lab.check_books()


def test_of_concurrent_twins_one_is_posted_and_all_are_answered(either_lab, office):
    lab, scope = either_lab, either_lab.tenant()
    name, record = name_of(lab, scope), charged(lab, scope)
    before = balance(lab, scope)
    credits_ = lab.at_once([lambda: office.credit(name, 5, reason="r", reference="w", actor="cli")] * 4)
    refunds = lab.at_once([lambda: office.refund(record.id, reason="r", reference="w", actor="cli")] * 4)
    for entries in (credits_, refunds):
        assert sorted(entry.new for entry in entries) == [False, False, False, True]
    assert balance(lab, scope) == before + 5 + record.price_micro
    assert len(audited(lab, scope, "tenant.credited")) == len(audited(lab, scope, "charge.refunded")) == 1
    lab.check_books()
