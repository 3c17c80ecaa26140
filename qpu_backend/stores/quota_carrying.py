"""Which window a limit with burst is reserved in: never one that the next has carried from already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, select

from qpu_backend.domain.quota import Resource, Window, interval
from qpu_backend.stores.given import among, listed
from qpu_backend.stores.schema_access import quota_windows

if TYPE_CHECKING:
    from collections.abc import Collection

Key = tuple[str, str, Resource, Window]
"""A limit: of which tenant, whose (a principal's id; '' is the tenant as a whole), of what, per what."""


def starts_of(connection: Connection, limited: Collection[Key], now_us: int) -> dict[Key, int]:
    """Of each limit the start of the window to reserve in: that of now, unless work was counted in a later one.

    Who waits for the limits longer than a window's end comes after somebody of the next window, who has been granted
    what this one had left. So it reserves in that next one too, as if its clock had been read when its turn came.

    Args:
        connection: of a transaction that holds the locks of these limits.
        limited: which limits.
        now_us: wall time, read before the locks were taken.
    """
    starts = {key: interval(key[3], now_us).start_us for key in limited}
    asked = set(starts)
    while asked:
        following = {key: interval(key[3], starts[key]).end_us for key in asked}
        values = {
            "tenants": listed(tenant_id for tenant_id, *_ in asked),
            "whose": listed(principal_id for _, principal_id, *_ in asked),
            "starts": listed(following.values()),
        }
        begun = {tuple(row) for row in connection.execute(_BEGUN, values)}
        asked = {key for key in asked if (*key, following[key]) in begun}
        starts.update((key, following[key]) for key in asked)
    return starts


_BEGUN: Final = select(
    quota_windows.c.tenant_id,
    quota_windows.c.principal_id,
    quota_windows.c.resource,
    quota_windows.c.window,
    quota_windows.c.start_us,
).where(
    among(quota_windows.c.tenant_id, "tenants"),
    among(quota_windows.c.principal_id, "whose"),
    among(quota_windows.c.start_us, "starts"),
)
