"""Names in paths: what can be the name of nothing is not found, before any database is asked about it.

A backend's name may have a slash in it, ``/backends/eagle127/acme/status``: with this module loaded, ``{name:backend}``
in a route takes one, unless what follows is another route's own word.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends
from starlette.convertors import Convertor, register_url_convertor
from typing_extensions import override

from qpu_backend.domain.errors import NotFound
from qpu_backend.domain.slices import RESERVED_NAMES

_LONGEST = 64


class _BackendName(Convertor[str]):
    """The name of a device or of a slice, with a shape or without."""

    regex = rf"[^/]+(?:/(?!(?:{'|'.join(sorted(RESERVED_NAMES))})(?:/|$))[^/]+)?"

    @override
    def convert(self, value: str) -> str:
        return value

    @override
    def to_string(self, value: str) -> str:
        return value


register_url_convertor("backend", _BackendName())


async def _job_id(job_id: str) -> str:
    return _possible("job", job_id)


async def _session_id(session_id: str) -> str:
    return _possible("session", session_id)


async def _calibration_id(calibration_id: str) -> str:
    return _possible("calibration", calibration_id)


async def _principal_id(principal_id: str) -> str:
    return _possible("principal", principal_id)


async def _key_id(key_id: str) -> str:
    return _possible("key", key_id)


def _possible(what: str, name: str) -> str:
    if len(name) > _LONGEST or not (name.isascii() and name.isprintable()):
        raise NotFound(what, name[:_LONGEST])
    return name


JobId = Annotated[str, Depends(_job_id)]
SessionId = Annotated[str, Depends(_session_id)]
CalibrationId = Annotated[str, Depends(_calibration_id)]
PrincipalId = Annotated[str, Depends(_principal_id)]
KeyId = Annotated[str, Depends(_key_id)]
