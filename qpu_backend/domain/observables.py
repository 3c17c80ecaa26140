"""How expectation values are measured: grouping of Pauli terms into bases, and estimates with errors from shots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PauliTerm:
    """``coefficient · P_{i} ⊗ P_{j} …``; ``paulis[k]`` (X, Y or Z) acts on the backend's qubit ``qubits[k]``."""

    paulis: str
    qubits: tuple[int, ...]
    coefficient: float


Observable = tuple[PauliTerm, ...]
"""A Hermitian sum of Pauli terms."""


@dataclass(frozen=True, slots=True, eq=False)
class EstimationPlan:
    """How the expectation values of one pub follow from its shots (fields: see the final file)."""

    pairs: tuple[tuple[int, int], ...]
    precision: float
    shots: int


def expectations(
    plan: EstimationPlan, bits: Mapping[tuple[int, int], NDArray[np.uint8]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``bits[binding, basis]`` (shots, nbytes) → ``(evs, stds)``, each ``(num_pairs,)`` in the order of ``plan.pairs``."""
    raise NotImplementedError
