"""Quota windows compared with what they were made of: the reservations of unfinished jobs, and what others used.

A window's sums are rebuilt from the jobs that reserved in it, streamed; what is held in memory is one number a window.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Connection, Text, cast, literal_column, select

from qpu_backend.domain.quota import Resource, Window, interval
from qpu_backend.domain.reconciliation import Difference, Finding
from qpu_backend.stores.rows import STREAMED
from qpu_backend.stores.schema import jobs, sessions
from qpu_backend.stores.schema_access import quota_windows
from qpu_backend.stores.schema_money import usage_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpu_backend.domain.tenancy import SystemScope

_UNITS: Final = {Resource.SHOTS.value: "shots", Resource.DEVICE_US.value: "us", Resource.SPEND_MICRO.value: "micro"}
_TENANT: Final = ""
"""In the place of a principal: the tenant as a whole."""


class _Key(NamedTuple):
    tenant_id: str
    principal_id: str
    resource: str
    window: str
    start_us: int

    @property
    def name(self) -> str:
        whose = f"{self.principal_id} " if self.principal_id else ""
        return f"{whose}{self.resource} {self.window} {self.start_us}"


def quota_findings(connection: Connection, _scope: SystemScope) -> Iterator[Finding]:
    """Windows that reserve or have spent something else than their jobs say."""
    reserved, spent, held = _reserved(connection), _spent(connection), _held(connection)
    for row in connection.execute(_WINDOWS, execution_options=STREAMED):
        key = _Key(row.tenant_id, row.principal_id, row.resource, row.window, row.start_us)
        promised, used = reserved.pop(key, 0), spent.pop(key, 0)
        if row.reserved != promised:
            yield _finding(Difference.QUOTA_RESERVED, key, promised, int(row.reserved))
        # What a session held was spent under the limits of then, which may be others now.
        if not used <= row.spent <= used + held[key]:
            yield _finding(Difference.QUOTA_SPENT, key, used, int(row.spent))
    for key, promised in reserved.items():
        if promised:
            yield _finding(Difference.QUOTA_RESERVED, key, promised, 0)


def _finding(kind: Difference, key: _Key, expected: int, found: int) -> Finding:
    return Finding(kind, key.name, key.tenant_id, _UNITS.get(key.resource, key.resource), expected, found)


def _reserved(connection: Connection) -> Counter[_Key]:
    """Of jobs that wait or run."""
    sums: Counter[_Key] = Counter()
    for tenant_id, reservation in connection.execute(_UNFINISHED, execution_options=STREAMED):
        for key, amount in _lines(tenant_id, reservation):
            sums[key] += amount
    return sums


def _spent(connection: Connection) -> Counter[_Key]:
    """By jobs that have ended, in the windows in which they had reserved."""
    sums: Counter[_Key] = Counter()
    for row in connection.execute(_ENDED, execution_options=STREAMED):
        used = {Resource.SHOTS: row.shots, Resource.DEVICE_US: row.device_us, Resource.SPEND_MICRO: row.price_micro}
        for key, _ in _lines(row.tenant_id, row.quota_start):
            sums[key] += used[Resource(key.resource)]
    return sums


def _held(connection: Connection) -> Counter[_Key]:
    """What sessions that were closed in a window may have spent in it without a reservation."""
    sums: Counter[_Key] = Counter()
    for row in connection.execute(_CLOSED, execution_options=STREAMED):
        for window in Window:
            start_us = interval(window, row.closed_at_us).start_us
            for whose in (_TENANT, row.principal_id):
                key = _Key(row.tenant_id, whose, Resource.SPEND_MICRO.value, window.value, start_us)
                sums[key] += row.price_micro
    return sums


def _lines(tenant_id: str, reservation: list[list[Any]]) -> Iterator[tuple[_Key, int]]:
    for resource, window, start_us, amount, *whose in reservation:
        yield _Key(tenant_id, whose[0] if whose else _TENANT, resource, window, start_us), amount


_RESERVED_SOMETHING: Final = cast(jobs.c.quota_start, Text) != literal_column("'[]'")
_UNFINISHED: Final = select(jobs.c.tenant_id, jobs.c.quota_start).where(
    jobs.c.state.in_([literal_column("'queued'"), literal_column("'running'")]), _RESERVED_SOMETHING
)
_ENDED: Final = (
    select(
        jobs.c.tenant_id,
        jobs.c.quota_start,
        usage_records.c.shots,
        usage_records.c.device_us,
        usage_records.c.price_micro,
    )
    .join(usage_records, usage_records.c.job_id == jobs.c.id)
    .where(_RESERVED_SOMETHING)
)
_CLOSED: Final = select(
    sessions.c.tenant_id, sessions.c.principal_id, sessions.c.closed_at_us, sessions.c.price_micro
).where(sessions.c.price_micro > 0)
_WINDOWS: Final = select(quota_windows)
