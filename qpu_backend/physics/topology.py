"""Which qubits are coupled: an undirected graph, with regions as integer bit masks (bit ``q`` = qubit ``q``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

Edge = tuple[int, int]
"""An undirected coupler ``(a, b)`` with ``a < b``."""


@dataclass(frozen=True, slots=True)
class Topology:
    """Qubits ``0 … num_qubits − 1`` and their couplers.

    Attributes:
        edges: couplers ``(a < b)``, sorted, without duplicates.

    Raises:
        ValueError: an edge that is a loop, unsorted, repeated or off the device.
    """

    num_qubits: int
    edges: tuple[Edge, ...]
    _neighbours: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    _masks: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if list(self.edges) != sorted(set(self.edges)) or any(not 0 <= a < b < self.num_qubits for a, b in self.edges):
            raise ValueError("edges must be sorted, different pairs (a < b) of qubits of the device")
        neighbours: list[list[int]] = [[] for _ in range(self.num_qubits)]
        for a, b in self.edges:
            neighbours[a].append(b)
            neighbours[b].append(a)
        object.__setattr__(self, "_neighbours", tuple(tuple(sorted(row)) for row in neighbours))
        object.__setattr__(self, "_masks", tuple(mask_of(row) for row in neighbours))

    @classmethod
    def of(cls, num_qubits: int, pairs: Iterable[tuple[int, int]]) -> Topology:
        """Build from pairs in any order and direction, repeated or not."""
        return cls(num_qubits, tuple(sorted({(min(pair), max(pair)) for pair in pairs})))

    def neighbours(self, qubit: int) -> tuple[int, ...]:
        """Qubits coupled to ``qubit``, ascending."""
        return self._neighbours[qubit]

    def neighbour_mask(self, mask: int) -> int:
        """Qubits outside ``mask`` that are coupled to a qubit inside it."""
        around = 0
        for qubit in qubits_of(mask):
            around |= self._masks[qubit]
        return around & ~mask

    def distance_one(self, edge_a: Edge, edge_b: Edge) -> bool:
        """Whether two edges share no qubit and some coupler joins them."""
        mask_b = (1 << edge_b[0]) | (1 << edge_b[1])
        if edge_a[0] in edge_b or edge_a[1] in edge_b:
            return False
        return bool((self._masks[edge_a[0]] | self._masks[edge_a[1]]) & mask_b)

    def distance_one_pairs(self) -> tuple[tuple[Edge, Edge], ...]:
        """All unordered pairs of edges at distance one, ``(smaller, larger)``, sorted.

        Such a pair is two edges at the two ends of a coupler that neither contains.
        """
        found: set[tuple[Edge, Edge]] = set()
        for u, v in self.edges:
            for p in self._neighbours[u]:
                for q in self._neighbours[v]:
                    if p not in {v, q} and q != u:
                        one, other = (min(u, p), max(u, p)), (min(v, q), max(v, q))
                        found.add((one, other) if one < other else (other, one))
        return tuple(sorted(found))


def mask_of(qubits: Iterable[int]) -> int:
    """Qubits → bit mask."""
    mask = 0
    for qubit in qubits:
        mask |= 1 << qubit
    return mask


def qubits_of(mask: int) -> tuple[int, ...]:
    """Bit mask → qubits, ascending."""
    qubits: list[int] = []
    while mask:
        low = mask & -mask
        qubits.append(low.bit_length() - 1)
        mask ^= low
    return tuple(qubits)
