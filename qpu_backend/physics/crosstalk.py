"""What a co-tenant does to you: from the schedules of all regions of a round to the noise of one.

A tenant can only see its own marginal distribution, so each region is simulated alone, with channels that depend on its
neighbours. The mechanisms, each with a switch and a scale in :class:`qpu_backend.physics.device.Crosstalk`:

C1  conditional two-qubit errors   :func:`conditional_factors`, exact: the context is the classical schedule
C2  ZZ                             :mod:`qpu_backend.physics.ghosts`; inside a region :mod:`qpu_backend.physics.phases`
C3  drive                          :mod:`qpu_backend.physics.drive`, exact
C4  readout                        :func:`readout_blur`, mean field
C5  reset leakage                  :func:`leaked_excitation`, mean field

:mod:`qpu_backend.physics.neighbours` puts them together into the context of one circuit.

Windows are rows ``(q0, q1, opens_ns, closes_ns)`` of two-qubit gates on *physical* qubits; times are ns before the
common end of the round, so ``opens > closes``::

            opens_g        closes_g
    g  ──────[██████████████]──────────────┤ end
    h  ───────────[██████████████]─────────┤
                  ╰─ overlap ─╯   o_gh = overlap / (opens_g − closes_g)

Sources: 10.1145/3373376.3378477 and MICRO'19 10.1145/3352460.3358287 (conditional errors from simultaneous RB);
arXiv 2405.08962 and 2112.00984 (readout); arXiv 2401.15529 (reset).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from qpu_backend.physics.device import Crosstalk, EdgePair, ResetLeakage, SharedReadout
    from qpu_backend.physics.timing import CircuitSummary
    from qpu_backend.physics.topology import Edge, Topology

FACTOR_BIN: Final = math.log(1.05)
"""Factors are rounded to 5 % steps, so that channels can be cached."""

OUTLIER_FRACTION: Final = 0.035
OUTLIER_RANGE: Final = (2.0, 4.0)
STRONG_FRACTION: Final = 0.005
STRONG_RANGE: Final = (5.0, 11.0)


def draw_outliers(topology: Topology, seed: int) -> dict[EdgePair, float]:
    """The rare pairs of gates that disturb each other badly: 3.5 % with ρ ~ U(2, 4), 0.5 % with ρ ~ U(5, 11).

    Args:
        topology: the device.
        seed: of the device model; what is drawn is stored in its catalogue file.
    """
    pairs = topology.distance_one_pairs()
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(pairs))
    num_strong = round(STRONG_FRACTION * len(pairs))
    num_outliers = round(OUTLIER_FRACTION * len(pairs))
    strong = generator.uniform(*STRONG_RANGE, num_strong)
    outliers = generator.uniform(*OUTLIER_RANGE, num_outliers)
    ratios = np.concatenate([strong, outliers]).tolist()
    return dict(sorted((pairs[int(i)], float(ratio)) for i, ratio in zip(order, ratios, strict=False)))


def physical_windows(summary: CircuitSummary, region: Sequence[int], *, acting: bool = False) -> NDArray[np.float64]:
    """The two-qubit gates of a placed circuit.

    Args:
        summary: of the circuit.
        region: physical qubit of each backend qubit.
        acting: only gates of the longest branch: what neighbours are exposed to. Without it all gates, in the order of
            :func:`qpu_backend.physics.timing.two_qubit_gates`: what the circuit itself is exposed with.

    Returns:
        float64, ``(k, 4)``: see the module docstring.
    """
    windows = summary.windows[summary.windows[:, 0] >= 0] if acting else summary.windows
    physical = np.array([region[q] for q in summary.qubits], dtype=np.float64)
    placed = windows[:, 1:].copy()
    placed[:, 0] = physical[windows[:, 1].astype(np.intp)]
    placed[:, 1] = physical[windows[:, 2].astype(np.intp)]
    return placed


def conditional_factors(
    crosstalk: Crosstalk,
    topology: Topology,
    own: NDArray[np.float64],
    neighbours: Sequence[NDArray[np.float64]],
) -> NDArray[np.float64]:
    """C1: how much worse each own two-qubit gate is because of the neighbours' gates: ``1 + Σ_h o_gh (ρ_gh − 1)``.

    The calibrated infidelity r becomes ``min(0.75, r·factor)``. Adding a neighbour never lowers a factor.

    Args:
        crosstalk: of the device model.
        topology: of the device.
        own: windows of this region, ``(k, 4)``.
        neighbours: windows of the other regions of the round.

    Returns:
        float64, ``(k,)``, each at least 1 and a power of 1.05; exactly 1 where nothing acts.
    """
    factors = np.ones(len(own))
    mechanism = crosstalk.conditional
    if not mechanism.enabled or not len(own) or not any(len(windows) for windows in neighbours):
        return factors
    others = np.concatenate([windows for windows in neighbours if len(windows)])
    own_edges = [_edge(row) for row in own[:, :2].tolist()]
    rows_of: dict[Edge, list[int]] = {}
    for row, pair in enumerate(others[:, :2].tolist()):
        rows_of.setdefault(_edge(pair), []).append(row)
    excess_of: dict[Edge, tuple[NDArray[np.intp], NDArray[np.float64]]] = {}
    for edge in set(own_edges):
        rows: list[int] = []
        excess: list[float] = []
        for other, other_rows in rows_of.items():
            if topology.distance_one(edge, other) and (ratio := mechanism.ratio(edge, other)) > 1.0:
                rows.extend(other_rows)
                excess.extend([ratio - 1.0] * len(other_rows))
        excess_of[edge] = np.array(rows, dtype=np.intp), np.array(excess)
    for gate, edge in enumerate(own_edges):
        rows_of_edge, excess_of_edge = excess_of[edge]
        if len(rows_of_edge):
            opens, closes = own[gate, 2], own[gate, 3]
            meeting = others[rows_of_edge]
            overlap = np.minimum(opens, meeting[:, 2]) - np.maximum(closes, meeting[:, 3])
            share = np.clip(overlap, 0.0, None) / (opens - closes)
            factors[gate] += float(share @ excess_of_edge)
    return np.exp(np.round(np.log(factors) / FACTOR_BIN) * FACTOR_BIN)


def readout_blur(
    readout: SharedReadout, own: Sequence[int], measured: Collection[int], others: Mapping[int, float]
) -> NDArray[np.float64]:
    """C4: what other qubits of the same multiplexing group, read in the same window, add to the assignment errors.

    Args:
        readout: the mechanism.
        own: physical qubit of each local qubit.
        measured: own physical qubits that are read.
        others: mean excitation of every foreign qubit that is read, by physical qubit.

    Returns:
        float64, ``(n, 2)``: added to P(1|0) and P(0|1) of each local qubit; in steps of 10⁻⁴.
    """
    blur = np.zeros((len(own), 2))
    if not readout.enabled or not readout.scale:
        return blur
    for local, u in enumerate(own):
        if u in measured:
            group = u // readout.group
            excited = [n for v, n in others.items() if v // readout.group == group]
            blur[local] = readout.scale * (len(excited) * readout.offset + readout.slope * sum(excited))
    return np.round(blur, 4)


def leaked_excitation(
    reset: ResetLeakage, previous: float, delay_us: float, t1_us: float, *, scrubbed: bool = False
) -> float:
    """C5: probability that a qubit starts a shot in 1: ``p_th + ε_rᵏ · p̄_prev · e^{−t/T1}``.

    Args:
        reset: the mechanism.
        previous: p̄_prev, mean excitation at the end of the previous shot on this qubit.
        delay_us: t, from that end to this start.
        t1_us: of the qubit.
        scrubbed: two more resets with a random X before them stand in between, as at a change of tenant: whatever was
            there, the qubit comes out of the X with ½, so nothing of it is left to read.
    """
    if not reset.enabled:
        return 0.0
    resets = reset.resets + (2 if scrubbed else 0)
    excitation = 0.5 if scrubbed else previous
    leaked = reset.scale * reset.failure**resets * excitation * math.exp(-delay_us / t1_us)
    return min(1.0, reset.scale * reset.thermal + leaked)


def _edge(pair: Sequence[float]) -> Edge:
    a, b = int(pair[0]), int(pair[1])
    return (a, b) if a < b else (b, a)
