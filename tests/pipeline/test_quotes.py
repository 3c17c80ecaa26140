"""One price from quote to posting: quoted, reserved, metered and posted are the same number, on both databases."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
from holding import closed, opened
from legs import CUT, LIMITS, large, stop_between_legs
from sqlalchemy import select

from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.pricing import PriceBook, price
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.quotes import QuoteExpired
from qpu_backend.pipeline.clocks import HandDrivenClock
from qpu_backend.stores import money
from qpu_backend.stores.schema_money import postings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.pipeline.quoting import Offer

LANES = {"interactive": 200, "batch": 50}
LIFE_S = 600
SPEND = {(Resource.SPEND_MICRO, Window.MONTH): 10**9}
SPENT = 0
"""Position of the only row of :meth:`Lab.windows`."""


@dataclass
class House:
    """A service whose wall clock is driven by hand."""

    lab: Any
    clock: HandDrivenClock

    def quote(self, scope: TenantScope, order: Any) -> Offer:
        return self.lab.service.door.quoting.quote(scope, order, len(order.model_dump_json()))

    def submit(self, scope: TenantScope, order: Any, offer: Offer | None = None) -> str:
        return self.lab.submit(scope, order if offer is None else order.model_copy(update={"quote": offer.token}))

    def new_book(self, name: str, **changes: Any) -> PriceBook:
        """A price book that is in force in a minute, when the clock has been moved."""
        office = self.lab.service.door.price_books
        book = replace(office.prices().current.book, id=name, **changes)
        office.publish(book, valid_from_us=self.clock.now_us() + 60_000_000, actor="service")
        return book

    def posted(self, record: money.UsageRow) -> dict[str, int]:
        query = select(postings.c.account, postings.c.amount_micro).where(postings.c.transaction_id == record.id)
        with self.lab.database.read() as connection:
            return dict(connection.execute(query).all())

    def check(self, scope: TenantScope, job_id: str, price_micro: int, end: JobState = JobState.DONE) -> None:
        """A job that has ended was metered and posted at this price, and nothing else."""
        (row,) = self.lab.ended(job_id)
        record = self.lab.usage(scope, job_id)
        assert (row.state, record.outcome) == (end, end)
        assert (record.price_micro, record.price_book, record.lane) == (price_micro, row.price_book, row.lane)
        account = f"tenant:{scope.tenant_id}"
        assert self.posted(record) == ({account: -price_micro, "revenue": price_micro} if price_micro else {})


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def house(request, tmp_path_factory, laboratories) -> Iterator[House]:
    url = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database(tables=True))
    clock = HandDrivenClock()
    with laboratories(
        tmp_path_factory.mktemp("lab"),
        database=url,
        clock=clock,
        device=CUT,
        prices={"lane_percent": LANES},
        quotes={"life_s": LIFE_S},
    ) as lab:
        yield House(lab, clock)


def test_the_whole_chain_has_one_price(house, make):
    """Jobs of every lane, half of them quoted, across a change of price books, some cancelled while they wait."""
    scope = house.lab.tenant(limits=SPEND)
    orders = [
        make.sample(make.ghz(), shots=shots, lane=lane, seed=number, **options)
        for number, (shots, lane, options) in enumerate(
            (shots, lane, options)
            for lane in ("standard", "interactive", "batch")
            for shots, options in ((10, {}), (4000, {}), (700, {"isolation": "exclusive"}))
        )
    ]
    before = house.lab.service.door.price_books.prices().current.book
    offers = [house.quote(scope, order) for order in orders]
    dearer = {"interactive": 333, "batch": 75}
    after = house.new_book("dearer", per_shot_micro=23, minimum_micro=50_000, lane_percent=dearer)
    house.clock.advance(seconds=61)
    expected: dict[str, int] = {}
    with house.lab.queueing():
        for order, offer in zip(orders, offers, strict=True):
            promised = offer.quote
            facts = (promised.shots, promised.device_us, offer.footprint_qubits, order.options.lane)
            quoted, unquoted = house.submit(scope, order, offer), house.submit(scope, order)
            expected |= {quoted: price(before, *facts), unquoted: price(after, *facts)}
            assert promised.price_micro == expected[quoted] < expected[unquoted]
            for job_id, book, quote_id in ((quoted, before, promised.id), (unquoted, after, None)):
                (row,) = house.lab.rows(job_id)
                assert (row.price_micro, row.price_book) == (expected[job_id], book.id)
                assert (row.quote_id, row.device_us, row.shots) == (quote_id, promised.device_us, promised.shots)
        assert house.lab.windows(scope)[SPENT] == ("spend_micro", sum(expected.values()), 0)
        cancelled = set(list(expected)[:3])
        for job_id in cancelled:
            house.lab.service.door.cancellation.cancel(scope, job_id)
    house.lab.ended(*expected)
    for job_id, price_micro in expected.items():
        end = JobState.CANCELLED if job_id in cancelled else JobState.DONE
        house.check(scope, job_id, 0 if job_id in cancelled else price_micro, end)
    total = sum(price_micro for job_id, price_micro in expected.items() if job_id not in cancelled)
    assert house.lab.windows(scope)[SPENT] == ("spend_micro", 0, total)
    with house.lab.database.read() as connection:
        assert money.balance(connection, scope) == -total
        assert money.usage_totals(connection, scope, since_us=0).price_micro == total
    house.lab.check_books()


def test_a_job_that_waits_while_prices_change_keeps_its_own(house, make):
    scope = house.lab.tenant(limits=SPEND)
    with house.lab.queueing():
        early = house.submit(scope, make.sample(make.ghz(), shots=500))
        (row,) = house.lab.rows(early)
        house.new_book("while it waits", per_shot_micro=99)
        house.clock.advance(seconds=61)
        late = house.submit(scope, make.sample(make.ghz(), shots=500))
    house.check(scope, early, row.price_micro)
    assert house.lab.rows(late)[0].price_book == "while it waits" != row.price_book
    house.lab.check_books()


def test_a_quote_holds_for_its_life_and_then_no_longer(house, make):
    scope = house.lab.tenant()
    order = make.sample(make.ghz(), shots=50)
    offer = house.quote(scope, order)
    house.clock.advance(seconds=LIFE_S - 1e-6)
    assert house.lab.rows(house.submit(scope, order, offer))[0].quote_id == offer.quote.id
    house.clock.advance(seconds=1e-6)
    with pytest.raises(QuoteExpired):
        house.submit(scope, order, offer)
    house.lab.settle()


def test_a_large_job_that_is_cancelled_between_legs_pays_by_the_book_of_its_quote(house, make):
    scope = house.lab.tenant(limits=LIMITS)
    order = large(make)
    offer = house.quote(scope, order)
    quoted_by = house.lab.service.door.price_books.prices().current.book
    house.new_book("much dearer", per_shot_micro=10_000)
    house.clock.advance(seconds=61)
    job_id = stop_between_legs(house.lab, scope, order.model_copy(update={"quote": offer.token}))
    house.lab.service.door.cancellation.cancel(scope, job_id)
    house.lab.resume()
    record = house.lab.usage(scope, job_id)
    (row,) = house.lab.rows(job_id)
    assert 0 < record.shots < offer.quote.shots
    part = price(quoted_by, record.shots, record.device_us, row.footprint_qubits, row.lane)
    assert 0 < part < offer.quote.price_micro
    house.check(scope, job_id, part, JobState.CANCELLED)
    house.lab.check_books()


def test_a_session_is_charged_for_what_it_holds_in_the_lane_of_its_jobs(house, make):
    scope, other = house.lab.tenant(), house.lab.tenant()
    session_id = opened(house.lab, scope)
    book = house.lab.service.door.price_books.prices().current.book
    order = make.sample(make.ghz(), session=session_id, lane="batch")
    house.lab.ended(house.submit(scope, order, house.quote(scope, order)))
    house.lab.ended(house.submit(other, make.sample(make.ghz(), shots=3000)))
    end = closed(house.lab, scope, session_id)
    assert (end.lane, end.price_book) == ("batch", book.id)
    percent = book.lane_percent["batch"]
    assert end.price_micro == round(Fraction(end.held_cost * book.per_qubit_second_micro * percent, 10**8)) > 0
    house.lab.check_books()


def test_part_of_a_job_never_costs_more_than_was_quoted_for_all_of_it(house, make):
    """A calibration between quote and submission may make the same circuits last longer; the price stays."""
    scope = house.lab.tenant(limits=LIMITS)
    order = large(make)
    promised = replace(house.quote(scope, order).quote, price_micro=1_000)
    token = house.lab.service.door.quoting._pricing.sign(promised)
    job_id = stop_between_legs(house.lab, scope, order.model_copy(update={"quote": token}))
    house.lab.service.door.cancellation.cancel(scope, job_id)
    house.lab.resume()
    house.check(scope, job_id, 1_000, JobState.CANCELLED)
    assert house.lab.windows(scope)[1] == ("spend_micro", 0, 1_000)
    house.lab.check_books()
