"""Pictures: the device with the error of every qubit and edge and the regions of jobs; for terminal, file and notebook.

rich and matplotlib are loaded when something is drawn. :mod:`qpu_sdk.layout` computes where qubits lie on the page.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, Final

from qpu_sdk.errors import InvalidRequestError, QPUError
from qpu_sdk.layout import qubit_positions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rich.text import Text

    from qpu_sdk.wire.models import BackendDocument, JobDocument

_COLOURS: Final = ("#e6550d", "#3182bd", "#31a354", "#756bb1", "#d6336c", "#8c6d31", "#17becf", "#bcbd22")
_UNUSABLE: Final = "#bbbbbb"


def edge_errors(document: BackendDocument) -> dict[tuple[int, int], float]:
    """Error of the two-qubit gate on every calibrated edge ``(a, b)``, a < b: the better direction if there are two."""
    errors: dict[tuple[int, int], float] = {}
    for gate in document.gates:
        if len(gate.qubits) == 2:
            a, b = sorted(gate.qubits)
            errors[a, b] = min(gate.error, errors.get((a, b), 1.0))
    return errors


def device_text(document: BackendDocument, regions: Mapping[str, Sequence[int]] | None = None) -> Text:
    """The device in characters: every qubit by its number, every edge, and regions by colour and letter.

    A qubit of the second region shows as ``12B``; ``str()`` of the text is the picture without colours.

    Raises:
        InvalidRequestError: two regions share a qubit, or a region has a qubit the device does not have.
    """
    from rich.text import Text  # noqa: PLC0415  # heavy, and only for pictures

    owner = _owners(document, regions or {})
    colours, _ = _colours(list(regions or {}))
    edges = edge_errors(document)
    places = qubit_positions(document.num_qubits, list(edges))
    rows = 2 * max((y for _, y in places.values()), default=0) + 1
    columns = max((x for x, _ in places.values()), default=0) + 1
    cells = [[" " * 5] * columns for _ in range(rows)]
    styles: dict[tuple[int, int], str] = {}
    for a, b in edges:
        (xa, ya), (xb, yb) = sorted((places[a], places[b]))
        if ya == yb and xb == xa + 1:
            cells[2 * ya][xa] = "   ──"
        elif xa == xb and yb == ya + 1:
            cells[2 * ya + 1][xa] = "  │  "
    for qubit, (x, y) in places.items():
        region = owner.get(qubit)
        mark = " " if region is None else chr(ord("A") + region % 26)
        link = cells[2 * y][x][3:] if mark == " " else mark + cells[2 * y][x][4:]
        cells[2 * y][x] = f"{qubit:>3}{link}"
        styles[2 * y, x] = _text_style(document, qubit, None if region is None else colours[region])
    text = Text()
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            text.append(cell[:4], styles.get((y, x), "dim"))
            text.append(cell[4:], "dim")
        text.append("\n")
    for number, label in enumerate(regions or {}):
        end = "\n" if number % 4 == 3 else "   "
        text.append(f"{chr(ord('A') + number % 26)} {label}{end}", f"bold {colours[number]}")
    return text


def draw_device(
    document: BackendDocument, regions: Mapping[str, Sequence[int]] | None = None, path: Path | str | None = None
) -> Any:
    """The device as a matplotlib figure: readout error in the qubits, gate error on the edges, a ring per region.

    Args:
        document: topology and calibration.
        regions: label → its qubits. Labels that share a first word, like ``alice 1`` and ``alice 2``, share a colour.
        path: also write the picture there; its ending chooses the format.

    Returns:
        A ``matplotlib.figure.Figure``, not attached to any window.

    Raises:
        InvalidRequestError: two regions share a qubit, or a region has a qubit the device does not have.
        QPUError: matplotlib is not installed.
    """
    try:  # heavy, optional: only for pictures
        from matplotlib.cm import ScalarMappable  # noqa: PLC0415
        from matplotlib.colors import LogNorm  # noqa: PLC0415
        from matplotlib.figure import Figure  # noqa: PLC0415
        from matplotlib.lines import Line2D  # noqa: PLC0415
    except ImportError as error:
        raise QPUError('pictures need matplotlib: pip install "qpu-sdk[plot]"') from error

    owner = _owners(document, regions or {})
    colours, groups = _colours(list(regions or {}))
    edges = edge_errors(document)
    places = qubit_positions(document.num_qubits, list(edges))
    readout = {qubit: seen.readout_error for qubit, seen in enumerate(document.qubits) if seen is not None}
    node_scale: Any = ScalarMappable(LogNorm(*_span(readout.values())), "viridis_r")
    edge_scale: Any = ScalarMappable(LogNorm(*_span(edges.values())), "plasma_r")
    width = max((x for x, _ in places.values()), default=0) + 1
    height = max((y for _, y in places.values()), default=0) + 1
    figure: Any = Figure(figsize=(max(5.0, 0.75 * width + 2.5), max(3.0, 0.6 * height + 1.2)), layout="constrained")
    axes = figure.subplots()
    for (a, b), error in edges.items():
        (xa, ya), (xb, yb) = places[a], places[b]
        region = owner.get(a)
        if region is not None and region == owner.get(b):
            axes.plot([xa, xb], [ya, yb], color=colours[region], linewidth=13, alpha=0.45, zorder=0)
        axes.plot([xa, xb], [ya, yb], color=edge_scale.to_rgba(error), linewidth=3, zorder=1)
    for qubit, (x, y) in places.items():
        region = owner.get(qubit)
        usable = qubit in readout
        axes.scatter(
            [x],
            [y],
            s=330,
            color=node_scale.to_rgba(readout[qubit]) if usable else _UNUSABLE,
            edgecolors="none" if region is None else colours[region],
            linewidths=0 if region is None else 4.0,
            zorder=2,
        )
        ink = _ink(node_scale.to_rgba(readout[qubit])) if usable else "black"
        axes.annotate(str(qubit), (x, y), ha="center", va="center", fontsize=7, color=ink, zorder=3)
    handles = [
        Line2D([], [], marker="o", linestyle="none", markerfacecolor="none", markeredgewidth=3,
               markeredgecolor=colour, label=group)
        for group, colour in groups.items()
    ]  # fmt: skip
    if handles:
        axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.02), ncols=min(4, len(handles)))
    figure.colorbar(node_scale, ax=axes, label="readout error", shrink=0.8)
    figure.colorbar(edge_scale, ax=axes, label="two-qubit gate error", shrink=0.8)
    axes.set_title(f"{document.name}   calibration {document.calibration_id}", fontsize=10)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.set_axis_off()
    if path is not None:
        figure.savefig(path, dpi=110)
    return figure


def backend_html(document: BackendDocument) -> str:
    """A backend in a notebook: facts and a small map, coloured by error."""
    readout = sorted(seen.readout_error for seen in document.qubits if seen is not None)
    gates = sorted(edge_errors(document).values())
    facts = {
        "qubits": f"{document.num_qubits} ({len(readout)} usable)",
        "kind": str(document.kind),
        "basis": " ".join(document.basis_gates),
        "two-qubit error (median)": f"{gates[len(gates) // 2]:.2e}" if gates else "none",
        "readout error (median)": f"{readout[len(readout) // 2]:.2e}" if readout else "none",
        "calibration": f"{document.calibration_id}, {document.calibrated_at:%Y-%m-%d %H:%M} UTC",
    }
    return _table(document.name, facts) + _svg(document)


def job_html(document: JobDocument) -> str:
    """A job in a notebook."""
    facts = {
        "backend": document.backend,
        "state": str(document.state),
        "executions": str(document.num_executions),
        "shots": str(document.shots),
        "device time": f"{document.estimated_device_s:.3f} s",
        "price": f"{document.price_micro / 1e6:.6f} credits",
    }
    if document.waiting is not None:
        facts["waiting"] = document.waiting.message
    if document.error_message:
        facts["error"] = document.error_message
    return _table(document.id, facts)


def _table(title: str, facts: Mapping[str, str]) -> str:
    cell = "<td style='text-align:left'>"
    rows = "".join(
        f"<tr>{cell}{html.escape(name)}</td>{cell}{html.escape(value)}</td></tr>" for name, value in facts.items()
    )
    return f"<table><caption><b>{html.escape(title)}</b></caption>{rows}</table>"


def _svg(document: BackendDocument, pitch: int = 22) -> str:
    edges = edge_errors(document)
    places = qubit_positions(document.num_qubits, list(edges))
    at = {qubit: ((x + 0.7) * pitch, (y + 0.7) * pitch) for qubit, (x, y) in places.items()}
    worst = max(edges.values(), default=1.0)
    lines = "".join(
        f"<line x1='{at[a][0]:.0f}' y1='{at[a][1]:.0f}' x2='{at[b][0]:.0f}' y2='{at[b][1]:.0f}' stroke='#7a1f6b' "
        f"stroke-width='4' stroke-opacity='{0.25 + 0.75 * error / worst:.2f}'>"
        f"<title>{a}-{b}: {error:.2e}</title></line>"
        for (a, b), error in edges.items()
    )
    dots = "".join(
        f"<circle cx='{x:.0f}' cy='{y:.0f}' r='8' fill='{_UNUSABLE if document.qubits[qubit] is None else '#26547c'}'/>"
        f"<text x='{x:.0f}' y='{y + 3:.0f}' font-size='8' fill='white' text-anchor='middle'>{qubit}</text>"
        for qubit, (x, y) in at.items()
    )
    width = max((x for x, _ in at.values()), default=0) + 0.7 * pitch
    height = max((y for _, y in at.values()), default=0) + 0.7 * pitch
    return f"<svg width='{width:.0f}' height='{height:.0f}' xmlns='http://www.w3.org/2000/svg'>{lines}{dots}</svg>"


def _owners(document: BackendDocument, regions: Mapping[str, Sequence[int]]) -> dict[int, int]:
    """Qubit → number of the region it is in."""
    owner: dict[int, int] = {}
    for number, (label, qubits) in enumerate(regions.items()):
        for qubit in qubits:
            if not 0 <= qubit < document.num_qubits:
                raise InvalidRequestError(f"region {label!r}: {document.name} has no qubit {qubit}", field="regions")
            if owner.setdefault(qubit, number) != number:
                raise InvalidRequestError(f"region {label!r}: qubit {qubit} is in another region too", field="regions")
    return owner


def _colours(labels: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """A colour for each region, and what the colours mean: one each, or, where labels share first words, one a word."""
    words = list(dict.fromkeys(label.split(" ", 1)[0] for label in labels))
    names = words if len(words) < len(labels) else list(labels)
    groups = {name: _COLOURS[number % len(_COLOURS)] for number, name in enumerate(names)}
    return [groups[label if label in groups else label.split(" ", 1)[0]] for label in labels], groups


def _text_style(document: BackendDocument, qubit: int, colour: str | None) -> str:
    if colour is not None:
        return f"bold white on {colour}"
    seen = document.qubits[qubit]
    if seen is None:
        return "dim strike"
    return "red" if seen.readout_error > 0.05 else "yellow" if seen.readout_error > 0.02 else "green"


def _ink(background: Sequence[float]) -> str:
    """Black on bright colours, white on dark ones (luminance after ITU-R BT.709)."""
    red, green, blue = background[:3]
    return "black" if 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.55 else "white"


def _span(errors: Any) -> tuple[float, float]:
    """Limits of a logarithmic colour scale; an edge that failed calibration (error 1) does not stretch it."""
    positive = [error for error in errors if 0 < error < 1]
    low, high = min(positive, default=1e-3), max(positive, default=1e-1)
    return (low, high) if high > low else (low / 2, high * 2)
