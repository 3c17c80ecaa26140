"""Quotas in the database: limits, what is reserved and what is spent. ``domain/quota.py`` has the arithmetic.

A reservation is a plain document, stored with the job: ``[[resource, window, start_us, amount], …]``, with a fifth
element where it was made under a limit of the principal itself: its id. So it settles into the windows it was made in,
however late and whatever the limits are then.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, bindparam, delete, select, update

from qpu_backend.domain.quota import Resource, Window, interval
from qpu_backend.stores import reservations
from qpu_backend.stores.errors import ForeignTenant
from qpu_backend.stores.expressions import insert_ignoring
from qpu_backend.stores.quota_lines import TENANT, limit_of, limits_of, lines_under
from qpu_backend.stores.schema_access import limits, quota_windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from qpu_backend.domain.quota import Line
    from qpu_backend.domain.tenancy import SystemScope, TenantScope
    from qpu_backend.stores.quota_lines import Limit
    from qpu_backend.stores.reservations import Reservation


@dataclass(frozen=True, slots=True)
class Settlement:
    """A job's reservation, and what it really used of each resource (a resource that is not named: nothing)."""

    tenant_id: str
    reservation: Reservation
    used: Mapping[Resource, int]


def set_limit(
    connection: Connection,
    _scope: SystemScope,
    *,
    tenant_id: str,
    resource: Resource,
    window: Window,
    amount: int | None,
    principal_id: str = TENANT,
    burst: int = 0,
) -> None:
    """Limit a tenant's, or a principal's, use of a resource per window. What is reserved or spent stays.

    Args:
        connection: of a write transaction.
        tenant_id: the tenant.
        resource: what is limited.
        window: for how long.
        amount: of every window; ``None`` lifts the limit.
        principal_id: of that tenant, whose own limit it is; '' is the tenant as a whole.
        burst: what one window may take over from the one before.
    """
    key = {"tenant": tenant_id, "principal": principal_id, "of": resource.value, "per": window.value}
    if amount is None:
        connection.execute(_LIFT, key)
        return
    row = {
        "tenant_id": tenant_id,
        "principal_id": principal_id,
        "resource": resource.value,
        "window": window.value,
        "amount": amount,
        "burst": burst,
    }
    change = {**key, "to_amount": amount, "to_burst": burst}
    done = 0
    while not done:  # again only when the row that was in the way is removed between the two statements
        done = connection.execute(_CHANGE, change).rowcount or connection.execute(_SET, row).rowcount


def read_lines(connection: Connection, scope: TenantScope, now_us: int) -> list[Line]:
    """The limits of the tenant, and then of this principal, with what is reserved and spent at this wall time."""
    return lines_under(connection, _limits_of(connection, scope.tenant_id, scope.principal_id), now_us)


def lines_of(connection: Connection, _scope: SystemScope, tenant_id: str, now_us: int) -> list[Line]:
    """As :func:`read_lines`, for the operator: of the tenant and of all of its principals."""
    rows = connection.execute(_EVERY_LIMIT, {"tenant": tenant_id})
    return lines_under(connection, [limit_of(tenant_id, *row) for row in rows], now_us)


def reserve(connection: Connection, scope: TenantScope, asked: Mapping[Resource, int], now_us: int) -> Reservation:
    """Reserve what one job will use, under every limit of the tenant and of the principal, or under none.

    See :mod:`qpu_backend.stores.reservations`, which does so for several.

    Args:
        connection: of a write transaction.
        scope: the principal of the tenant.
        asked: what the job needs of each resource.
        now_us: wall time, read before the limits are locked.

    Returns:
        What to store with the job and hand to :func:`settle` or :func:`release`.

    Raises:
        QuotaExceeded: a limit does not cover it.
    """
    held = reservations.hold(connection, [scope], now_us)
    reservation = held.reserve(held.grant(scope, asked), asked)
    reservations.write(connection, [scope], held)
    return reservation


def settle(
    connection: Connection,
    scope: SystemScope,
    tenant_id: str,
    reservation: Reservation,
    used: Mapping[Resource, int],
) -> None:
    """A job has ended: what it used is spent, the rest of its reservation is free again."""
    settle_many(connection, scope, [Settlement(tenant_id, reservation, used)])


def release(connection: Connection, scope: SystemScope | TenantScope, tenant_id: str, reservation: Reservation) -> None:
    """A job has ended and nothing of its reservation is charged.

    Raises:
        ForeignTenant: a tenant's scope and another tenant's reservation.
    """
    ForeignTenant.unless_own(scope, tenant_id)
    _settle(connection, [Settlement(tenant_id, reservation, {})])


def settle_many(connection: Connection, _scope: SystemScope, settlements: Iterable[Settlement]) -> None:
    """Settle the reservations of many jobs, each window's row once, in a fixed order.

    Raises:
        ValueError: a job used more than was reserved for it.
    """
    _settle(connection, settlements)


def least_free(
    connection: Connection,
    _scope: SystemScope,
    tenant_id: str,
    resource: Resource,
    now_us: int,
    principal_id: str = TENANT,
) -> int | None:
    """What is left of a resource under the tightest limit now; ``None`` where nothing limits it.

    Args:
        connection: of the transaction.
        tenant_id: the tenant.
        resource: what is limited.
        now_us: wall time.
        principal_id: under its own limits, and not under those of the tenant as a whole.
    """
    limited = [
        one
        for one in _limits_of(connection, tenant_id, principal_id)
        if (one.principal_id, one.resource) == (principal_id, resource)
    ]
    return min((line.free for line in lines_under(connection, limited, now_us)), default=None)


def spend(
    connection: Connection,
    _scope: SystemScope,
    tenant_id: str,
    resource: Resource,
    amount: int,
    now_us: int,
    principal_id: str = TENANT,
) -> None:
    """Note what was used without having been reserved: a limit may be passed by it, and nothing is free then.

    Args:
        connection: of a write transaction.
        tenant_id: whose use it was.
        resource: what was used.
        amount: of it.
        now_us: wall time.
        principal_id: who of the tenant it was: its own limits count it too.
    """
    limited = _limits_of(connection, tenant_id, principal_id, lock=True)
    windows = [(one, interval(one.window, now_us).start_us) for one in limited if one.resource == resource]
    if not windows or not amount:
        return
    changes = [
        {
            "tenant": tenant_id,
            "principal": one.principal_id,
            "of": resource.value,
            "per": one.window,
            "start": start_us,
            "freed": 0,
            "used": amount,
        }
        for one, start_us in windows
    ]
    connection.execute(_OPEN, [_window_of(tenant_id, one, start_us) for one, start_us in windows])
    connection.execute(_SETTLE, changes)


def _settle(connection: Connection, settlements: Iterable[Settlement]) -> None:
    freed: Counter[tuple[str, str, str, str, int]] = Counter()
    spent: Counter[tuple[str, str, str, str, int]] = Counter()
    for settlement in settlements:
        for resource, window, start_us, amount, *principal in settlement.reservation:
            used = settlement.used.get(Resource(resource), 0)
            if not 0 <= used <= amount:
                raise ValueError(f"cannot settle {used} of {amount} {resource}")
            window_key = (settlement.tenant_id, principal[0] if principal else TENANT, resource, window, start_us)
            freed[window_key] += amount
            spent[window_key] += used
    changes = [
        {
            "tenant": key[0],
            "principal": key[1],
            "of": key[2],
            "per": key[3],
            "start": key[4],
            "freed": freed[key],
            "used": spent[key],
        }
        for key in sorted(freed)
    ]
    if changes:
        connection.execute(_SETTLE, changes)


def _limits_of(connection: Connection, tenant_id: str, principal_id: str, *, lock: bool = False) -> list[Limit]:
    return [*limits_of(connection, [(tenant_id, principal_id)], lock=lock).values()]


def _window_of(tenant_id: str, limited: Limit, start_us: int) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "principal_id": limited.principal_id,
        "resource": limited.resource,
        "window": limited.window,
        "start_us": start_us,
    }


_LIMIT_KEY: Final = (
    limits.c.tenant_id == bindparam("tenant"),
    limits.c.principal_id == bindparam("principal"),
    limits.c.resource == bindparam("of"),
    limits.c.window == bindparam("per"),
)
_WINDOW_KEY: Final = (
    quota_windows.c.tenant_id == bindparam("tenant"),
    quota_windows.c.principal_id == bindparam("principal"),
    quota_windows.c.resource == bindparam("of"),
    quota_windows.c.window == bindparam("per"),
    quota_windows.c.start_us == bindparam("start"),
)
_SET: Final = insert_ignoring(limits)
_CHANGE: Final = update(limits).where(*_LIMIT_KEY).values(amount=bindparam("to_amount"), burst=bindparam("to_burst"))
_LIFT: Final = delete(limits).where(*_LIMIT_KEY)
_EVERY_LIMIT: Final = (
    select(limits.c.principal_id, limits.c.resource, limits.c.window, limits.c.amount, limits.c.burst)
    .where(limits.c.tenant_id == bindparam("tenant"))
    .order_by(limits.c.principal_id, limits.c.resource, limits.c.window)
)
_OPEN: Final = insert_ignoring(quota_windows)
_SETTLE: Final = (
    update(quota_windows)
    .where(*_WINDOW_KEY)
    .values(
        reserved=quota_windows.c.reserved - bindparam("freed"),
        spent=quota_windows.c.spent + bindparam("used"),
    )
)
