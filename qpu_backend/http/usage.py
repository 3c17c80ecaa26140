"""What a tenant has used, and what is left of its quotas."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime  # noqa: TC003 - FastAPI reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query

from qpu_backend.domain.quota import interval
from qpu_backend.domain.tenancy import Permission
from qpu_backend.http.auth import ReadUsage  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import micros, wall
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.http.problems import ProblemError
from qpu_backend.stores import access, money, principal_usage, principals, quota, sessions, tag_usage
from qpu_sdk.wire.usage import PrincipalUsage, QuotaUsage, TagUsage, UsageReport

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from qpu_backend.domain.quota import Line
    from qpu_backend.domain.tenancy import TenantScope

router = APIRouter(prefix="/usage", tags=["usage"])

_DAY_US = 86_400_000_000


@router.get("")
def usage(
    door: AtDoor,
    scope: ReadUsage,
    since: Annotated[datetime | None, Query()] = None,
    by: Annotated[Literal["principal", "tag"] | None, Query()] = None,
    cursor: Annotated[str | None, Query(max_length=1024)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 100,
) -> UsageReport:
    """Totals since ``since`` (by default the last 30 days) and the quotas of the current windows.

    With ``by=principal`` also what each principal used, for who manages them or reads invoices; with ``by=tag`` what
    the jobs of each tag did: one with two tags counts under both, one without under ``null``.
    """
    if by == "principal" and not (scope.may(Permission.MANAGE_PRINCIPALS) or scope.may(Permission.READ_INVOICES)):
        raise ProblemError("forbidden", f"the role {scope.role} may not read the usage of others")
    now_us = door.clock.now_us()
    since_us = now_us - 30 * _DAY_US if since is None else micros(since, "since")
    with door.database.read() as connection:
        totals = money.usage_totals(connection, scope, since_us=since_us)
        held = sessions.session_totals(connection, scope, since_us=since_us)
        balance = money.balance(connection, scope)
        lines = quota.read_lines(connection, scope, now_us)
        tenant = access.read_tenant(connection, scope)
        shares = _shares(connection, scope, since_us, cursor, limit) if by == "principal" else None
        tags = _by_tag(connection, scope, since_us, cursor, limit) if by == "tag" else None
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
        quotas=quota_documents(lines, now_us),
        principals=None if shares is None else shares[0],
        tags=None if tags is None else tags[0],
        next_cursor=None if (page := shares or tags) is None else page[1],
    )


def quota_documents(lines: Iterable[Line], now_us: int) -> list[QuotaUsage]:
    """Limits in the windows of this wall time, as their owner sees them."""
    return [
        QuotaUsage(
            resource=line.resource.value,
            window=line.window.value,
            window_start=wall(interval(line.window, now_us).start_us),
            window_end=wall(interval(line.window, now_us).end_us),
            limit=line.limit,
            reserved=line.reserved,
            spent=line.spent,
            free=line.free,
            carried=line.carried,
            principal=bool(line.principal_id),
        )
        for line in lines
    ]


def _shares(
    connection: Connection, scope: TenantScope, since_us: int, cursor: str | None, limit: int
) -> tuple[list[PrincipalUsage], str | None]:
    rows, following = principals.page_of_principals(connection, scope, scope.tenant_id, cursor=cursor, limit=limit)
    used = principal_usage.usage_of_principals(connection, scope, [row.id for row in rows], since_us=since_us)
    nothing = money.UsageTotals(0, 0, 0, 0)
    documents = [
        PrincipalUsage(
            principal_id=row.id,
            principal=row.name,
            jobs=used.get(row.id, nothing).jobs,
            shots=used.get(row.id, nothing).shots,
            device_us=used.get(row.id, nothing).device_us,
            price_micro=used.get(row.id, nothing).price_micro,
        )
        for row in rows
    ]
    return documents, following


def _by_tag(
    connection: Connection, scope: TenantScope, since_us: int, cursor: str | None, limit: int
) -> tuple[list[TagUsage], str | None]:
    rows, following = tag_usage.usage_by_tag(connection, scope, since_us=since_us, cursor=cursor, limit=limit)
    return [TagUsage(tag=tag, **asdict(used)) for tag, used in rows], following
