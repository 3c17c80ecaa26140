"""Chips for the tests of the rules: a 127-qubit heavy-hex lattice and a small one, with repeatable errors."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from qpu_backend.domain.placement import EmbeddingTable
from qpu_backend.domain.shapes import parse_shape
from qpu_backend.domain.views import DeviceView
from qpu_backend.physics.embeddings import embeddings
from qpu_backend.physics.topology import Topology, mask_of

LINES = range(2, 9)
Chip = Callable[..., DeviceView]


def heavy_hex() -> Topology:
    """Seven rows joined by bridges of one qubit, numbered row by row: the lattice of the 127-qubit devices."""
    pairs: list[tuple[int, int]] = []
    rows, bridges, number = [], [], 0
    for row in range(7):
        columns = range(14) if row == 0 else range(1, 15) if row == 6 else range(15)
        rows.append({column: number + k for k, column in enumerate(columns)})
        number += len(columns)
        if row < 6:
            crossings = range(0, 15, 4) if row % 2 == 0 else range(2, 15, 4)
            bridges.append({column: number + k for k, column in enumerate(crossings)})
            number += len(crossings)
    for row in rows:
        pairs += [(row[column], row[column + 1]) for column in row if column + 1 in row]
    for row, bridge in enumerate(bridges):
        pairs += [pair for column, q in bridge.items() for pair in ((rows[row][column], q), (q, rows[row + 1][column]))]
    return Topology.of(number, pairs)


@cache
def tables(topology: Topology, usable_mask: int) -> dict[str, EmbeddingTable]:
    """Every line, with errors that depend on the qubit only, drawn once from a fixed seed."""
    rng = np.random.default_rng(7)
    edge = rng.uniform(0.003, 0.03, (topology.num_qubits, topology.num_qubits))
    sx, readout = rng.uniform(1e-4, 1e-3, topology.num_qubits), rng.uniform(0.005, 0.05, topology.num_qubits)
    found: dict[str, EmbeddingTable] = {}
    for length in LINES:
        pairs = parse_shape(f"line-{length}").pairs
        regions = embeddings(topology, length, pairs, usable_qubits=usable_mask)
        low, high = np.minimum(regions[:, :-1], regions[:, 1:]), np.maximum(regions[:, :-1], regions[:, 1:])
        found[f"line-{length}"] = EmbeddingTable.of(
            topology,
            regions,
            pairs,
            edge_loss=edge[low, high],
            sx_loss=sx[regions],
            readout_loss=readout[regions],
            idle_loss_per_ns=np.full(regions.shape, 5e-6),
        )
    return found


@pytest.fixture(scope="session")
def chip() -> Chip:
    """Makes device views: ``chip(small=True, broken=(3,), buffer=0, …)``."""
    big, little = heavy_hex(), Topology.of(12, [*((q, q + 1) for q in range(11)), (2, 8)])

    def make(*, small: bool = False, broken: tuple[int, ...] = (), **policy: object) -> DeviceView:
        topology = little if small else big
        usable = ((1 << topology.num_qubits) - 1) & ~mask_of(q for q in broken if q < topology.num_qubits)
        return DeviceView(
            name="chip",
            topology=topology,
            usable_mask=usable,
            embeddings=tables(topology, usable),
            **{"overhead_us": 2_000_000, "rep_delay_us": 250.0, **policy},  # pyright: ignore[reportArgumentType]
        )

    return make
