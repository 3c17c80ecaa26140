"""What was refunded of a month's charges when the month was over, and what of its allowance was taken back with it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import BigInteger, Connection, bindparam, func, select

from qpu_backend.domain.invoices import Month, allowance_left
from qpu_backend.domain.ledger import ALLOWANCE, REFUND_PREFIX, REVENUE
from qpu_backend.domain.reconciliation import Difference, Finding
from qpu_backend.stores.errors import ForeignTenant
from qpu_backend.stores.rows import STREAMED
from qpu_backend.stores.schema_access import tenants
from qpu_backend.stores.schema_money import invoices, postings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpu_backend.domain.quota import Interval
    from qpu_backend.domain.tenancy import SystemScope, TenantScope


def lock_account(connection: Connection, _scope: SystemScope, tenant_id: str) -> None:
    """Until the transaction ends nobody else refunds a charge of the tenant, or issues an invoice to it."""
    connection.execute(_LOCK, {"tenant": tenant_id})


def given_back_of(connection: Connection, scope: SystemScope | TenantScope, tenant_id: str, month: Interval) -> int:
    """What of a tenant's charges of a month was refunded after it, micro-credits.

    Raises:
        ForeignTenant: a tenant's scope and another tenant's month.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    values = {"tenant": tenant_id, "start": month.start_us, "end": month.end_us}
    return int(connection.execute(_LATER, values).scalar_one())


def allowance_findings(connection: Connection, _scope: SystemScope) -> Iterator[Finding]:
    """Refunds that paid out what had been free, or took back something else."""
    sums: defaultdict[tuple[str, Month], _Sum] = defaultdict(_Sum)
    for row in connection.execute(_REFUNDS, execution_options=STREAMED):
        month = Month.of(row.charged_at_us)
        total = sums[row.tenant_id, month]
        total.taken_micro += int(row.taken_micro)
        if row.refunded_at_us >= month.interval.end_us:
            total.given_back_micro += int(row.amount_micro)
    for row in connection.execute(_INVOICES, execution_options=STREAMED):
        total = sums.pop((row.tenant_id, Month.parse(row.month)), None)
        if total is None:
            continue
        expected = allowance_left(row.allowance_micro, row.charged_micro, total.given_back_micro)
        found = row.allowance_micro - total.taken_micro
        if expected != found:
            yield Finding(Difference.MISPOSTED_ALLOWANCE, row.id, row.tenant_id, "micro", expected, found)
    for (tenant_id, month), total in sums.items():  # without an invoice there is nothing to take back
        if total.taken_micro:
            yield Finding(
                Difference.MISPOSTED_ALLOWANCE, str(month), tenant_id, "micro", expected=0, found=-total.taken_micro
            )


@dataclass(slots=True)
class _Sum:
    given_back_micro: int = 0
    taken_micro: int = 0


_LOCK: Final = select(tenants.c.id).where(tenants.c.id == bindparam("tenant")).with_for_update(key_share=True)
_CHARGE: Final = postings.alias("charge")
_TAKEN: Final = postings.alias("taken")
_IS_REFUND_OF: Final = (
    postings.c.account == REVENUE,
    postings.c.transaction_id.startswith(REFUND_PREFIX),
    _CHARGE.c.transaction_id == func.substr(postings.c.transaction_id, len(REFUND_PREFIX) + 1),
    _CHARGE.c.account == REVENUE,
)
_LATER: Final = select(func.coalesce(func.sum(-postings.c.amount_micro), 0)).where(
    *_IS_REFUND_OF,
    postings.c.tenant_id == bindparam("tenant"),
    postings.c.posted_at_us >= bindparam("end", type_=BigInteger()),
    _CHARGE.c.posted_at_us >= bindparam("start", type_=BigInteger()),
    _CHARGE.c.posted_at_us < bindparam("end", type_=BigInteger()),
)
_REFUNDS: Final = select(
    postings.c.tenant_id,
    _CHARGE.c.posted_at_us.label("charged_at_us"),
    postings.c.posted_at_us.label("refunded_at_us"),
    (-postings.c.amount_micro).label("amount_micro"),
    func.coalesce(
        select(_TAKEN.c.amount_micro)
        .where(_TAKEN.c.transaction_id == postings.c.transaction_id, _TAKEN.c.account == ALLOWANCE)
        .scalar_subquery(),
        0,
    ).label("taken_micro"),
).where(*_IS_REFUND_OF)
_INVOICES: Final = select(
    invoices.c.id, invoices.c.tenant_id, invoices.c.month, invoices.c.charged_micro, invoices.c.allowance_micro
)
