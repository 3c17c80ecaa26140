"""Money as double-entry postings in whole micro-credits. A transaction that does not sum to zero cannot be made.

Amounts are written from the account's side: a top-up adds to the tenant's account and takes from ``funding``; a charge
takes from the tenant's and adds to ``revenue``. So a tenant's balance is the sum over its account, and the sum over all
accounts is zero.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpu_backend.domain.tenancy import TenantId

REVENUE: Final = "revenue"
FUNDING: Final = "funding"
ALLOWANCE: Final = "allowance"
REFUND_PREFIX: Final = "refund:"


@dataclass(frozen=True, slots=True)
class Posting:
    """One line: ``amount_micro`` micro-credits are added to ``account``."""

    account: str
    amount_micro: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """Postings that belong together.

    Attributes:
        id: of the fact that caused it, e.g. a usage record; so a fact can be posted once only.
        tenant_id: whose business it is.
        postings: at most one for each account, summing to zero.
    """

    id: str
    tenant_id: TenantId
    postings: tuple[Posting, ...]

    def __post_init__(self) -> None:
        total = sum(posting.amount_micro for posting in self.postings)
        if total:
            raise ValueError(f"transaction {self.id} is out of balance by {total} micro-credits")
        if len({posting.account for posting in self.postings}) < len(self.postings):
            raise ValueError(f"transaction {self.id} has two postings on one account")


def tenant_account(tenant_id: TenantId) -> str:
    """Name of a tenant's account."""
    return f"tenant:{tenant_id}"


def charge(transaction_id: str, tenant_id: TenantId, price_micro: int) -> Transaction:
    """A job is paid for."""
    return _transfer(transaction_id, tenant_id, tenant_account(tenant_id), REVENUE, price_micro)


def top_up(transaction_id: str, tenant_id: TenantId, amount_micro: int) -> Transaction:
    """The tenant brings credits."""
    return _transfer(transaction_id, tenant_id, FUNDING, tenant_account(tenant_id), amount_micro)


def allowance(transaction_id: str, tenant_id: TenantId, amount_micro: int) -> Transaction:
    """What an invoice leaves free is given back."""
    return _transfer(transaction_id, tenant_id, ALLOWANCE, tenant_account(tenant_id), amount_micro)


def top_up_id(tenant_id: TenantId, reference: str) -> str:
    """Names the top-up that a reference (a bank's, say) stands for: the same one however often it is told."""
    return f"top:{tenant_id}:{reference}"


def refund_id(transaction_id: str) -> str:
    """Names the refund of a transaction: there is one at most."""
    return f"{REFUND_PREFIX}{transaction_id}"


def refund(transaction_id: str, of: Transaction, allowance_micro: int = 0) -> Transaction:
    """The opposite of an earlier transaction. Facts are never edited.

    Args:
        transaction_id: of the refund.
        of: what is given back.
        allowance_micro: what of it had been free, which the tenant does not get but gives back in its turn.
    """
    amounts = Counter({posting.account: -posting.amount_micro for posting in of.postings})
    if allowance_micro:
        amounts[tenant_account(of.tenant_id)] -= allowance_micro
        amounts[ALLOWANCE] += allowance_micro
    return Transaction(transaction_id, of.tenant_id, tuple(Posting(*line) for line in amounts.items()))


def balances(transactions: Iterable[Transaction]) -> dict[str, int]:
    """Sum over each account, micro-credits. They sum to zero together."""
    total: Counter[str] = Counter()
    for transaction in transactions:
        for posting in transaction.postings:
            total[posting.account] += posting.amount_micro
    return dict(total)


def _transfer(transaction_id: str, tenant_id: TenantId, source: str, target: str, amount_micro: int) -> Transaction:
    if amount_micro < 0:
        raise ValueError(f"{amount_micro} micro-credits go the other way")
    return Transaction(transaction_id, tenant_id, (Posting(source, -amount_micro), Posting(target, amount_micro)))
