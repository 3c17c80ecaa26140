"""Is it alive, is it ready, what does it speak."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response
from sqlalchemy import text

from qpu_backend.http.auth import ReadMetrics  # noqa: TC001 - FastAPI reads annotations at run time
from qpu_backend.http.door import AtDoor  # noqa: TC001
from qpu_backend.http.problems import ProblemError
from qpu_backend.telemetry.metrics import CONTENT_TYPE
from qpu_sdk.wire.models import MIN_QPY_VERSION, WIRE_VERSION, VersionInfo

router = APIRouter(tags=["health"])
versioned = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "alive"}


@router.get("/readyz")
def readyz(door: AtDoor) -> dict[str, str]:
    """The database answers, so jobs can be admitted."""
    try:
        with door.database.read() as connection:
            connection.execute(text("SELECT 1"))
    except Exception as error:
        raise ProblemError("unavailable", "the database does not answer", retry_after_s=1) from error
    return {"status": "ready"}


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
