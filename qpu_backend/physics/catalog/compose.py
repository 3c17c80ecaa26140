"""Facts about a device → a catalogue document: what failed is left out, what is missing is assumed, and notes say so.

Published calibrations, drawn devices and any Qiskit backend come together here, so that the same holds for all.
:mod:`qpu_backend.physics.catalog.parse` reads the document.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, cast

from qpu_backend.physics.circuit import SYMMETRIC_GATES
from qpu_backend.physics.crosstalk import draw_outliers
from qpu_backend.physics.topology import Edge, Topology

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CATALOGUE_FORMAT: Final = 1

QUBIT_COLUMNS: Final = (
    "t1_us",
    "t2_us",
    "frequency_hz",
    "anharmonicity_hz",
    "prob_meas1_prep0",
    "prob_meas0_prep1",
    "readout_duration_ns",
)

ASSUMED_ZZ_HZ: Final = {"fixed": 60e3, "tunable": 4e3}
"""ζ by kind of coupler, where it is not measured: medians of published Eagle and Heron devices."""

ORDINARY_RATIO: Final = {"fixed": 1.0, "tunable": 1.15}
"""ρ of pairs of gates that are no outliers. Fixed: ZZ alone gives what is measured. Tunable: 1.05 to 1.3 on Herons."""

OVERHEAD_S: Final = 2.0
"""Fixed time of a batch: fits jobs of real devices, and is published by none."""

TWO_QUBIT_NAMES: Final = ("ecr", "cx", "cz", "rzz")
"""Gates that connect qubits, the one a device is described by first."""

NEEDED_NAMES: Final = ("rz", "sx", "x")
"""One-qubit gates without which a qubit is of no use."""

_SYMMETRIC: Final = frozenset(op.name.lower() for op in SYMMETRIC_GATES)
_SHOWN: Final = 6

QubitRow = list[float | None]
OneQubitGates = dict[str, list[list[float] | None]]
TwoQubitGates = dict[str, list[tuple[int, int, float, float]]]


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a device, in the units of the catalogue.

    Attributes:
        name: catalogue name.
        description: one sentence for people.
        source: where the numbers come from, with date.
        licence: under which they were published.
        measured_at: ISO 8601, with time zone.
        couplers: pairs ``(a < b)``, sorted, also the broken ones.
        coupler: ``fixed`` or ``tunable``.
        qubits: a row of :data:`QUBIT_COLUMNS` per qubit, ``None`` where it is unusable. T2 may exceed 2·T1.
        one_qubit_gates: name → ``[error, duration_ns]`` or ``None`` per qubit. An error of 1 means failed.
        two_qubit_gates: name → ``(a, b, error, duration_ns)`` for each direction that is calibrated.
        zz_hz: ζ with its sign, where it is measured.
        timing: fields of :class:`qpu_backend.physics.device.Timing`.
        ordinary_ratio: ρ of pairs of couplers at distance one that are no outliers.
        positions: column and row of every qubit on the chip, for pictures; ``None`` where not published.
        notes: what the source says, or lacks.
        max_shots: per circuit.
        max_circuits: per job.
    """

    name: str
    description: str
    source: str
    licence: str
    measured_at: str
    couplers: Sequence[Edge]
    coupler: str
    qubits: Sequence[QubitRow | None]
    one_qubit_gates: OneQubitGates
    two_qubit_gates: TwoQubitGates
    zz_hz: Mapping[Edge, float]
    timing: Mapping[str, Any]
    ordinary_ratio: float
    positions: Sequence[Sequence[int]] | None = None
    notes: Sequence[str] = field(default_factory=tuple[str, ...])
    max_shots: int = 100_000
    max_circuits: int = 300


def compose(facts: Facts) -> dict[str, Any]:
    """The catalogue document of a device.

    Outlying conditional errors are drawn with the number of qubits as seed, and stored: they belong to the model.
    """
    notes = list(facts.notes)
    topology = Topology.of(len(facts.qubits), facts.couplers)
    qubits = [None if row is None else _truncated(q, list(row), notes) for q, row in enumerate(facts.qubits)]
    one, two = _without_failed(facts, notes)
    unusable = _unusable(qubits, one, two, notes)
    qubits = [None if q in unusable else row for q, row in enumerate(qubits)]
    one = {name: [None if q in unusable else row for q, row in enumerate(rows)] for name, rows in one.items()}
    two = {name: _calibrated_once(name, rows, unusable) for name, rows in two.items()}
    outliers = draw_outliers(topology, topology.num_qubits)
    if topology.num_qubits > 1:
        notes.append(
            f"Conditional errors are not published: ordinary ratio {facts.ordinary_ratio:g}; outlying pairs "
            f"({len(outliers)}) drawn with seed {topology.num_qubits} from the distribution reported for such devices."
        )
    if "rzz" in two:
        notes.append("rzz takes angles from 0 to π/2; others are folded there when a circuit is compiled.")
    return {
        "format": CATALOGUE_FORMAT,
        "name": facts.name,
        "description": facts.description,
        "source": facts.source,
        "licence": facts.licence,
        "measured_at": facts.measured_at,
        "notes": notes,
        "num_qubits": topology.num_qubits,
        "two_qubit_gate": next((name for name in TWO_QUBIT_NAMES if two.get(name)), "cx"),
        "coupler": facts.coupler,
        "max_shots": facts.max_shots,
        "max_circuits": facts.max_circuits,
        "timing": dict(facts.timing),
        "qubit_columns": list(QUBIT_COLUMNS),
        "qubits": qubits,
        "one_qubit_gates": one,
        "two_qubit_gates": two,
        "couplers": _couplers(topology, facts, notes),
        "conditional_errors": {
            "seed": topology.num_qubits,
            "ordinary_ratio": facts.ordinary_ratio,
            "ratios": [[*first, *second, ratio] for (first, second), ratio in outliers.items()],
        },
        "positions": None if facts.positions is None else [list(place) for place in facts.positions],
    }


def catalogue_text(document: Mapping[str, Any]) -> str:
    """The document as JSON with one line per entry of a table, so that differences can be read."""
    lines: list[str] = []
    for key, value in document.items():
        if isinstance(value, list) and key != "positions":
            entries = cast("list[Any]", value)
            rows = ",\n  ".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in entries)
            lines.append(f"{json.dumps(key)}: [\n  {rows}\n ]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}")
    return "{\n " + ",\n ".join(lines) + "\n}\n"


def listed(things: Sequence[object]) -> str:
    """The first few, and how many more."""
    shown = ", ".join(map(str, things[:_SHOWN]))
    return shown if len(things) <= _SHOWN else f"{shown} and {len(things) - _SHOWN} more"


def _truncated(q: int, row: QubitRow, notes: list[str]) -> QubitRow:
    t1_us, t2_us = row[0], row[1]
    if t1_us is not None and t2_us is not None and t2_us > 2 * t1_us:
        notes.append(
            f"T2 of qubit {q}, {t2_us:.1f} µs, exceeds 2 T1 and is truncated to {2 * t1_us:.1f} µs, as Aer does."
        )
        row[1] = 2 * t1_us
    return row


def _without_failed(facts: Facts, notes: list[str]) -> tuple[OneQubitGates, TwoQubitGates]:
    """The gates whose calibration did not fail: an error of 1 is how that is published."""
    one: OneQubitGates = {}
    failed_on: dict[int, list[str]] = {}
    for name, rows in facts.one_qubit_gates.items():
        one[name] = [None if row is not None and row[0] == 1.0 else row for row in rows]
        for q, row in enumerate(rows):
            if row is not None and row[0] == 1.0:
                failed_on.setdefault(q, []).append(name)
    notes += [f"Calibration failed (error 1): {', '.join(names)} on qubit {q}." for q, names in failed_on.items()]
    two: TwoQubitGates = {}
    for name, rows in facts.two_qubit_gates.items():
        two[name] = [row for row in rows if row[2] != 1.0]
        failed = sorted({row[:2] for row in rows if row[2] == 1.0})
        if name in _SYMMETRIC:
            where = [f"{a}-{b}" for a, b in sorted({(min(pair), max(pair)) for pair in failed})]
        else:
            where = [f"{a}→{b}" for a, b in failed]
        if failed:
            notes.append(f"Calibration failed (error 1): {name} on {listed(where)}.")
    return one, two


def _unusable(
    qubits: Sequence[QubitRow | None], one: OneQubitGates, two: TwoQubitGates, notes: list[str]
) -> frozenset[int]:
    """Qubits without a calibration, without one of ``rz sx x``, or cut off from more than half of the others."""
    usable = {q for q, row in enumerate(qubits) if row is not None}
    for q in sorted(usable):
        missing = [name for name in NEEDED_NAMES if name not in one or one[name][q] is None]
        if missing:
            notes.append(f"Qubit {q} is unusable: it has no {' and no '.join(missing)}.")
            usable.remove(q)
    neighbours: dict[int, set[int]] = {q: set() for q in usable}
    for a, b in ((row[0], row[1]) for rows in two.values() for row in rows):
        if a in usable and b in usable:
            neighbours[a].add(b)
            neighbours[b].add(a)
    largest = max((_reached(q, neighbours) for q in sorted(usable)), key=len, default=set[int]())
    if 2 * len(largest) > len(usable):
        stranded = sorted(usable - largest)
        if stranded:
            notes.append(f"Unusable, because no working gate leads to the rest: qubits {listed(stranded)}.")
        usable = largest
    return frozenset(range(len(qubits))) - usable


def _reached(start: int, neighbours: Mapping[int, set[int]]) -> set[int]:
    reached: set[int] = set()
    frontier = [start]
    while frontier:
        q = frontier.pop()
        if q not in reached:
            reached.add(q)
            frontier.extend(neighbours[q] - reached)
    return reached


def _calibrated_once(
    name: str, rows: Sequence[tuple[int, int, float, float]], unusable: frozenset[int]
) -> list[tuple[int, int, float, float]]:
    """Rows on usable qubits, sorted; of a symmetric gate published in both directions alike only ``a < b``."""
    kept = sorted(row for row in rows if not unusable & {row[0], row[1]})
    if name not in _SYMMETRIC:
        return kept
    known = set(kept)
    return [row for row in kept if row[0] < row[1] or (row[1], row[0], *row[2:]) not in known]


def _couplers(topology: Topology, facts: Facts, notes: list[str]) -> list[list[float]]:
    """``[a, b, ζ]`` of every coupler; exactly 0 is what is published where nothing could be measured."""
    assumed_hz = ASSUMED_ZZ_HZ[facts.coupler]
    rows = [[a, b, facts.zz_hz.get((a, b)) or assumed_hz] for a, b in topology.edges]
    unknown = [f"{a}-{b}" for a, b in topology.edges if not facts.zz_hz.get((a, b))]
    if unknown:
        where = "every coupler" if len(unknown) == len(rows) else listed(unknown)
        notes.append(f"Static ZZ is not measured on {where}: {assumed_hz / 1e3:g} kHz assumed.")
    return rows
