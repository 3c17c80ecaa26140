"""Prices are exact and depend on the job only; postings sum to zero."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.ledger import (
    ALLOWANCE,
    FUNDING,
    REVENUE,
    Posting,
    Transaction,
    balances,
    charge,
    refund,
    tenant_account,
    top_up,
)
from qpu_backend.domain.pricing import PriceBook, price
from qpu_backend.domain.tenancy import TenantId

RATES = st.integers(0, 10**9)
LANES = st.sampled_from(["interactive", "standard", "ci", "batch"])
PERCENTS = st.dictionaries(LANES, st.integers(0, 1000))
BOOKS = st.builds(PriceBook, st.just("book-1"), RATES, RATES, RATES, st.integers(0, 10**6), PERCENTS, RATES)
JOBS = st.tuples(st.integers(1, 10**8), st.integers(1, 10**11), st.integers(1, 1000), LANES)
Job = tuple[int, int, int, str]
TENANTS = st.sampled_from([TenantId("ada"), TenantId("bob"), TenantId("eve")])


@given(BOOKS, JOBS)
def test_a_price_is_the_exact_amount_rounded_half_even_once(book: PriceBook, job: Job):
    shots, device_us, qubits, lane = job
    with localcontext(prec=80):
        seconds = Decimal(device_us) / 10**6
        exact = shots * book.per_shot_micro + seconds * (
            book.per_device_second_micro + qubits * book.per_qubit_second_micro
        )
        exact *= Decimal(book.lane_percent.get(lane, 100)) / 100
        rounded = int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
    assert price(book, *job) == max(rounded, book.minimum_micro)


@given(BOOKS, JOBS, st.sampled_from([0, 1, 2]), st.integers(0, 10**6))
def test_more_never_costs_less(book: PriceBook, job: Job, which: int, more: int):
    larger = tuple(amount + more if k == which else amount for k, amount in enumerate(job))
    assert price(book, *larger) >= price(book, *job) >= book.minimum_micro


@given(BOOKS, JOBS, st.integers(1, 50))
def test_a_lane_scales_the_amount_and_not_the_minimum(book: PriceBook, job: Job, times: int):
    """To the last micro-credit where it is a multiple; the amount without a lane is known to a half of one."""
    shots, device_us, qubits, _ = job
    scaled = replace(book, minimum_micro=0, lane_percent={"dear": 100 * times, "free": 0})
    plain, dear = (price(scaled, shots, device_us, qubits, lane) for lane in ("standard", "dear"))
    assert abs(dear - times * plain) <= times / 2
    assert price(scaled, shots, device_us, qubits, "free") == 0
    assert price(replace(scaled, minimum_micro=7), shots, device_us, qubits, "free") == 7


@given(BOOKS, JOBS, st.integers(0, 1000), st.integers(0, 1000))
def test_a_dearer_lane_is_never_cheaper(book: PriceBook, job: Job, percent: int, more: int):
    prices = [price(replace(book, lane_percent={job[3]: each}), *job) for each in (percent, percent + more)]
    assert prices == sorted(prices)


@given(BOOKS, JOBS, st.integers(0, 10**9))
def test_an_allowance_is_no_part_of_a_price(book: PriceBook, job: Job, free: int):
    assert price(replace(book, free_micro_per_month=free), *job) == price(book, *job)


def test_halves_go_to_the_even_number():
    book = PriceBook("b", 0, 1, 0, 0, {"half": 50})
    assert [price(book, 1, us, 1, "ci") for us in (500_000, 1_500_000, 2_500_000, 500_001)] == [0, 2, 2, 1]
    assert [price(book, 1, us, 1, "half") for us in (1_000_000, 3_000_000, 5_000_000, 1_000_002)] == [0, 2, 2, 1]


def test_a_book_from_before_lanes_and_allowances_means_what_it_meant():
    rates = {"per_shot_micro": 1, "per_device_second_micro": 2, "per_qubit_second_micro": 3, "minimum_micro": 4}
    book = PriceBook.from_rates("old", rates)
    assert book == PriceBook("old", 1, 2, 3, 4, {}, 0)
    assert price(book, 10, 2_000_000, 5, "interactive") == 10 + 2 * (2 + 15)


@given(BOOKS)
def test_a_price_book_survives_its_rates(book: PriceBook):
    assert PriceBook.from_rates(book.id, json.loads(json.dumps(book.rates()))) == book


@pytest.mark.parametrize("rates", [(1, -1, 0, 0), (0, 0, 0, 0, {"batch": -1}), (0, 0, 0, 0, {}, -1)])
def test_a_price_book_has_no_negative_rates(rates: tuple[Any, ...]):
    with pytest.raises(ValueError, match="negative"):
        PriceBook("b", *rates)


Entry = tuple[Callable[[str, TenantId, int], Transaction], TenantId, int]

ENTRIES = st.lists(st.tuples(st.sampled_from([charge, top_up]), TENANTS, st.integers(0, 10**15)), max_size=20)


@given(ENTRIES)
def test_all_accounts_together_are_zero(entries: list[Entry]):
    book = [entry(f"t{k}", tenant, amount) for k, (entry, tenant, amount) in enumerate(entries)]
    total = balances(book)
    assert sum(total.values()) == 0
    assert total.get(REVENUE, 0) == sum(amount for entry, _, amount in entries if entry is charge)
    for tenant in {tenant for _, tenant, _ in entries}:
        own = [amount if entry is top_up else -amount for entry, t, amount in entries if t == tenant]
        assert total[tenant_account(tenant)] == sum(own)


@given(ENTRIES)
def test_a_refund_undoes_a_charge_without_editing_it(entries: list[Entry]):
    book = [entry(f"t{k}", tenant, amount) for k, (entry, tenant, amount) in enumerate(entries)]
    undone = [refund(f"r{k}", transaction) for k, transaction in enumerate(book)]
    assert not any(balances([*book, *undone]).values())


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_of_a_refund_what_was_free_goes_to_the_allowance_and_the_rest_to_the_tenant(paid: int, free: int):
    tenant = TenantId("ada")
    of = charge("c", tenant, paid + free)
    assert balances([of, refund("r", of, free)]) == {
        "tenant:ada": -free,
        REVENUE: 0,
        **({ALLOWANCE: free} if free else {}),
    }


def test_a_top_up_comes_from_outside_and_a_charge_goes_to_revenue():
    tenant = TenantId("ada")
    assert balances([top_up("a", tenant, 10), charge("b", tenant, 4)]) == {FUNDING: -10, "tenant:ada": 6, REVENUE: 4}


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=4))
def test_a_transaction_out_of_balance_cannot_be_made(amounts: list[int]):
    postings = tuple(Posting(f"a{k}", amount) for k, amount in enumerate(amounts))
    if sum(amounts):
        with pytest.raises(ValueError, match=f"out of balance by {sum(amounts)}"):
            Transaction("t", TenantId("ada"), postings)
    else:
        assert Transaction("t", TenantId("ada"), postings).postings == postings


def test_an_account_is_posted_to_once_in_a_transaction_and_never_backwards():
    with pytest.raises(ValueError, match="two postings"):
        Transaction("t", TenantId("ada"), (Posting("a", 1), Posting("a", -1)))
    for entry in (charge, top_up):
        with pytest.raises(ValueError, match="other way"):
            entry("t", TenantId("ada"), -1)
