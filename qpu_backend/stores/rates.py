"""Rates in the database: when the next submission would be due. ``domain/rates.py`` has the algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, select, update

from qpu_backend.domain.rates import admit_all
from qpu_backend.stores.expressions import insert_ignoring
from qpu_backend.stores.schema_access import rate_limits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qpu_backend.domain.rates import Rate
    from qpu_backend.domain.tenancy import TenantScope


def count_submission(connection: Connection, scope: TenantScope, rates: Mapping[str, Rate], now_us: int) -> None:
    """One submission more, under every rate or under none; it is undone with its transaction.

    The rows are locked until then: of concurrent submissions each is counted.

    Args:
        connection: of a write transaction.
        scope: whose submission it is.
        rates: those that apply, by whom they are of: '' is the tenant as a whole.
        now_us: wall time.

    Raises:
        RateLimited: it comes too early under one of them.
    """
    if not rates:
        return
    key = {"tenant": scope.tenant_id, "whose": sorted(rates)}
    arrivals = {whose: int(at_us) for whose, at_us in connection.execute(_LOCK, key)}
    missing = [
        {"tenant_id": scope.tenant_id, "principal_id": whose, "arrival_at_us": 0}
        for whose in sorted(rates.keys() - arrivals.keys())
    ]
    if missing:
        connection.execute(_ADD, missing)
        arrivals = {whose: int(at_us) for whose, at_us in connection.execute(_LOCK, key)}
    moved = admit_all(rates, arrivals, now_us)
    connection.execute(
        _MOVE, [{"tenant": scope.tenant_id, "of": whose, "to_us": moved[whose]} for whose in sorted(moved)]
    )


_LOCK: Final = (
    select(rate_limits.c.principal_id, rate_limits.c.arrival_at_us)
    .where(
        rate_limits.c.tenant_id == bindparam("tenant"),
        rate_limits.c.principal_id.in_(bindparam("whose", expanding=True)),
    )
    .order_by(rate_limits.c.principal_id)
    .with_for_update(key_share=True)
)
_ADD: Final = insert_ignoring(rate_limits)
_MOVE: Final = (
    update(rate_limits)
    .where(rate_limits.c.tenant_id == bindparam("tenant"), rate_limits.c.principal_id == bindparam("of"))
    .values(arrival_at_us=bindparam("to_us"))
)
