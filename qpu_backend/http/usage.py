"""What a tenant has used, and what is left of its quotas."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - FastAPI reads annotations at run time
from typing import Annotated

from fastapi import APIRouter, Query

from qpu_backend.domain.errors import InvalidRequest
from qpu_backend.domain.quota import interval
from qpu_backend.http.auth import ReadUsage  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import wall
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.stores import access, money, quota, sessions
from qpu_sdk.wire.usage import QuotaUsage, UsageReport

router = APIRouter(prefix="/usage", tags=["usage"])

_DAY_US = 86_400_000_000


@router.get("")
def usage(door: AtDoor, scope: ReadUsage, since: Annotated[datetime | None, Query()] = None) -> UsageReport:
    """Totals since ``since`` (by default the last 30 days) and the quotas of the current windows."""
    now_us = door.clock.now_us()
    if since is not None and since.tzinfo is None:
        raise InvalidRequest("since must name its time zone, e.g. 2026-01-01T00:00:00Z", field="since")
    since_us = now_us - 30 * _DAY_US if since is None else round(since.timestamp() * 1_000_000)
    with door.database.read() as connection:
        totals = money.usage_totals(connection, scope, since_us=since_us)
        held = sessions.session_totals(connection, scope, since_us=since_us)
        balance = money.balance(connection, scope)
        lines = quota.read_lines(connection, scope, now_us)
        tenant = access.read_tenant(connection, scope)
    return UsageReport(
        tenant=tenant.name,
        since=wall(since_us),
        jobs=totals.jobs,
        shots=totals.shots,
        device_us=totals.device_us,
        price_micro=totals.price_micro + held.price_micro,
        sessions=held.sessions,
        held_us_qubits=held.held_cost,
        held_price_micro=held.price_micro,
        balance_micro=balance,
        quotas=[
            QuotaUsage(
                resource=line.resource.value,
                window=line.window.value,
                window_start=wall(interval(line.window, now_us).start_us),
                window_end=wall(interval(line.window, now_us).end_us),
                limit=line.limit,
                reserved=line.reserved,
                spent=line.spent,
                free=line.free,
            )
            for line in lines
        ],
    )
