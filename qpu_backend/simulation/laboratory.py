"""What the command and the benchmarks share: the kinds of a workload compiled for a device, and policies by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpu_backend.engines.invalid_circuit import InvalidCircuit
from qpu_backend.simulation.circuits import circuit_file, generated
from qpu_backend.simulation.kinds import AbstractCircuit, candidate_shapes, compile_kind
from qpu_backend.simulation.policies import GreedyEfs, fair, fifo, pairs
from qpu_backend.simulation.slots import FixedSlots
from qpu_backend.simulation.workload import InvalidWorkload

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from qpu_backend.domain.views import DeviceView
    from qpu_backend.simulation.batches import Policy
    from qpu_backend.simulation.kinds import Chip, Kind
    from qpu_backend.simulation.workload import KindOfJob, Workload

POLICIES: Final[dict[str, Callable[[Chip, DeviceView], Policy]]] = {
    "fifo": fifo,
    "pairs": pairs,
    "fixed-slots": lambda chip, _view: FixedSlots(chip),
    "greedy-efs": lambda chip, _view: GreedyEfs(chip),
    "fair": fair,
}
"""Name → who decides, given the chip and how the planner is to share it."""


def compile_kinds(workload: Workload, chip: Chip, circuits: Path | None = None) -> dict[str, Kind]:
    """Every kind that the queue asks for, compiled for the device.

    Args:
        workload: names the kinds.
        chip: the device.
        circuits: folder in which ``KIND.qasm`` is looked for; what is not there is generated.

    Raises:
        InvalidWorkload: a kind fits nowhere on the device, its file is no circuit, or its measured time is impossible.
    """
    asked = {job.kind for job in workload.jobs}
    return {
        name: _compiled(name, kind, chip, circuits) for name, kind in sorted(workload.kinds.items()) if name in asked
    }


def _compiled(name: str, kind: KindOfJob, chip: Chip, circuits: Path | None) -> Kind:
    field = f"kinds.{kind.name}"
    try:
        text = (circuit_file(circuits, kind.name) if circuits is not None else None) or generated(
            kind.name, kind.qubits
        )
        source = AbstractCircuit(text)
        shapes = candidate_shapes(source.num_qubits)
        found = compile_kind(chip, name, source, shapes, kind.shots, kind.standalone_us)
    except InvalidCircuit as error:
        raise InvalidWorkload(field, error.message) from error
    except ValueError as error:
        raise InvalidWorkload(f"{field}.standalone_device_s", str(error)) from error
    if found is None:
        raise InvalidWorkload(f"{field}.qubits", f"no shape of {source.num_qubits} qubits fits on {chip.model.name}")
    return found
