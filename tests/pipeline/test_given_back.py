"""What was free is not paid out: refunds after the month give back what a tenant really paid, in any order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from booked import GRACE_S, MONTH, START_US
from sqlalchemy import select

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.invoices import Month
from qpu_backend.pipeline.clocks import HandDrivenClock
from qpu_backend.pipeline.crediting import Crediting
from qpu_backend.stores import access, money
from qpu_backend.stores.schema_access import audit_log
from qpu_backend.stores.schema_money import invoices

if TYPE_CHECKING:
    from collections.abc import Iterator

NEXT = Month(2027, 2)
FREE_MICRO = 150_000


class After:
    """A laboratory after a month in which tenants had jobs; every tenant has the same ones."""

    def __init__(self, lab: Any, clock: HandDrivenClock) -> None:
        self.lab = lab
        self.clock = clock
        self.office = Crediting(lab.database, SYSTEM, clock)
        self.scopes = {name: lab.tenant(name) for name in ("ada", "bob", "eve", "joe")}
        self.records: dict[str, list[money.UsageRow]] = {}

    def issue(self, month: Month) -> None:
        self.lab.service.door.invoicing.issue(month, actor="test")

    def refund(self, name: str, *which: int) -> list[int]:
        """What the tenant got for each."""
        return [self.office.refund(self.records[name][k].id, reason="r", actor="test").amount_micro for k in which]

    def balance(self, name: str) -> int:
        with self.lab.database.read() as connection:
            return money.balance(connection, self.scopes[name])

    def allowance(self, name: str) -> int:
        query = select(invoices.c.allowance_micro).where(
            invoices.c.tenant_id == self.scopes[name].tenant_id, invoices.c.month == str(MONTH)
        )
        with self.lab.database.read() as connection:
            return connection.execute(query).scalar_one()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def after(request, tmp_path_factory, laboratories, make) -> Iterator[After]:
    url, clock = None, HandDrivenClock(START_US)
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database(tables=True))
    prices = {"free_micro_per_month": FREE_MICRO}
    with laboratories(tmp_path_factory.mktemp("lab"), database=url, clock=clock, prices=prices) as lab:
        found = After(lab, clock)
        for name, scope in found.scopes.items():
            job_ids = [lab.submit(scope, make.sample(make.ghz(), shots=shots)) for shots in (500, 1000, 2000)]
            lab.ended(*job_ids)
            found.records[name] = [lab.usage(scope, job_id) for job_id in job_ids]
        clock.advance(seconds=(MONTH.interval.end_us - clock.now_us()) / 1e6 + GRACE_S)
        yield found


def test_refunds_after_the_month_pay_out_what_was_paid_whenever_its_invoice_is_issued(after):
    prices = [record.price_micro for record in after.records["ada"]]
    free = min(FREE_MICRO, sum(prices))
    assert free > 0
    assert after.refund("bob", 0, 1, 2) == prices  # no invoice yet: it will leave nothing free
    assert after.refund("joe", 2) == prices[2:]
    after.issue(MONTH)
    assert (after.allowance("ada"), after.allowance("bob")) == (free, 0)
    assert after.allowance("joe") == min(FREE_MICRO, sum(prices[:2]))
    assert sum(after.refund("ada", 0, 1, 2)) == sum(prices) - free
    got = after.lab.at_once([lambda k=k: after.refund("eve", k) for k in (2, 1, 0)])
    assert sum(amount for (amount,) in got) == sum(prices) - free
    after.refund("joe", 0, 1)
    assert [after.balance(name) for name in after.scopes] == [0] * 4
    query = select(audit_log.c.facts).where(audit_log.c.action == "charge.refunded")
    with after.lab.database.read() as connection:
        noted = [facts.get("allowance_micro", 0) for facts in connection.execute(query).scalars()]
    assert sum(noted) == 2 * free + after.allowance("joe")
    assert after.lab.service.door.reconciling.reconcile().findings == ()
    after.lab.check_books()


def test_on_the_next_invoice_a_refund_is_what_the_tenant_got(after):
    after.clock.advance(seconds=(NEXT.interval.end_us - after.clock.now_us()) / 1e6 + GRACE_S)
    before = {name: after.balance(name) for name in after.scopes}
    after.issue(NEXT)
    for name in after.scopes:
        statement = after.lab.service.door.invoicing.own(after.scopes[name], NEXT)
        paid = sum(record.price_micro for record in after.records[name]) - after.allowance(name)
        assert (statement.invoice.total_micro, statement.invoice.lines[0].records) == (-paid, 3)
    assert {name: after.balance(name) for name in after.scopes} == before
    assert after.lab.service.door.reconciling.reconcile().findings == ()


def test_a_month_is_summed_while_others_write(after, monkeypatch):
    """Nothing is read of its records inside the transaction that closes it."""
    writing: list[bool] = []
    office = after.lab.service.door.invoicing
    summed = type(office)._sum_up

    def watched(self: Any, connection: Any, *arguments: Any) -> Any:
        writing.append(connection.engine is after.lab.database._writers)
        with after.lab.database.write() as another:  # which waits for ever where this one holds the lock
            assert access.find_tenant(another, SYSTEM, "ada")
        return summed(self, connection, *arguments)

    monkeypatch.setattr(type(office), "_sum_up", watched)
    assert office.issue(Month(2026, 12), actor="test", tenant="ada").new == 1
    assert writing == [False]


def test_a_refund_that_is_told_again_is_the_one_that_was_posted(after, make):
    lab, scope = after.lab, after.scopes["ada"]
    job_id = lab.submit(scope, make.sample(make.ghz(), shots=700))
    lab.ended(job_id)
    usage = lab.usage(scope, job_id)
    month = Month.of(usage.recorded_at_us)
    after.clock.advance(seconds=(month.interval.end_us - after.clock.now_us()) / 1e6 + GRACE_S)
    after.issue(month)
    first, again = (after.office.refund(usage.id, reason="r", reference="t", actor="test") for _ in range(2))
    assert set(first.transaction.postings) == set(again.transaction.postings)
    assert (again.new, again.amount_micro, again.balance_micro) == (False, first.amount_micro, first.balance_micro)
    assert first.amount_micro == max(0, usage.price_micro - FREE_MICRO)
