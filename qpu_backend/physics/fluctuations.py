"""How a device wanders: random processes of device time that can be asked at any time and in any order.

    ln x(t) = μ + s · OU(τ) + white + telegraph

Standard deviations, shares and times are a fit to 1,641 daily snapshots of five real devices; how qubits fluctuate is
described in arXiv:1901.04417 and arXiv:2105.15201. What daily snapshots cannot say is chosen here, and named as chosen.

Nothing is integrated, so nothing is remembered. An Ornstein-Uhlenbeck process of unit variance is, on the grid of step
τ/4, a moving average of independent normals,

    X_k = √(1 − a²) Σ_j a^j ξ_{k−j},   a = exp(−1/4),

with weights below 1e-12 left out, hence stationary. Between two grid points it is the exact OU bridge, halved again
and again: given the ends of an interval of length 2δ and ρ = exp(−δ/τ), its middle has mean ρ(X₀ + X₁)/(1 + ρ²) and
variance (1 − ρ²)/(1 + ρ²). Every normal has an address (:mod:`qpu_backend.physics.philox`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.philox import normals, stream, uniforms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HOUR_US: Final = 3_600_000_000
DAY_US: Final = 24 * HOUR_US

SAMPLING_SD: Final = 0.05
"""Of ln x, how far a calibration is from what it measures; the table's numbers contain it."""


@dataclass(frozen=True, slots=True)
class Wander:
    """One line of the table: how ln x of a parameter fluctuates from one daily calibration to the next.

    Attributes:
        sd: standard deviation of ln x, as published.
        slow_share: of the variance, what belongs to the OU process.
        slow_days: its τ.
    """

    sd: float
    slow_share: float
    slow_days: float

    @property
    def slow_sd(self) -> float:
        return self.sd * math.sqrt(self.slow_share)

    @property
    def white_sd(self) -> float:
        """What is left for the truth when a calibration's own sampling error is taken out."""
        return math.sqrt(self.sd**2 * (1.0 - self.slow_share) - SAMPLING_SD**2)


T1: Final = "t1"
T2: Final = "t2"
READOUT: Final = "readout"
ONE_QUBIT: Final = "one-qubit gates"
TWO_QUBIT: Final = "two-qubit gates"

TABLE: Final = {
    T1: Wander(sd=0.25, slow_share=0.54, slow_days=1.9),
    T2: Wander(sd=0.21, slow_share=0.67, slow_days=2.0),
    READOUT: Wander(sd=0.23, slow_share=0.73, slow_days=5.6),
    ONE_QUBIT: Wander(sd=0.22, slow_share=0.81, slow_days=4.5),
    TWO_QUBIT: Wander(sd=0.23, slow_share=0.78, slow_days=4.2),
}

EVENT_PROBABILITY: Final = 0.04
"""Of a telegraph event on a qubit-day; observed: 3 to 5 %. Half are drops of T1, half breaks of one of its couplers."""
EVENT_HOURS: Final = (1.0, 12.0)
"""Range of an event's length, log-uniform. Chosen: "hours"."""
T1_DROP: Final = (2.0, 5.0)
GATE_BREAK: Final = (5.0, 60.0)
"""Ranges of the factors, log-uniform."""
STEP_HZ: Final = (7_000.0, 23_000.0)
"""Range of the standard deviation of what a frequency moves from one day to the next, uniform over qubits."""

_GRID: Final = 4
"""Grid points per τ."""
_DECAY: Final = math.exp(-1.0 / _GRID)
_LAGS: Final = math.ceil(math.log(1e-12) / math.log(_DECAY))
_BLOCKS: Final = -(-(_LAGS + 5) // 4)
_HALVINGS: Final = 12
"""τ/4 halved so often is below half a minute; what is left is linear."""

_NO_SECOND: Final = 0xFFFF


def _moving_average() -> NDArray[np.float64]:
    """Weights of the two grid points around t, by where the later one is in its block: ``(4, 2, 4 · blocks)``."""
    weights = np.zeros((4, 2, 4 * _BLOCKS))
    for lane in range(4):
        last = 4 * (_BLOCKS - 1) + lane
        for end, newest in enumerate((last - 1, last)):
            lags = np.arange(_LAGS)
            weights[lane, end, newest - lags] = math.sqrt(1.0 - _DECAY**2) * _DECAY**lags
    return weights


_WEIGHTS: Final = _moving_average()


def place_of(qubits: Sequence[int]) -> int:
    """A qubit or an undirected coupler as an address; neither direction comes first."""
    a, b = min(qubits), max(qubits)
    return a | (_NO_SECOND if len(qubits) == 1 else b) << 16


def ornstein_uhlenbeck(
    keys: NDArray[np.uint64], places: NDArray[np.int64], tau_us: NDArray[np.float64], t_us: float
) -> NDArray[np.float64]:
    """Independent stationary processes of unit variance and autocorrelation ``exp(−|Δ|/τ)``, at one time.

    Args:
        keys: of their streams, ``(2, n)``.
        places: their addresses, ``(n,)``.
        tau_us: ``(n,)``.
        t_us: device time; may be negative.

    Returns:
        Shape ``(n,)``.
    """
    position = _GRID * t_us / tau_us
    cell = np.floor(position)
    inside = position - cell
    after = cell.astype(np.int64) + 1
    blocks = (after >> 2)[:, None] + np.arange(1 - _BLOCKS, 1)
    drawn = normals(keys[:, :, None], blocks, place=places[:, None])  # (4, n, blocks)
    noise = drawn.transpose(1, 2, 0).reshape(len(places), -1)
    ends: NDArray[np.float64] = np.einsum("nek,nk->en", _WEIGHTS[after & 3], noise)
    low: NDArray[np.float64] = ends[0]
    high: NDArray[np.float64] = ends[1]
    halvings = np.arange(1, _HALVINGS + 1)
    parts = (inside[:, None] * 2.0 ** (halvings - 1)).astype(np.int64)  # which interval of each level holds t
    middles = normals(
        keys[:, :, None], (after - 1)[:, None] * 2 ** (halvings - 1) + parts, level=halvings, place=places[:, None]
    )[0]
    for level in range(_HALVINGS):
        rho = math.exp(-1.0 / (_GRID << (level + 1)))
        middle = (rho * (low + high) + math.sqrt((1.0 - rho**2) * (1.0 + rho**2)) * middles[:, level]) / (1.0 + rho**2)
        later = inside >= 0.5
        low, high = np.where(later, middle, low), np.where(later, high, middle)
        inside = 2.0 * inside - later
    return low + inside * (high - low)


@dataclass(frozen=True, slots=True, eq=False)
class Parameters:
    """Parameters of a device that wander independently of each other.

    Attributes:
        slow, white: keys of their two streams, ``(2, n)`` each.
        places: addresses, ``(n,)``.
        tau_us, slow_sd, white_sd: ``(n,)``.
    """

    slow: NDArray[np.uint64]
    white: NDArray[np.uint64]
    places: NDArray[np.int64]
    tau_us: NDArray[np.float64]
    slow_sd: NDArray[np.float64]
    white_sd: NDArray[np.float64]

    @classmethod
    def of(cls, secret: bytes, device: str, where: Sequence[tuple[str, tuple[int, ...]]]) -> Parameters:
        """Parameters by kind (a key of :data:`TABLE`) and qubits."""
        kinds = list(dict.fromkeys(kind for kind, _ in where))
        column = np.array([kinds.index(kind) for kind, _ in where], dtype=np.intp)
        numbers = np.array([[TABLE[k].slow_days * DAY_US, TABLE[k].slow_sd, TABLE[k].white_sd] for k in kinds])
        tau_us, slow_sd, white_sd = numbers.reshape(-1, 3)[column].T
        slow, white = (
            np.array([stream(secret, device, kind, which) for kind in kinds], dtype=np.uint64).reshape(-1, 2)[column].T
            for which in ("slow", "white")
        )
        places = np.array([place_of(qubits) for _, qubits in where], dtype=np.int64)
        return cls(slow, white, places, tau_us, slow_sd, white_sd)

    def at(self, t_us: float) -> NDArray[np.float64]:
        """``ln x − μ`` without telegraph at a device time, ``(n,)``. White noise is constant for an hour."""
        if not len(self.places):
            return np.zeros(0)
        slow = ornstein_uhlenbeck(self.slow, self.places, self.tau_us, t_us)
        white = normals(self.white, math.floor(t_us / HOUR_US), place=self.places)[0]
        return self.slow_sd * slow + self.white_sd * white


@dataclass(frozen=True, slots=True)
class Event:
    """A telegraph event: T1 of a qubit drops, or the gates of a coupler break.

    Attributes:
        qubits: one qubit, or the two of a coupler.
        factor: T1 is divided by it, errors are multiplied by it.
        starts_us, ends_us: device time.
    """

    qubits: tuple[int, ...]
    factor: float
    starts_us: float
    ends_us: float


@dataclass(frozen=True, slots=True, eq=False)
class Telegraph:
    """Telegraph events of a device. A qubit-day has at most one; none begins before time 0.

    Attributes:
        happening, choosing: keys of the two streams.
        qubits: of the device, ascending.
        couplers: of each of them, ``(a < b)``.
    """

    happening: NDArray[np.uint64]
    choosing: NDArray[np.uint64]
    qubits: NDArray[np.int64]
    couplers: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, secret: bytes, device: str, qubits: Sequence[int], edges: Sequence[tuple[int, int]]) -> Telegraph:
        """Of these qubits and couplers."""
        return cls(
            stream(secret, device, "telegraph"),
            stream(secret, device, "telegraph coupler"),
            np.array(qubits, dtype=np.int64),
            tuple(tuple(edge for edge in edges if q in edge) for q in qubits),
        )

    def of_day(self, day: int) -> list[Event]:
        """Events that begin on a day."""
        if day < 0 or not len(self.qubits):
            return []
        happens, starts, lasts, kind = uniforms(self.happening, day, place=self.qubits)
        strength = uniforms(self.happening, day, level=1, place=self.qubits)[0]
        events: list[Event] = []
        for row in np.flatnonzero(happens < EVENT_PROBABILITY).tolist():
            starts_us = (day + float(starts[row])) * DAY_US
            ends_us = starts_us + HOUR_US * _log_uniform(EVENT_HOURS, lasts[row])
            if kind[row] < 0.5:
                events.append(Event((int(self.qubits[row]),), _log_uniform(T1_DROP, strength[row]), starts_us, ends_us))
            elif self.couplers[row]:
                # The highest lot of the day: another coupler changes the choice only if it is the one.
                lots = uniforms(self.choosing, day, place=[place_of(edge) for edge in self.couplers[row]])[0]
                edge = self.couplers[row][int(np.argmax(lots))]
                events.append(Event(edge, _log_uniform(GATE_BREAK, strength[row]), starts_us, ends_us))
        return events

    def during(self, t_us: float) -> list[Event]:
        """Events under way at a time."""
        today = math.floor(t_us / DAY_US)
        recent = (event for day in (today - 1, today) for event in self.of_day(day))
        return [event for event in recent if event.starts_us <= t_us < event.ends_us]


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Frequencies that step once each day, at any time of it (chosen: daily snapshots say only how far they move).

    Levels are independent, so a frequency wanders off nowhere. A quarter of all intervals of 24 hours hold no step, and
    the difference between their ends has the variance ``2 · 3/4 · level_sd_hz²``: the square of the qubit's own sd.

    Attributes:
        key: of the stream.
        qubits: ``(n,)``.
        level_sd_hz: of each qubit's level, ``(n,)``.
    """

    key: NDArray[np.uint64]
    qubits: NDArray[np.int64]
    level_sd_hz: NDArray[np.float64]

    @classmethod
    def of(cls, secret: bytes, device: str, qubits: Sequence[int]) -> Steps:
        """Of these qubits."""
        places = np.array(qubits, dtype=np.int64)
        low, high = STEP_HZ
        spread = uniforms(stream(secret, device, "frequency spread"), 0, place=places)[0]
        return cls(stream(secret, device, "frequency"), places, (low + (high - low) * spread) / math.sqrt(1.5))

    def at(self, t_us: float) -> NDArray[np.float64]:
        """Hz from each qubit's mean, ``(n,)``."""
        today = math.floor(t_us / DAY_US)
        instant = uniforms(self.key, today, place=self.qubits)[0]
        day = np.where(t_us / DAY_US - today < instant, today - 1, today)
        return self.level_sd_hz * normals(self.key, day, level=1, place=self.qubits)[0]


def _log_uniform(bounds: tuple[float, float], at: float) -> float:
    low, high = bounds
    return low * (high / low) ** float(at)
