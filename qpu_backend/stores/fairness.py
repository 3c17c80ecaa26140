"""Fair-queueing finish tags, one for each device, tenant and lane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, String, bindparam, func, select, update

from qpu_backend.domain.tenancy import SystemScope, TenantId, TenantScope
from qpu_backend.stores.errors import ForeignTenant
from qpu_backend.stores.expressions import insert_ignoring
from qpu_backend.stores.given import among, given, given_rows, listed, put
from qpu_backend.stores.schema import fair_share

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Queue = tuple[str, str, str]
"""What has a finish tag of its own: (device, tenant, lane)."""


def read_finish_tag(connection: Connection, scope: TenantScope, device_id: str, lane: str) -> int:
    """The finish tag of the tenant's last job in a lane of the device, 0 before the first."""
    key = {"device": device_id, "tenant": scope.tenant_id, "in_lane": lane}
    tag = connection.execute(_READ, key).scalar_one_or_none()
    return 0 if tag is None else int(tag)


def lock_finish_tags(
    connection: Connection, scopes: Collection[TenantScope], queues: Collection[Queue]
) -> dict[Queue, int]:
    """As :func:`read_finish_tag`, of several, and nobody else gets the same answer before this transaction has ended.

    Raises:
        ForeignTenant: one of them is of a tenant whose scope is not there.
    """
    ForeignTenant.unless_all_own(scopes, (tenant_id for _, tenant_id, _ in queues))
    tags = _lock_all(connection, queues)
    first = sorted(set(queues) - tags.keys())
    if first:  # there are only rows to lock
        connection.execute(
            _PUT, given_rows({**dict(zip(_NAMES, queue, strict=True)), "finish_tag": 0} for queue in first)
        )
        tags = _lock_all(connection, queues)
    return tags


def write_finish_tags(connection: Connection, scopes: Collection[TenantScope], tags: Mapping[Queue, int]) -> None:
    """Remember the finish tags of jobs just tagged; follows :func:`lock_finish_tags` in the same transaction.

    Raises:
        ForeignTenant: one of them is of a tenant whose scope is not there.
    """
    ForeignTenant.unless_all_own(scopes, (tenant_id for _, tenant_id, _ in tags))
    rows = [{**dict(zip(_NAMES, queue, strict=True)), "finish_tag": tags[queue]} for queue in sorted(tags)]
    if rows:
        connection.execute(_WRITE_ALL, given_rows(rows))


def lock_finish_tag_of(connection: Connection, _scope: SystemScope, tenant_id: str, device_id: str, lane: str) -> int:
    """As :func:`lock_finish_tag`, of a tenant whose job goes on; lock those of several in ascending order."""
    return _lock(connection, tenant_id, device_id, lane)


def write_finish_tag_of(
    connection: Connection, _scope: SystemScope, tenant_id: str, device_id: str, lane: str, finish_tag: int
) -> None:
    """As :func:`write_finish_tag`; follows :func:`lock_finish_tag_of` in the same transaction."""
    _write(connection, tenant_id, device_id, lane, finish_tag)


def lock_tenant_queue(connection: Connection, scope: TenantScope) -> bool:
    """Let no other transaction that asks for this go on before this one has ended; whether others could.

    On SQLite nobody else writes anyhow. Follows :func:`lock_finish_tag`, which is for one device and lane alone.
    """
    if connection.dialect.name == "sqlite":
        return False
    connection.execute(_LOCK_QUEUE, {"tenant": f"queue {scope.tenant_id}"})
    return True


def finish_tags(connection: Connection, _scope: SystemScope, device_id: str) -> dict[tuple[TenantId, str], int]:
    """The finish tag of every tenant and lane on the device, for the operator."""
    rows = connection.execute(_ALL, {"device": device_id})
    return {(TenantId(tenant_id), lane): int(tag) for tenant_id, lane, tag in rows}


def _lock_all(connection: Connection, queues: Collection[Queue]) -> dict[Queue, int]:
    devices, tenants, lanes = (listed(part) for part in zip(*queues, strict=True)) if queues else ("[]",) * 3
    values = {"devices": devices, "tenants": tenants, "lanes": lanes}
    found = {
        (row.device_id, row.tenant_id, row.lane): int(row.finish_tag) for row in connection.execute(_LOCK_ALL, values)
    }
    return {queue: found[queue] for queue in queues if queue in found}


def _lock(connection: Connection, tenant_id: str, device_id: str, lane: str) -> int:
    key = {"device": device_id, "tenant": tenant_id, "in_lane": lane}
    tag = connection.execute(_LOCK, key).scalar_one_or_none()
    if tag is None:  # the first job: make the row there is to lock
        connection.execute(_FIRST, {"device_id": device_id, "tenant_id": tenant_id, "lane": lane, "finish_tag": 0})
        tag = connection.execute(_LOCK, key).scalar_one()
    return int(tag)


def _write(connection: Connection, tenant_id: str, device_id: str, lane: str, finish_tag: int) -> None:
    key = {"device": device_id, "tenant": tenant_id, "in_lane": lane}
    if connection.execute(_WRITE, {**key, "tag": finish_tag}).rowcount == 0:
        first = {"device_id": device_id, "tenant_id": tenant_id, "lane": lane, "finish_tag": finish_tag}
        connection.execute(_FIRST, first)


_KEY: Final = (
    fair_share.c.device_id == bindparam("device"),
    fair_share.c.tenant_id == bindparam("tenant"),
    fair_share.c.lane == bindparam("in_lane"),
)
_READ: Final = select(fair_share.c.finish_tag).where(*_KEY)
_LOCK: Final = _READ.with_for_update(key_share=True)
_FIRST: Final = insert_ignoring(fair_share)
_WRITE: Final = update(fair_share).where(*_KEY).values(finish_tag=bindparam("tag"))
_NAMES: Final = ("device_id", "tenant_id", "lane")
_LOCK_ALL: Final = (
    select(fair_share)
    .where(
        among(fair_share.c.device_id, "devices"),
        among(fair_share.c.tenant_id, "tenants"),
        among(fair_share.c.lane, "lanes"),
    )
    .order_by(fair_share.c.device_id, fair_share.c.tenant_id, fair_share.c.lane)
    .with_for_update(key_share=True)
)
_PUT: Final = put(insert_ignoring(fair_share), fair_share, *_NAMES, "finish_tag")
_TAGGED: Final = given(fair_share, *_NAMES, "finish_tag")
_WRITE_ALL: Final = (
    update(fair_share)
    .where(*(fair_share.c[name] == _TAGGED.c[name] for name in _NAMES))
    .values(finish_tag=_TAGGED.c.finish_tag)
)
_LOCK_QUEUE: Final = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("tenant", type_=String()), 0)))
_ALL: Final = (
    select(fair_share.c.tenant_id, fair_share.c.lane, fair_share.c.finish_tag)
    .where(fair_share.c.device_id == bindparam("device"))
    .order_by(fair_share.c.tenant_id, fair_share.c.lane)
)
