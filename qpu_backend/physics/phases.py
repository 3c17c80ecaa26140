"""Phases that build up while time passes: static ZZ inside a region, ZZ with ghosts, and errors of frame.

An operation acts at the moment it starts; phases fill the time up to the next. They are diagonal, so they are due only
before something that is not: a phase is emitted when an operation that does not commute with it begins, or when its
ghost jumps, and nothing that follows the last such operation matters.

    φ(a → b) = 2πζ ∫ η dt      η = 0 during a gate on the two qubits themselves (part of its calibration),
                               echo while one of them is in an echoed gate with a third, otherwise 1

H = 2πζ |11⟩⟨11| = ½πζ (1 − Z₁ − Z₂ + Z₁Z₂), as measured with the neighbour in |0⟩ and |1⟩: arXiv 2303.14103,
2106.00675. While *both* are in echoed gates each is flipped half-way, which takes Z₁ and Z₂ away and leaves Z₁Z₂: the
phase is φ |11⟩⟨11| followed by a turn of −φ/2 on each.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.circuit import TWO_QUBIT_GATES, Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from qpu_backend.physics.context import Context, Ghost
    from qpu_backend.physics.snapshot import RegionNoise
    from qpu_backend.physics.timing import Row

_NOTHING_RAD: Final = 1e-9
ECHOED_GATES: Final = frozenset({Op.ECR, Op.CX})
"""Gates that flip their qubits half-way, so that part of the phase of a third qubit comes back."""
DIAGONAL: Final = frozenset({Op.BARRIER, Op.ID, Op.RZ, Op.DELAY, Op.CZ, Op.RZZ})
"""Operations that commute with every phase here (``id`` is a wait)."""


@dataclass(frozen=True, slots=True)
class Busy:
    """A two-qubit gate on a qubit, in ns from the beginning."""

    opens_ns: float
    closes_ns: float
    partner: int
    echoed: bool


@dataclass(frozen=True, slots=True)
class Phase:
    """``diag(1, 1, 1, e^{iφ})`` on two local qubits."""

    qubits: tuple[int, int]
    angle_rad: float


@dataclass(frozen=True, slots=True)
class GhostPhase:
    """``e^{iφ}`` where both a local qubit and a ghost are 1."""

    qubit: int
    ghost: int
    angle_rad: float


@dataclass(frozen=True, slots=True)
class Smear:
    """``(1 − p) ρ + p D ρ D†``, ``D = diag(1, e^{iφ})``: the phase of a neighbour without memory."""

    qubit: int
    excited: float
    angle_rad: float


@dataclass(frozen=True, slots=True)
class Turn:
    """A rotation about Z by an error of frame."""

    qubit: int
    angle_rad: float


@dataclass(frozen=True, slots=True)
class Jump:
    """A ghost changes: P(1 | 1) = ``stays``, P(1 | 0) = ``rises``."""

    ghost: int
    stays: float
    rises: float


PhaseStep = Phase | GhostPhase | Smear | Turn


Piece = tuple[float, float, float]
"""(opens, closes, η)"""
Span = tuple[float, float]
"""(opens, closes)"""


class _Rate:
    """∫ η dt as a function of time: piecewise linear."""

    __slots__ = ("_area", "_times")

    def __init__(self, pieces: Iterable[Piece], length_ns: float, rest: float = 1.0) -> None:
        """``pieces``: (opens, closes, η); where several overlap the smallest η holds, where none does ``rest``."""
        known = [piece for piece in pieces if piece[1] > piece[0]]
        times = sorted({0.0, length_ns, *(min(max(t, 0.0), length_ns) for piece in known for t in piece[:2])})
        area = [0.0]
        for opens, closes in pairwise(times):
            middle = 0.5 * (opens + closes)
            eta = min((eta for a, b, eta in known if a <= middle < b), default=rest)
            area.append(area[-1] + eta * (closes - opens))
        self._times = times
        self._area = area

    def between(self, opens_ns: float, closes_ns: float) -> float:
        """∫ η dt in ns."""
        return self._until(closes_ns) - self._until(opens_ns)

    def _until(self, time_ns: float) -> float:
        times, area = self._times, self._area
        after = bisect_right(times, time_ns)
        if after in {0, len(times)}:
            return area[-1] if after else area[0]
        share = (time_ns - times[after - 1]) / (times[after] - times[after - 1])
        return area[after - 1] + share * (area[after] - area[after - 1])


@dataclass(slots=True)
class _Bond:
    """A coupler inside the region, or from a local qubit to a ghost (``ghost ≥ 0``)."""

    qubits: tuple[int, ...]
    zz_hz: float
    rate: _Rate
    mutual: _Rate
    """The part of ``rate`` while both sides are echoed."""
    matters_until_ns: float
    ghost: int = -1
    done_ns: float = 0.0

    def due(self, time_ns: float) -> tuple[float, float]:
        """Phase since the last time, and the part of it from while both sides were echoed, in rad; takes it."""
        scale = 2e-9 * math.pi * self.zz_hz
        angle = scale * self.rate.between(self.done_ns, time_ns)
        mutual = scale * self.mutual.between(self.done_ns, time_ns)
        self.done_ns = time_ns
        return angle, mutual


class Phases:
    """The phases of one circuit in one context, handed out in time order."""

    def __init__(
        self,
        physical: Sequence[int],
        rows: Sequence[Row],
        starts_ns: Sequence[float],
        lengths_ns: Sequence[float],
        duration_ns: float,
        noise: RegionNoise,
        context: Context,
    ) -> None:
        """Nothing is due yet.

        Args:
            physical: qubit of each local qubit.
            rows: the circuit's operations.
            starts_ns: of each, from the beginning.
            lengths_ns: of each.
            duration_ns: of the circuit.
            noise: ζ, echo and detunings.
            context: the ghosts.
        """
        self._duration_ns = duration_ns
        self._ghosts = context.ghosts
        busy = busy_times(rows, starts_ns, lengths_ns, len(physical))
        active = _last_active(rows, starts_ns, len(physical))
        self._bonds_of: list[list[_Bond]] = [[] for _ in physical]
        self._bonds_of_ghost: list[list[_Bond]] = [[] for _ in context.ghosts]
        self._excited = [ghost.excited().tolist() for ghost in context.ghosts]
        self._closes = [self._closing_times(ghost) for ghost in context.ghosts]
        self._detuning = [noise.detuning_hz.get(q, 0.0) for q in physical]
        self._framed_ns = [0.0] * len(physical)
        self._turned = [0.0] * len(physical)
        self._active = active
        local = {q: i for i, q in enumerate(physical)}
        for (a, b), zz_hz in noise.zz_hz.items():
            if a in local and b in local:
                self._bind_own(local[a], local[b], zz_hz, busy, noise.zz_echo)
        for index, ghost in enumerate(context.ghosts):
            for u, zz_hz in ghost.couplings:
                self._bind_ghost(index, ghost, u, zz_hz, busy[u], noise.zz_echo)

    @property
    def any(self) -> bool:
        """Whether anything builds up at all."""
        return bool(self._ghosts) or any(self._bonds_of) or any(self._detuning)

    def jumps(self) -> list[tuple[float, Jump]]:
        """Times, from the beginning, at which ghosts change; identities and jumps at the very start are left out."""
        found: list[tuple[float, Jump]] = []
        for index, ghost in enumerate(self._ghosts):
            for opens, stays, rises in zip(
                ghost.opens_ns.tolist()[1:], ghost.stays.tolist()[1:], ghost.rises.tolist()[1:], strict=True
            ):
                if ghost.independent or stays < 1.0 or rises > 0.0:
                    found.append((self._duration_ns - opens, Jump(index, stays, rises)))
        return found

    def touch(self, qubit: int, time_ns: float, touched: set[int]) -> None:
        """A qubit leaves |0⟩: nothing had built up on it before."""
        if qubit not in touched:
            self._framed_ns[qubit] = time_ns
            for bond in self._bonds_of[qubit]:
                bond.done_ns = time_ns

    def before(self, qubit: int, time_ns: float, touched: set[int]) -> list[PhaseStep]:
        """What is due on a qubit before an operation that is not diagonal."""
        steps: list[PhaseStep] = []
        if qubit not in touched:
            return steps
        for bond in self._bonds_of[qubit]:
            steps += self._due(bond, time_ns, touched)
        if self._detuning[qubit]:
            self._turned[qubit] += 2e-9 * math.pi * self._detuning[qubit] * (time_ns - self._framed_ns[qubit])
            self._framed_ns[qubit] = time_ns
        if abs(self._turned[qubit]) > _NOTHING_RAD and time_ns <= self._active[qubit]:
            steps.append(Turn(qubit, self._turned[qubit]))
            self._turned[qubit] = 0.0
        return steps

    def before_jump(self, ghost: int, time_ns: float, touched: set[int]) -> list[PhaseStep]:
        """What is due on all qubits coupled to a ghost before it changes."""
        return [step for bond in self._bonds_of_ghost[ghost] for step in self._due(bond, time_ns, touched)]

    def _due(self, bond: _Bond, time_ns: float, touched: set[int]) -> list[PhaseStep]:
        if time_ns > bond.matters_until_ns or not touched.issuperset(bond.qubits):
            return []
        opened_ns = bond.done_ns
        angle, mutual = bond.due(time_ns)
        if abs(angle) <= _NOTHING_RAD:
            return []
        for q in bond.qubits:
            self._turned[q] -= 0.5 * mutual
        if bond.ghost < 0:
            return [Phase((bond.qubits[0], bond.qubits[1]), angle)]
        if not self._ghosts[bond.ghost].independent:
            return [GhostPhase(bond.qubits[0], bond.ghost, angle)]
        interval = int(np.searchsorted(self._closes[bond.ghost], 0.5 * (opened_ns + time_ns)))
        return [Smear(bond.qubits[0], self._excited[bond.ghost][interval], angle)]

    def _bind_own(self, u: int, w: int, zz_hz: float, busy: list[list[Busy]], echo: float) -> None:
        pieces = [
            (gate.opens_ns, gate.closes_ns, 0.0 if gate.partner == other else echo)
            for q, other in ((u, w), (w, u))
            for gate in busy[q]
            if gate.echoed or gate.partner == other
        ]
        by_u, by_w = (
            [(gate.opens_ns, gate.closes_ns) for gate in busy[q] if gate.echoed and gate.partner != other]
            for q, other in ((u, w), (w, u))
        )
        rate, mutual = self._rates(pieces, by_u, by_w, echo)
        bond = _Bond((u, w), zz_hz, rate, mutual, max(self._active[u], self._active[w]))
        self._bonds_of[u].append(bond)
        self._bonds_of[w].append(bond)

    def _bind_ghost(self, index: int, ghost: Ghost, u: int, zz_hz: float, busy: list[Busy], echo: float) -> None:
        opens = [max(0.0, self._duration_ns - t) for t in ghost.opens_ns.tolist()]
        closes = self._closes[index].tolist()
        own = [(gate.opens_ns, gate.closes_ns) for gate in busy if gate.echoed]
        other = [(a, b) for a, b, echoed in zip(opens, closes, ghost.echoed.tolist(), strict=True) if echoed]
        rate, mutual = self._rates([(*span, echo) for span in own + other], own, other, echo)
        bond = _Bond((u,), zz_hz, rate, mutual, self._active[u], index)
        self._bonds_of[u].append(bond)
        self._bonds_of_ghost[index].append(bond)

    def _rates(self, pieces: list[Piece], one: list[Span], other: list[Span], echo: float) -> tuple[_Rate, _Rate]:
        """Of a bond whose sides are echoed in the given spans: all of it, and the part while both are."""
        both = [(max(a, c), min(b, d), echo) for a, b in one for c, d in other if max(a, c) < min(b, d)]
        return _Rate(pieces, self._duration_ns), _Rate(both, self._duration_ns, rest=0.0)

    def _closing_times(self, ghost: Ghost) -> NDArray[np.float64]:
        return np.array([*(self._duration_ns - ghost.opens_ns[1:]), self._duration_ns])


def busy_times(
    rows: Sequence[Row], starts_ns: Sequence[float], lengths_ns: Sequence[float], num_qubits: int
) -> list[list[Busy]]:
    """The two-qubit gates of each local qubit."""
    busy: list[list[Busy]] = [[] for _ in range(num_qubits)]
    for (code, q0, q1, *_), start, length in zip(rows, starts_ns, lengths_ns, strict=True):
        if code in TWO_QUBIT_GATES:
            for q, partner in ((q0, q1), (q1, q0)):
                busy[q].append(Busy(start, start + length, partner, code in ECHOED_GATES))
    return busy


def _last_active(rows: Sequence[Row], starts_ns: Sequence[float], num_qubits: int) -> list[float]:
    """When the last operation begins that a phase on the qubit would change; −∞ where there is none.

    A measurement is not one: phases do not change what it reads. An ``if_else`` counts for every qubit.
    """
    last = [-math.inf] * num_qubits
    for (code, q0, q1, *_), start in zip(rows, starts_ns, strict=True):
        if code == Op.IF:
            last = [max(known, start) for known in last]
        elif code not in DIAGONAL and code != Op.MEASURE:
            for q in (q0, q1):
                if q >= 0:
                    last[q] = max(last[q], start)
    return last
