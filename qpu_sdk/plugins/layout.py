# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false, reportUntypedBaseClass=false
# pyright: reportMissingSuperCall=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""``layout_method="qpu_crosstalk"``: the place where a circuit is expected to lose least, crosstalk included.

Qiskit's own layouts look at the errors of gates and measurements. This one adds what waiting qubits lose, the static ZZ
between qubits of the circuit, and what gates of neighbours are expected to do: all as the service publishes it.
Circuits that fit nowhere without swaps are routed by Qiskit's Sabre, and what it made is moved to its best place.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit.passmanager.flow_controllers import ConditionalController
from qiskit.transpiler import Layout, PassManager
from qiskit.transpiler.basepasses import AnalysisPass
from qiskit.transpiler.passes import ApplyLayout, BarrierBeforeFinalMeasurements, SabreLayout, SetLayout
from qiskit.transpiler.preset_passmanagers import common
from qiskit.transpiler.preset_passmanagers.builtin_plugins import DefaultLayoutPassManager
from qiskit.transpiler.preset_passmanagers.plugin import PassManagerStagePlugin

from qpu_sdk.plugins.chip import Chip
from qpu_sdk.plugins.demand import Demand
from qpu_sdk.plugins.places import best_place, loss_at

if TYPE_CHECKING:
    from qiskit.dagcircuit import DAGCircuit
    from qiskit.transpiler import PassManagerConfig

_BARRIER = "qiskit.transpiler.internal.routing.protection.barrier"  # what Qiskit's routing stage takes away again
_ITERATIONS = {0: 1, 1: 2, 2: 2, 3: 4}


class CrosstalkLayout(AnalysisPass):
    """Sets ``layout`` where the circuit fits without swaps; leaves it alone elsewhere."""

    def __init__(self, chip: Chip, seed: int | None = None) -> None:
        super().__init__()
        self.chip = chip
        self.seed = seed

    def run(self, dag: DAGCircuit) -> None:
        """Choose a place."""
        if len(dag.qubits) > self.chip.num_qubits:
            return
        place = best_place(Demand.of(dag, self.chip), self.chip, self.seed)
        if place is not None:
            self.property_set["layout"] = _layout(dag, place, self.chip)


class CrosstalkPostLayout(AnalysisPass):
    """Sets ``post_layout`` if a circuit on physical qubits loses less elsewhere."""

    def __init__(self, chip: Chip, seed: int | None = None) -> None:
        super().__init__()
        self.chip = chip
        self.seed = seed

    def run(self, dag: DAGCircuit) -> None:
        """Look for a better place."""
        demand = Demand.of(dag, self.chip)
        place = best_place(demand, self.chip, self.seed)
        here = np.arange(len(dag.qubits), dtype=np.intp)
        if place is None or loss_at(demand, self.chip, place) >= loss_at(demand, self.chip, here):
            return
        self.property_set["post_layout"] = _layout(dag, place, self.chip)


class CrosstalkLayoutStage(PassManagerStagePlugin):
    """The entry point ``qpu_crosstalk`` of ``qiskit.transpiler.layout``."""

    def pass_manager(
        self, pass_manager_config: PassManagerConfig, optimization_level: int | None = None
    ) -> PassManager:
        """The stage; for a backend that publishes nothing Qiskit's default one, with a warning."""
        level = 2 if optimization_level is None else optimization_level
        target: Any = pass_manager_config.target
        published = getattr(target, "published", None)
        if published is None:
            warnings.warn(
                'layout_method="qpu_crosstalk" needs the calibration that backends of qpu_sdk publish, and this '
                "is none of them (or its target was overridden); Qiskit's default layout is used",
                stacklevel=2,
            )
            return DefaultLayoutPassManager().pass_manager(pass_manager_config, level)
        document, crosstalk = published()
        chip, seed = Chip.of(document, crosstalk), pass_manager_config.seed_transpiler
        sabre = SabreLayout(
            target,
            max_iterations=_ITERATIONS[level],
            seed=seed,
            swap_trials=5 if level < 2 else 20,
            layout_trials=5 if level < 2 else 20,
            skip_routing=pass_manager_config.routing_method not in {None, "default", "sabre"},
        )
        stage = PassManager([SetLayout(pass_manager_config.initial_layout)])
        stage.append(ConditionalController(CrosstalkLayout(chip, seed), condition=_unplaced))
        stage.append(ConditionalController([BarrierBeforeFinalMeasurements(_BARRIER), sabre], condition=_unplaced))
        embed = common.generate_embed_passmanager(target)
        stage.append(ConditionalController(embed.to_flow_controller(), condition=_unrouted))
        stage.append(
            ConditionalController([CrosstalkPostLayout(chip, seed)], condition=lambda found: not _unrouted(found))
        )
        stage.append(ConditionalController(ApplyLayout(), condition=_better_found))
        return stage


def _unplaced(found: dict[str, Any]) -> bool:
    return found["layout"] is None


def _unrouted(found: dict[str, Any]) -> bool:
    return found["final_layout"] is None


def _better_found(found: dict[str, Any]) -> bool:
    return found["post_layout"] is not None


def _layout(dag: DAGCircuit, place: np.ndarray[Any, Any], chip: Chip) -> Layout:
    """Of all qubits of the circuit; those that nothing is done to get what is left, working qubits first."""
    taken = set(place.tolist())
    left = sorted(set(range(chip.num_qubits)) - taken, key=lambda qubit: (not np.isfinite(chip.readout[qubit]), qubit))
    rest = iter(left)
    chosen = [int(qubit) if qubit >= 0 else next(rest) for qubit in place]
    layout = Layout(dict(zip(dag.qubits, chosen, strict=True)))
    for register in dag.qregs.values():
        layout.add_register(register)
    return layout
