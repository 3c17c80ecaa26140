"""C2 across regions: a neighbour's qubit, as its profile tells it, becomes a ghost of the victim's circuit.

The neighbour v is simulated alone; p_k = ⟨n_v⟩ in the intervals between its operations, and
C_k = P(n_k = 1, n_{k+1} = 1), give a classical bit with the same excitations and the same correlations from one
interval to the next:

    P(1 | 1) = C_k / p_k        P(1 | 0) = (p_{k+1} − C_k) / (1 − p_k)

Exact when v is diagonal, idle, flipped by X, re-randomised or twirled; otherwise the error is of the order φ².
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.context import Ghost

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from qpu_backend.physics.context import Occupation
    from qpu_backend.physics.device import StaticZZ
    from qpu_backend.physics.topology import Edge

RESOLUTION_RAD: Final = 0.01
"""A ghost that cannot turn a qubit by so much over the whole circuit is left out."""
_DECIMALS: Final = 3
"""Probabilities are rounded, so that equal neighbours make equal contexts."""


@dataclass(frozen=True, slots=True, eq=False)
class Felt:
    """One qubit of a neighbour as those beside it feel it.

    Attributes:
        qubit: physical.
        occupation: over time, when the neighbour runs alone.
        echoes: float64, ``(m, 2)``: its echoed gates, ``(opens, closes)`` in ns before the end.
    """

    qubit: int
    occupation: Occupation
    echoes: NDArray[np.float64]


def ghosts_of(
    zz: StaticZZ,
    zz_hz: Mapping[Edge, float],
    own_qubits: Sequence[int],
    duration_ns: float,
    neighbours: Sequence[Felt],
    max_exact: int,
) -> tuple[Ghost, ...]:
    """The ghosts of one circuit.

    Args:
        zz: the mechanism.
        zz_hz: ζ of every coupler of the device.
        own_qubits: physical qubit of each local qubit.
        duration_ns: of the own circuit.
        neighbours: qubits of other circuits that may be coupled to an own one.
        max_exact: how many may keep their memory; those that matter least become independent windows.

    Returns:
        By the neighbour's physical qubit, ascending.
    """
    if not zz.enabled or not zz.scale:
        return ()
    ghosts: list[Ghost] = []
    for felt in sorted(neighbours, key=lambda one: one.qubit):
        couplings = tuple(
            (local, zz.scale * zz_hz[edge])
            for local, u in enumerate(own_qubits)
            if zz_hz.get(edge := (min(u, felt.qubit), max(u, felt.qubit)))
        )
        strongest_hz = max((abs(hz) for _, hz in couplings), default=0.0)
        if 2e-9 * math.pi * strongest_hz * duration_ns < RESOLUTION_RAD:
            continue
        ghost = _ghost(felt, duration_ns, couplings)
        if ghost.start > 0 or ghost.rises.any():
            ghosts.append(ghost)
    exact = set(sorted(range(len(ghosts)), key=lambda index: -_weight(ghosts[index], zz.echo))[: max(0, max_exact)])
    return tuple(ghost if index in exact else replace(ghost, independent=True) for index, ghost in enumerate(ghosts))


def transitions(occupation: Occupation) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """``stays`` and ``rises`` on entering each interval, ``(k,)`` each; the first entries are 1 and 0.

    C is clipped to max(0, p_k + p_{k+1} − 1) ≤ C_k ≤ min(p_k, p_{k+1}) first: clipping the conditional probabilities
    instead would corrupt the excitations.
    """
    before, after = occupation.excited[:-1], occupation.excited[1:]
    both = np.clip(occupation.both, np.maximum(0.0, before + after - 1.0), np.minimum(before, after))
    stays, rises = np.ones(len(occupation.excited)), np.zeros(len(occupation.excited))
    np.divide(both, before, out=stays[1:], where=before > 0)
    np.divide(after - both, 1.0 - before, out=rises[1:], where=before < 1)
    return np.clip(stays, 0.0, 1.0), np.clip(rises, 0.0, 1.0)


def _ghost(felt: Felt, duration_ns: float, couplings: tuple[tuple[int, float], ...]) -> Ghost:
    occupation = felt.occupation
    stays, rises = (np.round(chance, _DECIMALS) for chance in transitions(occupation))
    excited = np.round(occupation.excited, _DECIMALS)
    opens = occupation.opens_ns
    first = int(np.searchsorted(-opens, -duration_ns, side="right")) - 1  # the interval in which the victim begins
    if first < 0:  # the victim begins before the neighbour: until then that one is in |0⟩
        opens = np.concatenate([[duration_ns], opens])
        stays, rises = np.concatenate([[1.0], stays]), np.concatenate([[0.0], rises])
        rises[1] = excited[0]
        start = 0.0
    else:
        opens, stays, rises = opens[first:].copy(), stays[first:].copy(), rises[first:].copy()
        opens[0], stays[0], rises[0] = duration_ns, 1.0, 0.0
        start = float(excited[first])
    return Ghost(*_cut(opens, start, stays, rises, felt.echoes), couplings=couplings)


def _cut(
    opens: NDArray[np.float64],
    start: float,
    stays: NDArray[np.float64],
    rises: NDArray[np.float64],
    echoes: NDArray[np.float64],
) -> tuple[NDArray[np.float64], float, NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Cut intervals where an echoed gate begins or ends, and join those between which nothing changes."""
    jumps = dict(zip(opens.tolist(), zip(stays.tolist(), rises.tolist(), strict=True), strict=True))
    times = sorted({*jumps, *(t for t in echoes.ravel().tolist() if 0.0 < t < opens[0])}, reverse=True)
    rows: list[tuple[float, float, float, bool]] = []
    for opened, closed in zip(times, [*times[1:], 0.0], strict=True):
        middle = 0.5 * (opened + closed)
        echoed = bool(((echoes[:, 0] > middle) & (middle > echoes[:, 1])).any())
        stay, rise = jumps.get(opened, (1.0, 0.0))
        if rows and (stay, rise, echoed) == (1.0, 0.0, rows[-1][3]):
            continue
        rows.append((opened, stay, rise, echoed))
    columns = np.array([row[:3] for row in rows]).reshape(-1, 3)
    flags = np.array([row[3] for row in rows], dtype=bool)
    return columns[:, 0].copy(), start, columns[:, 1].copy(), columns[:, 2].copy(), flags


def windows_of(ghost: Ghost, echo: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Phase (rad, of all couplings together) and excitation of each of a ghost's intervals, ``(k,)`` each."""
    lengths = ghost.opens_ns - np.append(ghost.opens_ns[1:], 0.0)
    eta = np.where(ghost.echoed, echo, 1.0)
    strength = sum(abs(zz_hz) for _, zz_hz in ghost.couplings)
    return 2e-9 * math.pi * strength * eta * lengths, ghost.excited()


def _weight(ghost: Ghost, echo: float) -> float:
    """How much is lost when the ghost loses its memory: Σ φ² p (1 − p)."""
    angles, excited = windows_of(ghost, echo)
    return float(np.sum(angles**2 * excited * (1.0 - excited)))
