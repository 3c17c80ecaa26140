"""Refusing calibrations that no device can have, by the name of the number that is wrong.

Beside what physics forbids (T2 > 2·T1, an error above 1), numbers of a magnitude that no device has are refused: they
are most often right, in another unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpu_backend.physics.circuit import TWO_QUBIT_GATES, Op
from qpu_backend.physics.errors import InvalidDevice, InvalidSnapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qpu_backend.physics.device import Timing
    from qpu_backend.physics.snapshot import GateProperties, QubitProperties, Snapshot


@dataclass(frozen=True, slots=True)
class _Magnitude:
    """Where numbers of a kind lie, drift and bad days included.

    Attributes:
        unit: ours.
        low: smallest magnitude.
        high: largest magnitude.
        usual: what is nothing special.
        others: units they are often given in, as multiples of ours.
    """

    unit: str
    low: float
    high: float
    usual: float
    others: tuple[tuple[str, float], ...]

    def fault(self, value: float) -> str | None:
        """Why a number is refused; ``None`` when it is plausible."""
        if self.holds(value):
            return None
        fits = [(name, factor) for name, factor in self.others if self.holds(factor * value)]
        fits.sort(key=lambda other: abs(math.log(other[1] * abs(value) / self.usual)))
        hint = f"; it looks like {fits[0][0]}" if fits else ""
        return f"is {value:g} {self.unit}, outside {self.low:g} to {self.high:g} {self.unit}{hint}"

    def holds(self, value: float) -> bool:
        """Whether the magnitude is plausible."""
        return self.low <= abs(value) <= self.high


_US_FROM: Final = (
    ("seconds", 1e6),
    ("milliseconds", 1e3),
    ("nanoseconds", 1e-3),
    ("microseconds taken for seconds", 1e-6),
)
_NS_FROM: Final = (
    ("seconds", 1e9),
    ("microseconds", 1e3),
    ("picoseconds", 1e-3),
    ("nanoseconds taken for seconds", 1e-9),
)
_HZ_FROM: Final = (("GHz", 1e9), ("MHz", 1e6), ("kHz", 1e3), ("rad/s", 0.5 / math.pi))

_USUAL_T1_US: Final = 2.0

COHERENCE_TIME: Final = _Magnitude("µs", 0.02, 2e4, 100.0, _US_FROM)
GATE_DURATION: Final = _Magnitude("ns", 1.0, 1e6, 100.0, _NS_FROM)
READOUT_DURATION: Final = _Magnitude("ns", 10.0, 1e6, 1e3, _NS_FROM)
FREQUENCY: Final = _Magnitude("Hz", 1e7, 2.5e10, 5e9, _HZ_FROM)
ANHARMONICITY: Final = _Magnitude("Hz", 1e6, 1e10, 3e8, _HZ_FROM)
STATIC_ZZ: Final = _Magnitude("Hz", 0.1, 2e7, 5e4, _HZ_FROM[:3])
SAMPLE: Final = _Magnitude("ns", 1e-3, 1e3, 1.0, _NS_FROM)
REP_DELAY: Final = _Magnitude("µs", 0.01, 1e7, 250.0, _US_FROM)
OVERHEAD: Final = _Magnitude("s", 1e-3, 3.6e3, 1.0, (("milliseconds", 1e-3), ("microseconds", 1e-6)))


def validate_snapshot(snapshot: Snapshot, *, edges: Iterable[tuple[int, int]] | None = None) -> Snapshot:
    """Refuse a calibration that no device can have; returns it unchanged.

    Args:
        snapshot: what to check.
        edges: couplers of the device; when given, every two-qubit gate and every ζ must lie on one.

    Raises:
        InvalidSnapshot: T2 > 2·T1, an error outside [0, 1], a time that is not positive, NaN, a number in the wrong
            unit, a gate on an unusable or unknown qubit or off the couplers, a usable qubit without its one-qubit
            gates, or a device whose usable qubits fall into several pieces.
    """
    for q, properties in enumerate(snapshot.qubits):
        if properties is not None:
            _check_qubit(f"qubits[{q}]", properties)
    _check_usual_t1(snapshot)
    couplers = None if edges is None else frozenset(edges)
    for (op, operands), gate in snapshot.gates.items():
        _check_gate(snapshot, op, operands, gate, couplers)
    for (a, b), zz_hz in snapshot.zz_hz.items():
        name = f"zz_hz[{a},{b}]"
        _require(0 <= a < b < snapshot.num_qubits, name, "is not an edge (a < b) of the device")
        _require(couplers is None or (a, b) in couplers, name, "is not on a coupler of the device")
        _require_finite(name, zz_hz)
        if zz_hz:
            _require_plausible(name, zz_hz, STATIC_ZZ)
    for q in snapshot.usable_qubits:
        for op in (Op.RZ, Op.SX, Op.X):
            _require((op, (q,)) in snapshot.gates, f"gates[{op.name.lower()} {q}]", "is missing on a usable qubit")
    _check_connected(snapshot)
    return snapshot


def validate_timing(timing: Timing) -> Timing:
    """Refuse a clock that no device can have; returns it unchanged.

    Raises:
        InvalidDevice: a number that is not positive, not finite or in the wrong unit.
    """
    for attribute in ("granularity", "pulse_alignment", "acquire_alignment"):
        if getattr(timing, attribute) < 1:
            raise InvalidDevice(f"timing.{attribute}", f"must be at least 1, is {getattr(timing, attribute)}")
    for attribute, kind in (("dt_ns", SAMPLE), ("rep_delay_us", REP_DELAY), ("overhead_s", OVERHEAD)):
        value: float = getattr(timing, attribute)
        if not (math.isfinite(value) and value >= 0):
            raise InvalidDevice(f"timing.{attribute}", f"must be finite and not negative, is {value}")
        if (value or kind is SAMPLE) and (fault := kind.fault(value)):
            raise InvalidDevice(f"timing.{attribute}", fault)
    low, high = timing.rep_delay_range_us
    if not 0 <= low <= timing.rep_delay_us <= high:
        raise InvalidDevice(
            "timing.rep_delay_us", f"must lie in its range, {low:g} to {high:g} µs, is {timing.rep_delay_us:g}"
        )
    return timing


def _require(holds: bool, field: str, reason: str) -> None:
    if not holds:
        raise InvalidSnapshot(field, reason)


def _require_finite(field: str, value: float) -> None:
    _require(math.isfinite(value), field, f"must be a finite number, is {value}")


def _require_plausible(field: str, value: float, kind: _Magnitude) -> None:
    if fault := kind.fault(value):
        raise InvalidSnapshot(field, fault)


def _require_probability(field: str, value: float) -> None:
    hint = "; it looks like per cent" if 1 < value <= 100 else ""
    _require(0 <= value <= 1, field, f"must be within [0, 1], is {value}{hint}")


def _check_qubit(name: str, qubit: QubitProperties) -> None:
    for attribute in ("t1_us", "t2_us", "readout_duration_ns"):
        value = getattr(qubit, attribute)
        _require(math.isfinite(value) and value > 0, f"{name}.{attribute}", f"must be positive and finite, is {value}")
    for attribute, kind in (
        ("t1_us", COHERENCE_TIME),
        ("t2_us", COHERENCE_TIME),
        ("readout_duration_ns", READOUT_DURATION),
    ):
        _require_plausible(f"{name}.{attribute}", getattr(qubit, attribute), kind)
    reason = f"exceeds 2·T1: {qubit.t2_us} > 2·{qubit.t1_us} µs"
    _require(qubit.t2_us <= 2 * qubit.t1_us, f"{name}.t2_us", reason)
    for attribute in ("prob_meas1_prep0", "prob_meas0_prep1"):
        _require_probability(f"{name}.{attribute}", getattr(qubit, attribute))
    for attribute, kind in (("frequency_hz", FREQUENCY), ("anharmonicity_hz", ANHARMONICITY)):
        value = getattr(qubit, attribute)
        if value is not None:
            _require_finite(f"{name}.{attribute}", value)
            _require_plausible(f"{name}.{attribute}", value, kind)
    if qubit.frequency_hz is not None:
        _require(qubit.frequency_hz > 0, f"{name}.frequency_hz", f"must be positive, is {qubit.frequency_hz}")


def _check_usual_t1(snapshot: Snapshot) -> None:
    """One qubit may be that bad, but not half of the device."""
    short = [q for q in snapshot.usable_qubits if snapshot.qubit(q).t1_us < _USUAL_T1_US]
    if 2 * len(short) > len(snapshot.usable_qubits):
        value = snapshot.qubit(short[0]).t1_us
        raise InvalidSnapshot(
            f"qubits[{short[0]}].t1_us",
            f"is {value:g} µs, and most are below {_USUAL_T1_US:g} µs, as on no device; it looks like milliseconds",
        )


def _check_gate(
    snapshot: Snapshot,
    op: Op,
    operands: tuple[int, ...],
    gate: GateProperties,
    couplers: frozenset[tuple[int, int]] | None,
) -> None:
    name = f"gates[{op.name.lower()} {','.join(map(str, operands))}]"
    arity = 2 if op in TWO_QUBIT_GATES else 1
    _require(len(operands) == arity == len(set(operands)), name, f"needs {arity} different qubits")
    for q in operands:
        usable = 0 <= q < snapshot.num_qubits and snapshot.qubits[q] is not None
        _require(usable, name, f"acts on qubit {q}, which is unknown or unusable")
    _require_probability(f"{name}.error", gate.error)
    finite = math.isfinite(gate.duration_ns) and gate.duration_ns >= 0
    _require(finite, f"{name}.duration_ns", f"must be finite and not negative, is {gate.duration_ns}")
    if gate.duration_ns:
        _require_plausible(f"{name}.duration_ns", gate.duration_ns, GATE_DURATION)
    if couplers is not None and arity == 2:
        _require((min(operands), max(operands)) in couplers, name, "is not on a coupler of the device")


def _check_connected(snapshot: Snapshot) -> None:
    usable = snapshot.usable_qubits
    _require(bool(usable), "qubits", "are all unusable")
    neighbours: dict[int, set[int]] = {q: set() for q in usable}
    for a, b in snapshot.usable_edges:
        neighbours[a].add(b)
        neighbours[b].add(a)
    reached: set[int] = set()
    frontier = [usable[0]]
    while frontier:
        q = frontier.pop()
        if q not in reached:
            reached.add(q)
            frontier.extend(neighbours[q] - reached)
    _require(bool(snapshot.usable_edges) or len(usable) == 1, "gates", "hold no two-qubit gate that works")
    lost = sorted(set(usable) - reached)
    _require(not lost, "gates", f"leave the device in pieces: qubits {lost[:8]} cannot be reached from {usable[0]}")
