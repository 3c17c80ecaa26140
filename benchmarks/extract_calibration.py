"""Extract a published calibration into a compact catalogue file.

    python benchmarks/extract_calibration.py FakeBrisbane eagle127 qpu_backend/physics/catalog/eagle127.json
    python benchmarks/extract_calibration.py FakeBoston heron156 qpu_backend/physics/catalog/heron156.json
    python benchmarks/extract_calibration.py FakeHanoiV2 falcon27 qpu_backend/physics/catalog/falcon27.json

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
from typing import TYPE_CHECKING, Any

from qiskit_ibm_runtime import fake_provider

from qpu_backend.physics.catalog.compose import (
    ORDINARY_RATIO,
    OVERHEAD_S,
    TWO_QUBIT_NAMES,
    Facts,
    OneQubitGates,
    QubitRow,
    TwoQubitGates,
    catalogue_text,
    compose,
    listed,
)
from qpu_backend.physics.topology import Edge, Topology

if TYPE_CHECKING:
    from collections.abc import Iterable

LICENCE = "Apache-2.0 (qiskit-ibm-runtime, copyright IBM)"
NS = {"s": 1e9, "us": 1e3, "µs": 1e3, "ns": 1.0, "": 1.0}
HZ = {"GHz": 1e9, "MHz": 1e6, "kHz": 1e3, "Hz": 1.0}
ONE_QUBIT = ("rz", "sx", "x", "id", "reset")
TUNABLE = ("Heron", "Nighthawk")
"""Families of processors with tunable couplers."""


def extract(backend_name: str, catalogue_name: str) -> dict[str, Any]:
    """The catalogue document of a fake backend, e.g. ``FakeBrisbane``."""
    conf, props, files = published(backend_name)
    num_qubits, family = conf["n_qubits"], conf["processor_type"]["family"]
    couplers = Topology.of(num_qubits, (tuple(pair) for pair in conf["coupling_map"])).edges
    notes: list[str] = []
    qubits = [_qubit(q, rows, notes) for q, rows in enumerate(props["qubits"])]
    one_qubit, two_qubit = _gates(props["gates"], qubits, notes)
    coupler = "tunable" if family in TUNABLE else "fixed"
    if any(row is not None and row[2] is None for row in qubits):
        missing = [q for q, row in enumerate(qubits) if row is not None and row[2] is None]
        notes.append(
            "Frequencies and anharmonicities are not published."
            if len(missing) == len(qubits)
            else f"Frequencies of qubits {listed(missing)} are not published."
        )
    return compose(
        Facts(
            name=catalogue_name,
            description=f"{num_qubits}-qubit {family} processor, {_shape(num_qubits)}",
            source=(
                f"{conf['backend_name']} calibration of {props['last_update_date'][:10]}, from qiskit-ibm-runtime "
                f"{version('qiskit-ibm-runtime')}: {files}"
            ),
            licence=LICENCE,
            measured_at=props["last_update_date"],
            couplers=couplers,
            coupler=coupler,
            qubits=qubits,
            one_qubit_gates=one_qubit,
            two_qubit_gates=two_qubit,
            zz_hz=static_zz(props.get("general", []), couplers, notes),
            timing={
                "dt_ns": conf["dt"],
                "granularity": conf["timing_constraints"]["granularity"],
                "pulse_alignment": conf["timing_constraints"]["pulse_alignment"],
                "acquire_alignment": conf["timing_constraints"]["acquire_alignment"],
                "rep_delay_us": conf["default_rep_delay"],
                "rep_delay_range_us": conf["rep_delay_range"],
                "overhead_s": OVERHEAD_S,
            },
            ordinary_ratio=ORDINARY_RATIO[coupler],
            positions=conf.get("coords"),
            notes=notes,
            max_shots=conf["max_shots"],
            max_circuits=conf["max_experiments"],
        )
    )


def published(backend_name: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Configuration, properties and the names of both files of a fake backend, as they are in the package."""
    backend = getattr(fake_provider, backend_name)()
    folder = Path(inspect.getfile(type(backend))).parent
    conf, props = (json.loads((folder / name).read_text()) for name in (backend.conf_filename, backend.props_filename))
    return conf, props, f"{backend.props_filename}, {backend.conf_filename}"


def static_zz(general: Iterable[dict[str, Any]], couplers: Iterable[Edge], notes: list[str]) -> dict[Edge, float]:
    """ζ of each coupler in Hz.

    Entries are named ``zz_<a><b>`` without a separator, so ``zz_112`` is the coupler 1-12 or 11-2. Where both exist the
    entry says nothing and is left out; so are entries that contradict each other, and names of no coupler.
    """
    owners: dict[str, set[Edge]] = {}
    for a, b in couplers:
        for name in (f"zz_{a}{b}", f"zz_{b}{a}"):
            owners.setdefault(name, set()).add((a, b))
    values: dict[Edge, set[float]] = {}
    for row in general:
        if len(edges := owners.get(row["name"], set())) == 1:
            values.setdefault(next(iter(edges)), set()).add(round(row["value"] * HZ[row["unit"]], 3))
        elif edges:
            pairs = " and ".join(f"{a}-{b}" for a, b in sorted(edges))
            notes.append(f"{row['name']} may be the ZZ of {pairs}: left out.")
    contradictory = sorted(edge for edge, found in values.items() if len(found) > 1)
    notes += [f"ZZ of {a}-{b} is published with different values: left out." for a, b in contradictory]
    return {edge: next(iter(found)) for edge, found in sorted(values.items()) if len(found) == 1}


def _shape(num_qubits: int) -> str:
    return "heavy-hex lattice" if num_qubits > 10 else "small lattice"


def _qubit(q: int, rows: list[dict[str, Any]], notes: list[str]) -> QubitRow | None:
    """One row of the catalogue, or ``None`` when T1, T2 or the readout errors are missing."""
    found = {row["name"]: (row["value"], row["unit"]) for row in rows}
    if not {"T1", "T2", "prob_meas1_prep0", "prob_meas0_prep1", "readout_length"} <= set(found):
        notes.append(f"Qubit {q} is unusable: its calibration is incomplete.")
        return None
    t1_us, t2_us = (_exact(found[name][0], NS[found[name][1]] / 1e3) for name in ("T1", "T2"))
    frequencies = [
        _exact(found[name][0], HZ[found[name][1]]) if name in found else None for name in ("frequency", "anharmonicity")
    ]
    readout_ns = _exact(found["readout_length"][0], NS[found["readout_length"][1]])
    return [t1_us, t2_us, *frequencies, found["prob_meas1_prep0"][0], found["prob_meas0_prep1"][0], readout_ns]


def _exact(value: float, factor: float) -> float:
    """Unit conversion that leaves a number alone when nothing is to be converted."""
    return float(value) if factor == 1.0 else float(value * factor)


def _gates(
    rows: list[dict[str, Any]], qubits: list[QubitRow | None], notes: list[str]
) -> tuple[OneQubitGates, TwoQubitGates]:
    """Gates that the simulator knows; the names of the others become a note."""
    one: OneQubitGates = {}
    two: TwoQubitGates = {}
    others: set[str] = set()
    for row in rows:
        name, operands = row["gate"], row["qubits"]
        numbers = {p["name"]: _exact(p["value"], NS.get(p["unit"], 1.0)) for p in row["parameters"]}
        error, duration_ns = numbers.get("gate_error", 0.0), numbers.get("gate_length", 0.0)
        if name in ONE_QUBIT:
            one.setdefault(name, [None] * len(qubits))[operands[0]] = [error, duration_ns]
        elif name in TWO_QUBIT_NAMES:
            two.setdefault(name, []).append((operands[0], operands[1], error, duration_ns))
        elif name != "measure":
            others.add(name)
    if others:
        notes.append(f"Also published, and left out: {', '.join(sorted(others))}.")
    return one, two


def main() -> None:
    """Read the command line and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backend", help="class name in qiskit_ibm_runtime.fake_provider, e.g. FakeBrisbane")
    parser.add_argument("name", help="catalogue name, e.g. eagle127")
    parser.add_argument("path", type=Path, help="file to write")
    arguments = parser.parse_args()
    document = extract(arguments.backend, arguments.name)
    arguments.path.write_text(catalogue_text(document), encoding="utf-8")
    print(f"{arguments.path}: {arguments.path.stat().st_size} bytes")
    for note in document["notes"]:
        print(f"  {note}")


if __name__ == "__main__":
    main()
