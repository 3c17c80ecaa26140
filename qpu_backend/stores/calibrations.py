"""Calibrations: every attempt at one, with the snapshot that came of it or why none did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, insert, select

from qpu_backend.stores.rows import columns_of, parameters_of
from qpu_backend.stores.schema import calibrations, snapshots

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import SystemScope


@dataclass(frozen=True, slots=True)
class CalibrationRow:
    """An attempt.

    Attributes:
        device_time_us: when it ended, by the device's clock.
        device_us: how long it took.
        ended_at_us: wall time.
        snapshot_id: what it published; ``None`` when it failed.
        failure: why it failed.
    """

    device_id: str
    device_time_us: int
    device_us: int
    ended_at_us: int
    snapshot_id: str | None
    failure: str | None = None


def record_calibration(connection: Connection, _scope: SystemScope, row: CalibrationRow) -> CalibrationRow:
    """Keep what came of an attempt."""
    connection.execute(_INSERT, _parameters(row))
    return row


def list_calibrations(
    connection: Connection, _scope: SystemScope, device_id: str, *, limit: int = 100
) -> list[tuple[CalibrationRow, int | None]]:
    """A device's attempts, newest first, each with the number of the snapshot it published."""
    rows = connection.execute(_LIST, {"device": device_id, "limit": limit})
    return [(CalibrationRow(*row), number) for *row, number in rows]


_parameters: Final = parameters_of(CalibrationRow)
_INSERT: Final = insert(calibrations)
_LIST: Final = (
    select(*columns_of(CalibrationRow, calibrations), snapshots.c.number)
    .select_from(calibrations.outerjoin(snapshots, calibrations.c.snapshot_id == snapshots.c.id))
    .where(calibrations.c.device_id == bindparam("device"))
    .order_by(calibrations.c.device_time_us.desc())
    .limit(bindparam("limit"))
)
