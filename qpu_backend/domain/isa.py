"""Whether a circuit is in a backend's own instructions: every refusal names the circuit, the operation and the qubits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qpu_backend.physics.circuit import IsaCircuit, Op


@dataclass(frozen=True, slots=True)
class IsaTarget:
    """What a backend can do.

    Attributes:
        num_qubits: qubits of the backend, faulty ones included.
        basis: operations it knows (barrier and control flow included where supported).
        edges: per two-qubit operation the directed pairs of backend qubits that are calibrated.
        usable_qubits: qubits that work.
        max_clbits, max_operations: published limits per circuit, bodies of ``if_else`` included.
    """

    num_qubits: int
    basis: frozenset[Op]
    edges: Mapping[Op, frozenset[tuple[int, int]]]
    usable_qubits: frozenset[int]
    max_clbits: int = 4_096
    max_operations: int = 100_000


def check(
    circuits: Sequence[IsaCircuit],
    target: IsaTarget,
    *,
    widths: Sequence[int] = (),
    angles: Sequence[tuple[int, NDArray[np.float64]]] = (),
) -> None:
    """Raise :class:`NotIsa` (code, field, circuit, operation, qubits) for the first thing the target cannot do.

    ``widths``: declared qubits (``Decoded.widths``); ``angles``: ``(circuit, table)`` of every pub, for bounded gates.
    """
    raise NotImplementedError
