# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUntypedBaseClass=false, reportInvalidTypeForm=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""``scheduling_method="qpu_alap"``: everything as late as it can be, at times that the device can keep.

Times are chosen here; units are converted and waiting is filled in by Qiskit's passes. Its own ``alap`` moves
operations to aligned times afterwards, in some releases onto each other (Qiskit/qiskit#16186); this one aligns at once.
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

from qiskit.transpiler import PassManager
from qiskit.transpiler.basepasses import AnalysisPass
from qiskit.transpiler.passes import PadDelay, TimeUnitConversion
from qiskit.transpiler.preset_passmanagers import common
from qiskit.transpiler.preset_passmanagers.plugin import PassManagerStagePlugin

if TYPE_CHECKING:
    from qiskit.dagcircuit import DAGCircuit, DAGOpNode
    from qiskit.transpiler import PassManagerConfig, Target


class AlignedAlap(AnalysisPass):
    """Sets ``node_start_time``: the latest aligned start of everything, in dt."""

    def __init__(self, target: Target) -> None:
        super().__init__()
        self.durations = target.durations()
        self.pulse_alignment = target.pulse_alignment
        self.acquire_alignment = target.acquire_alignment

    def run(self, dag: DAGCircuit) -> None:
        """Go through the circuit from its end, which is aligned for everything.

        Raises:
            TranspilerError: the duration of an operation is not known.
        """
        begins_before_end: dict[object, int] = {}
        starts: dict[DAGOpNode, int] = {}
        for node in reversed(list(dag.topological_op_nodes())):
            wires = [*node.qargs, *node.cargs]
            alignment = self._alignment(node)
            before_end = max((begins_before_end.get(wire, 0) for wire in wires), default=0) + self._duration(node, dag)
            starts[node] = -(-before_end // alignment) * alignment
            begins_before_end.update(dict.fromkeys(wires, starts[node]))
        grid = math.lcm(self.pulse_alignment, self.acquire_alignment)
        length = -(-max(starts.values(), default=0) // grid) * grid
        self.property_set["node_start_time"] = {node: length - start for node, start in starts.items()}

    def _alignment(self, node: DAGOpNode) -> int:
        if node.name in {"measure", "reset"}:
            return self.acquire_alignment
        return 1 if node.name in {"barrier", "delay"} else self.pulse_alignment

    def _duration(self, node: DAGOpNode, dag: DAGCircuit) -> int:
        if node.name == "barrier":
            return 0
        if node.name == "delay":
            return int(node.op.duration)
        return int(self.durations.get(node.name, [dag.find_bit(qubit).index for qubit in node.qargs]))


class AlapStage(PassManagerStagePlugin):
    """The entry point ``qpu_alap`` of ``qiskit.transpiler.scheduling``."""

    def pass_manager(
        self, pass_manager_config: PassManagerConfig, optimization_level: int | None = None
    ) -> PassManager:
        """The stage; for a target without a clock Qiskit's own ``alap``, with a warning."""
        del optimization_level  # as late as possible at every level
        target = pass_manager_config.target
        if target is None or target.dt is None:
            warnings.warn(
                'scheduling_method="qpu_alap" needs a target with dt and durations, as backends of qpu_sdk have it; '
                'Qiskit\'s own "alap" is used',
                stacklevel=2,
            )
            durations, timing = pass_manager_config.instruction_durations, pass_manager_config.timing_constraints
            return common.generate_scheduling(durations, "alap", timing, target)
        return PassManager(
            [
                TimeUnitConversion(target=target),
                AlignedAlap(target),
                PadDelay(target=target),
            ]
        )
