"""A calibration snapshot: an immutable, numbered measurement of the device, and the slice of it that a region sees.

Published targets, noise estimates and durations come from here. What the device *truly* is (drift) is another value.
An unusable qubit is ``None``; an unusable gate or direction is absent.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field, replace
from itertools import combinations, permutations
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qpu_backend.physics.circuit import ONE_QUBIT_GATES, OP_OF_CODE, SYMMETRIC_GATES, TWO_QUBIT_GATES, Op
from qpu_backend.physics.errors import InvalidSnapshot, NotCalibrated
from qpu_backend.physics.readout import Clouds, Discriminator, clouds_of, discriminator_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from qpu_backend.physics.device import StaticZZ

SNAPSHOT_VERSION: Final = 1

GateKey = tuple[Op, tuple[int, ...]]
"""An operation on physical qubits, in the direction in which it is calibrated."""

_OPS_BY_ARITY: Final[dict[int, tuple[Op, ...]]] = {
    1: tuple(sorted(ONE_QUBIT_GATES | {Op.RESET})),
    2: tuple(sorted(TWO_QUBIT_GATES)),
}
_FEW_QUBITS: Final = 12
"""Up to here asking for every possible key of a region is faster than reading all keys of the device."""

_GATE_ROW: Final = np.dtype([("code", "<u1"), ("q0", "<i2"), ("q1", "<i2"), ("error", "<f8"), ("duration_ns", "<f8")])
_ZZ_ROW: Final = np.dtype([("q0", "<i2"), ("q1", "<i2"), ("zz_hz", "<f8")])


@dataclass(frozen=True, slots=True)
class QubitProperties:
    """One qubit. Times in µs and ns, frequencies in Hz (``None``: not measured).

    Attributes:
        prob_meas1_prep0: probability of reading 1 after preparing 0.
        prob_meas0_prep1: probability of reading 0 after preparing 1.
    """

    t1_us: float
    t2_us: float
    frequency_hz: float | None
    anharmonicity_hz: float | None
    prob_meas1_prep0: float
    prob_meas0_prep1: float
    readout_duration_ns: float

    @property
    def readout_error(self) -> float:
        """Mean of the two assignment errors."""
        return 0.5 * (self.prob_meas1_prep0 + self.prob_meas0_prep1)


@dataclass(frozen=True, slots=True)
class GateProperties:
    """One gate in one direction; ``error`` is the average gate infidelity."""

    error: float
    duration_ns: float


@dataclass(frozen=True, slots=True)
class RegionNoise:
    """What a simulation of some qubits needs to know of the device: the snapshot, cut to them.

    Attributes:
        qubits: properties by physical qubit.
        gates: properties of every gate that stays inside the region, by physical qubits.
        zz_hz: ζ of every coupler ``(a < b)`` inside the region, scale applied; empty without static ZZ.
        zz_echo: η while one of the two is in an echoed gate with a third.
        detuning_hz: how far each qubit has drifted from the frequency it was calibrated to; nothing where it has not.
        discriminators: by physical qubit, as published; needed for measurement level 1 only.
    """

    qubits: Mapping[int, QubitProperties]
    gates: Mapping[GateKey, GateProperties]
    zz_hz: Mapping[tuple[int, int], float] = field(default_factory=dict[tuple[int, int], float])
    zz_echo: float = 1.0
    detuning_hz: Mapping[int, float] = field(default_factory=dict[int, float])
    discriminators: Mapping[int, Discriminator] = field(default_factory=dict[int, Discriminator])

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        region: Iterable[int],
        *,
        zz: StaticZZ | None = None,
        detuning_hz: Mapping[int, float] | None = None,
    ) -> RegionNoise:
        """Cut a snapshot to the physical qubits ``region``.

        Args:
            snapshot: a calibration, or the truth.
            region: physical qubits.
            zz: the mechanism; ``None`` for no static ZZ.
            detuning_hz: of the whole device.

        Raises:
            NotCalibrated: a qubit of the region is unusable.
        """
        qubits = {q: snapshot.qubit(q) for q in sorted(region)}
        if len(qubits) > _FEW_QUBITS:
            gates = {key: gate for key, gate in snapshot.gates.items() if all(q in qubits for q in key[1])}
        else:
            operands = [*((q,) for q in qubits), *permutations(qubits, 2)]
            keys = ((op, pair) for pair in operands for op in _OPS_BY_ARITY[len(pair)])
            gates = {key: snapshot.gates[key] for key in keys if key in snapshot.gates}
        inside: dict[tuple[int, int], float] = {}
        if zz is not None and zz.enabled and zz.scale:
            pairs = combinations(qubits, 2) if len(qubits) <= _FEW_QUBITS else snapshot.zz_hz
            inside = {
                (a, b): zz.scale * snapshot.zz_hz[a, b]
                for a, b in pairs
                if (a, b) in snapshot.zz_hz and a in qubits and b in qubits
            }
        detuned = {q: (detuning_hz or {}).get(q, 0.0) for q in qubits}
        return cls(
            qubits,
            gates,
            zz_hz=dict(sorted((pair, hz) for pair, hz in inside.items() if hz)),
            zz_echo=1.0 if zz is None else zz.echo,
            detuning_hz={q: hz for q, hz in detuned.items() if hz},
        )

    def to_document(self) -> dict[str, Any]:
        """A plain, canonical structure of arrays."""
        return {
            "region": np.array(list(self.qubits), dtype="<i2"),
            "qubits": _qubit_rows(self.qubits.values()),
            "gates": _gate_rows(self.gates),
            "zz": _zz_rows(self.zz_hz),
            "zz_echo": self.zz_echo,
            "detuning_hz": [[q, hz] for q, hz in sorted(self.detuning_hz.items())],
            "discriminators": [
                [q, d.axis.real, d.axis.imag, d.boundary.real, d.boundary.imag, d.sigma]
                for q, d in sorted(self.discriminators.items())
            ],
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> RegionNoise:
        """Inverse of :meth:`to_document`."""
        rows = _qubits_of(document["qubits"])
        region: list[int] = document["region"].tolist()
        qubits = {q: row for q, row in zip(region, rows, strict=True) if row is not None}
        return cls(
            qubits,
            _gates_of(document["gates"]),
            zz_hz=_zz_of(document["zz"]),
            zz_echo=document["zz_echo"],
            detuning_hz=dict(document["detuning_hz"]),
            discriminators={
                q: Discriminator(complex(axis_i, axis_q), complex(boundary_i, boundary_q), sigma)
                for q, axis_i, axis_q, boundary_i, boundary_q, sigma in document["discriminators"]
            },
        )

    def qubit(self, qubit: int) -> QubitProperties:
        """Properties of a physical qubit.

        Raises:
            NotCalibrated: it is outside the region.
        """
        try:
            return self.qubits[qubit]
        except KeyError:
            raise NotCalibrated("measure", (qubit,)) from None

    def gate(self, op: Op, qubits: tuple[int, ...]) -> GateProperties:
        """Properties of an operation on physical qubits; see :meth:`Snapshot.gate`."""
        return _gate(self.gates, op, qubits)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A measurement of a whole device.

    Attributes:
        device: catalogue name of the device.
        number: 1, 2, 3 … per device.
        measured_at_us: wall time, µs since 1970 (UTC).
        device_time_us: the device's own clock.
        qubits: one entry per qubit, ``None`` where it is unusable.
        gates: ``(operation, physical qubits)`` → properties: ``rz sx x id``, the two-qubit gates and ``reset``.
        zz_hz: static ZZ, ζ with its sign, of each edge ``(a < b)`` where it was measured or assumed.
    """

    device: str
    number: int
    measured_at_us: int
    device_time_us: int
    qubits: tuple[QubitProperties | None, ...]
    gates: Mapping[GateKey, GateProperties]
    zz_hz: Mapping[tuple[int, int], float]

    @property
    def num_qubits(self) -> int:
        return len(self.qubits)

    @property
    def usable_edges(self) -> tuple[tuple[int, int], ...]:
        """Undirected edges ``(a < b)`` that carry at least one two-qubit gate, sorted."""
        return tuple(sorted({(min(q), max(q)) for op, q in self.gates if op in TWO_QUBIT_GATES}))

    @property
    def usable_qubits(self) -> tuple[int, ...]:
        """Qubits that are not ``None``, ascending."""
        return tuple(q for q, properties in enumerate(self.qubits) if properties is not None)

    def qubit(self, qubit: int) -> QubitProperties:
        """Properties of a qubit.

        Raises:
            NotCalibrated: there is no such qubit, or it is unusable.
        """
        properties = self.qubits[qubit] if 0 <= qubit < len(self.qubits) else None
        if properties is None:
            raise NotCalibrated("measure", (qubit,))
        return properties

    def clouds(self, qubit: int) -> Clouds:
        """Where a qubit's IQ points are by this measurement, and the discriminator that tells them apart.

        Raises:
            NotCalibrated: there is no such qubit, or it is unusable.
        """
        measured = self.qubit(qubit)
        line = discriminator_of(self.device, qubit)
        return clouds_of(line, measured.prob_meas1_prep0, measured.prob_meas0_prep1)

    def gate(self, op: Op, qubits: tuple[int, ...]) -> GateProperties:
        """Properties of an operation on qubits; symmetric gates answer in either order.

        Raises:
            NotCalibrated: the device does not offer it there.
        """
        return _gate(self.gates, op, qubits)

    def part(self, region: Sequence[int]) -> Snapshot:
        """The calibration of some qubits as that of a device of its own, numbered from 0 in the order of ``region``.

        Raises:
            NotCalibrated: one of them is unusable.
        """
        cut = RegionNoise.of(self, region)
        local = {qubit: index for index, qubit in enumerate(region)}
        gates = {(op, tuple(local[q] for q in qubits)): gate for (op, qubits), gate in cut.gates.items()}
        return replace(self, qubits=tuple(cut.qubits[q] for q in region), gates=gates, zz_hz={})

    def to_document(self) -> dict[str, Any]:
        """A plain, canonical structure of numbers, strings and arrays."""
        return {
            "snapshot_version": SNAPSHOT_VERSION,
            "device": self.device,
            "number": self.number,
            "measured_at_us": self.measured_at_us,
            "device_time_us": self.device_time_us,
            "qubits": _qubit_rows(self.qubits),
            "gates": _gate_rows(self.gates),
            "zz": _zz_rows(self.zz_hz),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Snapshot:
        """Inverse of :meth:`to_document`.

        Raises:
            InvalidSnapshot: another version.
        """
        if document.get("snapshot_version") != SNAPSHOT_VERSION:
            raise InvalidSnapshot("snapshot_version", f"is not {SNAPSHOT_VERSION}")
        return cls(
            device=document["device"],
            number=document["number"],
            measured_at_us=document["measured_at_us"],
            device_time_us=document["device_time_us"],
            qubits=_qubits_of(document["qubits"]),
            gates=_gates_of(document["gates"]),
            zz_hz=_zz_of(document["zz"]),
        )

    def digest(self) -> str:
        """SHA-256 over everything the snapshot says."""
        document = self.to_document()
        sha = hashlib.sha256(b"snapshot-1")
        sha.update(repr((self.device, self.number, self.measured_at_us, self.device_time_us)).encode())
        for name in ("qubits", "gates", "zz"):
            sha.update(document[name].tobytes())
        return sha.hexdigest()


def _gate(gates: Mapping[GateKey, GateProperties], op: Op, qubits: tuple[int, ...]) -> GateProperties:
    properties = gates.get((op, qubits))
    if properties is None and op in SYMMETRIC_GATES:
        properties = gates.get((op, qubits[::-1]))
    if properties is None:
        raise NotCalibrated(op.name.lower(), qubits)
    return properties


def _qubit_rows(qubits: Iterable[QubitProperties | None]) -> NDArray[np.float64]:
    """Shape ``(n, 7)``, float64; NaN for "not measured", a row of NaN for an unusable qubit."""
    rows = [
        [math.nan] * 7
        if q is None
        else [
            q.t1_us,
            q.t2_us,
            math.nan if q.frequency_hz is None else q.frequency_hz,
            math.nan if q.anharmonicity_hz is None else q.anharmonicity_hz,
            q.prob_meas1_prep0,
            q.prob_meas0_prep1,
            q.readout_duration_ns,
        ]
        for q in qubits
    ]
    return np.array(rows, dtype="<f8").reshape(-1, 7)


def _qubits_of(rows: NDArray[np.float64]) -> tuple[QubitProperties | None, ...]:
    return tuple(
        None
        if math.isnan(row[0])
        else QubitProperties(
            row[0],
            row[1],
            None if math.isnan(row[2]) else row[2],
            None if math.isnan(row[3]) else row[3],
            row[4],
            row[5],
            row[6],
        )
        for row in rows.tolist()
    )


def _gate_rows(gates: Mapping[GateKey, GateProperties]) -> NDArray[np.void]:
    rows = [
        (int(op), q[0], q[1] if len(q) > 1 else -1, gate.error, gate.duration_ns)
        for (op, q), gate in sorted(gates.items())
    ]
    return np.array(rows, dtype=_GATE_ROW)


def _gates_of(rows: NDArray[np.void]) -> dict[GateKey, GateProperties]:
    return {
        (OP_OF_CODE[code], (q0,) if q1 < 0 else (q0, q1)): GateProperties(error, duration_ns)
        for code, q0, q1, error, duration_ns in rows.tolist()
    }


def _zz_rows(zz_hz: Mapping[tuple[int, int], float]) -> NDArray[np.void]:
    return np.array([(a, b, hz) for (a, b), hz in sorted(zz_hz.items())], dtype=_ZZ_ROW)


def _zz_of(rows: NDArray[np.void]) -> dict[tuple[int, int], float]:
    return {(a, b): hz for a, b, hz in rows.tolist()}
