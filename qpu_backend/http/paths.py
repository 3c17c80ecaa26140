"""Names in paths: what can be the name of nothing is not found, before any database is asked about it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from qpu_backend.domain.errors import NotFound

_LONGEST = 64


async def _job_id(job_id: str) -> str:
    return _possible("job", job_id)


async def _calibration_id(calibration_id: str) -> str:
    return _possible("calibration", calibration_id)


def _possible(what: str, name: str) -> str:
    if len(name) > _LONGEST or not (name.isascii() and name.isprintable()):
        raise NotFound(what, name[:_LONGEST])
    return name


JobId = Annotated[str, Depends(_job_id)]
CalibrationId = Annotated[str, Depends(_calibration_id)]
