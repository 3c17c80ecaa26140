"""Tenants side by side on one device, each simulated alone in the context of the others: the way that is validated."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import simulate

from qpu_backend.physics.context import NO_CONTEXT, Context, Profile
from qpu_backend.physics.device import NO_CROSSTALK, Crosstalk, StaticZZ
from qpu_backend.physics.neighbours import PlacedCircuit, context_of, near, wanted
from qpu_backend.physics.snapshot import RegionNoise, Snapshot
from qpu_backend.physics.topology import Topology

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from qpu_backend.physics.circuit import IsaCircuit

START: NDArray[np.float64] = np.zeros(0)
"""Every qubit starts in |0⟩."""


def only_zz(echo: float) -> Crosstalk:
    """Static ZZ alone."""
    return replace(NO_CROSSTALK, zz=StaticZZ(echo=echo))


class Neighbourhood:
    """Circuits on disjoint qubits of one device, aligned at their ends."""

    def __init__(
        self,
        circuits: Sequence[IsaCircuit],
        snapshot: Snapshot,
        crosstalk: Crosstalk,
        seen: Callable[[RegionNoise], RegionNoise] = lambda noise: noise,
    ) -> None:
        """Schedule the circuits.

        Args:
            circuits: on physical qubits.
            snapshot: the truth.
            crosstalk: mechanisms.
            seen: changes what a region sees of the device, e.g. takes all errors away.
        """
        self.snapshot, self.crosstalk = snapshot, crosstalk
        self.topology = Topology.of(snapshot.num_qubits, snapshot.zz_hz)
        self.placed = [PlacedCircuit.of(circuit, snapshot) for circuit in circuits]
        self._noise = [seen(RegionNoise.of(snapshot, circuit.qubits, zz=crosstalk.zz)) for circuit in circuits]
        self._profiles: list[Profile | None] = [
            None if qubits is None else simulate.profile(one.circuit, noise, qubits)
            for one, noise, qubits in zip(self.placed, self._noise, map(self._wanted, self.placed), strict=True)
        ]

    def context(self, index: int, others: Sequence[int] | None = None) -> Context:
        """What some of the others do to a circuit; all of them by default."""
        beside = range(len(self.placed)) if others is None else others
        neighbours = [(self.placed[other], self._profiles[other]) for other in beside if other != index]
        return context_of(self.crosstalk, self.topology, self.snapshot, self.placed[index], neighbours, START)

    def together(self, index: int) -> NDArray[np.float64]:
        """Distribution of a circuit among the others."""
        return simulate.distribution(self.placed[index].circuit, self._noise[index], self.context(index))

    def alone(self, index: int) -> NDArray[np.float64]:
        """Distribution of a circuit as if nobody else were there; ZZ inside its region stays."""
        return simulate.distribution(self.placed[index].circuit, self._noise[index], NO_CONTEXT)

    def _wanted(self, felt: PlacedCircuit) -> tuple[int, ...] | None:
        feeling = [
            other
            for other in self.placed
            if other is not felt and near(self.crosstalk, self.topology, felt.circuit.qubits, other.circuit.qubits)
        ]
        return wanted(self.crosstalk, self.topology, self.snapshot, felt, feeling)
