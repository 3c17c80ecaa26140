"""Quotas in the database: limits, what is reserved and what is spent. ``domain/quota.py`` has the arithmetic.

A reservation is a plain document, stored with the job: ``[[resource, window, start_us, amount], …]``. So it settles
into the windows it was made in, however late and whatever the limits are then.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from qpu_backend.domain.quota import Line, Resource, Window, interval, reserve_all
from qpu_backend.domain.tenancy import SystemScope, TenantScope
from qpu_backend.stores.errors import ForeignTenant
from qpu_backend.stores.expressions import insert_ignoring
from qpu_backend.stores.schema_access import limits, quota_windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Reservation = list[list[Any]]
"""``[[resource, window, start_us, amount], …]``: JSON."""


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
) -> None:
    """Limit a tenant's use of a resource per window; ``None`` lifts the limit. What is reserved or spent stays."""
    key = {"tenant": tenant_id, "of": resource.value, "per": window.value}
    if amount is None:
        connection.execute(_LIFT, key)
    elif connection.execute(_CHANGE, {**key, "to_amount": amount}).rowcount == 0:
        connection.execute(
            _SET,
            {
                "tenant_id": tenant_id,
                "principal_id": "",
                "resource": resource.value,
                "window": window.value,
                "amount": amount,
            },
        )


def read_lines(connection: Connection, scope: TenantScope, now_us: int) -> list[Line]:
    """The tenant's limits and what is reserved and spent in the windows of this wall time."""
    rows = connection.execute(_LIMITS, {"tenant": scope.tenant_id}).all()
    return _lines(
        connection, scope.tenant_id, [(resource, window, amount) for resource, window, amount in rows], now_us
    )


def reserve(connection: Connection, scope: TenantScope, asked: Mapping[Resource, int], now_us: int) -> Reservation:
    """Reserve what a job will use, under every limit of the tenant or under none.

    The tenant's limits are locked until the transaction ends: concurrent submissions never reserve more than there is.

    Args:
        connection: of a write transaction.
        scope: the tenant.
        asked: what the job needs of each resource.
        now_us: wall time.

    Returns:
        What to store with the job and hand to :func:`settle` or :func:`release`.

    Raises:
        QuotaExceeded: a limit does not cover it.
    """
    # Two statements: after waiting for the lock, one that joined both tables would still see the old windows.
    rows = connection.execute(_LOCK_LIMITS, {"tenant": scope.tenant_id}).all()
    if not rows:
        return []
    lines = _lines(
        connection, scope.tenant_id, [(resource, window, amount) for resource, window, amount in rows], now_us
    )
    reserve_all(lines, asked)
    needed = sorted(
        ((line, asked[line.resource]) for line in lines if asked.get(line.resource, 0) > 0),
        key=lambda pair: (pair[0].resource, pair[0].window),
    )
    untouched = [line for line, _ in needed if line.reserved == line.spent == 0]
    if untouched:
        connection.execute(
            _OPEN,
            [
                {
                    "tenant_id": scope.tenant_id,
                    "principal_id": "",
                    "resource": line.resource,
                    "window": line.window,
                    "start_us": line.start_us,
                }
                for line in untouched
            ],
        )
    if needed:
        connection.execute(
            _PROMISE,
            [
                {
                    "tenant": scope.tenant_id,
                    "of": line.resource,
                    "per": line.window,
                    "start": line.start_us,
                    "more": more,
                }
                for line, more in needed
            ],
        )
    return [[line.resource.value, line.window.value, line.start_us, more] for line, more in needed]


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
    if isinstance(scope, TenantScope) and scope.tenant_id != tenant_id:
        raise ForeignTenant(f"a reservation of {tenant_id} under the scope of {scope.tenant_id}")
    _settle(connection, [Settlement(tenant_id, reservation, {})])


def settle_many(connection: Connection, _scope: SystemScope, settlements: Iterable[Settlement]) -> None:
    """Settle the reservations of many jobs, each window's row once, in a fixed order.

    Raises:
        ValueError: a job used more than was reserved for it.
    """
    _settle(connection, settlements)


def least_free(
    connection: Connection, _scope: SystemScope, tenant_id: str, resource: Resource, now_us: int
) -> int | None:
    """What a tenant has left of a resource under its tightest limit now; ``None`` where nothing limits it."""
    return min((line.free for line in _lines_of(connection, tenant_id, resource, now_us)), default=None)


def spend(
    connection: Connection, _scope: SystemScope, tenant_id: str, resource: Resource, amount: int, now_us: int
) -> None:
    """Note what was used without having been reserved: a limit may be passed by it, and nothing is free then."""
    rows = connection.execute(_LOCK_LIMITS, {"tenant": tenant_id}).all()
    windows = sorted({(window, interval(Window(window), now_us).start_us) for of, window, _ in rows if of == resource})
    if not windows or not amount:
        return
    key = {"tenant_id": tenant_id, "principal_id": "", "resource": resource.value}
    connection.execute(_OPEN, [{**key, "window": window, "start_us": start_us} for window, start_us in windows])
    changes = [
        {"tenant": tenant_id, "of": resource.value, "per": window, "start": start_us, "freed": 0, "used": amount}
        for window, start_us in windows
    ]
    connection.execute(_SETTLE, changes)


def _settle(connection: Connection, settlements: Iterable[Settlement]) -> None:
    freed: Counter[tuple[str, str, str, int]] = Counter()
    spent: Counter[tuple[str, str, str, int]] = Counter()
    for settlement in settlements:
        for resource, window, start_us, amount in settlement.reservation:
            used = settlement.used.get(Resource(resource), 0)
            if not 0 <= used <= amount:
                raise ValueError(f"cannot settle {used} of {amount} {resource}")
            window_key = (settlement.tenant_id, resource, window, start_us)
            freed[window_key] += amount
            spent[window_key] += used
    changes = [
        {"tenant": key[0], "of": key[1], "per": key[2], "start": key[3], "freed": freed[key], "used": spent[key]}
        for key in sorted(freed)
    ]
    if changes:
        connection.execute(_SETTLE, changes)


def _lines_of(connection: Connection, tenant_id: str, resource: Resource, now_us: int) -> list[Line]:
    rows = connection.execute(_LIMITS, {"tenant": tenant_id}).all()
    return _lines(
        connection, tenant_id, [(of, window, amount) for of, window, amount in rows if of == resource], now_us
    )


def _lines(connection: Connection, tenant_id: str, allowed: Sequence[tuple[str, str, int]], now_us: int) -> list[Line]:
    starts = {window: interval(window, now_us).start_us for window in Window}
    values = {"tenant": tenant_id, "starts": list(starts.values())}
    held = {(row.resource, row.window, row.start_us): row for row in connection.execute(_WINDOWS, values)}
    lines: list[Line] = []
    for resource, window, amount in allowed:
        start_us = starts[Window(window)]
        row = held.get((resource, window, start_us))
        reserved, spent = (row.reserved, row.spent) if row is not None else (0, 0)
        lines.append(Line(Resource(resource), Window(window), start_us, amount, reserved, spent))
    return lines


_LIMIT_KEY: Final = (
    limits.c.tenant_id == bindparam("tenant"),
    limits.c.resource == bindparam("of"),
    limits.c.window == bindparam("per"),
)
_WINDOW_KEY: Final = (
    quota_windows.c.tenant_id == bindparam("tenant"),
    quota_windows.c.resource == bindparam("of"),
    quota_windows.c.window == bindparam("per"),
    quota_windows.c.start_us == bindparam("start"),
)
_SET: Final = insert(limits)
_CHANGE: Final = update(limits).where(*_LIMIT_KEY).values(amount=bindparam("to_amount"))
_LIFT: Final = delete(limits).where(*_LIMIT_KEY)
_LIMITS: Final = (
    select(limits.c.resource, limits.c.window, limits.c.amount)
    .where(limits.c.tenant_id == bindparam("tenant"))
    .order_by(limits.c.resource, limits.c.window)
)
_LOCK_LIMITS: Final = _LIMITS.with_for_update(key_share=True)
_WINDOWS: Final = select(quota_windows).where(
    quota_windows.c.tenant_id == bindparam("tenant"),
    quota_windows.c.start_us.in_(bindparam("starts", expanding=True)),
)
_OPEN: Final = insert_ignoring(quota_windows)
_PROMISE: Final = (
    update(quota_windows).where(*_WINDOW_KEY).values(reserved=quota_windows.c.reserved + bindparam("more"))
)
_SETTLE: Final = (
    update(quota_windows)
    .where(*_WINDOW_KEY)
    .values(
        reserved=quota_windows.c.reserved - bindparam("freed"),
        spent=quota_windows.c.spent + bindparam("used"),
    )
)
