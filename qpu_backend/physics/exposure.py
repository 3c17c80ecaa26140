"""How much a circuit exposes its qubits to ZZ, from each other and from neighbours: estimates cheap enough to rank by.

A *window* is the time in which a phase builds up: between one operation on either qubit that would turn it round and
the next. :mod:`qpu_backend.physics.phases` simulates the same windows::

    u  ─[sx]──τ₁──[sx]──────τ₂──────[   ecr   ]─τ₃─       τ = ∫ η dt
    w  ─[sx]──────────[ rz ]────────[   ecr   ]────       η = 0 in a gate of the two, less than 1 in an echoed one
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.circuit import TWO_QUBIT_GATES, Op
from qpu_backend.physics.phases import DIAGONAL, ECHOED_GATES
from qpu_backend.physics.timing import schedule, wires_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.physics.context import Ghost
    from qpu_backend.physics.timing import Durations, Row, Schedule

_WAITING: Final = frozenset({Op.BARRIER, Op.DELAY})
_ONE_WINDOW: Final = 2
"""Bounds of a single window."""
_SOME_CIRCUITS: Final = 16
"""How many of a job's circuits are looked at, at most."""


def phase_loss(angle_rad: float) -> float:
    """Process infidelity of a phase φ where both of two qubits are 1: ``1 − |3 + e^{iφ}|²/16 = ¾ sin²(φ/2)``."""
    return 0.75 * math.sin(0.5 * angle_rad) ** 2


def zz_area(windows_ns: NDArray[np.float64], typical_hz: float = 0.0) -> float:
    """``Σ τ²`` in ns²: what is lost on a coupler is proportional to it.

    Args:
        windows_ns: of :meth:`Exposure.windows_ns`.
        typical_hz: a typical ζ. Phases that are no longer small at it count as ``½ (1 − e^{−2x²})``, which is x² for a
            small x = πζτ and ½, the mean of sin², for a large one; 0 takes all for small.
    """
    scale = math.pi * 1e-9 * abs(typical_hz)
    if scale == 0.0:
        return float(np.sum(windows_ns**2))
    return float(np.sum(-0.5 * np.expm1(-2.0 * (scale * windows_ns) ** 2))) / scale**2


def mean_areas(
    circuits: Sequence[IsaCircuit],
    durations: Durations,
    pairs: Iterable[tuple[int, int]],
    typical_hz: float,
    echo: float,
) -> tuple[tuple[tuple[int, int], float], ...]:
    """:func:`zz_area` of pairs of backend qubits, as means over circuits (of many, some that are evenly spread).

    Args:
        circuits: on the backend's qubits.
        durations: of the backend.
        pairs: coupled backend qubits.
        typical_hz: a typical ζ.
        echo: see :meth:`Exposure.windows_ns`.

    Returns:
        ``(pair, area)`` for every pair that is exposed at all, in the order given.

    Raises:
        NotCalibrated: the backend does not offer one of the operations.
    """
    some = circuits[:: -(-len(circuits) // _SOME_CIRCUITS)]
    areas = dict.fromkeys(pairs, 0.0)
    for circuit in some:
        local = {q: index for index, q in enumerate(circuit.qubits)}
        here = [(a, b) for a, b in areas if a in local and b in local]
        exposure = Exposure(circuit, schedule(circuit, durations))
        for a, b in here:
            areas[a, b] += zz_area(exposure.windows_ns(local[a], local[b], echo), typical_hz) / len(some)
    return tuple((pair, area) for pair, area in areas.items() if area)


def loss_per_area(zz_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """What an area is to be multiplied with on couplers of these ζ: ``¾ (πζ)²`` per ns², as :func:`phase_loss`."""
    return 0.75 * (math.pi * 1e-9 * zz_hz) ** 2


class Exposure:
    """When each qubit of a scheduled circuit has left |0⟩, is turned round, and is in a two-qubit gate."""

    def __init__(self, circuit: IsaCircuit, scheduled: Schedule) -> None:
        n = circuit.num_qubits
        self._duration_ns = scheduled.duration_ns
        self._first = [math.inf] * n
        self._last = [-math.inf] * n
        self._turns: list[list[float]] = [[] for _ in range(n)]
        self._gates: list[list[tuple[float, float, int, bool]]] = [[] for _ in range(n)]
        rows: list[Row] = circuit.operations.tolist()
        starts: list[float] = scheduled.starts_ns.tolist()
        lengths: list[float] = scheduled.lengths_ns.tolist()
        for row, start, length in zip(rows, starts, lengths, strict=True):
            code, q0, q1, *_ = row
            if code in _WAITING:
                continue
            if code == Op.IF:
                self._act((wire for wire in wires_of(circuit, row) if wire < n), start, turns=True)
                self._last = [max(known, start) for known in self._last]
                continue
            operands = (q0,) if q1 < 0 else (q0, q1)
            self._act(operands, start, turns=code not in DIAGONAL)
            if code in TWO_QUBIT_GATES:
                for q, partner in ((q0, q1), (q1, q0)):
                    self._gates[q].append((start, start + length, partner, code in ECHOED_GATES))
            if code not in DIAGONAL and code != Op.MEASURE:
                for q in operands:
                    self._last[q] = max(self._last[q], start)

    def _act(self, operands: Iterable[int], start: float, *, turns: bool) -> None:
        for q in operands:
            self._first[q] = min(self._first[q], start)
            if turns:
                self._turns[q].append(start)

    def windows_ns(self, u: int, w: int, echo: float) -> NDArray[np.float64]:
        """How long a plain ``|11⟩⟨11|`` would take to lose what is lost in each window of two coupled local qubits.

        That is ``∫ η dt``, and less where both are echoed: ZZ alone loses a third of what ``|11⟩⟨11|`` does. To second
        order in the phases, ``3τ² = 2(τ − τ₂)² + τ²`` with τ₂ the part of ``τ = ∫ η dt`` in which both are.

        Args:
            u: one.
            w: the other.
            echo: η while one of the two is in an echoed gate with a third.
        """
        times = self._times(u, w)
        own = [gate[:2] for gate in self._gates[u] if gate[2] == w]
        by_u, by_w = (
            [gate[:2] for gate in self._gates[q] if gate[3] and gate[2] != other] for q, other in ((u, w), (w, u))
        )
        either = _covered(times, by_u + by_w)
        all_of_it = np.diff(times - _covered(times, own) - (1.0 - echo) * either)
        if not by_u or not by_w:
            return all_of_it
        mutual = np.diff(_covered(times, by_u) + _covered(times, by_w) - either)
        return np.sqrt((2.0 * (all_of_it - echo * mutual) ** 2 + all_of_it**2) / 3.0)

    def ghost_loss(self, ghost: Ghost, echo: float) -> float:
        """−ln of what a ghost leaves: ``p sin²(φ/2)`` for each window of each qubit that it is coupled to.

        A window ends where the qubit itself is turned round; within it the ghost counts with its mean excitation, and
        phases of different windows do not add up. While both are echoed a ghost in |0⟩ turns the qubit by −φ/2 and one
        in |1⟩ by φ/2. Never below 0.

        Args:
            ghost: a neighbour's qubit.
            echo: η while either is in an echoed gate.
        """
        opens = np.maximum(0.0, self._duration_ns - ghost.opens_ns)
        closes = np.append(opens[1:], self._duration_ns)
        excited = ghost.excited()
        lost = 0.0
        for u, zz_hz in ghost.couplings:
            times = self._times(u, u)
            if len(times) < _ONE_WINDOW:
                continue
            begins = np.maximum(times[:-1, None], opens)
            ends = np.maximum(begins, np.minimum(times[1:, None], closes))
            gates = [gate[:2] for gate in self._gates[u] if gate[3]]
            echoed = _covered(ends, gates) - _covered(begins, gates)
            times_ns = np.where(ghost.echoed, echo * (ends - begins), ends - begins - (1.0 - echo) * echoed)
            together = times_ns.sum(axis=1)
            present = np.divide(times_ns @ excited, together, out=np.zeros_like(together), where=together > 0)
            scale = 2e-9 * math.pi * zz_hz
            back = 0.5 * scale * echo * np.where(ghost.echoed, echoed, 0.0).sum(axis=1)
            beside_1, beside_0 = np.sin(0.5 * (scale * together - back)) ** 2, np.sin(0.5 * back) ** 2
            lost += float(np.sum(present * beside_1 + (1.0 - present) * beside_0))
        return lost

    def _times(self, u: int, w: int) -> NDArray[np.float64]:
        """Bounds of the windows: none before both have left |0⟩, and none after the last turn that matters."""
        opens, until = max(self._first[u], self._first[w]), max(self._last[u], self._last[w])
        turns = {start for start in (*self._turns[u], *self._turns[w]) if opens < start <= until}
        return np.array([opens, *sorted(turns)]) if turns else np.zeros(0)


def _covered(times: NDArray[np.float64], spans: Iterable[tuple[float, float]]) -> NDArray[np.float64]:
    """How much of the time before each of ``times`` lies within any of the spans."""
    knots: list[float] = []
    sums: list[float] = []
    for opens, closes in sorted(spans):
        if not knots or opens > knots[-1]:
            knots += [opens, closes]
            sums += [sums[-1], sums[-1] + closes - opens] if sums else [0.0, closes - opens]
        elif closes > knots[-1]:
            sums[-1] += closes - knots[-1]
            knots[-1] = closes
    return np.interp(times, knots, sums) if knots else np.zeros_like(times)
