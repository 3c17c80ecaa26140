"""Posted transactions, read back by their id, and a tenant's account as the keeper of the books sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, bindparam, func, select

from qpu_backend.domain.ledger import Posting, Transaction, tenant_account
from qpu_backend.domain.tenancy import SystemScope, TenantId
from qpu_backend.stores.schema_access import audit_log
from qpu_backend.stores.schema_money import postings

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Posted:
    """A transaction and the wall time at which it was posted."""

    transaction: Transaction
    posted_at_us: int


def read_transaction(connection: Connection, _scope: SystemScope, transaction_id: str) -> Posted | None:
    """The transaction of that id."""
    rows = connection.execute(_POSTINGS, {"transaction": transaction_id}).all()
    if not rows:
        return None
    lines = tuple(Posting(row.account, row.amount_micro) for row in rows)
    return Posted(Transaction(transaction_id, TenantId(rows[0].tenant_id), lines), rows[0].posted_at_us)


def facts_of(connection: Connection, _scope: SystemScope, posted: Posted, subject: str) -> Mapping[str, Any]:
    """What the audit log holds of the action that posted it, on this subject; empty where it holds nothing."""
    values = {"tenant": posted.transaction.tenant_id, "at": posted.posted_at_us, "subject": subject}
    for row in connection.execute(_NOTED, values):
        if row.facts.get("transaction") == posted.transaction.id:
            return row.facts
    return {}


def balance_of(connection: Connection, _scope: SystemScope, tenant_id: TenantId) -> int:
    """A tenant's account, micro-credits: top-ups and refunds minus charges."""
    values = {"tenant": tenant_id, "account": tenant_account(tenant_id)}
    return int(connection.execute(_BALANCE, values).scalar_one())


_POSTINGS: Final = (
    select(postings).where(postings.c.transaction_id == bindparam("transaction")).order_by(postings.c.account)
)
_NOTED: Final = select(audit_log.c.facts).where(
    audit_log.c.tenant_id == bindparam("tenant"),
    audit_log.c.at_us == bindparam("at"),
    audit_log.c.subject == bindparam("subject"),
)
_BALANCE: Final = select(func.coalesce(func.sum(postings.c.amount_micro), 0)).where(
    postings.c.tenant_id == bindparam("tenant"), postings.c.account == bindparam("account")
)
