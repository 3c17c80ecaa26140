"""A chip in numbers: what everything on it is expected to cost, from its published calibration and crosstalk.

A loss is −ln of the chance that nothing goes wrong (a product of process fidelities, arXiv 2311.05933), so losses add.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qpu_sdk.wire.crosstalk import CrosstalkDocument
    from qpu_sdk.wire.models import BackendDocument

TAKEN: Final = 0.3
"""How likely it is that a qubit beside the circuit is somebody else's. Chosen: on a full chip it is more, but the
service keeps those apart that disturb each other most."""
BUSY: Final = 0.5 * TAKEN
"""How likely it is that a coupler beside it runs a gate at any time."""

_ECHOED: Final = frozenset({"ecr", "cx"})
_ECHO: Final = 0.6
"""In a gate that turns its qubits round half-way; typical."""
_WORST: Final = 1.0 - 1e-9
_ONE_QUBIT: Final = ("sx", "x")


@dataclass(frozen=True, slots=True, eq=False)
class Chip:
    """Losses by physical qubit.

    Attributes:
        edges: couplers with a two-qubit gate, ``(a, b)`` with ``a < b``.
        edge: float64, ``(N, N)``, symmetric: a two-qubit gate, in its better direction; infinite without a coupler.
        beside: float64, ``(N, N)``, symmetric: what neighbours are expected to add to it.
        one: float64, ``(N,)``: a one-qubit gate with a pulse.
        readout: float64, ``(N,)``: a measurement.
        idle_per_ns: float64, ``(N,)``: relaxation while waiting.
        zz_per_ns2: float64, ``(N, N)``, symmetric: square of the phase by static ZZ, over that of the time it acts for.
        echo: how much of ZZ acts on a qubit that is in a two-qubit gate with a third.
        edge_ns: a typical two-qubit gate.
        one_ns: a typical one-qubit gate with a pulse.
    """

    edges: tuple[tuple[int, int], ...]
    edge: NDArray[np.float64]
    beside: NDArray[np.float64]
    one: NDArray[np.float64]
    readout: NDArray[np.float64]
    idle_per_ns: NDArray[np.float64]
    zz_per_ns2: NDArray[np.float64]
    echo: float
    edge_ns: float
    one_ns: float

    @property
    def num_qubits(self) -> int:
        return len(self.one)

    @classmethod
    def of(cls, document: BackendDocument, crosstalk: CrosstalkDocument | None = None) -> Chip:
        """The chip as it is published.

        Args:
            document: topology and calibration.
            crosstalk: of the same backend; without it nothing is known of ZZ and of neighbours.
        """
        n = document.num_qubits
        one, readout, idle = np.full(n, np.inf), np.full(n, np.inf), np.full(n, np.inf)
        for qubit, calibration in enumerate(document.qubits):
            if calibration is not None:
                one[qubit] = 0.0
                readout[qubit] = _loss(calibration.readout_error)
                idle[qubit] = 0.25e-3 * (1.0 / calibration.t1_us + 2.0 / calibration.t2_us)
        edge = np.full((n, n), np.inf)
        durations: dict[int, list[float]] = {1: [], 2: []}
        for gate in document.gates:
            if any(document.qubits[qubit] is None for qubit in gate.qubits):
                continue
            if len(gate.qubits) == 2:
                a, b = gate.qubits
                edge[a, b] = edge[b, a] = min(edge[a, b], _loss(1.25 * gate.error))
                durations[2].append(gate.duration_ns)
            elif gate.name in _ONE_QUBIT:
                one[gate.qubits[0]] = max(one[gate.qubits[0]], _loss(1.5 * gate.error))
                durations[1].append(gate.duration_ns)
        edges = tuple((int(a), int(b)) for a, b in np.argwhere(np.isfinite(edge)) if a < b)
        return cls(
            edges=edges,
            edge=edge,
            beside=np.zeros((n, n)) if crosstalk is None else _beside(edges, edge, crosstalk),
            one=one,
            readout=readout,
            idle_per_ns=idle,
            zz_per_ns2=_zz(n, crosstalk),
            echo=_ECHO if _ECHOED.intersection(document.basis_gates) else 1.0,
            edge_ns=median(durations[2]) if durations[2] else 0.0,
            one_ns=median(durations[1]) if durations[1] else 0.0,
        )


def _loss(infidelity: float) -> float:
    return -math.log1p(-min(infidelity, _WORST))


def _zz(num_qubits: int, crosstalk: CrosstalkDocument | None) -> NDArray[np.float64]:
    """(πζ)² per ns² of every coupler."""
    table = np.zeros((num_qubits, num_qubits))
    for one in () if crosstalk is None else crosstalk.zz:
        a, b = one.qubits
        table[a, b] = table[b, a] = (math.pi * 1e-9 * one.zz_hz) ** 2
    return table


def _beside(
    edges: Sequence[tuple[int, int]], edge: NDArray[np.float64], crosstalk: CrosstalkDocument
) -> NDArray[np.float64]:
    """A gate's loss × Σ (ρ − 1) over the couplers that disturb it, as often as they are busy."""
    coupled = {qubit: {a + b - qubit for a, b in edges if qubit in {a, b}} for pair in edges for qubit in pair}
    ratios = {frozenset(pair.couplers): pair.ratio for pair in crosstalk.simultaneous}
    table = np.zeros_like(edge)
    for a, b in edges:
        around = (coupled[a] | coupled[b]) - {a, b}
        near = {(min(q, r), max(q, r)) for q in around for r in coupled[q] if r not in {a, b}}
        excess = sum(ratios.get(frozenset(((a, b), other)), crosstalk.ordinary_ratio) - 1.0 for other in near)
        table[a, b] = table[b, a] = BUSY * excess * edge[a, b]
    return table
