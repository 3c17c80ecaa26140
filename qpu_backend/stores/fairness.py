"""Fair-queueing finish tags, one for each device and tenant."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, select, update

from qpu_backend.domain.tenancy import SystemScope, TenantId, TenantScope
from qpu_backend.stores.expressions import insert_ignoring
from qpu_backend.stores.schema import fair_share


def read_finish_tag(connection: Connection, scope: TenantScope, device_id: str) -> int:
    """The finish tag of the tenant's last job on the device, 0 before the first."""
    key = {"device": device_id, "tenant": scope.tenant_id}
    tag = connection.execute(_READ, key).scalar_one_or_none()
    return 0 if tag is None else int(tag)


def lock_finish_tag(connection: Connection, scope: TenantScope, device_id: str) -> int:
    """As :func:`read_finish_tag`, and nobody else gets the same answer before this transaction has ended."""
    key = {"device": device_id, "tenant": scope.tenant_id}
    tag = connection.execute(_LOCK, key).scalar_one_or_none()
    if tag is None:  # the first job: make the row there is to lock
        connection.execute(_FIRST, {"device_id": device_id, "tenant_id": scope.tenant_id, "finish_tag": 0})
        tag = connection.execute(_LOCK, key).scalar_one()
    return int(tag)


def write_finish_tag(connection: Connection, scope: TenantScope, device_id: str, finish_tag: int) -> None:
    """Remember the finish tag of the job just tagged; follows :func:`lock_finish_tag` in the same transaction."""
    key = {"device": device_id, "tenant": scope.tenant_id}
    if connection.execute(_WRITE, {**key, "tag": finish_tag}).rowcount == 0:
        connection.execute(_FIRST, {"device_id": device_id, "tenant_id": scope.tenant_id, "finish_tag": finish_tag})


def finish_tags(connection: Connection, _scope: SystemScope, device_id: str) -> dict[TenantId, int]:
    """Every tenant's finish tag on the device, for the operator."""
    rows = connection.execute(_ALL, {"device": device_id})
    return {TenantId(tenant_id): int(tag) for tenant_id, tag in rows}


_KEY: Final = (fair_share.c.device_id == bindparam("device"), fair_share.c.tenant_id == bindparam("tenant"))
_READ: Final = select(fair_share.c.finish_tag).where(*_KEY)
_LOCK: Final = _READ.with_for_update(key_share=True)
_FIRST: Final = insert_ignoring(fair_share)
_WRITE: Final = update(fair_share).where(*_KEY).values(finish_tag=bindparam("tag"))
_ALL: Final = (
    select(fair_share.c.tenant_id, fair_share.c.finish_tag)
    .where(fair_share.c.device_id == bindparam("device"))
    .order_by(fair_share.c.tenant_id)
)
