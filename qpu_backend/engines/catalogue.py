"""Reading the device files that come with the package."""

from __future__ import annotations

import json
from importlib import resources
from typing import TYPE_CHECKING, Final

from qpu_backend.physics.catalog.parse import parse_device
from qpu_backend.physics.errors import InvalidDevice

if TYPE_CHECKING:
    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.physics.snapshot import Snapshot

_FOLDER: Final = resources.files("qpu_backend.physics.catalog")
_SUFFIX: Final = ".json"


def device_names() -> tuple[str, ...]:
    """Names of all devices of the catalogue, sorted."""
    return tuple(
        sorted(entry.name.removesuffix(_SUFFIX) for entry in _FOLDER.iterdir() if entry.name.endswith(_SUFFIX))
    )


def read_device(name: str) -> tuple[DeviceModel, Snapshot]:
    """A device model and its published calibration.

    Raises:
        InvalidDevice: there is no such device, or its file is damaged.
        InvalidSnapshot: its calibration is one that no device can have.
    """
    if name not in device_names():
        raise InvalidDevice("name", f"{name!r} is unknown; the catalogue has {', '.join(device_names())}")
    return parse_device(json.loads((_FOLDER / (name + _SUFFIX)).read_text(encoding="utf-8")))
