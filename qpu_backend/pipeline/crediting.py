"""Credits that tenants bring, and charges that are given back: each a transaction of its own, none ever edited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qpu_backend.domain import ledger
from qpu_backend.domain.errors import InvalidRequest, NotFound
from qpu_backend.domain.invoices import Month, taken_back
from qpu_backend.stores import access, audit, given_back, invoices, money, transactions
from qpu_backend.stores.errors import AlreadySettled, MissingRow
from qpu_backend.stores.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Connection

    from qpu_backend.domain.ledger import Transaction
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.clocks import WallClock
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.transactions import Posted


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction in the books.

    Attributes:
        transaction: as it was posted.
        amount_micro: what the tenant's account got.
        balance_micro: of that account now.
        new: whether this call posted it; it was there already when the same reference had been used for the same.
    """

    transaction: Transaction
    amount_micro: int
    balance_micro: int
    new: bool


class Crediting:
    """Tops accounts up and refunds charges, for whoever runs the service. Safe to call from many threads."""

    def __init__(self, database: Database, scope: SystemScope, clock: WallClock) -> None:
        self._database = database
        self._scope = scope
        self._clock = clock

    def credit(
        self, tenant_name: str, amount_micro: int, *, reason: str, reference: str | None = None, actor: str
    ) -> Entry:
        """Add credits to a tenant's account.

        Args:
            tenant_name: whose.
            amount_micro: micro-credits, more than 0.
            reason: for whoever reads the audit log.
            reference: names the payment; told twice, it is one.
            actor: who does it.

        Raises:
            MissingRow: there is no such tenant.
            InvalidRequest: the amount is not positive, or the reference stands for another one.
        """
        if amount_micro <= 0:
            raise InvalidRequest(f"a credit is more than 0 micro-credits, not {amount_micro}", field="amount")

        def post(connection: Connection) -> Entry:
            tenant = access.find_tenant(connection, self._scope, tenant_name)
            if tenant is None:
                raise MissingRow("tenant", tenant_name)
            name = new_id("top") if reference is None else ledger.top_up_id(tenant.id, reference)
            wanted = ledger.top_up(name, tenant.id, amount_micro)
            earlier = transactions.read_transaction(connection, self._scope, name)
            if earlier is not None and _gain(earlier.transaction) != amount_micro:
                message = f"reference {reference!r} stands for a credit of {_gain(earlier.transaction)} micro-credits"
                raise InvalidRequest(f"{message} to {tenant_name} already, not {amount_micro}", field="reference")
            facts = {"amount_micro": amount_micro, "reason": reason, "reference": reference}
            at_us = self._clock.now_us() if earlier is None else None
            return self._entry(connection, wanted, "tenant.credited", tenant.id, facts, actor, at_us)

        return self._once(post)

    def refund(self, charge_id: str, *, reason: str, reference: str | None = None, actor: str) -> Entry:
        """Give a charge back, all that was paid of it; a quota does not come back with it.

        What of it was free in a month whose invoice is issued goes back to the allowance, in the same transaction.

        Args:
            charge_id: of the usage record, or of the closed session, that was charged.
            reason: for whoever reads the audit log.
            reference: names the refund; told twice, it is one.
            actor: who does it.

        Raises:
            NotFound: nothing was charged under that id.
            InvalidRequest: it was refunded before, and not under this reference.
        """

        def post(connection: Connection) -> Entry:
            charge = transactions.read_transaction(connection, self._scope, charge_id)
            if charge is None or not _is_charge(charge.transaction):
                raise NotFound("charge", charge_id)
            given_back.lock_account(connection, self._scope, charge.transaction.tenant_id)
            name, now_us = ledger.refund_id(charge_id), self._clock.now_us()
            earlier = transactions.read_transaction(connection, self._scope, name)
            if earlier is None:
                free_micro = self._free_of(connection, charge, now_us)
                wanted = ledger.refund(name, charge.transaction, free_micro)
            else:
                free_micro, wanted = 0, earlier.transaction
                noted = transactions.facts_of(connection, self._scope, earlier, charge_id)
                if reference is None or noted.get("reference") != reference:
                    raise InvalidRequest(f"{charge_id} has been refunded already, once and for all", field="usage_id")
            facts = {"amount_micro": _gain(wanted), "reason": reason, "reference": reference}
            if free_micro:
                facts["allowance_micro"] = free_micro
            at_us = now_us if earlier is None else None
            return self._entry(connection, wanted, "charge.refunded", charge_id, facts, actor, at_us)

        return self._once(post)

    def _free_of(self, connection: Connection, charge: Posted, now_us: int) -> int:
        """What of a charge was free under the invoice of its month; of one to come, it counts when that is issued."""
        month, tenant_id = Month.of(charge.posted_at_us), charge.transaction.tenant_id
        if now_us < month.interval.end_us:
            return 0
        invoice = invoices.find_invoice(connection, self._scope, tenant_id, str(month))
        if invoice is None:
            return 0
        before = given_back.given_back_of(connection, self._scope, tenant_id, month.interval)
        return taken_back(invoice.allowance_micro, invoice.charged_micro, before, -_gain(charge.transaction))

    def _once(self, post: Callable[[Connection], Entry]) -> Entry:
        try:
            with self._database.write() as connection:
                return post(connection)
        except AlreadySettled:  # a concurrent twin was first; it is committed now
            with self._database.write() as connection:
                return post(connection)

    def _entry(
        self,
        connection: Connection,
        transaction: Transaction,
        action: str,
        subject: str,
        facts: Mapping[str, Any],
        actor: str,
        now_us: int | None,
    ) -> Entry:
        """The transaction in the books, posted and noted at this wall time; ``None``: it was there."""
        if now_us is not None:
            money.insert_postings(connection, self._scope, [transaction], posted_at_us=now_us)
            audit.append(
                connection,
                self._scope,
                actor=actor,
                action=action,
                subject=subject,
                tenant_id=transaction.tenant_id,
                facts={"transaction": transaction.id, **facts},
                now_us=now_us,
            )
        balance_micro = transactions.balance_of(connection, self._scope, transaction.tenant_id)
        return Entry(transaction, _gain(transaction), balance_micro, now_us is not None)


def _gain(transaction: Transaction) -> int:
    account = ledger.tenant_account(transaction.tenant_id)
    return sum(posting.amount_micro for posting in transaction.postings if posting.account == account)


def _is_charge(transaction: Transaction) -> bool:
    return any(posting.account == ledger.REVENUE and posting.amount_micro > 0 for posting in transaction.postings)
