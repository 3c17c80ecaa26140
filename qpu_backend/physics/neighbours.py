"""The context of a circuit: who is near it in a round, what of them is felt, and the channels that follow.

Two steps, because feeling needs a simulation of the neighbour, which happens in workers::

    placed circuits ──wanted()──► profiles to be simulated ──workers──► Profile ──context_of()──► Context
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.context import NO_CONTEXT, NO_FACTORS, Context
from qpu_backend.physics.crosstalk import conditional_factors, leaked_excitation, physical_windows, readout_blur
from qpu_backend.physics.drive import PULSE, kicks_of, pulses_of
from qpu_backend.physics.ghosts import Felt, ghosts_of
from qpu_backend.physics.method import choose_method, max_exact_ghosts
from qpu_backend.physics.phases import ECHOED_GATES
from qpu_backend.physics.timing import Durations, schedule, summarise

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.physics.context import Profile
    from qpu_backend.physics.device import Crosstalk
    from qpu_backend.physics.snapshot import Snapshot
    from qpu_backend.physics.timing import CircuitSummary, Row
    from qpu_backend.physics.topology import Topology

_LEAST_EXCITATION: Final = 1e-4
"""A start less excited than this is a start in |0⟩."""


@dataclass(frozen=True, slots=True, eq=False)
class PlacedCircuit:
    """A relocated circuit with its times: what it is exposed with, and what its neighbours are exposed to.

    Attributes:
        circuit: on physical qubits.
        summary: of it.
        exposed: windows of all its two-qubit gates (see :mod:`qpu_backend.physics.crosstalk`), ``(k, 4)``.
        acting: those of its longest branch.
        pulses: of :func:`qpu_backend.physics.drive.pulses_of`.
        echoes: by physical qubit, its echoed gates ``(opens, closes)`` in ns before the end, ``(m, 2)``.
    """

    circuit: IsaCircuit
    summary: CircuitSummary
    exposed: NDArray[np.float64]
    acting: NDArray[np.float64]
    pulses: NDArray[np.void]
    echoes: dict[int, NDArray[np.float64]]

    @classmethod
    def of(cls, circuit: IsaCircuit, calibration: Snapshot, *, alone: bool = False) -> PlacedCircuit:
        """Schedule a relocated circuit.

        Args:
            circuit: on physical qubits.
            calibration: of the device.
            alone: nobody else is there to feel its pulses, which are left out.

        Raises:
            NotCalibrated: the device does not offer one of its operations.
        """
        durations = Durations.of(calibration)
        summary = summarise(circuit, durations)
        itself = range(calibration.num_qubits)
        return cls(
            circuit=circuit,
            summary=summary,
            exposed=physical_windows(summary, itself),
            acting=physical_windows(summary, itself, acting=True),
            pulses=np.zeros(0, dtype=PULSE) if alone else pulses_of(circuit, durations),
            echoes={} if alone else _echoes(circuit, durations),
        )

    @property
    def measured(self) -> tuple[int, ...]:
        """Physical qubits that are read."""
        return tuple(self.circuit.qubits[local] for local in self.summary.measured)


def near(crosstalk: Crosstalk, topology: Topology, one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two disjoint regions can feel each other by any mechanism."""
    mask = sum(1 << q for q in other)
    around = topology.neighbour_mask(sum(1 << q for q in one))
    if around & mask and (crosstalk.conditional.enabled or crosstalk.zz.enabled or crosstalk.drive.enabled):
        return True
    if crosstalk.drive.enabled and crosstalk.drive.hop and topology.neighbour_mask(around) & mask:
        return True
    size = crosstalk.readout.group
    return crosstalk.readout.enabled and not {q // size for q in one}.isdisjoint({q // size for q in other})


def wanted(
    crosstalk: Crosstalk, topology: Topology, truth: Snapshot, felt: PlacedCircuit, feeling: Sequence[PlacedCircuit]
) -> tuple[int, ...] | None:
    """What of a circuit's profile its neighbours need.

    Args:
        crosstalk: of the device.
        topology: of the device.
        truth: ζ of its couplers.
        felt: whose profile.
        feeling: the circuits beside it.

    Returns:
        Local qubits whose occupation over time is wanted; none of them if only the final excitations are; ``None`` when
        no simulation is needed.
    """
    boundary: set[int] = set()
    grouped = False
    size = crosstalk.readout.group
    groups = {q // size for q in felt.measured}
    for other in feeling:
        for local, v in enumerate(felt.circuit.qubits):
            beside = set(topology.neighbours(v)) & set(other.circuit.qubits)
            if crosstalk.zz.enabled and any(truth.zz_hz.get((min(u, v), max(u, v))) for u in beside):
                boundary.add(local)
        grouped |= crosstalk.readout.enabled and not groups.isdisjoint({q // size for q in other.measured})
    return tuple(sorted(boundary)) if boundary or grouped else None


def own_start(
    crosstalk: Crosstalk, truth: Snapshot, placed: PlacedCircuit, delay_us: float, final: Profile | None
) -> NDArray[np.float64]:
    """C5 within a round: the previous shot on each qubit was the circuit's own.

    Args:
        crosstalk: of the device.
        truth: T1 of its qubits.
        placed: the circuit.
        delay_us: from one shot to the next.
        final: its own profile; without one only thermal excitation is left.

    Returns:
        float64, ``(n,)``, or empty where every qubit starts in |0⟩.
    """
    excited = [
        leaked_excitation(
            crosstalk.reset, 0.0 if final is None else float(final.final[local]), delay_us, truth.qubit(q).t1_us
        )
        for local, q in enumerate(placed.circuit.qubits)
    ]
    return np.round(excited, 4) if max(excited, default=0.0) >= _LEAST_EXCITATION else np.zeros(0)


def needs_own_profile(crosstalk: Crosstalk) -> bool:
    """Whether what a circuit leaves behind could be seen by its next shot."""
    reset = crosstalk.reset
    return reset.enabled and reset.scale * reset.failure**reset.resets > _LEAST_EXCITATION  # even without any decay


def context_of(
    crosstalk: Crosstalk,
    topology: Topology,
    truth: Snapshot,
    own: PlacedCircuit,
    neighbours: Sequence[tuple[PlacedCircuit, Profile | None]],
    start: NDArray[np.float64],
) -> Context:
    """The channels that the neighbours of one circuit leave on it.

    Args:
        crosstalk: of the device.
        topology: of the device.
        truth: of the device, now.
        own: the circuit.
        neighbours: those that run beside it in this round, each with what :func:`wanted` asked for.
        start: of :func:`own_start`.
    """
    if not neighbours:
        return Context(start=start) if start.size else NO_CONTEXT
    qubits, duration_ns = own.circuit.qubits, own.summary.duration_ns
    factors = conditional_factors(crosstalk, topology, own.exposed, [other.acting for other, _ in neighbours])
    method = choose_method(own.summary.num_qubits, own.summary.has_mid_circuit)
    felt = [
        Felt(q, profile.occupations[local], other.echoes.get(q, np.zeros((0, 2))))
        for other, profile in neighbours
        if profile is not None
        for local, q in enumerate(other.circuit.qubits)
        if local in profile.occupations
    ]
    read = {
        q: float(profile.final[local])
        for other, profile in neighbours
        if profile is not None
        for local, q in enumerate(other.circuit.qubits)
        if local in other.summary.measured
    }
    blur = readout_blur(crosstalk.readout, qubits, own.measured, read)
    frequencies = {q: truth.qubit(q).frequency_hz for q in truth.usable_qubits}
    return Context(
        factors=NO_FACTORS if bool(np.all(factors == 1.0)) else factors,
        ghosts=ghosts_of(
            crosstalk.zz,
            truth.zz_hz,
            qubits,
            duration_ns,
            felt,
            max_exact_ghosts(method, own.summary.num_qubits),
        ),
        kicks=kicks_of(
            crosstalk.drive, topology, frequencies, qubits, duration_ns, [other.pulses for other, _ in neighbours]
        ),
        readout=blur if blur.any() else np.zeros((0, 2)),
        start=start,
    )


def _echoes(circuit: IsaCircuit, durations: Durations) -> dict[int, NDArray[np.float64]]:
    scheduled = schedule(circuit, durations)
    found: dict[int, list[tuple[float, float]]] = {}
    opens: list[float] = (scheduled.duration_ns - scheduled.starts_ns).tolist()
    rows: list[Row] = circuit.operations.tolist()
    lengths: list[float] = scheduled.lengths_ns.tolist()
    for (code, q0, q1, *_), opened, length in zip(rows, opens, lengths, strict=True):
        if code in ECHOED_GATES:
            for q in (q0, q1):
                found.setdefault(circuit.qubits[q], []).append((opened, opened - length))
    return {q: np.array(windows) for q, windows in found.items()}
