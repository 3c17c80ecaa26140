"""C3: what the microwave pulses of a neighbour do to the qubits around it.

While v is driven at the Rabi frequency Ω_v, a qubit u nearby sees Ω_x = m·Ω_v, detuned by Δ: a Z rotation τ Ω_x²/2Δ
(the Stark shift) and a bit flip with probability ``Ω_x²/(Ω_x² + Δ²) · sin²(½ τ √(Ω_x² + Δ²))``. That depends on the
neighbour's schedule alone, so it factorises exactly. A cross-resonance gate drives its control at the *target's*
frequency; gates driven by flux drive nothing. Frequencies are real data, and so are collisions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.circuit import Op
from qpu_backend.physics.context import Kick
from qpu_backend.physics.timing import schedule

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.physics.device import Drive
    from qpu_backend.physics.timing import Durations, Row
    from qpu_backend.physics.topology import Topology

PULSE: Final = np.dtype(
    [("qubit", "<i2"), ("tuned_to", "<i2"), ("opens_ns", "<f8"), ("closes_ns", "<f8"), ("two_qubit", "?")]
)
"""A driven interval, in ns before the end: the physical qubit that is driven, and the one whose frequency is used."""

_MICROWAVE_GATES: Final = frozenset({Op.ECR, Op.CX})
_ANGLE_STEP: Final = 1e-3
_FLIP_STEP: Final = 1e-5


def pulses_of(circuit: IsaCircuit, durations: Durations) -> NDArray[np.void]:
    """The driven intervals of a placed circuit (branches of ``if_else`` apart), dtype :data:`PULSE`."""
    scheduled = schedule(circuit, durations)
    found: list[tuple[int, int, float, float, bool]] = []
    before_end: list[float] = (scheduled.duration_ns - scheduled.starts_ns).tolist()
    rows: list[Row] = circuit.operations.tolist()
    lengths: list[float] = scheduled.lengths_ns.tolist()
    for (code, q0, q1, *_), opens, length in zip(rows, before_end, lengths, strict=True):
        if code in {Op.SX, Op.X}:
            found.append((circuit.qubits[q0], circuit.qubits[q0], opens, opens - length, False))
        elif code in _MICROWAVE_GATES:
            found.append((circuit.qubits[q0], circuit.qubits[q1], opens, opens - length, True))
    return np.array(found, dtype=PULSE)


def stark_and_flip(rabi_hz: float, detuning_hz: float, time_ns: float) -> tuple[float, float]:
    """What a drive off resonance leaves: the Z rotation in rad and the probability of a bit flip.

    Args:
        rabi_hz: Ω_x/2π as the qubit sees it.
        detuning_hz: Δ/2π, drive minus qubit.
        time_ns: τ.
    """
    omega, delta, tau = 2 * math.pi * rabi_hz, 2 * math.pi * detuning_hz, 1e-9 * time_ns
    generalised = math.hypot(omega, delta)
    if not generalised or not omega:
        return 0.0, 0.0
    flip = (omega / generalised) ** 2 * math.sin(0.5 * tau * generalised) ** 2
    angle = tau * omega**2 / (2 * delta) if abs(delta) > omega else 0.0  # nearer than that it is a flip, not a shift
    return angle, flip


def kicks_of(
    drive: Drive,
    topology: Topology,
    frequencies_hz: Mapping[int, float | None],
    own_qubits: Sequence[int],
    duration_ns: float,
    pulses: Sequence[NDArray[np.void]],
) -> tuple[Kick, ...]:
    """What the neighbours' pulses do to one circuit.

    Args:
        drive: the mechanism.
        topology: of the device; one or two couplers away is near.
        frequencies_hz: by physical qubit; where one is unknown nothing is modelled.
        own_qubits: physical qubit of each local qubit.
        duration_ns: of the own circuit; what happened before it began does not count.
        pulses: of each neighbour.

    Returns:
        Kicks by time, earliest first.
    """
    if not drive.enabled or not drive.scale or not any(len(part) for part in pulses):
        return ()
    near = _spill(drive, topology, own_qubits)
    effects: dict[tuple[int, int, int, float, bool], tuple[float, float]] = {}
    kicks: list[Kick] = []
    for v, tuned_to, opens, closes, two_qubit in np.concatenate([part for part in pulses if len(part)]).tolist():
        if opens > duration_ns:
            continue
        for local, spill in near.get(v, ()):
            key = (local, v, tuned_to, opens - closes, two_qubit)
            if key not in effects:
                rabi_hz = spill * (drive.rabi_2q_hz if two_qubit else drive.rabi_1q_hz)
                pair = frequencies_hz.get(own_qubits[local]), frequencies_hz.get(tuned_to)
                effects[key] = _effect(rabi_hz, *pair, opens - closes)
            angle, flip = effects[key]
            if angle or flip:
                kicks.append(Kick(local, opens, angle, flip))
    return tuple(sorted(kicks, key=lambda kick: (-kick.at_ns, kick.qubit)))


def _spill(drive: Drive, topology: Topology, own_qubits: Sequence[int]) -> dict[int, list[tuple[int, float]]]:
    """Which local qubits see a drive on a physical qubit, and what share of it."""
    near: dict[int, list[tuple[int, float]]] = {}
    for local, u in enumerate(own_qubits):
        adjacent = set(topology.neighbours(u))
        beyond = {w for v in adjacent for w in topology.neighbours(v)} - adjacent - {u}
        for v in adjacent:
            near.setdefault(v, []).append((local, drive.scale * drive.spill))
        for v in beyond:
            near.setdefault(v, []).append((local, drive.scale * drive.spill * drive.hop))
    return near


def _effect(rabi_hz: float, own_hz: float | None, drive_hz: float | None, time_ns: float) -> tuple[float, float]:
    if own_hz is None or drive_hz is None:
        return 0.0, 0.0
    angle, flip = stark_and_flip(rabi_hz, drive_hz - own_hz, time_ns)
    return round(angle / _ANGLE_STEP) * _ANGLE_STEP, round(flip / _FLIP_STEP) * _FLIP_STEP
