"""Prices are exact and depend on the job only; postings sum to zero."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.ledger import (
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
BOOKS = st.builds(PriceBook, st.just("book-1"), RATES, RATES, RATES, st.integers(0, 10**6))
JOBS = st.tuples(st.integers(1, 10**8), st.integers(1, 10**11), st.integers(1, 1000))
TENANTS = st.sampled_from([TenantId("ada"), TenantId("bob"), TenantId("eve")])


@given(BOOKS, JOBS)
def test_a_price_is_the_exact_amount_rounded_half_even_once(book: PriceBook, job: tuple[int, int, int]):
    shots, device_us, qubits = job
    with localcontext(prec=80):
        seconds = Decimal(device_us) / 10**6
        exact = shots * book.per_shot_micro + seconds * (
            book.per_device_second_micro + qubits * book.per_qubit_second_micro
        )
        rounded = int(exact.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
    assert price(book, *job) == max(rounded, book.minimum_micro)


@given(BOOKS, JOBS, st.sampled_from([0, 1, 2]))
def test_more_never_costs_less(book: PriceBook, job: tuple[int, int, int], which: int):
    more = tuple(amount * 2 if k == which else amount for k, amount in enumerate(job))
    assert price(book, *more) >= price(book, *job) >= book.minimum_micro


def test_halves_go_to_the_even_number():
    book = PriceBook("b", 0, 1, 0, 0)
    assert [price(book, 1, us, 1) for us in (500_000, 1_500_000, 2_500_000, 500_001)] == [0, 2, 2, 1]


@given(BOOKS)
def test_a_price_book_survives_its_rates(book: PriceBook):
    assert PriceBook.from_rates(book.id, json.loads(json.dumps(book.rates()))) == book


def test_a_price_book_has_no_negative_rates():
    with pytest.raises(ValueError, match="negative"):
        PriceBook("b", 1, -1, 0, 0)


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
