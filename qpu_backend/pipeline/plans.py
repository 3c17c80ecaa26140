"""Plans after the fact: what a batch was planned from, why, and whether planning it again gives the same batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qpu_backend.domain.errors import NotFound
from qpu_backend.domain.planning import Plan, Wait, plan
from qpu_backend.domain.retention import ResultArchived
from qpu_backend.domain.views import DeviceView, View
from qpu_backend.stores import batches, blobs, jobs, snapshots
from qpu_backend.stores.retention import MARKER_SHA
from qpu_sdk.wire.codec import unpack

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.fleet import Fleet
    from qpu_backend.stores.batches import BatchRow, PlacementRow
    from qpu_backend.stores.database import Database


@dataclass(frozen=True, slots=True, eq=False)
class StoredPlan:
    """A batch with what it was planned from.

    Attributes:
        batch: as it was committed.
        placements: in its order.
        view: the front of the queue as the planner saw it.
        device: the chip as the planner saw it.
    """

    batch: BatchRow
    placements: tuple[PlacementRow, ...]
    view: View
    device: DeviceView

    @property
    def whole(self) -> bool:
        """Whether the view is the one whose digest was stored with the batch."""
        return self.view.digest() == self.batch.view_digest


@dataclass(frozen=True, slots=True, eq=False)
class Replanned:
    """A plan made again.

    Attributes:
        stored: what it was made from.
        decision: what came out.
        differences: in words; none if the batch is the same.
    """

    stored: StoredPlan
    decision: Plan | Wait
    differences: tuple[str, ...]


class Plans:
    """Reads and repeats plans, for operators."""

    def __init__(self, database: Database, scope: SystemScope, fleet: Fleet) -> None:
        self._database = database
        self._scope = scope
        self._fleet = fleet

    def recent(self, device_id: str, *, limit: int) -> list[BatchRow]:
        """The device's last batches, newest first."""
        with self._database.read() as connection:
            return batches.recent_batches(connection, self._scope, device_id, limit=limit)

    def read(self, name: str) -> StoredPlan:
        """The plan of a batch, or of the batch that a job ran in last.

        Args:
            name: id of a batch or a job.

        Raises:
            NotFound: there is no such batch, or the job has not run.
        """
        with self._database.read() as connection:
            batch_id = name
            if name in jobs.read_jobs(connection, self._scope, [name]):
                batch_id = batches.last_batch_of(connection, self._scope, name) or name
            batch = batches.read_batch(connection, self._scope, batch_id)
            if batch is None:
                raise NotFound("batch", name)
            placements = batches.placements_of(connection, self._scope, batch.id)
            if batch.plan_sha == MARKER_SHA:
                raise ResultArchived(f"what batch {batch.id} was planned from")
            stored = unpack(blobs.get_blob(connection, batch.plan_sha))
            row = snapshots.read_snapshot(connection, stored["snapshot_id"])
            if row is None:
                raise NotFound("calibration", stored["snapshot_id"])
            calibrated = self._fleet.calibrated_as_of(connection, row)
        view = View.from_document(stored["view"])
        shapes = {job.footprint.shape for job in view.jobs if job.footprint.shape is not None}
        chip = calibrated.device_view(self._fleet.tables_as_of(calibrated, shapes))
        return StoredPlan(batch, tuple(placements), view, chip.with_document(stored["device"]))

    def replay(self, name: str) -> Replanned:
        """Plan a batch again from what it was planned from.

        Args:
            name: id of a batch or a job.

        Raises:
            NotFound: there is no such batch, or the job has not run.
        """
        stored = self.read(name)
        decision = plan(stored.view, stored.device, stored.batch.device_start_us)
        return Replanned(stored, decision, tuple(_differences(stored, decision)))


def _differences(stored: StoredPlan, decision: Plan | Wait) -> list[str]:
    found = [] if stored.whole else ["the stored view is not the one that was planned from"]
    if isinstance(decision, Wait):
        return [*found, f"nothing would run: {decision.reason}"]
    if decision.device_us != stored.batch.device_us:
        found.append(f"it lasted {stored.batch.device_us} µs and would last {decision.device_us} µs")
    then = {placement.job_id: tuple(placement.region) for placement in stored.placements}
    now = {placement.job_id: placement.region for placement in decision.placements}
    found += [f"{job} ran and would wait" for job in then.keys() - now.keys()]
    found += [f"{job} waited and would run" for job in now.keys() - then.keys()]
    found += [
        f"{job} ran on {list(then[job])} and would run on {list(now[job])}"
        for job in then.keys() & now.keys()
        if then[job] != now[job]
    ]
    return found
