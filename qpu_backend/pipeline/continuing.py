"""Continuing: a job of which one leg has run queues for its next one, so that others have their turn in between.

The next leg is tagged as if it were submitted now, behind what its tenant has queued already. Nothing is billed before
the job has ended.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from qpu_backend.domain import fairshare
from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.legs import Legs
from qpu_backend.stores import events, fairness, job_states

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import SystemScope
    from qpu_backend.stores.devices import DeviceRow
    from qpu_backend.stores.jobs import JobRow


def continue_jobs(
    connection: Connection,
    scope: SystemScope,
    device: DeviceRow,
    rows: Sequence[JobRow],
    cpu_us: Mapping[str, int],
) -> None:
    """Queue the next leg of each job.

    Args:
        connection: of the transaction that settles the leg before it; it holds the locks of the device and the jobs.
        scope: of the service.
        device: where they run.
        rows: running jobs with more legs.
        cpu_us: processor time of the leg that has run, by job.

    Raises:
        RuntimeError: one of them is not running that leg.
    """
    queued = [
        one
        for (tenant_id, lane), group in groupby(sorted(rows, key=_queue_of), key=_queue_of)
        for one in _tagged(connection, scope, device, tenant_id, lane, list(group), cpu_us)
    ]
    continued = job_states.continue_jobs(connection, scope, queued)
    if missing := {row.id for row in rows} - continued:
        raise RuntimeError(f"jobs {sorted(missing)} are not running the leg that has been run")


def told(row: JobRow, now_us: int, device_time_us: int) -> events.NewEvent:
    """The event of a job whose leg ``row.leg`` has run."""
    message = f"leg {row.leg + 1} of {row.num_legs} is done; the next one waits for its turn"
    return events.NewEvent(row.id, row.tenant_id, "leg_done", JobState.QUEUED, now_us, device_time_us, message)


def _queue_of(row: JobRow) -> tuple[str, str]:
    return row.tenant_id, row.lane


def _tagged(
    connection: Connection,
    scope: SystemScope,
    device: DeviceRow,
    tenant_id: str,
    lane: str,
    rows: list[JobRow],
    cpu_us: Mapping[str, int],
) -> list[job_states.Continuation]:
    finish_tag = fairness.lock_finish_tag_of(connection, scope, tenant_id, device.id, lane)
    queued: list[job_states.Continuation] = []
    for row in sorted(rows, key=lambda row: (row.start_tag, row.id)):
        legs, index = Legs.from_document(dict(row.legs or {})), row.leg + 1
        cost = legs.cost(index)
        start_tag, finish_tag = fairshare.tag(device.virtual_time, finish_tag, cost, legs.weight)
        footprint = legs.footprint(Footprint.from_document(dict(row.footprint)), index)
        queued.append(
            job_states.Continuation(
                job_id=row.id,
                leg=index,
                footprint=footprint.to_document(),
                start_tag=start_tag,
                finish_tag=finish_tag,
                fairness_cost=cost,
                simulator_cpu_us=cpu_us[row.id],
            )
        )
    fairness.write_finish_tag_of(connection, scope, tenant_id, device.id, lane, finish_tag)
    return queued
