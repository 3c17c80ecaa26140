"""Invoices add up whatever is on them, and never give away more than there was to pay."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.errors import InvalidRequest
from qpu_backend.domain.invoices import Fact, Group, LineKind, Month, MonthNotOver, draw_up, taken_back
from qpu_backend.domain.reconciliation import MEANINGS, Difference, Finding

NAMES = st.none() | st.sampled_from(["", "eagle127", "heron156"])
GROUPS = st.builds(Group, st.sampled_from([LineKind.JOBS, LineKind.SESSIONS]), NAMES, NAMES, NAMES) | st.just(
    Group(LineKind.REFUNDS)
)
AMOUNTS = st.integers(0, 10**9)


@st.composite
def facts(draw: st.DrawFn) -> Fact:
    group = draw(GROUPS)
    amount = draw(AMOUNTS)
    return Fact(group, draw(AMOUNTS), draw(AMOUNTS), -amount if group.kind is LineKind.REFUNDS else amount)


MONTHS = st.builds(Month, st.integers(2000, 2099), st.integers(1, 12))


@given(st.lists(facts()), AMOUNTS)
def test_an_invoice_is_the_sum_of_its_lines_and_each_line_that_of_its_records(records: list[Fact], free: int):
    invoice = draw_up(iter(records), free)
    assert sum(line.amount_micro for line in invoice.lines) == invoice.total_micro
    assert [line.number for line in invoice.lines] == list(range(1, len(invoice.lines) + 1))
    raw: dict[Group, list[Fact]] = defaultdict(list)
    for record in records:
        raw[record.group].append(record)
    lines = [line for line in invoice.lines if line.group.kind is not LineKind.ALLOWANCE]
    assert {line.group for line in lines} == set(raw)
    for line in lines:
        of_line = raw[line.group]
        sums = [sum(getattr(one, name) for one in of_line) for name in ("shots", "device_us", "amount_micro")]
        assert [line.records, line.shots, line.device_us, line.amount_micro] == [len(of_line), *sums]


@given(st.lists(facts()), AMOUNTS)
def test_the_allowance_is_at_most_what_is_charged_and_never_makes_a_total_negative(records: list[Fact], free: int):
    invoice = draw_up(records, free)
    assert 0 <= invoice.allowance_micro <= free
    assert invoice.total_micro == invoice.charged_micro - invoice.allowance_micro
    if invoice.charged_micro >= 0:
        assert invoice.total_micro == max(0, invoice.charged_micro - free)
    else:
        assert invoice.allowance_micro == 0
    given_back = [line.amount_micro for line in invoice.lines if line.group.kind is LineKind.ALLOWANCE]
    assert given_back == ([-invoice.allowance_micro] if invoice.allowance_micro else [])


@given(st.lists(facts()).flatmap(lambda some: st.tuples(st.just(some), st.permutations(some))), AMOUNTS)
def test_the_order_of_records_changes_nothing(both: tuple[list[Fact], list[Fact]], free: int):
    assert draw_up(both[0], free) == draw_up(both[1], free)


def refunded(
    charges: dict[int, list[int]], free: int, issued: dict[int, int], refunds: list[tuple[int, int, int]]
) -> list[int]:
    """A tenant's balance after each event of its life.

    Args:
        charges: of each month, recorded in it.
        free: in every month.
        issued: in which month the invoice of a month is issued; later than it.
        refunds: the month of the refund, that of the charge, and which charge.
    """
    invoices: dict[int, tuple[int, int]] = {}
    entries: list[tuple[int, int]] = []  # the month in which a refund was posted, what the tenant got
    later: dict[int, int] = defaultdict(int)
    balance, seen = 0, list[int]()
    for now in range(8):
        for month, when in issued.items():
            if when == now:
                facts = [Fact(Group(LineKind.JOBS), 0, 0, amount) for amount in charges.get(month, [])]
                facts += [Fact(Group(LineKind.REFUNDS), 0, 0, -got) for posted, got in entries if posted == month]
                invoice = draw_up(facts, free, later[month])
                invoices[month] = invoice.charged_micro, invoice.allowance_micro
                balance += invoice.allowance_micro
        balance -= sum(charges.get(now, []))
        for posted, month, which in refunds:
            if posted == now:
                got = amount = charges[month][which]
                if month in invoices:
                    charged, allowance = invoices[month]
                    got -= taken_back(allowance, charged, later[month], amount)
                    assert 0 <= got <= amount
                if now > month:
                    later[month] += amount
                entries.append((now, got))
                balance += got
                seen.append(got)
    return [balance, *seen]


@st.composite
def lives(draw: st.DrawFn) -> tuple[dict[int, list[int]], int, dict[int, int], list[tuple[int, int, int]]]:
    charges = {month: draw(st.lists(st.integers(0, 30), max_size=4)) for month in range(3)}
    issued = {month: draw(st.integers(month + 1, 5)) for month in charges}
    every = [(month, which) for month, some in charges.items() for which in range(len(some))]
    order = draw(st.permutations(every))
    return charges, draw(st.integers(0, 60)), issued, [(draw(st.integers(month, 6)), month, k) for month, k in order]


@given(lives())
def test_who_is_refunded_everything_has_paid_nothing_and_got_nothing(
    life: tuple[dict[int, list[int]], int, dict[int, int], list[tuple[int, int, int]]],
):
    """In whatever order, before and after the invoices of those months and of later ones are issued."""
    charges, free, issued, refunds = life
    balance, *_ = refunded(charges, free, issued, refunds)
    assert balance == 0


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(0, 60), st.data())
def test_refunds_after_a_month_leave_what_its_invoice_over_the_rest_would_be(
    charges: list[int], free: int, data: st.DataObject
):
    """Whichever, in whatever order, and whether the invoice was issued before them, between them or after them."""
    some = data.draw(st.permutations(range(len(charges))))[: data.draw(st.integers(0, len(charges)))]
    issued = {0: data.draw(st.integers(1, 5))}
    refunds = [(data.draw(st.integers(1, 6)), 0, which) for which in some]
    rest = sum(amount for which, amount in enumerate(charges) if which not in some)
    balance, *got = refunded({0: charges}, free, issued, refunds)
    assert -balance == max(0, rest - free)
    if issued == {0: 1}:
        assert sum(got) == max(0, sum(charges) - free) - max(0, rest - free)


@given(MONTHS)
def test_a_month_is_written_and_read_and_is_the_month_of_its_moments(month: Month):
    assert Month.parse(str(month)) == month
    bounds = month.interval
    assert Month.of(bounds.start_us) == Month.of(bounds.end_us - 1) == month
    assert Month.of(bounds.start_us - 1) < month < Month.of(bounds.end_us)
    assert bounds.start_us == round(datetime(month.year, month.number, 1, tzinfo=UTC).timestamp()) * 1_000_000


@given(MONTHS, st.integers(0, 10**10))
def test_a_month_may_be_closed_from_its_end_and_the_grace_on_and_not_before(month: Month, grace_us: int):
    ready_us = month.interval.end_us + grace_us
    month.require_over(ready_us, grace_us)
    with pytest.raises(MonthNotOver) as refusal:
        month.require_over(ready_us - 1, grace_us)
    assert (refusal.value.retry_at_us, refusal.value.month) == (ready_us, str(month))


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-00", "2026-1", "1999-12", "2026-11 ", "20٢٦-11", "2026-11\n"]
)
def test_anything_else_is_no_month(text: str):
    with pytest.raises(InvalidRequest) as refusal:
        Month.parse(text)
    assert refusal.value.field == "month"


def test_every_kind_of_difference_is_a_sentence():
    assert set(MEANINGS) == set(Difference)
    assert len(set(MEANINGS.values())) == len(MEANINGS)
    wrong = Finding(Difference.MISPOSTED_USAGE, "use_1", "ten_1", "micro", 100, 99)
    assert wrong.sentence.endswith("use_1: 99 instead of 100 micro")
    assert Finding(Difference.UNMETERED_JOB, "job_1").sentence == "a job has ended and has no usage record: job_1"
