"""Reservations of several submissions in one transaction: their limits are locked once, and written once.

hold(…)  →  held.reserve(…) for one after the other, each refused or granted by itself  →  write(…)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

from sqlalchemy import Connection, update

from qpu_backend.domain.quota import reserve_all
from qpu_backend.stores.errors import ForeignTenant
from qpu_backend.stores.expressions import insert_ignoring
from qpu_backend.stores.given import given, given_rows, put
from qpu_backend.stores.quota_lines import TENANT, limits_of, locked_lines
from qpu_backend.stores.schema_access import quota_windows

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from qpu_backend.domain.quota import Line, Resource
    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.stores.quota_carrying import Key

    Grant = dict[Key, Line]

Reservation = list[list[Any]]
"""``[[resource, window, start_us, amount], …]``, a fifth element names a principal: JSON."""


@final
class Held:
    """Limits that a transaction has locked, and what is free under them as reservations are made."""

    def __init__(self, lines: Mapping[Key, Line]) -> None:
        self._before = dict(lines)
        self._now = dict(lines)

    def grant(self, scope: TenantScope, asked: Mapping[Resource, int]) -> Grant:
        """What a job will use, under every limit of the tenant and of the principal, or under none; it is free still.

        Raises:
            QuotaExceeded: a limit does not cover it.
        """
        whose = {(scope.tenant_id, TENANT), (scope.tenant_id, scope.principal_id)}
        keys = [key for key in self._now if key[:2] in whose]
        return dict(zip(keys, reserve_all([self._now[key] for key in keys], asked), strict=True))

    def reserve(self, grant: Grant, asked: Mapping[Resource, int]) -> Reservation:
        """Reserve what was granted; nothing else was reserved meanwhile.

        Returns:
            What to store with the job and hand to :func:`quota.settle` or :func:`quota.release`.
        """
        self._now |= grant
        return [
            [line.resource.value, line.window.value, line.start_us, more, *([key[1]] if key[1] else [])]
            for key, line in grant.items()
            if (more := asked.get(line.resource, 0)) > 0
        ]

    @property
    def lines(self) -> Mapping[Key, Line]:
        """What is locked, as it is by now."""
        return self._now

    def changes(self) -> list[tuple[Key, Line, int]]:
        """The lines under which something was reserved, as they were before, with how much."""
        return [
            (key, before, more)
            for key, before in self._before.items()
            if (more := self._now[key].reserved - before.reserved)
        ]


def hold(connection: Connection, scopes: Collection[TenantScope], now_us: int) -> Held:
    """Lock every limit of these tenants and principals, until the transaction ends.

    So concurrent submissions never reserve more than there is. Who gets the lock when work of a later window has been
    counted under a limit with burst reserves in that window: what the later one carried cannot be reserved a second
    time.

    Args:
        connection: of a write transaction.
        scopes: of who submits.
        now_us: wall time, read before the limits are locked.
    """
    # Two statements: after waiting for the lock, one that joined both tables would still see the old windows.
    limited = limits_of(connection, {(scope.tenant_id, scope.principal_id) for scope in scopes}, lock=True)
    return Held(locked_lines(connection, limited, now_us) if limited else {})


def write(connection: Connection, scopes: Collection[TenantScope], held: Held) -> None:
    """Store what was reserved; follows :func:`hold` in the same transaction.

    Raises:
        ForeignTenant: for a tenant whose scope is not there.
    """
    changes = held.changes()
    ForeignTenant.unless_all_own(scopes, (key[0] for key, _, _ in changes))
    untouched = [_window_of(key, line) for key, line, _ in changes if line.reserved == line.spent == 0]
    if untouched:
        connection.execute(_OPEN, given_rows(untouched))
    if changes:
        connection.execute(
            _PROMISE, given_rows({**_window_of(key, line), "reserved": more} for key, line, more in changes)
        )


def _window_of(key: Key, line: Line) -> dict[str, Any]:
    return {**dict(zip(_LIMIT, key, strict=True)), "start_us": line.start_us}


_LIMIT: Final = ("tenant_id", "principal_id", "resource", "window")
_OPEN: Final = put(insert_ignoring(quota_windows), quota_windows, *_LIMIT, "start_us")
_MORE: Final = given(quota_windows, *_LIMIT, "start_us", "reserved")
_PROMISE: Final = (
    update(quota_windows)
    .where(*(quota_windows.c[name] == _MORE.c[name] for name in (*_LIMIT, "start_us")))
    .values(reserved=quota_windows.c.reserved + _MORE.c.reserved)
)
