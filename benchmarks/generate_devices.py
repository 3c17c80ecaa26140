"""Draw the devices of the catalogue that no machine stands behind.

    python benchmarks/generate_devices.py

writes ``grid20`` and ``line5``. Medians are those of machines with the same kind of coupler; ln x is spread as widely
as between the qubits of one machine. Every error is at least what relaxation during the gate costs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from qpu_backend.physics.catalog.compose import OVERHEAD_S, Facts, QubitRow, catalogue_text, compose

CATALOGUE = Path(__file__).parents[1] / "qpu_backend" / "physics" / "catalog"
LICENCE = "Apache-2.0 (this project)"
DRAWN_AT = "2026-01-01T00:00:00+00:00"
STEP_NS = 4.0
"""Durations are multiples of it: dt times granularity."""
MARGIN = 1.1
"""A gate's error is at least so many times what relaxation alone costs."""


@dataclass(frozen=True)
class Design:
    """What is drawn around: medians, and the spread sd of ln x in brackets in the notes."""

    name: str
    description: str
    rows: int
    columns: int
    coupler: str
    gate: str
    both_directions: bool
    seed: int
    t1_us: float
    t2_us: float
    sx_error: float
    sx_ns: float
    gate_error: float
    gate_ns: float
    readout_error: float
    readout_ns: float
    zz_hz: float
    ordinary_ratio: float


GRID20 = Design(
    "grid20", "20-qubit square grid of 4 rows, tunable couplers, synthetic", 4, 5, "tunable", "cz", False, 20,
    t1_us=220.0, t2_us=180.0, sx_error=2.0e-4, sx_ns=32.0, gate_error=2.5e-3, gate_ns=72.0,
    readout_error=7e-3, readout_ns=1200.0, zz_hz=10e3, ordinary_ratio=1.6,
)  # fmt: skip
LINE5 = Design(
    "line5", "5-qubit line, fixed couplers, synthetic: for tests and teaching", 1, 5, "fixed", "cx", True, 5,
    t1_us=150.0, t2_us=120.0, sx_error=2.5e-4, sx_ns=36.0, gate_error=7.0e-3, gate_ns=360.0,
    readout_error=1.2e-2, readout_ns=1000.0, zz_hz=-40e3, ordinary_ratio=1.0,
)  # fmt: skip
SPREAD = {"T1": 0.25, "T2": 0.3, "sx error": 0.3, "two-qubit error": 0.35, "readout error": 0.4, "ZZ": 0.25}
ASYMMETRY = 1.5
"""Reading 0 after preparing 1 is so many times likelier than the reverse: the qubit relaxes while it is read."""


def draw(design: Design) -> dict[str, Any]:
    """The catalogue document of a design; equal for equal seeds."""
    rng = np.random.default_rng(design.seed)
    num_qubits = design.rows * design.columns
    places = [divmod(q, design.columns) for q in range(num_qubits)]
    couplers = [
        (a, b) for a in range(num_qubits) for b in range(a + 1, num_qubits) if _distance(places[a], places[b]) == 1
    ]
    qubits = [_qubit(design, rng, row, column) for row, column in places]
    times = [(row[0] or 0.0, row[1] or 0.0) for row in qubits]
    sx = [
        [_error(rng, design.sx_error, SPREAD["sx error"], _relaxation_error(design.sx_ns, [times[q]])), design.sx_ns]
        for q in range(num_qubits)
    ]
    two: list[tuple[int, int, float, float]] = []
    for a, b in couplers:
        duration_ns = STEP_NS * round(_spread(rng, design.gate_ns, 0.15) / STEP_NS)
        floor = _relaxation_error(duration_ns, [times[a], times[b]])
        error = _error(rng, design.gate_error, SPREAD["two-qubit error"], floor)
        two.append((a, b, error, duration_ns))
        if design.both_directions:
            two.append((b, a, error, duration_ns + design.sx_ns))
    return compose(
        Facts(
            name=design.name,
            description=design.description,
            source=f"synthetic: drawn by benchmarks/{Path(__file__).name} with seed {design.seed}; no machine",
            licence=LICENCE,
            measured_at=DRAWN_AT,
            couplers=couplers,
            coupler=design.coupler,
            qubits=qubits,
            one_qubit_gates={
                "rz": [[0.0, 0.0] for _ in sx],
                "sx": list(sx),
                "x": list(sx),
                "id": list(sx),
                "reset": [[0.0, design.readout_ns + design.sx_ns] for _ in sx],
            },
            two_qubit_gates={design.gate: two},
            zz_hz={edge: _rounded(math.copysign(_spread(rng, abs(design.zz_hz), SPREAD["ZZ"]), design.zz_hz))
                   for edge in couplers},
            timing={
                "dt_ns": 0.5,
                "granularity": 8,
                "pulse_alignment": 8,
                "acquire_alignment": 8,
                "rep_delay_us": 250.0,
                "rep_delay_range_us": [0.0, 500.0],
                "overhead_s": OVERHEAD_S,
            },
            ordinary_ratio=design.ordinary_ratio,
            positions=[(column + 1, row + 1) for row, column in places],
            notes=_notes(design),
        )
    )  # fmt: skip


def _notes(design: Design) -> list[str]:
    medians = {
        "T1": f"{design.t1_us:g} µs",
        "T2": f"{design.t2_us:g} µs, at most 1.9 T1",
        "sx error": f"{design.sx_error:g}",
        "two-qubit error": f"{design.gate_error:g}",
        "readout error": f"{design.readout_error:g}",
        "ZZ": f"{design.zz_hz / 1e3:g} kHz",
    }
    drawn = "; ".join(f"{name} {median} ({SPREAD[name]:g})" for name, median in medians.items())
    return [
        f"Log-normal, median and standard deviation of ln x in brackets: {drawn}.",
        "Frequencies lie on five levels, 100 MHz apart, so that no two qubits near each other share one, ± 15 MHz.",
        f"No error is below {MARGIN:g} times what relaxation during the gate costs.",
    ]


def _qubit(design: Design, rng: np.random.Generator, row: int, column: int) -> QubitRow:
    t1_us = _spread(rng, design.t1_us, SPREAD["T1"])
    t2_us = min(_spread(rng, design.t2_us, SPREAD["T2"]), 1.9 * t1_us)
    frequency_hz = 4.6e9 + 1e8 * ((column + 2 * row) % 5) + 15e6 * float(rng.standard_normal())
    anharmonicity_hz = -3.1e8 + 4e6 * float(rng.standard_normal())
    readout = _spread(rng, design.readout_error, SPREAD["readout error"])
    meas1_prep0 = 2 * readout / (1 + ASYMMETRY)
    numbers = (t1_us, t2_us, frequency_hz, anharmonicity_hz, meas1_prep0, ASYMMETRY * meas1_prep0)
    return [*(_rounded(number) for number in numbers), design.readout_ns]


def _distance(one: tuple[int, int], other: tuple[int, int]) -> int:
    return abs(one[0] - other[0]) + abs(one[1] - other[1])


def _spread(rng: np.random.Generator, median: float, sd: float) -> float:
    return float(median * np.exp(sd * rng.standard_normal()))


def _error(rng: np.random.Generator, median: float, sd: float, floor: float) -> float:
    return _rounded(max(_spread(rng, median, sd), MARGIN * floor))


def _relaxation_error(time_ns: float, times_us: list[tuple[float, float]]) -> float:
    """Average infidelity of relaxation alone: the process fidelities multiply."""
    process = math.prod(
        (1 + math.exp(-time_ns / (1e3 * t1)) + 2 * math.exp(-time_ns / (1e3 * t2))) / 4 for t1, t2 in times_us
    )
    dim = 2 ** len(times_us)
    return 1 - (dim * process + 1) / (dim + 1)


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def main() -> None:
    """Write the files of the catalogue."""
    for design in (GRID20, LINE5):
        path = CATALOGUE / f"{design.name}.json"
        path.write_text(catalogue_text(draw(design)), encoding="utf-8")
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
