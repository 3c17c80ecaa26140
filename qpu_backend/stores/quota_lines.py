"""The limits of tenants and their principals, with what is reserved and spent under them: of several at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, select

from qpu_backend.domain.quota import Line, Resource, Window, carry, interval
from qpu_backend.stores.given import among, listed
from qpu_backend.stores.quota_carrying import Key, starts_of
from qpu_backend.stores.schema_access import limits, quota_windows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

TENANT: Final = ""
"""In the column of principals: the tenant as a whole."""


@dataclass(frozen=True, slots=True)
class Limit:
    """A row of limits, in the order of the locks: a tenant's before those of its principals."""

    tenant_id: str
    principal_id: str
    resource: Resource
    window: Window
    amount: int
    burst: int

    @property
    def key(self) -> Key:
        return self.tenant_id, self.principal_id, self.resource, self.window


def limits_of(
    connection: Connection, principals: Collection[tuple[str, str]], *, lock: bool = False
) -> dict[Key, Limit]:
    """The limits that apply to some principals, given with their tenants; those of the tenants as a whole are theirs.

    Args:
        connection: of a transaction.
        principals: (tenant, principal) each.
        lock: whether nobody else changes or locks these limits before the transaction has ended.
    """
    applying = {*principals, *((tenant_id, TENANT) for tenant_id, _ in principals)}
    values = {
        "tenants": listed(tenant_id for tenant_id, _ in applying),
        "whose": listed(principal_id for _, principal_id in applying),
    }
    found = (limit_of(*row) for row in connection.execute(_LOCK_LIMITS if lock else _LIMITS, values))
    return {one.key: one for one in found if (one.tenant_id, one.principal_id) in applying}


def limit_of(tenant_id: str, principal_id: str, resource: str, window: str, amount: int, burst: int) -> Limit:
    """A row of limits as a value."""
    return Limit(tenant_id, principal_id, Resource(resource), Window(window), amount, burst)


def locked_lines(connection: Connection, limited: Mapping[Key, Limit], now_us: int) -> dict[Key, Line]:
    """What is reserved and spent under limits that this transaction has locked, where one may reserve now."""
    carrying = starts_of(connection, [key for key, one in limited.items() if one.burst], now_us)
    return dict(zip(limited, lines_under(connection, [*limited.values()], now_us, carrying, lock=True), strict=True))


def lines_under(
    connection: Connection,
    limited: Sequence[Limit],
    now_us: int,
    elsewhere: Mapping[Key, int] | None = None,
    *,
    lock: bool = False,
) -> list[Line]:
    """As of now, but for limits of which another window's start is named; in the order of the limits."""
    if not limited:
        return []
    starts = {one.key: interval(one.window, now_us).start_us for one in limited} | dict(elsewhere or {})
    before = {one.key: interval(one.window, starts[one.key] - 1).start_us for one in limited if one.burst}
    values = {
        "tenants": listed(one.tenant_id for one in limited),
        "whose": listed(one.principal_id for one in limited),
        "starts": listed([*starts.values(), *before.values()]),
    }
    held = {
        (row.tenant_id, row.principal_id, row.resource, row.window, row.start_us): (row.reserved, row.spent)
        for row in connection.execute(_LOCK_WINDOWS if lock else _WINDOWS, values)
    }
    lines: list[Line] = []
    for one in limited:
        reserved, spent = held.get((*one.key, starts[one.key]), (0, 0))
        carried = 0
        if one.burst:
            carried = carry(one.amount, one.burst, *held.get((*one.key, before[one.key]), (0, 0)))
        lines.append(
            Line(
                one.resource,
                one.window,
                starts[one.key],
                one.amount + carried,
                reserved,
                spent,
                carried,
                one.burst,
                one.principal_id,
            )
        )
    return lines


_LIMITS: Final = (
    select(
        limits.c.tenant_id,
        limits.c.principal_id,
        limits.c.resource,
        limits.c.window,
        limits.c.amount,
        limits.c.burst,
    )
    .where(among(limits.c.tenant_id, "tenants"), among(limits.c.principal_id, "whose"))
    .order_by(limits.c.tenant_id, limits.c.principal_id, limits.c.resource, limits.c.window)
)
_LOCK_LIMITS: Final = _LIMITS.with_for_update(key_share=True)
_WINDOWS: Final = select(quota_windows).where(
    among(quota_windows.c.tenant_id, "tenants"),
    among(quota_windows.c.principal_id, "whose"),
    among(quota_windows.c.start_us, "starts"),
)
_LOCK_WINDOWS: Final = _WINDOWS.order_by(
    quota_windows.c.tenant_id,
    quota_windows.c.principal_id,
    quota_windows.c.resource,
    quota_windows.c.window,
    quota_windows.c.start_us,
).with_for_update(key_share=True)
"""In the order in which settlement changes them."""
