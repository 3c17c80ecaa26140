"""Where a pattern of coupled qubits fits on a device: every place, and in each place every way round.

A pattern is ``n`` positions and the pairs of them that have to be coupled. It is laid down position by position, each
on a free qubit beside what lies already. Two rules keep that short; neither loses a place::

    0 ─ 1 ─ 2      a qubit is tried for position 4 only if walks of one step from it lead to where 3 lies
    │       │      and walks of two steps to where 0 lies: otherwise 5 would never close the ring;
    5 ─ 4 ─ 3      of two places that are mirror images of each other (1 ↔ 5, 2 ↔ 4) one is laid and both are listed.

Couplers of the device between qubits of a place that the pattern does not ask for do no harm.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.topology import mask_of, qubits_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from qpu_backend.physics.topology import Edge, Topology

MAX_EMBEDDINGS: Final = 40_000
"""Rows of one pattern on one device, shared evenly between starting qubits."""

MAX_TRIES: Final = 1_000_000
"""Qubits tried in one search, shared evenly between starting qubits. The most laborious patterns of 20 positions, on a
square lattice of 20 qubits, need a quarter of it."""

Graph = tuple[int, ...]
"""For each qubit, or position, the mask of those it is coupled to."""


def embeddings(
    topology: Topology,
    n: int,
    pairs: Iterable[tuple[int, int]],
    *,
    usable_qubits: int | None = None,
    usable_edges: Iterable[Edge] | None = None,
    limit: int = MAX_EMBEDDINGS,
) -> NDArray[np.int16]:
    """Every place of a pattern: each assignment of different qubits to positions that couples what has to be coupled.

    ``row[i]`` is the physical qubit of position ``i``. Symmetric images are rows of their own, because a circuit need
    not be symmetric: on 127-qubit heavy-hex a line of five has 342 qubit sets and 684 rows.

    Args:
        topology: the device.
        n: positions of the pattern, at least 1.
        pairs: coupled positions; all positions hang together. Patterns are expected to have few symmetries, as paths,
            trees with few branches, rings and grids do.
        usable_qubits: bit mask of qubits that may be used; all by default.
        usable_edges: couplers that may be used; all by default.
        limit: number of rows beyond which places are no longer listed completely; every qubit that position 0 can lie
            on then keeps an equal number of them (at least one), so that the whole device stays covered.

    Returns:
        int16, shape ``(k, n)``, rows different and in lexicographic order. With every row its images under the
        symmetries of the pattern are there.

    Raises:
        ValueError: a pair is a loop or off the pattern, or the positions do not hang together.
    """
    pattern = _pattern(n, pairs)
    symmetries = _symmetries(pattern)
    search = _Search(_usable(topology, usable_qubits, usable_edges), _steps(pattern, symmetries))
    per_start = max(1, limit // (max(1, len(search.starts)) * len(symmetries)))
    found = [place for start in search.starts for place in islice(search.places(start), per_start)]
    places = np.array(found, dtype=np.int16).reshape(-1, n)
    return np.unique(places[:, symmetries].reshape(-1, n), axis=0)


def fits(
    topology: Topology,
    n: int,
    pairs: Iterable[tuple[int, int]],
    *,
    usable_qubits: int | None = None,
    usable_edges: Iterable[Edge] | None = None,
) -> bool:
    """Whether the pattern has a place at all; see :func:`embeddings`."""
    pattern = _pattern(n, pairs)
    search = _Search(_usable(topology, usable_qubits, usable_edges), _steps(pattern, _symmetries(pattern)))
    return any(True for start in search.starts for _ in search.places(start))


@dataclass(frozen=True, slots=True)
class _Step:
    """How one position is laid down.

    Attributes:
        position: which one.
        degree: how many couplings it has.
        ways: ``(step, length)``: that many couplings, through positions not laid yet, lead to what was laid in an
            earlier step. Length 1 is a coupling.
        above: earlier steps whose qubits must have smaller numbers, so that of symmetric images one is laid.
    """

    position: int
    degree: int
    ways: tuple[tuple[int, int], ...]
    above: tuple[int, ...] = ()


class _Search:
    """Lays a pattern on a graph, depth first.

    Attributes:
        starts: qubits that the first position can lie on.
    """

    def __init__(self, graph: tuple[Graph, int], steps: Sequence[_Step]) -> None:
        couplings, usable = graph
        reach = _walks(couplings, max((length for step in steps for _, length in step.ways), default=0))
        degrees = [couplings[q].bit_count() if usable >> q & 1 else -1 for q in range(len(couplings))]
        self._positions = [step.position for step in steps]
        self._allowed = [mask_of(q for q, degree in enumerate(degrees) if degree >= step.degree) for step in steps]
        self._ways = [[(earlier, reach[length]) for earlier, length in step.ways] for step in steps]
        self._above = [step.above for step in steps]
        self.starts = qubits_of(self._allowed[0])
        self._tries = MAX_TRIES // max(1, len(self.starts))

    def places(self, start: int) -> Iterator[tuple[int, ...]]:
        """Every place with the first position on ``start``, one of each set of symmetric images."""
        last = len(self._positions) - 1
        laid = [start] * (last + 1)
        row = [start] * (last + 1)
        if not last:
            yield (start,)
            return
        waiting = [0] * (last + 1)
        used = 1 << start
        step = 1
        waiting[1] = self._candidates(1, laid, used)
        for _ in range(self._tries):
            while not waiting[step]:
                step -= 1
                if not step:
                    return
                used ^= 1 << laid[step]
            lowest = waiting[step] & -waiting[step]
            waiting[step] ^= lowest
            laid[step] = row[self._positions[step]] = lowest.bit_length() - 1
            if step == last:
                yield tuple(row)
            else:
                used |= lowest
                step += 1
                waiting[step] = self._candidates(step, laid, used)

    def _candidates(self, step: int, laid: list[int], used: int) -> int:
        mask = self._allowed[step] & ~used
        for earlier, reach in self._ways[step]:
            mask &= reach[laid[earlier]]
        for earlier in self._above[step]:
            mask &= -2 << laid[earlier]
        return mask


def _usable(topology: Topology, usable_qubits: int | None, usable_edges: Iterable[Edge] | None) -> tuple[Graph, int]:
    """The couplings that may be used, and the mask of the qubits."""
    usable = (1 << topology.num_qubits) - 1 if usable_qubits is None else usable_qubits
    edges = topology.edges if usable_edges is None else usable_edges
    return _graph(topology.num_qubits, ((a, b) for a, b in edges if usable >> a & usable >> b & 1)), usable


def _pattern(n: int, pairs: Iterable[tuple[int, int]]) -> Graph:
    couplings = tuple(pairs)
    if n < 1 or any(a == b or not (0 <= a < n and 0 <= b < n) for a, b in couplings):
        raise ValueError(f"pairs must be of different positions, from 0 to {n - 1}")
    return _graph(n, couplings)


def _graph(n: int, pairs: Iterable[tuple[int, int]]) -> Graph:
    masks = [0] * n
    for a, b in pairs:
        masks[a] |= 1 << b
        masks[b] |= 1 << a
    return tuple(masks)


def _walks(graph: Graph, longest: int) -> list[Graph]:
    """For each length, where the walks of exactly that many couplings from each qubit end."""
    walks: list[Graph] = [tuple(1 << q for q in range(len(graph)))]
    beside = [qubits_of(mask) for mask in graph]
    for _ in range(longest):
        ends: list[int] = []
        for neighbours in beside:
            ends.append(0)
            for q in neighbours:
                ends[-1] |= walks[-1][q]
        walks.append(tuple(ends))
    return walks


def _order(pattern: Graph) -> list[int]:
    """Positions from 0 on, each coupled to earlier ones, to as many as can be, and of those the lowest.

    Raises:
        ValueError: the positions do not hang together.
    """
    order, laid = [0], 1
    while len(order) < len(pattern):
        left = (p for p in range(len(pattern)) if not laid >> p & 1)
        best = max(left, key=lambda p: (pattern[p] & laid).bit_count())
        if not pattern[best] & laid:
            raise ValueError(f"position {best} is not connected to position 0")
        order.append(best)
        laid |= 1 << best
    return order


def _ways_back(pattern: Graph, order: Sequence[int], step: int) -> tuple[tuple[int, int], ...]:
    """The shortest ways from a position to each earlier one, through positions that are laid later."""
    when = {position: number for number, position in enumerate(order)}
    lengths: dict[int, int] = {}
    distances = {order[step]: 0}
    waiting = deque(distances)
    while waiting:
        position = waiting.popleft()
        for other in qubits_of(pattern[position]):
            if when[other] < step:
                lengths.setdefault(when[other], distances[position] + 1)
            elif other not in distances:
                distances[other] = distances[position] + 1
                waiting.append(other)
    return tuple(sorted(lengths.items()))


def _steps(pattern: Graph, symmetries: NDArray[np.intp] | None = None) -> tuple[_Step, ...]:
    """The order in which a pattern is laid down, and what each position has to satisfy.

    Symmetries that leave position 0 where it is are broken as by Grochow and Kellis (RECOMB 2007): of the positions
    that they exchange, the one laid first has the qubit of the smallest number. Those that move position 0 are not, so
    that each starting qubit finds all that begins on it.
    """
    order = _order(pattern)
    above: list[list[int]] = [[] for _ in order]
    if symmetries is not None:
        fixing = symmetries[symmetries[:, 0] == 0]
        for step, position in enumerate(order):
            for other in {int(p) for p in fixing[:, position]} - {position}:
                above[order.index(other)].append(step)
            fixing = fixing[fixing[:, position] == position]
    return tuple(
        _Step(position, pattern[position].bit_count(), _ways_back(pattern, order, step), tuple(above[step]))
        for step, position in enumerate(order)
    )


def _symmetries(pattern: Graph) -> NDArray[np.intp]:
    """Every way to lay a pattern on itself, shape ``(s, n)``."""
    search = _Search((pattern, (1 << len(pattern)) - 1), _steps(pattern))
    return np.array([place for start in search.starts for place in search.places(start)], dtype=np.intp)
