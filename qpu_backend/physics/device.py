"""A device model: what stays the same from one calibration to the next."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from qpu_backend.physics.topology import Edge, Topology

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qpu_backend.physics.circuit import Op

EdgePair = tuple[Edge, Edge]
"""Two couplers, ``(smaller, larger)``."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The device's clock and its constraints.

    Attributes:
        dt_ns: length of one sample.
        granularity: a gate lasts a multiple of so many samples.
        pulse_alignment: a gate starts at a multiple of so many samples.
        acquire_alignment: a measurement starts at a multiple of so many samples.
        rep_delay_us: default time between two shots.
        rep_delay_range_us: what a job may ask for.
        overhead_s: fixed time of every batch.
    """

    dt_ns: float
    granularity: int
    pulse_alignment: int
    acquire_alignment: int
    rep_delay_us: float
    rep_delay_range_us: tuple[float, float]
    overhead_s: float

    @property
    def pulse_step_ns(self) -> float:
        """A gate starts at a multiple of it."""
        return self.pulse_alignment * self.dt_ns


@dataclass(frozen=True, slots=True)
class ConditionalErrors:
    """C1: a two-qubit gate is worse while a certain other one runs beside it.

    Attributes:
        ratios: ρ of a pair of couplers: error of either gate while the other runs, over its error alone (≥ 1).
        ordinary_ratio: ρ of every other pair at distance one.
        enabled: switch of the mechanism.
        scale: strength: ρ becomes ``1 + scale·(ρ − 1)``.
    """

    ratios: Mapping[EdgePair, float] = field(default_factory=dict[EdgePair, float])
    ordinary_ratio: float = 1.0
    enabled: bool = True
    scale: float = 1.0

    def ratio(self, one: Edge, other: Edge) -> float:
        """ρ of two couplers at distance one, switch and scale applied; symmetric."""
        if not self.enabled:
            return 1.0
        pair = (one, other) if one < other else (other, one)
        return 1.0 + self.scale * (self.ratios.get(pair, self.ordinary_ratio) - 1.0)


@dataclass(frozen=True, slots=True)
class StaticZZ:
    """C2: ``H = 2πζ |11⟩⟨11|`` on every coupler, inside a region and across.

    Attributes:
        enabled: switch of the mechanism.
        scale: multiplies every ζ.
        echo: η while one of the two qubits is in an echoed gate (ECR, CX) with a third; 1 otherwise.
    """

    enabled: bool = True
    scale: float = 1.0
    echo: float = 0.6


@dataclass(frozen=True, slots=True)
class Drive:
    """C3: a microwave drive on one qubit is seen by those near it, detuned by the difference of their frequencies.

    Amplitudes are typical of the literature, not measured on these devices.

    Attributes:
        enabled: switch of the mechanism.
        scale: multiplies every spilled amplitude.
        spill: m, the share of the Rabi frequency that a neighbour sees.
        hop: factor on ``spill`` for each further coupler in between.
        rabi_1q_hz: Ω/2π of a one-qubit gate.
        rabi_2q_hz: Ω/2π of a cross-resonance gate, on its control; 0 for gates driven by flux.
    """

    enabled: bool = True
    scale: float = 1.0
    spill: float = 0.01
    hop: float = 0.3
    rabi_1q_hz: float = 8e6
    rabi_2q_hz: float = 40e6


@dataclass(frozen=True, slots=True)
class SharedReadout:
    """C4: qubits of one multiplexing group that are read in the same window blur each other.

    Attributes:
        enabled: switch of the mechanism.
        scale: multiplies both coefficients.
        group: consecutive qubits in a group.
        offset: a, added to both assignment errors for each foreign qubit of the group that is read too.
        slope: b, added for such a qubit times its mean excitation.
    """

    enabled: bool = True
    scale: float = 1.0
    group: int = 6
    offset: float = 0.001
    slope: float = 0.002


@dataclass(frozen=True, slots=True)
class ResetLeakage:
    """C5: what is left in a qubit of the shot before.

    Attributes:
        enabled: switch of the mechanism.
        scale: multiplies the leaked excitation.
        resets: active resets before each shot.
        failure: ε_r, probability that one of them fails.
        thermal: p_th. 0 by default: published readout errors contain it.
    """

    enabled: bool = True
    scale: float = 1.0
    resets: int = 2
    failure: float = 0.01
    thermal: float = 0.0


@dataclass(frozen=True, slots=True)
class Crosstalk:
    """What co-tenants do to each other, one field per mechanism of :mod:`qpu_backend.physics.crosstalk`."""

    conditional: ConditionalErrors = field(default_factory=ConditionalErrors)
    zz: StaticZZ = field(default_factory=StaticZZ)
    drive: Drive = field(default_factory=Drive)
    readout: SharedReadout = field(default_factory=SharedReadout)
    reset: ResetLeakage = field(default_factory=ResetLeakage)


NO_CROSSTALK: Final = Crosstalk(
    ConditionalErrors(enabled=False),
    StaticZZ(enabled=False),
    Drive(enabled=False),
    SharedReadout(enabled=False),
    ResetLeakage(enabled=False),
)
"""Every mechanism switched off."""


@dataclass(frozen=True, slots=True)
class DeviceModel:
    """A device as the catalogue describes it.

    Attributes:
        name: catalogue name, e.g. ``eagle127``.
        description: one sentence for people.
        topology: qubits and couplers, also the broken ones.
        basis: operations of the device, control flow apart.
        two_qubit_gate: the one that connects qubits.
        timing: clock and constraints.
        crosstalk: what neighbours do.
        source: where the numbers come from, with date.
        licence: under which they were published.
        max_shots: per circuit.
        max_circuits: per job.
        coupler: ``fixed`` (cross-resonance gates, strong ZZ) or ``tunable`` (gates driven by flux, weak ZZ).
        notes: what was left out, truncated or assumed.
    """

    name: str
    description: str
    topology: Topology
    basis: tuple[Op, ...]
    two_qubit_gate: Op
    timing: Timing
    crosstalk: Crosstalk
    source: str
    licence: str
    max_shots: int = 100_000
    max_circuits: int = 300
    coupler: str = "fixed"
    notes: tuple[str, ...] = ()

    @property
    def num_qubits(self) -> int:
        return self.topology.num_qubits
