"""Which qubits are coupled: an undirected graph, with regions as integer bit masks (bit ``q`` = qubit ``q``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

Edge = tuple[int, int]
"""An undirected coupler ``(a, b)`` with ``a < b``."""

MAX_EMBEDDINGS: Final = 20_000
"""Rows at which :func:`line_embeddings` stops, shared evenly between starting qubits."""


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


def line_embeddings(
    topology: Topology,
    n: int,
    *,
    usable_qubits: int | None = None,
    usable_edges: Iterable[Edge] | None = None,
    limit: int = MAX_EMBEDDINGS,
) -> NDArray[np.int16]:
    """Every place of a line of ``n`` qubits: simple paths, each in **both** orientations.

    ``row[i]`` is the physical qubit of the line's qubit ``i``. A path and its reverse are two rows, because a circuit
    need not be symmetric; on 127-qubit heavy-hex a 5-line has 342 paths (as many qubit sets), hence 684 rows.

    Args:
        topology: the device.
        n: qubits of the line, at least 1.
        usable_qubits: bit mask of qubits that may be used; all by default.
        usable_edges: couplers that may be used; all by default.
        limit: number of rows beyond which long lines are no longer enumerated completely; every starting qubit then
            keeps an equal number of its paths, so that the whole device stays covered.

    Returns:
        int16, shape ``(k, n)``, rows in lexicographic order.
    """
    usable = (1 << topology.num_qubits) - 1 if usable_qubits is None else usable_qubits
    edges = topology.edges if usable_edges is None else tuple(usable_edges)
    adjacency: dict[int, list[int]] = {q: [] for q in qubits_of(usable)}
    for a, b in edges:
        if a in adjacency and b in adjacency:
            adjacency[a].append(b)
            adjacency[b].append(a)
    for row in adjacency.values():
        row.sort()
    per_start = max(1, limit // max(1, len(adjacency)))
    rows: set[tuple[int, ...]] = set()
    for start in adjacency:
        for path in _paths_from(start, n, adjacency, per_start):
            rows.add(path)
            rows.add(path[::-1])
    return np.array(sorted(rows), dtype=np.int16).reshape(-1, n)


def _paths_from(start: int, n: int, adjacency: dict[int, list[int]], limit: int) -> list[tuple[int, ...]]:
    """Simple paths of ``n`` qubits from ``start``, depth first, at most ``limit``."""
    found: list[tuple[int, ...]] = []
    stack: list[tuple[int, ...]] = [(start,)]
    while stack and len(found) < limit:
        path = stack.pop()
        if len(path) == n:
            found.append(path)
        else:
            stack.extend((*path, q) for q in reversed(adjacency[path[-1]]) if q not in path)
    return found
