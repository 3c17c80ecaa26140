"""What the dispatcher sees of a device before it plans: the front of the queue and the chip, at one moment."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.views import DeviceView, QueuedJob, View
from qpu_backend.stores import devices, jobs
from qpu_backend.stores.errors import MissingRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.fleet import Calibrated, Fleet
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.jobs import QueuedJobRow

_PER_TENANT: Final = 40
_WINDOW: Final = 64
"""Rows the planner looks at; the planning window of a device is smaller."""


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A look at one device.

    Attributes:
        view: the front of its queue.
        device: the chip.
        now_us: device time.
        calibrated: the calibration that all of it follows from.
    """

    view: View
    device: DeviceView
    now_us: int
    calibrated: Calibrated

    def with_jobs(self, jobs: Iterable[QueuedJob]) -> Looked:
        """The same look, seeing only some of the jobs."""
        return replace(self, view=replace(self.view, jobs=tuple(jobs)))


class Lookout:
    """Looks at one device."""

    def __init__(self, database: Database, scope: SystemScope, device_id: str, fleet: Fleet) -> None:
        self._database = database
        self._scope = scope
        self._device_id = device_id
        self._fleet = fleet

    def look(self, suspects: Collection[str] = ()) -> Looked | None:
        """The front of the queue and the chip; ``None`` while the operator has closed the device.

        Args:
            suspects: jobs that have to run alone.
        """
        with self._database.read() as connection:
            device = devices.read_device(connection, self._device_id)
            if device is None:
                raise MissingRow("device", self._device_id)
            if not device.operational:
                return None
            calibrated = self._fleet.refresh(connection, device)
            rows = jobs.queue_view(connection, self._scope, self._device_id, per_tenant=_PER_TENANT, window=_WINDOW)
        queued = tuple(_queued(row, suspects) for row in rows)
        shapes = {job.footprint.shape for job in queued if job.footprint.shape is not None}
        chip = self._fleet.device_view(self._device_id, shapes)
        return Looked(View(queued, device.virtual_time), chip, device.device_time_us, calibrated)


def _queued(row: QueuedJobRow, suspects: Collection[str]) -> QueuedJob:
    return QueuedJob(
        id=row.id,
        tenant=row.tenant_id,
        start_tag=row.start_tag,
        finish_tag=row.finish_tag,
        cost=row.fairness_cost,
        footprint=Footprint.from_document(dict(row.footprint)),
        isolation=row.options.get("isolation", "shared"),
        solo=row.solo or row.id in suspects,
    )
