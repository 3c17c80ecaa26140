"""The service's simulation as the checks of physics call it: one region, exact numbers, nothing sampled.

What the checks need of the engine is here and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from qpu_backend.engines.prepared import Prepared
from qpu_backend.engines.profiling import profile_of
from qpu_backend.engines.protocol import ProfileTask, RegionTask, SliceSpec
from qpu_backend.engines.region import RegionPiece
from qpu_backend.physics.context import NO_CONTEXT, Context, Profile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.physics.snapshot import RegionNoise

NO_ANGLES = np.zeros((1, 0))
"""Of a circuit without parameters: one binding, no slots."""


def distribution(circuit: IsaCircuit, noise: RegionNoise, context: Context = NO_CONTEXT) -> NDArray[np.float64]:
    """Exact distribution over the classical bits: float64, ``(2**num_clbits,)``, bit ``i`` of the index is bit ``i``.

    Args:
        circuit: on physical qubits of ``noise``, without parameters; every qubit is read once, at the end.
        noise: the device as the region sees it; readout errors count.
        context: what the neighbours do.
    """
    task = RegionTask((circuit,), (NO_ANGLES,), noise, (), (context,))
    prepared = Prepared(task, SliceSpec(0, 0, 1, 0))
    n = circuit.num_qubits
    chances = RegionPiece(prepared).probabilities([]).reshape((2,) * n)  # axis a is local qubit n − 1 − a
    axis_of_clbit: dict[int, int] = {}
    for qubit, clbit, matrix in prepared.readings(errors=True):
        axis = axis_of_clbit[clbit] = n - 1 - qubit
        if matrix is not None:
            chances = np.moveaxis(np.tensordot(matrix, chances, axes=(0, axis)), 0, axis)
    return chances.transpose([axis_of_clbit[clbit] for clbit in reversed(range(n))]).reshape(-1)


def profile(circuit: IsaCircuit, noise: RegionNoise, qubits: Sequence[int]) -> Profile:
    """How excited a circuit is that runs alone.

    Args:
        circuit: without parameters.
        noise: the device as the region sees it.
        qubits: *local* qubits whose excitation over time is wanted.
    """
    return profile_of(ProfileTask(circuit, NO_ANGLES, noise, np.zeros(0), tuple(qubits)))
