"""Is it alive, is it ready, what does it speak."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from fastapi.responses import Response

from qpu_backend.http.auth import ReadMetrics  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.http.problems import ProblemError
from qpu_backend.stores import devices
from qpu_backend.stores.database import now_us
from qpu_backend.stores.errors import DatabaseBusy, DatabaseFull, DatabaseTrouble
from qpu_backend.telemetry.metrics import CONTENT_TYPE
from qpu_sdk.wire.health import Readiness
from qpu_sdk.wire.models import MIN_QPY_VERSION, WIRE_VERSION, VersionInfo

_READY: Final = "ready"
_DEGRADED: Final = "degraded: "
_TROUBLES: Final[dict[type[DatabaseTrouble], str]] = {
    DatabaseBusy: "writing has to wait",
    DatabaseFull: "there is no room to write",
}

router = APIRouter(tags=["health"])
versioned = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz")
def readyz(door: AtDoor) -> Readiness:
    """Whether jobs can be admitted (the database answers), and whether somebody runs those of each device.

    ``ready``, or ``degraded: `` and why: requests are answered, but what they ask for takes longer or fails.
    """
    try:
        with door.database.read() as connection:
            at_us = now_us(connection)
            rows = [row for row in devices.list_devices(connection) if row.id in door.fleet.device_ids]
    except Exception as error:
        raise ProblemError("unavailable", "the database does not answer", retry_after_s=1) from error
    trouble = door.database.trouble
    database = _READY if trouble is None else _DEGRADED + _TROUBLES.get(type(trouble), "it did not answer just now")
    served = {row.id: _device_state(row, at_us) for row in rows}
    worse = [f"database: {database}"] if trouble else []
    worse += [f"{name}: {state}" for name, state in served.items() if state != _READY]
    status = _READY if not worse else _DEGRADED + "; ".join(one.replace(_DEGRADED, "") for one in worse)
    return Readiness(status=status, database=database, devices=served)


def _device_state(row: devices.DeviceRow, at_us: int) -> str:
    if row.lease_holder is None or (row.lease_expires_at_us or 0) <= at_us:
        return _DEGRADED + "nobody runs its jobs now; they wait"
    return _READY if row.operational else _DEGRADED + "closed for new batches; jobs wait"


@router.get("/metrics", response_class=Response)
def metrics(door: AtDoor, _scope: ReadMetrics) -> Response:
    """Prometheus text, for operators."""
    return Response(door.metrics.render(), media_type=CONTENT_TYPE)


@versioned.get("/version")
def version(door: AtDoor) -> VersionInfo:
    """Versions and limits a client needs before it sends anything. Needs no key."""
    return VersionInfo(
        version=door.version,
        wire_versions=[WIRE_VERSION],
        min_qpy_version=MIN_QPY_VERSION,
        max_qpy_version=door.max_qpy_version,
        limits=door.limits,
    )
