"""Calibration snapshots: numbered measurements of a device, never changed once published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, bindparam, func, insert, select, update

from qpu_backend.stores.ids import new_id
from qpu_backend.stores.rows import columns_of, parameters_of
from qpu_backend.stores.schema import devices, snapshots

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qpu_backend.domain.tenancy import SystemScope


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """A published snapshot.

    Attributes:
        number: 1, 2, … on its device.
        published_at_us: wall time.
        device_time_us: device time.
        blob_sha: its document, as it was measured.
        out_of_service: what of that is in quarantine and not offered; ``None``: nothing.
    """

    id: str
    device_id: str
    number: int
    published_at_us: int
    device_time_us: int
    blob_sha: str
    out_of_service: Mapping[str, Any] | None = None


def next_snapshot_number(connection: Connection, _scope: SystemScope, device_id: str) -> int:
    """The number the device's next snapshot gets; under the device's lock."""
    return int(connection.execute(_NEXT, {"device": device_id}).scalar_one())


def publish_snapshot(
    connection: Connection,
    _scope: SystemScope,
    *,
    device_id: str,
    number: int,
    published_at_us: int,
    device_time_us: int,
    blob_sha: str,
    out_of_service: Mapping[str, Any] | None = None,
) -> SnapshotRow:
    """Store a snapshot and make it the device's current one."""
    row = SnapshotRow(new_id("cal"), device_id, number, published_at_us, device_time_us, blob_sha, out_of_service)
    connection.execute(_INSERT, _parameters(row))
    connection.execute(_MAKE_CURRENT, {"device": device_id, "snapshot": row.id})
    return row


def read_snapshot(connection: Connection, snapshot_id: str) -> SnapshotRow | None:
    """The snapshot of that id."""
    row = connection.execute(_READ, {"id": snapshot_id}).one_or_none()
    return None if row is None else SnapshotRow(*row)


def first_snapshot(connection: Connection, device_id: str) -> SnapshotRow | None:
    """The device's snapshot of the lowest number."""
    row = connection.execute(_FIRST, {"device": device_id}).one_or_none()
    return None if row is None else SnapshotRow(*row)


def list_snapshots(
    connection: Connection, device_id: str, *, before_number: int | None = None, limit: int = 100
) -> list[SnapshotRow]:
    """A device's snapshots, newest first; the next page starts before the last number of this one."""
    below = 2**31 - 1 if before_number is None else before_number
    rows = connection.execute(_LIST, {"device": device_id, "below": below, "limit": limit})
    return [SnapshotRow(*row) for row in rows]


_parameters: Final = parameters_of(SnapshotRow)
_INSERT: Final = insert(snapshots)
_NEXT: Final = select(func.coalesce(func.max(snapshots.c.number), 0) + 1).where(
    snapshots.c.device_id == bindparam("device")
)
_MAKE_CURRENT: Final = (
    update(devices).where(devices.c.id == bindparam("device")).values(snapshot_id=bindparam("snapshot"))
)
_READ: Final = select(*columns_of(SnapshotRow, snapshots)).where(snapshots.c.id == bindparam("id"))
_FIRST: Final = (
    select(*columns_of(SnapshotRow, snapshots))
    .where(snapshots.c.device_id == bindparam("device"))
    .order_by(snapshots.c.number)
    .limit(1)
)
_LIST: Final = (
    select(*columns_of(SnapshotRow, snapshots))
    .where(snapshots.c.device_id == bindparam("device"), snapshots.c.number < bindparam("below"))
    .order_by(snapshots.c.number.desc())
    .limit(bindparam("limit"))
)
