"""V2's circuits: 108 pairs of a victim and its neighbour on a line of six, six families each way and three seeds.

Each circuit has three qubits and ten layers, and is measured at its end. Both are aligned there::

    victim      0 ── 1 ── 2        couplers 0–1, 1–2 | 2–3 | 3–4, 4–5; the one between is what the two share
    neighbour             3 ── 4 ── 5

=========  ============================================================================================================
echo       a GHZ state is made, held through echoes (X on random qubits), and unmade
clifford   layers of random one-qubit Cliffords and CZ
qaoa       two rounds of RZZ on every edge (four columns of ECR) and mixing (the fifth layer)
ansatz     small RY and RZ rotations and CZ, as in a variational eigensolver near its reference state
su2        layers of random SU(2) rotations and ECR
ramsey     no two-qubit gate: superpositions idle, with a random pulse now and then
=========  ============================================================================================================

A *layer* is a column of ECR on every other edge with its one-qubit gates, or a wait of comparable length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.circuit import ClassicalRegister, IsaCircuit, Op, operations
from qpu_backend.physics.device import StaticZZ
from qpu_backend.physics.snapshot import GateKey, GateProperties, QubitProperties, RegionNoise, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

LAYERS: Final = 10
SEEDS: Final = (0, 1, 2)
VICTIM: Final = (0, 1, 2)
NEIGHBOUR: Final = (3, 4, 5)
ZZ_HZ: Final = 36e3
"""η·ζ of the table in the specification: 60 kHz, echoed by 0.6, and the same in every window."""

_HALF: Final = np.pi / 2
_FOREVER_US: Final = 1e12
_HOLD_8_NS: Final = (30, 88)
"""Waits, in the 8 ns that pulses of the devices are aligned to."""
_SHORT_NS: Final = 60.0
_READOUT_NS: Final = 1216.0
_ECR_NS: Final = (660.0, 560.0, 620.0, 700.0, 600.0)
"""By coupler, modulo: neighbouring gates do not begin and end together."""
_ECR_ERROR: Final = (0.007, 0.009, 0.006, 0.008)
_T1_US: Final = (230.0, 180.0, 260.0, 210.0)
_T2_US: Final = (150.0, 120.0, 190.0, 90.0)
_READ_1_OF_0: Final = (0.008, 0.012, 0.010)
_READ_0_OF_1: Final = (0.015, 0.013, 0.018)


def line(num_qubits: int, zz_hz: float = ZZ_HZ) -> Snapshot:
    """A calibrated line of qubits, alike but not equal; ECR from each to the next; the same ζ on every coupler."""
    gates: dict[GateKey, GateProperties] = {}
    for q in range(num_qubits):
        gates[Op.RZ, (q,)] = GateProperties(0.0, 0.0)
        gates |= {(op, (q,)): GateProperties(2.5e-4, _SHORT_NS) for op in (Op.SX, Op.X, Op.ID)}
    for q in range(num_qubits - 1):
        gates[Op.ECR, (q, q + 1)] = GateProperties(_ECR_ERROR[q % 4], _ECR_NS[q % 5])
    return Snapshot(
        device="line",
        number=1,
        measured_at_us=0,
        device_time_us=0,
        qubits=tuple(
            QubitProperties(
                t1_us=_T1_US[q % 4],
                t2_us=_T2_US[q % 4],
                frequency_hz=4.9e9 + 0.1e9 * (q % 3),
                anharmonicity_hz=-0.31e9,
                prob_meas1_prep0=_READ_1_OF_0[q % 3],
                prob_meas0_prep1=_READ_0_OF_1[q % 3],
                readout_duration_ns=_READOUT_NS,
            )
            for q in range(num_qubits)
        ),
        gates=gates,
        zz_hz={(q, q + 1): zz_hz for q in range(num_qubits - 1)},
    )


def region_noise(snapshot: Snapshot, region: Sequence[int], echo: float = 1.0) -> RegionNoise:
    """The line cut to a region, or to the union of several, with ZZ on every coupler inside."""
    return RegionNoise.of(snapshot, region, zz=StaticZZ(echo=echo))


def without_errors(noise: RegionNoise) -> RegionNoise:
    """The same region with perfect gates and readout, and qubits that never relax; durations and ZZ stay."""
    return replace(
        noise,
        gates={key: replace(gate, error=0.0) for key, gate in noise.gates.items()},
        qubits={
            q: replace(properties, t1_us=_FOREVER_US, t2_us=_FOREVER_US, prob_meas1_prep0=0.0, prob_meas0_prep1=0.0)
            for q, properties in noise.qubits.items()
        },
    )


class Writer:
    """Writes the operations of one circuit on a path of physical qubits."""

    def __init__(self, path: Sequence[int], snapshot: Snapshot) -> None:
        """Nothing is written yet; ``snapshot`` says in which direction each ECR is calibrated."""
        self.path = tuple(path)
        self.edges = tuple(zip(self.path, self.path[1:], strict=False))
        self._snapshot = snapshot
        self._local = {q: index for index, q in enumerate(sorted(path))}
        self._rows: list[tuple[int, int, int, int, int, float, int]] = []

    def brick(self, layer: int) -> tuple[tuple[int, int], ...]:
        """Every other edge of the path."""
        return self.edges[layer % 2 :: 2]

    def rz(self, angle_rad: float, q: int) -> None:
        """Rotation about Z."""
        self._add(Op.RZ, q, value=angle_rad)

    def sx(self, q: int) -> None:
        """Square root of X."""
        self._add(Op.SX, q)

    def x(self, q: int) -> None:
        """Bit flip."""
        self._add(Op.X, q)

    def delay(self, time_ns: float, q: int) -> None:
        """Wait."""
        self._add(Op.DELAY, q, value=time_ns)

    def ecr(self, a: int, b: int) -> None:
        """ECR on an edge, in its calibrated direction."""
        self._add(Op.ECR, *self._directed(a, b))

    def u(self, theta: float, phi: float, lam: float, q: int) -> None:
        """``Rz(φ) Ry(θ) Rz(λ)``, up to a global phase."""
        self.rz(lam, q)
        self.sx(q)
        self.rz(theta + np.pi, q)
        self.sx(q)
        self.rz(phi + np.pi, q)

    def h(self, q: int) -> None:
        """Hadamard."""
        self.rz(_HALF, q)
        self.sx(q)
        self.rz(_HALF, q)

    def rx(self, angle_rad: float, q: int) -> None:
        """Rotation about X."""
        self.u(angle_rad, -_HALF, _HALF, q)

    def cx(self, control: int, target: int) -> None:
        """CNOT either way: ``ECR = X_c·RZX(π/2)``, so CX = ``Rz_c(π/2) Rx_t(π/2) ECR X_c``."""
        c, t = self._directed(control, target)
        if c != control:
            self.h(c)
            self.h(t)
        self.x(c)
        self._add(Op.ECR, c, t)
        self.rz(_HALF, c)
        self.sx(t)
        if c != control:
            self.h(c)
            self.h(t)

    def cz(self, a: int, b: int) -> None:
        """Controlled Z."""
        c, t = self._directed(a, b)
        self.h(t)
        self.cx(c, t)
        self.h(t)

    def rzz(self, angle_rad: float, a: int, b: int) -> None:
        """``e^{−iθZZ/2}``."""
        c, t = self._directed(a, b)
        self.cx(c, t)
        self.rz(angle_rad, t)
        self.cx(c, t)

    def measured(self) -> IsaCircuit:
        """The circuit, every qubit of the path measured: bit ``i`` is its ``i``-th."""
        for bit, q in enumerate(self.path):
            self._add(Op.MEASURE, q, clbit=bit)
        n = len(self.path)
        return IsaCircuit(
            tuple(sorted(self.path)), n, (ClassicalRegister("c", tuple(range(n))),), operations(self._rows)
        )

    def _directed(self, a: int, b: int) -> tuple[int, int]:
        return (a, b) if (Op.ECR, (a, b)) in self._snapshot.gates else (b, a)

    def _add(self, op: Op, q0: int, q1: int = -1, *, clbit: int = -1, value: float = 0.0) -> None:
        second = self._local[q1] if q1 >= 0 else -1
        self._rows.append((int(op), self._local[q0], second, clbit, -1, float(value), -1))


def _echo(writer: Writer, rng: np.random.Generator, layers: int) -> None:
    making = min(len(writer.edges), (layers - 1) // 2)
    writer.u(rng.uniform(0.3, 0.7) * np.pi, 0.0, 0.0, writer.path[0])
    for a, b in writer.edges[:making]:
        writer.cx(a, b)
    for _ in range(layers - 2 * making):
        wait_ns = 8.0 * rng.integers(*_HOLD_8_NS)
        for q in writer.path:
            writer.delay(wait_ns, q)
            if rng.random() < 0.5:
                writer.x(q)
    for a, b in reversed(writer.edges[:making]):
        writer.cx(a, b)
    for q in writer.path:
        writer.h(q)


def _clifford(writer: Writer, rng: np.random.Generator, layers: int) -> None:
    for layer in range(layers):
        for q in writer.path:
            writer.u(*(_HALF * rng.integers(0, 4, 3)), q)
        for a, b in writer.brick(layer):
            writer.cz(a, b)


def _qaoa(writer: Writer, rng: np.random.Generator, layers: int) -> None:
    for q in writer.path:
        writer.h(q)
    for _ in range(layers // 5):
        gamma, beta = rng.uniform(0.2, 1.2, 2)
        for half in range(2):
            for a, b in writer.brick(half):
                writer.rzz(gamma, a, b)
        for q in writer.path:
            writer.rx(2.0 * beta, q)


def _ansatz(writer: Writer, rng: np.random.Generator, layers: int) -> None:
    for layer in range(layers):
        for q in writer.path:
            writer.u(rng.uniform(-0.6, 0.6), rng.uniform(-0.6, 0.6), 0.0, q)
        for a, b in writer.brick(layer):
            writer.cz(a, b)


def _su2(writer: Writer, rng: np.random.Generator, layers: int) -> None:
    for layer in range(layers):
        for q in writer.path:
            writer.u(np.arccos(rng.uniform(-1.0, 1.0)), *rng.uniform(-np.pi, np.pi, 2), q)
        for a, b in writer.brick(layer):
            writer.ecr(a, b)


def _ramsey(writer: Writer, rng: np.random.Generator, layers: int) -> None:
    for q in writer.path:
        writer.sx(q)
    for _ in range(layers):
        for q in writer.path:
            writer.delay(8.0 * rng.integers(*_HOLD_8_NS), q)
            chance = rng.random()
            if chance < 0.2:
                writer.x(q)
            elif chance < 0.4:
                writer.rz(rng.uniform(-np.pi, np.pi), q)
                writer.sx(q)
    for q in writer.path:
        writer.rz(rng.uniform(-np.pi, np.pi), q)
        writer.sx(q)


FAMILIES: Final[dict[str, Callable[[Writer, np.random.Generator, int], None]]] = {
    "echo": _echo,
    "clifford": _clifford,
    "qaoa": _qaoa,
    "ansatz": _ansatz,
    "su2": _su2,
    "ramsey": _ramsey,
}


def circuit_of(
    family: str, path: Sequence[int], snapshot: Snapshot, seed: Sequence[int], layers: int = LAYERS
) -> IsaCircuit:
    """A circuit of a family on a path of qubits; the same seed gives the same circuit.

    Args:
        family: one of :data:`FAMILIES`.
        path: physical qubits, each coupled to the next; classical bit ``i`` reads ``path[i]``.
        snapshot: of the device.
        seed: numbers ≥ 0.
        layers: of gates.
    """
    writer = Writer(path, snapshot)
    FAMILIES[family](writer, np.random.default_rng([list(FAMILIES).index(family), *seed]), layers)
    return writer.measured()


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A victim and its neighbour."""

    name: str
    victim: IsaCircuit
    neighbour: IsaCircuit

    def together(self) -> IsaCircuit:
        """Both as one circuit on six qubits: bits 0–2 are the victim's, 3–5 the neighbour's."""
        return joined((self.victim, self.neighbour))


def suite(snapshot: Snapshot) -> tuple[Pair, ...]:
    """All pairs on a line of six: every family beside every family, three times."""
    return tuple(
        Pair(
            f"{victim} beside {neighbour} #{seed}",
            circuit_of(victim, VICTIM, snapshot, (number, seed, 0)),
            circuit_of(neighbour, NEIGHBOUR, snapshot, (number, seed, 1)),
        )
        for number, (victim, neighbour) in enumerate(product(FAMILIES, repeat=2))
        for seed in SEEDS
    )


def joined(circuits: Sequence[IsaCircuit]) -> IsaCircuit:
    """Circuits on disjoint physical qubits as one, each with a register of its own, in their order.

    Nothing connects them, so that as late as possible means for each the same as alone: they end together.

    Raises:
        ValueError: two share a qubit, or one branches or has parameters.
    """
    qubits = tuple(sorted(q for circuit in circuits for q in circuit.qubits))
    if len(set(qubits)) != len(qubits) or any(c.conditionals or c.num_slots for c in circuits):
        raise ValueError("only disjoint circuits without branches and parameters can be joined")
    local = {q: index for index, q in enumerate(qubits)}
    parts, groups, registers, clbits = [], [], [], 0
    for number, circuit in enumerate(circuits):
        place = [*(local[q] for q in circuit.qubits), -1]  # local −1 stays −1
        part = circuit.operations.copy()
        for wire in ("q0", "q1"):
            part[wire] = np.array(place, dtype=np.int16)[part[wire]]
        part["clbit"] += clbits * (part["clbit"] >= 0)
        part["aux"] += len(groups) * (part["aux"] >= 0)
        groups += [tuple(place[q] for q in group) for group in circuit.groups]
        registers.append(ClassicalRegister(f"c{number}", tuple(range(clbits, clbits + circuit.num_clbits))))
        clbits += circuit.num_clbits
        parts.append(part)
    return IsaCircuit(qubits, clbits, tuple(registers), np.concatenate(parts), tuple(groups))
