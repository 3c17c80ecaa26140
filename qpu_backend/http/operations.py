"""What the operator sees: everybody on the chip."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from qpu_backend.domain.errors import UnknownBackend
from qpu_backend.http.auth import Operate  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.documents import wall
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.stores import access, batches
from qpu_sdk.wire.operations import BatchDocument, BatchPage, PlacementDocument

router = APIRouter(prefix="/operations", tags=["operations"])


@router.get("/{device}/batches")
def recent(door: AtDoor, _scope: Operate, device: str, limit: Annotated[int, Query(ge=1, le=100)] = 20) -> BatchPage:
    """The last batches of a device: who ran where, beside whom, and why."""
    if device not in door.fleet.device_ids:
        raise UnknownBackend(device)
    with door.database.read() as connection:
        names = {str(tenant.id): tenant.name for tenant in access.list_tenants(connection, door.system)}
        rows = batches.recent_batches(connection, door.system, device, limit=limit)
        placed = [batches.placements_of(connection, door.system, row.id) for row in rows]
    return BatchPage(
        batches=[
            BatchDocument(
                id=row.id,
                device=row.device_id,
                state=row.state,
                attempt=row.attempt,
                calibration_id=row.snapshot_id,
                created_at=wall(row.created_at_us),
                device_start_us=row.device_start_us,
                device_us=row.device_us,
                placements=[
                    PlacementDocument(
                        job_id=one.job_id,
                        tenant=names.get(one.tenant_id, one.tenant_id),
                        region=list(one.region),
                        co_tenants=one.co_tenants,
                        crosstalk_loss=one.crosstalk_loss or 0.0,
                        fairness_cost_us_qubits=one.fairness_cost,
                    )
                    for one in placements
                ],
                explanation=list(row.explanation),
            )
            for row, placements in zip(rows, placed, strict=True)
        ]
    )
