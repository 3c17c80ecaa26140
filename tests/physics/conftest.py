"""The catalogue device, shared by all tests of physics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qpu_backend.engines.catalogue import read_device

if TYPE_CHECKING:
    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.physics.snapshot import Snapshot


@pytest.fixture(scope="session")
def eagle() -> tuple[DeviceModel, Snapshot]:
    return read_device("eagle127")
