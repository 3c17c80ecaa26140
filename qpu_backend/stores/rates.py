"""Rates in the database: when the next one would be due, of submissions and of keys that are made.

``domain/rates.py`` has the algorithm.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, select, update

from qpu_backend.domain.rates import admit_all
from qpu_backend.stores.errors import ForeignTenant
from qpu_backend.stores.expressions import insert_ignoring
from qpu_backend.stores.given import among, given, given_rows, listed, put
from qpu_backend.stores.schema_access import rate_limits

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from qpu_backend.domain.rates import Rate
    from qpu_backend.domain.tenancy import TenantScope

Whose = tuple[str, str]
"""Of which tenant a rate is, and of which of its principals; '' is the tenant as a whole."""


class Counts(StrEnum):
    """What is counted; each for itself."""

    SUBMISSIONS = "submissions"
    KEYS = "keys"


def lock_arrivals(
    connection: Connection, scopes: Collection[TenantScope], limited: Collection[Whose]
) -> dict[Whose, int]:
    """What the submissions before left under rates; nobody else counts under them before this transaction has ended.

    Args:
        connection: of a write transaction.
        scopes: of who submits.
        limited: of which rates, by whom they are of.

    Raises:
        ForeignTenant: one of them is of a tenant whose scope is not there.
    """
    ForeignTenant.unless_all_own(scopes, (tenant_id for tenant_id, _ in limited))
    return _lock(connection, Counts.SUBMISSIONS, limited)


def move_arrivals(connection: Connection, scopes: Collection[TenantScope], arrivals: Mapping[Whose, int]) -> None:
    """What submissions leave; follows :func:`lock_arrivals` in the same transaction, and is undone with it.

    Raises:
        ForeignTenant: one of them is of a tenant whose scope is not there.
    """
    ForeignTenant.unless_all_own(scopes, (tenant_id for tenant_id, _ in arrivals))
    _move(connection, Counts.SUBMISSIONS, arrivals)


def count_key(connection: Connection, scope: TenantScope, rate: Rate, now_us: int) -> None:
    """One key more that a principal makes, for whomever; it is undone with its transaction.

    The row is locked until then: of concurrent ones each is counted.

    Args:
        connection: of a write transaction.
        scope: of who makes it.
        rate: that applies.
        now_us: wall time.

    Raises:
        RateLimited: it comes too early.
    """
    whose = (scope.tenant_id, scope.principal_id)
    arrivals = _lock(connection, Counts.KEYS, [whose])
    moved = admit_all({scope.principal_id: rate}, {scope.principal_id: arrivals[whose]}, now_us)
    _move(connection, Counts.KEYS, {whose: moved[scope.principal_id]})


def _lock(connection: Connection, counts: Counts, limited: Collection[Whose]) -> dict[Whose, int]:
    if not limited:
        return {}
    values = {
        "counted": counts,
        "tenants": listed(tenant_id for tenant_id, _ in limited),
        "whose": listed(principal_id for _, principal_id in limited),
    }
    arrivals = {(row.tenant_id, row.principal_id): int(row.arrival_at_us) for row in connection.execute(_LOCK, values)}
    missing = sorted(set(limited) - arrivals.keys())
    if missing:
        connection.execute(_ADD, given_rows(_row(counts, whose, 0) for whose in missing))
        return _lock(connection, counts, limited)
    return {whose: arrivals[whose] for whose in limited}


def _move(connection: Connection, counts: Counts, arrivals: Mapping[Whose, int]) -> None:
    if arrivals:
        connection.execute(_MOVE, given_rows(_row(counts, whose, arrivals[whose]) for whose in sorted(arrivals)))


def _row(counts: Counts, whose: Whose, arrival_at_us: int) -> dict[str, object]:
    return {"tenant_id": whose[0], "principal_id": whose[1], "counts": counts.value, "arrival_at_us": arrival_at_us}


_KEY: Final = ("tenant_id", "principal_id", "counts")
_LOCK: Final = (
    select(rate_limits.c.tenant_id, rate_limits.c.principal_id, rate_limits.c.arrival_at_us)
    .where(
        rate_limits.c.counts == bindparam("counted"),
        among(rate_limits.c.tenant_id, "tenants"),
        among(rate_limits.c.principal_id, "whose"),
    )
    .order_by(rate_limits.c.tenant_id, rate_limits.c.principal_id)
    .with_for_update(key_share=True)
)
_ADD: Final = put(insert_ignoring(rate_limits), rate_limits, *_KEY, "arrival_at_us")
_MOVED: Final = given(rate_limits, *_KEY, "arrival_at_us")
_MOVE: Final = (
    update(rate_limits)
    .where(*(rate_limits.c[name] == _MOVED.c[name] for name in _KEY))
    .values(arrival_at_us=_MOVED.c.arrival_at_us)
)
