"""Virtual QPUs: a shape, all the places where it fits on a device, and the calibration it is published with.

A tenant transpiles once against the *median* of the regions and runs on whichever is free, so the published numbers
promise neither the best place nor the worst; how wide the places vary is published beside them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from qpu_backend.domain.placement import EmbeddingTable
from qpu_backend.domain.shapes import parse_shape, why_nowhere
from qpu_backend.physics.circuit import ONE_QUBIT_GATES, TWO_QUBIT_GATES, Op
from qpu_backend.physics.embeddings import embeddings, fits
from qpu_backend.physics.exposure import loss_per_area
from qpu_backend.physics.fidelity import idle_rate, process_loss
from qpu_backend.physics.snapshot import GateProperties, QubitProperties, Snapshot
from qpu_backend.physics.topology import mask_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from qpu_backend.domain.shapes import Pair
    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.physics.fidelity import LogErrors
    from qpu_backend.physics.topology import Edge

Spread = dict[str, tuple[float, float]]
"""Quantity → its 10th and 90th percentile over the regions."""


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A shape on a device as it is calibrated now.

    Attributes:
        name: e.g. ``line-5``.
        table: where it fits and how good each place is.
        snapshot: the medians, as the calibration of a device with the shape's own qubits ``0 … n−1``.
        regions: number of different sets of qubits.
        spread: how wide the places vary.
        usual_qubits_with_buffer: median over the places of how many qubits a region and its neighbours are.
        zz_hz: median |ζ| over the couplers of all places.
    """

    name: str
    table: EmbeddingTable
    snapshot: Snapshot
    regions: int
    spread: Spread
    usual_qubits_with_buffer: int
    zz_hz: float

    @property
    def nbytes(self) -> int:
        """What its places take up in memory."""
        table = self.table
        return sum(each.nbytes for each in (table.regions, table.losses, table.region_words, table.closed_words))


def shape_of(
    name: str,
    model: DeviceModel,
    snapshot: Snapshot,
    errors: LogErrors,
    *,
    within: int | None = None,
    place: str | None = None,
) -> Shape:
    """Find every place of a shape and take the medians over them.

    Args:
        name: the shape.
        model: the device.
        snapshot: its calibration.
        errors: tables of that calibration.
        within: mask of the qubits that it may be placed on; ``None`` for all.
        place: what these are called; by default the device.

    Raises:
        ValueError: no such shape, or it fits nowhere on the usable qubits; the largest of its kind that does is named.
    """
    pattern = parse_shape(name)
    offered, edges_with_all = _offered(snapshot)
    usable = mask_of(snapshot.usable_qubits) & (~0 if within is None else within)
    regions = embeddings(
        model.topology, pattern.num_qubits, pattern.pairs, usable_qubits=usable, usable_edges=edges_with_all
    )
    if not len(regions):
        has_place = partial(fits, model.topology, usable_qubits=usable, usable_edges=edges_with_all)
        where = place or model.name
        raise ValueError(why_nowhere(pattern, where, lambda other: has_place(other.num_qubits, other.pairs)))
    places = regions.astype(np.intp)
    edges = np.stack([errors.edge[places[:, a], places[:, b]] for a, b in pattern.pairs], axis=1)
    zz_hz = _zz_hz(model, snapshot, places, pattern.pairs)
    table = EmbeddingTable.of(
        model.topology,
        regions,
        pattern.pairs,
        edge_loss=process_loss(edges, 2),
        sx_loss=process_loss(errors.sx[places], 1),
        readout_loss=errors.readout[places],
        idle_loss_per_ns=idle_rate(errors.rate1_per_ns[places], errors.rate2_per_ns[places]),
        zz_loss_per_ns2=loss_per_area(zz_hz),
    )
    medians = _medians(model, snapshot, offered, places, pattern.pairs, edges)
    return Shape(
        name=name,
        table=table,
        snapshot=medians,
        regions=len(np.unique(np.sort(places, axis=1), axis=0)),
        spread=_spread(snapshot, places, edges),
        usual_qubits_with_buffer=round(float(np.median(np.bitwise_count(table.closed_words).sum(axis=0)))),
        zz_hz=float(np.median(zz_hz)),
    )


def _zz_hz(
    model: DeviceModel, snapshot: Snapshot, places: NDArray[np.intp], pairs: tuple[Pair, ...]
) -> NDArray[np.float64]:
    """|ζ| of each pair of each place, scale applied; 0 where it is unknown or switched off."""
    strength = np.zeros((snapshot.num_qubits, snapshot.num_qubits))
    if model.crosstalk.zz.enabled:
        for (a, b), zz_hz in snapshot.zz_hz.items():
            strength[a, b] = strength[b, a] = model.crosstalk.zz.scale * zz_hz
    return np.abs(np.stack([strength[places[:, a], places[:, b]] for a, b in pairs], axis=1))


def _offered(snapshot: Snapshot) -> tuple[tuple[Op, ...], tuple[Edge, ...]]:
    """The two-qubit gates of shapes, and the couplers that have them all: a job may be placed on any of them.

    A gate that works on less than half of the couplers, in whichever direction, is not offered.
    """
    edges_of: dict[Op, set[Edge]] = {}
    for op, qubits in snapshot.gates:
        if op in TWO_QUBIT_GATES:
            edges_of.setdefault(op, set()).add((min(qubits), max(qubits)))
    usable = snapshot.usable_edges
    offered = tuple(op for op in sorted(edges_of) if 2 * len(edges_of[op]) >= len(usable))
    return offered, tuple(edge for edge in usable if all(edge in edges_of[op] for op in offered))


def _medians(
    model: DeviceModel,
    snapshot: Snapshot,
    offered: tuple[Op, ...],
    places: NDArray[np.intp],
    pairs: tuple[Pair, ...],
    edges: NDArray[np.float64],
) -> Snapshot:
    def median(of: Callable[[QubitProperties], float | None]) -> list[float]:
        values = np.array([None if q is None else of(q) for q in snapshot.qubits], dtype=np.float64)[places]
        known = [column[~np.isnan(column)] for column in values.T]
        return [float(np.median(column)) if column.size else math.nan for column in known]

    t1_us, t2_us = median(lambda q: q.t1_us), median(lambda q: q.t2_us)
    frequency_hz, anharmonicity_hz = median(lambda q: q.frequency_hz), median(lambda q: q.anharmonicity_hz)
    meas1_prep0, meas0_prep1 = median(lambda q: q.prob_meas1_prep0), median(lambda q: q.prob_meas0_prep1)
    readout_ns = median(lambda q: q.readout_duration_ns)
    qubits = tuple(
        QubitProperties(
            t1_us=t1_us[i],
            t2_us=min(t2_us[i], 2 * t1_us[i]),
            frequency_hz=_measured(frequency_hz[i]),
            anharmonicity_hz=_measured(anharmonicity_hz[i]),
            prob_meas1_prep0=meas1_prep0[i],
            prob_meas0_prep1=meas0_prep1[i],
            readout_duration_ns=readout_ns[i],
        )
        for i in range(places.shape[1])
    )
    gates: dict[tuple[Op, tuple[int, ...]], GateProperties] = {}
    for op in sorted({key[0] for key in snapshot.gates if key[0] in ONE_QUBIT_GATES | {Op.RESET}}):
        error, duration_ns = _by_qubit(snapshot, op)
        for i, column in enumerate(places.T):
            gates[op, (i,)] = GateProperties(_median(error[column]), _median(duration_ns[column]))
    durations_ns = {op: _by_pair(snapshot, op) for op in offered}
    for (a, b), losses in zip(pairs, edges.T, strict=True):
        p, q = places[:, a], places[:, b]
        error = float(-np.expm1(-np.median(losses)))
        for op, duration_ns in durations_ns.items():
            both_ways = np.concatenate([duration_ns[p, q], duration_ns[q, p]])
            gates[op, (a, b)] = GateProperties(error, _median(both_ways))
    return Snapshot(
        device=model.name,
        number=snapshot.number,
        measured_at_us=snapshot.measured_at_us,
        device_time_us=snapshot.device_time_us,
        qubits=qubits,
        gates=gates,
        zz_hz={},
    )


def _by_qubit(snapshot: Snapshot, op: Op) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Error and duration in ns of a one-qubit operation on each qubit; NaN where there is none."""
    table = np.full((2, snapshot.num_qubits), np.nan)
    for (other, qubits), gate in snapshot.gates.items():
        if other is op:
            table[:, qubits[0]] = gate.error, gate.duration_ns
    return table[0], table[1]


def _by_pair(snapshot: Snapshot, op: Op) -> NDArray[np.float64]:
    """Duration in ns of a two-qubit gate from row to column; NaN where there is none."""
    duration_ns = np.full((snapshot.num_qubits, snapshot.num_qubits), np.nan)
    for (other, qubits), gate in snapshot.gates.items():
        if other is op:
            duration_ns[qubits] = gate.duration_ns
    return duration_ns


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values[~np.isnan(values)]))


def _measured(value: float) -> float | None:
    return None if np.isnan(value) else value


def _spread(snapshot: Snapshot, places: NDArray[np.intp], edges: NDArray[np.float64]) -> Spread:
    """Percentiles of each region's own mean: what a tenant may meet, place by place."""
    columns = np.array([[np.nan] * 3 if q is None else [q.readout_error, q.t1_us, q.t2_us] for q in snapshot.qubits])
    means = columns[places].mean(axis=1)
    quantities = {
        "gate_error": -np.expm1(-edges.mean(axis=1)),
        "readout_error": means[:, 0],
        "t1_us": means[:, 1],
        "t2_us": means[:, 2],
    }
    return {
        name: (float(np.percentile(values, 10)), float(np.percentile(values, 90)))
        for name, values in quantities.items()
    }
