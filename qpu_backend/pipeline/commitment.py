"""The dispatch transaction: a planned batch becomes a fact, all of it or nothing of it."""

from __future__ import annotations

from dataclasses import astuple
from typing import TYPE_CHECKING, Any

from qpu_backend.domain import fairshare
from qpu_backend.domain.fairshare import WEIGHT_UNIT
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.lanes import STANDARD
from qpu_backend.domain.sessions import clear_of
from qpu_backend.stores import batches, blobs, bookings, devices, events, fairness, job_states, sessions
from qpu_sdk.wire.codec import pack

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from qpu_backend.domain.planning import Plan
    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.pipeline.batching import Batch
    from qpu_backend.pipeline.lookout import Looked
    from qpu_backend.stores.database import Database
    from qpu_backend.stores.devices import DeviceRow


class PlanOutdated(Exception):
    """A job was cancelled, a session ended, or the device closed, moved on, or was calibrated or booked meanwhile."""


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
            "choices": {
                member.job.id: [astuple(c) for c in member.choices] for member in batch.members if member.choices
            },
        }
    )
    bodies = [layout, pack(_planned_from(looked)), *(member.record for member in batch.members)]
    encoded = [blobs.encode_blob(body) for body in bodies]
    with database.write() as connection:
        device = devices.require_epoch(connection, batch.device_id, batch.epoch)
        if not device.operational or device.snapshot_id != batch.snapshot_id:
            raise PlanOutdated
        _require_same_windows(connection, scope, device, looked)
        started = job_states.mark_running(connection, scope, job_ids, started_at_us=now_us)
        if len(started) < len(job_ids):
            raise PlanOutdated
        _keep_sessions(connection, scope, batch, looked, decision)
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


def commit_idling(database: Database, scope: SystemScope, epoch: int, looked: Looked, until_us: int) -> None:
    """Let the device idle until a booked window begins or ends: nothing that waits can run before.

    Args:
        database: the service's.
        scope: of the operator.
        epoch: of the lease.
        looked: what that follows from.
        until_us: device time.

    Raises:
        PlanOutdated: the device does not idle.
        LeaseLost: somebody else serves the device.
    """
    with database.write() as connection:
        device = devices.require_epoch(connection, looked.device.name, epoch)
        if not device.operational or device.snapshot_id != looked.calibrated.row.id:
            raise PlanOutdated
        _require_same_windows(connection, scope, device, looked)
        devices.advance_clock(connection, scope, device.id, device_time_us=until_us, virtual_time=device.virtual_time)


def _require_same_windows(connection: Connection, scope: SystemScope, device: DeviceRow, looked: Looked) -> None:
    """The time on the device is still that of the look (so the truth is the same), and so are its bookings."""
    if device.device_time_us != looked.now_us:
        raise PlanOutdated
    booked = bookings.bookings_ahead(connection, scope, device.id, device_time_us=looked.now_us)
    if tuple(row.window for row in booked) != looked.device.bookings:
        raise PlanOutdated


def _keep_sessions(connection: Connection, scope: SystemScope, batch: Batch, looked: Looked, decision: Plan) -> None:
    """Sessions pay for what they hold, in their fair share too; one whose first job is placed holds its region.

    Raises:
        PlanOutdated: a session that the plan charges has ended.
    """
    holds = looked.device.holds
    placed: dict[str, tuple[int, ...]] = {}
    for member in batch.members:
        if member.job.session_id is not None:
            placed.setdefault(member.job.session_id, member.region)
    holding = {hold.session for hold in holds}
    rows = sessions.lock_open(connection, scope, holding | placed.keys())
    if holding - rows.keys():
        raise PlanOutdated
    costs = {held.session: held.fairness_cost for held in decision.holds}
    sessions.add_held_cost(connection, scope, costs)
    for session_id in sorted(placed.keys() & rows.keys() - holding):
        if rows[session_id].qubits and clear_of(placed[session_id], holds, looked.device):
            sessions.hold_region(connection, scope, session_id, placed[session_id])
    for row in sorted((rows[session] for session in costs), key=lambda row: (row.tenant_id, row.lane or "", row.id)):
        lane, weight = row.lane or STANDARD, row.weight or WEIGHT_UNIT  # it has had a job, so it has both
        previous = fairness.lock_finish_tag_of(connection, scope, row.tenant_id, row.device_id, lane)
        _, finish_tag = fairshare.tag(decision.virtual_time, previous, costs[row.id], weight)
        fairness.write_finish_tag_of(connection, scope, row.tenant_id, row.device_id, lane, finish_tag)


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
            leg=member.leg,
        )
        for position, (member, record) in enumerate(zip(batch.members, records, strict=True))
    ]
