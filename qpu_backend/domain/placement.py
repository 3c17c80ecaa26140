"""Where a job could go: every region its shape fits on, scored for its own circuits.

Regions are rows of an array and sets of qubits are bit masks, so asking 700 regions "are you free, and how good?" costs
some ten microseconds. What is free is known in :mod:`qpu_backend.domain.floor`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qpu_backend.domain.footprint import Footprint
    from qpu_backend.physics.topology import Topology

_WORD: Final = 64
_REMEMBERED_SCORES: Final = 1 << 20
"""Numbers, of one table."""


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
    _scores: dict[tuple[str, Footprint], NDArray[np.float64]] = field(
        default_factory=dict[tuple[str, "Footprint"], "NDArray[np.float64]"], init=False, repr=False
    )
    """What was asked before, for each job: how fast one is planned must not tell what others have sent."""

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

    def score(self, footprint: Footprint, job_id: str = "") -> NDArray[np.float64]:
        """Predicted −ln F of this job's circuits in each region, shape ``(k,)``, as if nobody were beside it.

        Args:
            footprint: of the job.
            job_id: remembers the answer for this job, which is looked at again as long as it waits; read-only then.
        """
        if not job_id:
            return self._score(footprint)
        known = self._scores.get((job_id, footprint))
        if known is None:
            if (len(self._scores) + 1) * len(self.regions) > _REMEMBERED_SCORES:
                self._scores.clear()
            known = self._scores[job_id, footprint] = self._score(footprint)
            known.setflags(write=False)
        return known

    def _score(self, footprint: Footprint) -> NDArray[np.float64]:
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


def misses(region_words: NDArray[np.uint64], mask: int) -> NDArray[np.bool_]:
    """For each set of qubits, whether none of them is in ``mask``; shape ``(k,)``."""
    words = as_words(mask, len(region_words))
    hit = region_words[0] & words[0]
    for row, word in zip(region_words[1:], words[1:], strict=True):
        hit |= row & word
    return hit == 0


def fresh_qubits(table: EmbeddingTable, rows: NDArray[np.intp], available: int) -> NDArray[np.int64]:
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
