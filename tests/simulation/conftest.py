"""A small chip, a large one, and workloads compiled for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from qpu_backend.simulation.kinds import Chip
from qpu_backend.simulation.laboratory import POLICIES, compile_kinds
from qpu_backend.simulation.policies import device_view
from qpu_backend.simulation.synthetic import mixed
from qpu_backend.simulation.workload import parse_workload

if TYPE_CHECKING:
    from pathlib import Path


class Bench:
    """A workload on a chip."""

    def __init__(self, chip: Chip, document: dict[str, Any], circuits: Path | None = None) -> None:
        self.chip = chip
        self.workload = parse_workload(document)
        self.kinds = compile_kinds(self.workload, chip, circuits)
        self.view = device_view(chip, self.kinds.values())

    def policy(self, name: str):
        return POLICIES[name](self.chip, self.view)


@pytest.fixture(scope="session")
def falcon() -> Chip:
    return Chip.named("falcon27")


@pytest.fixture(scope="session")
def eagle() -> Chip:
    return Chip.named("eagle127")


@pytest.fixture(scope="session")
def bench(falcon: Chip) -> Bench:
    """Twenty-four mixed jobs, arriving over half a minute of device time."""
    return Bench(falcon, mixed(24, seed=3, rate_per_s=1.0))
