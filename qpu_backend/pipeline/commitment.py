"""The dispatch transaction: a planned batch becomes a fact, all of it or nothing of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qpu_backend.domain.jobs import JobState
from qpu_backend.stores import batches, blobs, devices, events, job_states
from qpu_sdk.wire.codec import pack

if TYPE_CHECKING:
    from qpu_backend.domain.planning import Plan
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.batching import Batch
    from qpu_backend.pipeline.lookout import Looked
    from qpu_backend.stores.database import Database


class PlanOutdated(Exception):
    """A job was cancelled, or the device closed, moved on or was calibrated, since the look."""


def commit_batch(
    database: Database, scope: SystemScope, batch: Batch, looked: Looked, decision: Plan, now_us: int
) -> None:
    """Store a batch: its jobs run, device time moves, and what it was planned from is kept with it.

    Args:
        database: the service's.
        scope: of the operator.
        batch: with the records of its members.
        looked: what was planned from.
        decision: the plan.
        now_us: wall time.

    Raises:
        PlanOutdated: nothing is stored.
        LeaseLost: somebody else serves the device.
    """
    job_ids = [member.job.id for member in batch.members]
    layout = pack(
        {
            "rounds": [[r.repeat, r.shots, r.period_ns, [list(m) for m in r.members]] for r in decision.rounds],
            "slices": {member.job.id: list(member.slice_executions) for member in batch.members},
            "ghosts": {member.job.id: list(member.ghosts) for member in batch.members},
            "caveats": {member.job.id: list(member.caveats) for member in batch.members if member.caveats},
        }
    )
    bodies = [layout, pack(_planned_from(looked)), *(member.record for member in batch.members)]
    encoded = [blobs.encode_blob(body) for body in bodies]
    with database.write() as connection:
        device = devices.require_epoch(connection, batch.device_id, batch.epoch)
        if not device.operational or device.snapshot_id != batch.snapshot_id:
            raise PlanOutdated
        if device.device_time_us != batch.device_start_us:  # time has passed on the device: the truth is another
            raise PlanOutdated
        started = job_states.mark_running(connection, scope, job_ids, started_at_us=now_us)
        if len(started) < len(job_ids):
            raise PlanOutdated
        layout_sha, plan_sha, *records = blobs.put_blobs(connection, encoded)
        row = batches.NewBatch(
            id=batch.id,
            device_id=batch.device_id,
            epoch=batch.epoch,
            attempt=batch.attempt,
            created_at_us=now_us,
            snapshot_id=batch.snapshot_id,
            device_start_us=batch.device_start_us,
            device_us=batch.device_us,
            view_digest=looked.view.digest(),
            explanation=list(decision.explanation),
            rounds_sha=layout_sha,
            plan_sha=plan_sha,
        )
        batches.insert_batch(connection, scope, row, _placement_rows(batch, records))
        end_us = batch.device_start_us + batch.device_us
        devices.advance_clock(
            connection, scope, batch.device_id, device_time_us=end_us, virtual_time=decision.virtual_time
        )
        events.append_events(
            connection,
            scope,
            [
                events.NewEvent(
                    m.job.id, m.job.tenant_id, "running", JobState.RUNNING, now_us, batch.device_start_us, None
                )
                for m in batch.members
            ],
        )


def _planned_from(looked: Looked) -> dict[str, Any]:
    """Together with the calibration: all that the plan follows from."""
    return {
        "now_us": looked.now_us,
        "snapshot_id": looked.calibrated.row.id,
        "view": looked.view.to_document(),
        "device": looked.device.to_document(),
    }


def _placement_rows(batch: Batch, records: list[str]) -> list[batches.PlacementRow]:
    return [
        batches.PlacementRow(
            batch_id=batch.id,
            job_id=member.job.id,
            tenant_id=member.job.tenant_id,
            position=position,
            region=list(member.region),
            co_tenants=member.co_tenants,
            crosstalk_loss=member.crosstalk_loss,
            fairness_cost=member.fairness_cost,
            record_sha=record,
        )
        for position, (member, record) in enumerate(zip(batch.members, records, strict=True))
    ]
