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
class Crosstalk:
    """What co-tenants do to each other, one field per mechanism of :mod:`qpu_backend.physics.crosstalk`."""

    conditional: ConditionalErrors = field(default_factory=ConditionalErrors)


NO_CROSSTALK: Final = Crosstalk(ConditionalErrors(enabled=False))
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

    @property
    def num_qubits(self) -> int:
        return self.topology.num_qubits
