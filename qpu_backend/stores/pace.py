"""How fast a device has worked lately: what an estimate of a start follows from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, func, literal_column, select

from qpu_backend.stores.schema import batches, placements

_LATELY: Final = 16
"""Batches that count."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Means over a device's last batches.

    Attributes:
        jobs_per_batch: at least 1.
        seconds_per_batch: wall time from commit to result.
    """

    jobs_per_batch: float
    seconds_per_batch: float


def read_pace(connection: Connection, device_id: str) -> Pace | None:
    """The device's pace; ``None`` before its first batch is done. It is not for a tenant as it is."""
    rows = connection.execute(_RECENT, {"device": device_id}).all()
    if not rows:
        return None
    jobs, lasted_us = (sum(row[column] for row in rows) for column in (0, 1))
    return Pace(max(1.0, jobs / len(rows)), max(0.0, 1e-6 * lasted_us / len(rows)))


_LAST: Final = (
    select(batches.c.id, (batches.c.finished_at_us - batches.c.created_at_us).label("lasted_us"))
    .where(batches.c.device_id == bindparam("device"), batches.c.state == literal_column("'done'"))
    .order_by(batches.c.device_start_us.desc())
    .limit(_LATELY)
    .subquery()
)
_RECENT: Final = (
    select(func.count(placements.c.job_id), func.max(_LAST.c.lasted_us))
    .join(placements, placements.c.batch_id == _LAST.c.id)
    .group_by(_LAST.c.id)
)
