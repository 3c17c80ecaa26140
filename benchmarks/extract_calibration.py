"""Extract a published calibration into a compact catalogue file.

    python benchmarks/extract_calibration.py FakeBrisbane eagle127 qpu_backend/physics/catalog/eagle127.json

reads the calibration that a fake backend of qiskit-ibm-runtime (Apache-2.0) carries: T1, T2, frequency,
anharmonicity, readout and gate errors, durations, and the static ZZ of each coupler, which Aer's noise import leaves
out. Only facts are kept, with their source, version, date and licence, so that the package is not a dependency of the
service.
"""

from __future__ import annotations

import argparse
import inspect
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from qiskit_ibm_runtime import fake_provider

from qpu_backend.physics.crosstalk import draw_outliers
from qpu_backend.physics.topology import Topology

LICENCE = "Apache-2.0 (qiskit-ibm-runtime, copyright IBM)"
OVERHEAD_S = 2.0
CROSSTALK_SEED = 127
NS = {"s": 1e9, "us": 1e3, "µs": 1e3, "ns": 1.0, "": 1.0}
HZ = {"GHz": 1e9, "MHz": 1e6, "kHz": 1e3, "Hz": 1.0}
ONE_QUBIT = ("rz", "sx", "x", "id", "reset")
TWO_QUBIT = ("ecr", "cx", "cz", "rzz")


def extract(backend_name: str, catalogue_name: str) -> dict[str, Any]:
    """The catalogue document of a fake backend, e.g. ``FakeBrisbane``."""
    backend = getattr(fake_provider, backend_name)()
    folder = Path(inspect.getfile(type(backend))).parent
    conf = json.loads((folder / backend.conf_filename).read_text())
    props = json.loads((folder / backend.props_filename).read_text())
    num_qubits = conf["n_qubits"]
    couplers = Topology.of(num_qubits, (tuple(pair) for pair in conf["coupling_map"])).edges
    notes: list[str] = []
    qubits = [_qubit(q, rows, notes) for q, rows in enumerate(props["qubits"])]
    one_qubit, two_qubit = _gates(props["gates"], qubits, notes)
    zz_hz = _zz(props.get("general", []), couplers)
    if len(zz_hz) < len(couplers):
        notes.append(f"ZZ is measured on {len(zz_hz)} of {len(couplers)} couplers.")
    outliers = draw_outliers(Topology(num_qubits, couplers), CROSSTALK_SEED)
    notes.append(
        f"Conditional errors are not published: {len(outliers)} outlying pairs drawn with seed {CROSSTALK_SEED} "
        "from the distribution reported for such devices."
    )
    date = props["last_update_date"]
    return {
        "format": 1,
        "name": catalogue_name,
        "description": f"{num_qubits}-qubit {conf['processor_type']['family']} processor, {_shape(num_qubits)}",
        "source": (
            f"{conf['backend_name']} calibration of {date[:10]}, from qiskit-ibm-runtime "
            f"{version('qiskit-ibm-runtime')}: {backend.props_filename}, {backend.conf_filename}"
        ),
        "licence": LICENCE,
        "measured_at": date,
        "notes": notes,
        "num_qubits": num_qubits,
        "two_qubit_gate": next(name for name in TWO_QUBIT if name in two_qubit and name != "rzz"),
        "max_shots": conf["max_shots"],
        "max_circuits": conf["max_experiments"],
        "timing": {
            "dt_ns": conf["dt"],
            "granularity": conf["timing_constraints"]["granularity"],
            "pulse_alignment": conf["timing_constraints"]["pulse_alignment"],
            "acquire_alignment": conf["timing_constraints"]["acquire_alignment"],
            "rep_delay_us": conf["default_rep_delay"],
            "rep_delay_range_us": conf["rep_delay_range"],
            "overhead_s": OVERHEAD_S,
        },
        "qubit_columns": [
            "t1_us",
            "t2_us",
            "frequency_hz",
            "anharmonicity_hz",
            "prob_meas1_prep0",
            "prob_meas0_prep1",
            "readout_duration_ns",
        ],
        "qubits": qubits,
        "one_qubit_gates": one_qubit,
        "two_qubit_gates": two_qubit,
        "couplers": [[a, b, zz_hz.get((a, b))] for a, b in couplers],
        "conditional_errors": {
            "seed": CROSSTALK_SEED,
            "ordinary_ratio": 1.0,
            "ratios": [[*one, *other, ratio] for (one, other), ratio in outliers.items()],
        },
    }


def _shape(num_qubits: int) -> str:
    return "heavy-hex lattice" if num_qubits > 10 else "small lattice"


def _qubit(q: int, rows: list[dict[str, Any]], notes: list[str]) -> list[float | None] | None:
    """One row of ``qubit_columns``, or ``None`` when T1, T2 or the readout errors are missing."""
    found = {row["name"]: (row["value"], row["unit"]) for row in rows}
    if not {"T1", "T2", "prob_meas1_prep0", "prob_meas0_prep1", "readout_length"} <= set(found):
        notes.append(f"Qubit {q} is unusable: its calibration is incomplete.")
        return None
    t1_us, t2_us = (_exact(found[name][0], NS[found[name][1]] / 1e3) for name in ("T1", "T2"))
    if t2_us > 2 * t1_us:
        notes.append(
            f"T2 of qubit {q}, {t2_us:.1f} µs, exceeds 2 T1 and is truncated to {2 * t1_us:.1f} µs, as Aer does."
        )
        t2_us = 2 * t1_us
    frequencies = [
        _exact(found[name][0], HZ[found[name][1]]) if name in found else None for name in ("frequency", "anharmonicity")
    ]
    readout_ns = _exact(found["readout_length"][0], NS[found["readout_length"][1]])
    return [t1_us, t2_us, *frequencies, found["prob_meas1_prep0"][0], found["prob_meas0_prep1"][0], readout_ns]


def _exact(value: float, factor: float) -> float:
    """Unit conversion that leaves a number alone when nothing is to be converted."""
    return float(value) if factor == 1.0 else float(value * factor)


def _gates(
    rows: list[dict[str, Any]], qubits: list[list[float | None] | None], notes: list[str]
) -> tuple[dict[str, list[Any]], dict[str, list[list[float]]]]:
    """Gates by name: per qubit ``[error, duration_ns]`` or ``None``; per direction ``[a, b, error, duration_ns]``."""
    one: dict[str, list[Any]] = {}
    two: dict[str, list[list[float]]] = {}
    for row in rows:
        name, operands = row["gate"], row["qubits"]
        numbers = {p["name"]: _exact(p["value"], NS.get(p["unit"], 1.0)) for p in row["parameters"]}
        error, duration_ns = numbers.get("gate_error", 0.0), numbers.get("gate_length", 0.0)
        if name not in ONE_QUBIT + TWO_QUBIT:
            continue
        if error >= 1.0 or any(qubits[q] is None for q in operands):
            notes.append(f"{name} on {operands} is unusable: its calibration failed (error {error:g}).")
        elif name in ONE_QUBIT:
            one.setdefault(name, [None] * len(qubits))[operands[0]] = [error, duration_ns]
        else:
            two.setdefault(name, []).append([*operands, error, duration_ns])
    return one, {name: sorted(gates) for name, gates in two.items()}


def _zz(general: list[dict[str, Any]], couplers: tuple[tuple[int, int], ...]) -> dict[tuple[int, int], float]:
    """ζ of each coupler in Hz. Entries are named ``zz_<a><b>`` without a separator: only names of couplers are read."""
    by_name = {f"zz_{a}{b}": (min(a, b), max(a, b)) for pair in couplers for a, b in (pair, pair[::-1])}
    if len(by_name) != 2 * len(couplers):
        raise ValueError("two couplers share a name")
    found = {row["name"]: row["value"] * HZ[row["unit"]] for row in general if row["name"] in by_name}
    return {by_name[name]: float(np.round(zz_hz, 3)) for name, zz_hz in sorted(found.items())}


def write(document: dict[str, Any], path: Path) -> None:
    """One line per entry of a table, so that differences can be read."""
    lines: list[str] = []
    for key, value in document.items():
        if isinstance(value, list) and value and isinstance(value[0], (list, str)):
            rows = ",\n  ".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in value)
            lines.append(f"{json.dumps(key)}: [\n  {rows}\n ]")
        else:
            lines.append(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}")
    path.write_text("{\n " + ",\n ".join(lines) + "\n}\n", encoding="utf-8")


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", help="class name in qiskit_ibm_runtime.fake_provider, e.g. FakeBrisbane")
    parser.add_argument("name", help="catalogue name, e.g. eagle127")
    parser.add_argument("path", type=Path, help="file to write")
    arguments = parser.parse_args()
    document = extract(arguments.backend, arguments.name)
    write(document, arguments.path)
    print(f"{arguments.path}: {arguments.path.stat().st_size} bytes")
    for note in document["notes"]:
        print(f"  {note}")


if __name__ == "__main__":
    main()
