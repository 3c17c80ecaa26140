"""What each of a tenant's principals used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, func, select

from qpu_backend.stores.money import UsageTotals
from qpu_backend.stores.schema_money import usage_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpu_backend.domain.tenancy import TenantScope


def usage_of_principals(
    connection: Connection, scope: TenantScope, principal_ids: Sequence[str], *, since_us: int
) -> dict[str, UsageTotals]:
    """What jobs of these principals used that were settled at or after this wall time; who used nothing is left out."""
    values = {"tenant": scope.tenant_id, "principals": list(principal_ids), "since": since_us}
    return {
        principal_id: UsageTotals(*(int(value) for value in totals))
        for principal_id, *totals in connection.execute(_BY_PRINCIPAL, values)
    }


_BY_PRINCIPAL: Final = (
    select(
        usage_records.c.principal_id,
        func.count(),
        func.coalesce(func.sum(usage_records.c.shots), 0),
        func.coalesce(func.sum(usage_records.c.device_us), 0),
        func.coalesce(func.sum(usage_records.c.price_micro), 0),
    )
    .where(
        usage_records.c.tenant_id == bindparam("tenant"),
        usage_records.c.principal_id.in_(bindparam("principals", expanding=True)),
        usage_records.c.recorded_at_us >= bindparam("since"),
    )
    .group_by(usage_records.c.principal_id)
)
