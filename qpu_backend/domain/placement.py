"""Where a job goes: every region its shape fits on, scored for its own circuits, and what is still free.

Regions are rows of an array and sets of qubits are bit masks, so asking 700 regions "are you free, and how good?" costs
some ten microseconds.

         . . . . . .        #  region          A place is free when no qubit of it is blocked:
         . o o o o .        o  its halo        blocked = regions given out, and their halos where
         o # # # # o           (buffer = 1)    the device's policy wants a buffer.
         . o o o o .
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.topology import mask_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from qpu_backend.domain.footprint import Footprint
    from qpu_backend.physics.topology import Topology

_WORD: Final = 64


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingTable:
    """All the places where one shape fits, and how good each is.

    Attributes:
        regions: int16, shape ``(k, n)``: physical qubit of each position. Both directions of a line are rows.
        pairs: coupled positions ``(i, j)``, ``i < j``, one for each of the first rows of ``losses``.
        losses: float64, shape ``(2 · len(pairs) + 3n, k)``: −ln F of a two-qubit gate on each pair, of an sx, of a
            readout, and of 1 ns of idling on each position, and of 1 ns² of static ZZ on each pair.
        region_words: uint64, shape ``(words, k)``: the region as a bit mask, least significant word first.
        closed_words: the same with the region's neighbours.
    """

    regions: NDArray[np.int16]
    pairs: tuple[tuple[int, int], ...]
    losses: NDArray[np.float64]
    region_words: NDArray[np.uint64]
    closed_words: NDArray[np.uint64]

    @classmethod
    def of(
        cls,
        topology: Topology,
        regions: NDArray[np.int16],
        pairs: tuple[tuple[int, int], ...],
        *,
        edge_loss: NDArray[np.float64],
        sx_loss: NDArray[np.float64],
        readout_loss: NDArray[np.float64],
        idle_loss_per_ns: NDArray[np.float64],
        zz_loss_per_ns2: NDArray[np.float64] | None = None,
    ) -> EmbeddingTable:
        """Build the table once per snapshot and shape.

        Args:
            topology: of the device.
            regions: shape ``(k, n)``, only places whose qubits and couplings are usable.
            pairs: coupled positions, in the order of ``edge_loss``'s columns.
            edge_loss: shape ``(k, len(pairs))``.
            sx_loss: shape ``(k, n)``.
            readout_loss: shape ``(k, n)``.
            idle_loss_per_ns: shape ``(k, n)``.
            zz_loss_per_ns2: shape ``(k, len(pairs))``; ``None`` where there is no static ZZ.
        """
        zz = np.zeros_like(edge_loss) if zz_loss_per_ns2 is None else zz_loss_per_ns2
        words = -(-topology.num_qubits // _WORD)
        single = np.zeros((topology.num_qubits, words), dtype=np.uint64)
        closed = np.zeros_like(single)
        for qubit in range(topology.num_qubits):
            single[qubit] = as_words(1 << qubit, words)
            closed[qubit] = as_words(topology.neighbour_mask(1 << qubit) | 1 << qubit, words)
        return cls(
            regions=regions,
            pairs=pairs,
            losses=np.ascontiguousarray(np.hstack([edge_loss, sx_loss, readout_loss, idle_loss_per_ns, zz]).T),
            region_words=np.ascontiguousarray(np.bitwise_or.reduce(single[regions], axis=1).T),
            closed_words=np.ascontiguousarray(np.bitwise_or.reduce(closed[regions], axis=1).T),
        )

    def carries(self, footprint: Footprint) -> bool:
        """Whether the shape has all the positions and couplings that the job uses."""
        last = max((*footprint.qubits, *footprint.measured), default=0)
        return last < self.regions.shape[1] and all(
            (min(pair), max(pair)) in self.pairs for pair, _ in footprint.edge_counts
        )

    def score(self, footprint: Footprint) -> NDArray[np.float64]:
        """Predicted −ln F of this job's circuits in each region, shape ``(k,)``, as if nobody were beside it."""
        n = self.regions.shape[1]
        counts = np.zeros(len(self.losses))
        edges = {pair: row for row, pair in enumerate(self.pairs)}
        for (a, b), count in footprint.edge_counts:
            counts[edges[min(a, b), max(a, b)]] += count
        sx, readout, idle = len(self.pairs), len(self.pairs) + n, len(self.pairs) + 2 * n
        for position, sx_count, idle_ns in zip(footprint.qubits, footprint.sx_counts, footprint.idle_ns, strict=True):
            counts[sx + position] = sx_count
            counts[idle + position] = idle_ns
        for position in footprint.measured:
            counts[readout + position] = 1
        for (a, b), area in footprint.zz_areas:
            counts[len(self.pairs) + 3 * n + edges[min(a, b), max(a, b)]] += area
        return np.einsum(
            "i,ij->j", counts, self.losses
        )  # not BLAS: its threads cost more than they bring, and order sums


class Floor:
    """The chip while a batch is being put together: what is given out, and what that leaves free.

    Attributes:
        blocked: mask of the qubits in which no further region may lie.
        charged: mask of the qubits somebody is charged for: regions and buffers.
    """

    def __init__(
        self,
        topology: Topology,
        usable_mask: int,
        embeddings: Mapping[str, EmbeddingTable],
        *,
        buffer: int,
        packing: float,
    ) -> None:
        self.blocked = 0
        self.charged = 0
        self._topology = topology
        self._usable = usable_mask
        self._embeddings = embeddings
        self._buffer = buffer
        self._packing = packing
        self._anywhere: dict[str, bool] = {}
        self._free: dict[str, tuple[int, NDArray[np.bool_]]] = {}

    def ever_fits(self, footprint: Footprint) -> bool:
        """Whether the job has a place on the chip when nobody else is on it."""
        if footprint.shape is None:
            return not mask_of(footprint.qubits) & ~self._usable
        table = self._embeddings.get(footprint.shape)
        if table is None or not table.carries(footprint):
            return False
        if footprint.shape not in self._anywhere:
            self._anywhere[footprint.shape] = bool(_misses(table, ~self._usable).any())
        return self._anywhere[footprint.shape]

    def best(self, footprint: Footprint) -> tuple[tuple[int, ...], float] | None:
        """The best free region for this job and its predicted −ln F, or ``None`` when nothing fits."""
        if footprint.shape is None:
            mask = mask_of(footprint.qubits)
            return None if mask & (self.blocked | ~self._usable) else (footprint.qubits, 0.0)
        table = self._embeddings[footprint.shape]
        rows = np.flatnonzero(self._free_rows(footprint.shape, table))
        if not rows.size:
            return None
        loss = table.score(footprint)[rows]
        taken = _fresh_qubits(table, rows, self._usable & ~self.blocked) if self._packing else 0
        row = int(np.argmin(loss + self._packing * taken))
        return tuple(table.regions[rows[row]].tolist()), float(loss[row])

    def take(self, region: tuple[int, ...]) -> int:
        """Give a region out; the mask of the buffer qubits charged with it."""
        mask = mask_of(region)
        halo = self._topology.neighbour_mask(mask) & ~mask if self._buffer else 0
        buffer_mask = halo & self._usable & ~self.charged
        self.charged |= mask | buffer_mask
        self.blocked |= mask | halo
        return buffer_mask

    def _free_rows(self, shape: str, table: EmbeddingTable) -> NDArray[np.bool_]:
        """Which regions of the shape are free now; brought up to date only when somebody asks."""
        forbidden = self.blocked | ~self._usable
        if shape in self._free:
            seen, free = self._free[shape]
            if seen != forbidden:
                free &= _misses(table, forbidden & ~seen)
        else:
            free = _misses(table, forbidden)
        self._free[shape] = (forbidden, free)
        return free


def _misses(table: EmbeddingTable, mask: int) -> NDArray[np.bool_]:
    """For each region, whether it has no qubit in ``mask``; shape ``(k,)``."""
    words = as_words(mask, len(table.region_words))
    hit = table.region_words[0] & words[0]
    for row, word in zip(table.region_words[1:], words[1:], strict=True):
        hit |= row & word
    return hit == 0


def _fresh_qubits(table: EmbeddingTable, rows: NDArray[np.intp], available: int) -> NDArray[np.int64]:
    """For each of ``rows``, how many available qubits giving it out would use up, halo included."""
    words = as_words(available, len(table.closed_words))
    count = np.zeros(len(rows), dtype=np.int64)
    for row, word in zip(table.closed_words, words, strict=True):
        count += np.bitwise_count(row[rows] & word)
    return count


def as_words(mask: int, words: int) -> NDArray[np.uint64]:
    """A python bit mask as ``words`` uint64, least significant first; higher bits are dropped."""
    size = 8 * words
    return np.frombuffer((mask & ((1 << 8 * size) - 1)).to_bytes(size, "little"), dtype="<u8")
