"""Draws the devices of the catalogue and writes what reference/devices.md says of each (`make devices`).

Two pictures a device, in _static/devices: a map of the chip with its errors, and histograms of its numbers.
"""

from __future__ import annotations

import json
import statistics
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from qpu_backend.engines.catalogue import device_names, read_device
from qpu_backend.physics.circuit import Op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.physics.snapshot import Snapshot

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "reference" / "devices.md"
PICTURES = ROOT / "docs" / "_static" / "devices"
START, END = "<!-- devices: make devices -->", "<!-- end of devices -->"
BROKEN = "#9aa0a6"
INK = "#26547c"


def positions(name: str) -> list[tuple[int, int]]:
    """Column and row of every qubit, from the catalogue file."""
    path = resources.files("qpu_backend.physics.catalog") / f"{name}.json"
    return [(x, y) for x, y in json.loads(path.read_text(encoding="utf-8"))["positions"]]


def edge_errors(model: DeviceModel, snapshot: Snapshot) -> dict[tuple[int, int], float]:
    """Error of the main two-qubit gate of every working coupler: the better direction if there are two."""
    errors: dict[tuple[int, int], float] = {}
    for (op, qubits), gate in snapshot.gates.items():
        if op is model.two_qubit_gate:
            edge = (min(qubits), max(qubits))
            errors[edge] = min(gate.error, errors.get(edge, 1.0))
    return errors


def draw_map(model: DeviceModel, snapshot: Snapshot, path: Path) -> None:
    """The chip: readout error in the qubits, two-qubit error on the couplers; what is out of order in grey."""
    places = positions(model.name)
    columns, rows = (max(place[axis] for place in places) for axis in (0, 1))
    pitch = 0.62 if model.num_qubits > 30 else 0.85
    small = columns * pitch < 6
    figure = Figure(figsize=(max(6.0, pitch * columns + 1.4), max(1.9, pitch * rows + (1.1 if small else 0.6))))
    figure.set_layout_engine("constrained")
    axes = figure.subplots()
    errors = edge_errors(model, snapshot)
    readout = {q: row.readout_error for q, row in enumerate(snapshot.qubits) if row is not None}
    edge_scale = ScalarMappable(_colours(list(errors.values())), "plasma_r")
    node_scale = ScalarMappable(_colours(list(readout.values())), "viridis_r")
    for a, b in model.topology.edges:
        (xa, ya), (xb, yb) = places[a], places[b]
        works = (a, b) in errors
        colour = edge_scale.to_rgba(errors[a, b]) if works else BROKEN
        axes.plot([xa, xb], [ya, yb], color=colour, linewidth=4.5 if works else 1.6, linestyle="-" if works else ":")
    diameter = 48 * pitch
    for q, (x, y) in enumerate(places):
        works = q in readout
        face = node_scale.to_rgba(readout[q]) if works else (1.0, 1.0, 1.0)
        dark = float(np.dot(face[:3], (0.2126, 0.7152, 0.0722))) < 0.55
        ink = BROKEN if not works else "white" if dark else "black"
        edges = {"edgecolors": "none" if works else BROKEN, "linestyle": ":", "linewidths": 1.6}
        axes.scatter([x], [y], s=(0.55 * diameter) ** 2, color=[face], zorder=2, **edges)
        axes.annotate(str(q), (x, y), ha="center", va="center", fontsize=7.5, color=ink, zorder=3)
    bars = {"location": "bottom" if small else "right", "aspect": 30, "pad": 0.03, "shrink": 0.9, "extend": "max"}
    figure.colorbar(node_scale, ax=axes, label="readout error", **bars)
    figure.colorbar(edge_scale, ax=axes, label=f"{_name(model.two_qubit_gate)} error", **bars)
    axes.set_xlim(0.4, columns + 0.6)
    axes.set_ylim(rows + 0.6, 0.4)
    axes.set_aspect("equal")
    axes.set_axis_off()
    figure.savefig(path, dpi=90)


def draw_numbers(model: DeviceModel, snapshot: Snapshot, path: Path) -> None:
    """Histograms of coherence times, errors and |ζ|, each with its median."""
    figure = Figure(figsize=(9.0, 4.6), layout="constrained")
    for axes, (title, values, unit) in zip(figure.subplots(2, 3).flat, _numbers(model, snapshot), strict=True):
        logarithmic = not unit and max(values) > 10 * min(values)
        low, high = min(values) / 1.1, 1.1 * max(values)
        bins = np.geomspace(low, high, 22) if logarithmic else np.linspace(0.0, high, 22)
        axes.hist(values, bins=bins, color=INK, alpha=0.85)
        median = statistics.median(values)
        axes.axvline(median, color="#e6550d", linewidth=1.5)
        axes.set_title(f"{title}   median {_written(median)}{unit and ' ' + unit}", fontsize=9)
        if logarithmic:
            axes.set_xscale("log")
        else:
            axes.ticklabel_format(axis="x", scilimits=(-2, 4))
            axes.xaxis.get_offset_text().set_fontsize(8)
        axes.set_xlabel(unit, fontsize=8)
        axes.tick_params(which="both", labelsize=8)
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=90)


def _numbers(model: DeviceModel, snapshot: Snapshot) -> list[tuple[str, list[float], str]]:
    """Title, values and unit; errors have none."""
    qubits = [row for row in snapshot.qubits if row is not None]
    return [
        ("T1", [row.t1_us for row in qubits], "µs"),
        ("T2", [row.t2_us for row in qubits], "µs"),
        ("|ζ|", [abs(zz_hz) / 1e3 for zz_hz in snapshot.zz_hz.values()], "kHz"),
        ("readout error", [row.readout_error for row in qubits], ""),
        ("sx error", [snapshot.gate(Op.SX, (q,)).error for q in snapshot.usable_qubits], ""),
        (f"{_name(model.two_qubit_gate)} error", list(edge_errors(model, snapshot).values()), ""),
    ]


def describe(model: DeviceModel, snapshot: Snapshot) -> list[str]:
    """What the page says of a device."""
    durations = {
        _name(op): sorted({gate.duration_ns for (other, _), gate in snapshot.gates.items() if other is op})
        for op in sorted({op for op, _ in snapshot.gates} - {Op.ID, Op.RZ})
    }
    readout = sorted({row.readout_duration_ns for row in snapshot.qubits if row is not None})
    couplers = len(snapshot.usable_edges)
    facts = {
        "Qubits": _of(len(snapshot.usable_qubits), model.num_qubits),
        "Couplers": f"{model.coupler}, {_of(couplers, len(model.topology.edges))}",
        "Basis": " ".join(f"`{_name(op)}`" for op in model.basis),
        "Durations": "; ".join(
            f"{name} {_range(values)} ns" for name, values in [*durations.items(), ("measure", readout)]
        ),
        "Medians": "; ".join(
            f"{title} {_written(statistics.median(values))}{unit and ' ' + unit}"
            for title, values, unit in _numbers(model, snapshot)
        ),
        "Clock": f"dt {model.timing.dt_ns:.4g} ns, granularity {model.timing.granularity}",
        "Source": model.source,
        "Licence": model.licence,
    }
    return [
        f"## `{model.name}`",
        "",
        f"{model.description}.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {text.replace('|', chr(92) + '|')} |" for name, text in facts.items()),
        "",
        f"![Map of {model.name}](../_static/devices/{model.name}-map.png)",
        "",
        f"![Histograms of {model.name}](../_static/devices/{model.name}-numbers.png)",
        "",
        "Notes:",
        "",
        *(f"* {note}" for note in model.notes),
        "",
    ]


def section() -> str:
    """The generated part of the page, markers included."""
    lines = [START, ""]
    for name in device_names():
        lines += describe(*read_device(name))
    return "\n".join([*lines, END])


def _name(op: Op) -> str:
    return op.name.lower()


def _of(working: int, total: int) -> str:
    return str(total) if working == total else f"{total}, of which {working} work"


def _range(values: Sequence[float]) -> str:
    return f"{values[0]:.0f}" if len(values) == 1 else f"{values[0]:.0f} to {values[-1]:.0f}"


def _written(value: float) -> str:
    return f"{value:.3g}" if value >= 1 else f"{value:.1e}"


def _colours(errors: Sequence[float]) -> LogNorm:
    """A logarithmic scale that the worst few do not stretch."""
    return LogNorm(min(errors) / 1.1, 1.1 * float(np.percentile(errors, 95)))


def main() -> None:
    """Write the pictures and the section of the page."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name in device_names():
        model, snapshot = read_device(name)
        draw_map(model, snapshot, PICTURES / f"{name}-map.png")
        draw_numbers(model, snapshot, PICTURES / f"{name}-numbers.png")
    before, rest = PAGE.read_text(encoding="utf-8").split(START)
    PAGE.write_text(before + section() + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
