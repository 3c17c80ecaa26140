"""Maps of a chip as matplotlib figures: errors, crosstalk, and where a job ran."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from qpu_sdk.display.chip import (
    EDGE_LABEL,
    edge_errors,
    owners,
    places_of,
    quantity,
    qubit_values,
    share,
    span,
)
from qpu_sdk.display.colours import ink_on, of_regions, ramp
from qpu_sdk.display.paper import finished, legend, scale, sheet
from qpu_sdk.errors import InvalidRequestError, JobNotDoneError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from qpu_sdk.display.chip import Edge
    from qpu_sdk.display.colours import Theme
    from qpu_sdk.layout import Position
    from qpu_sdk.wire.crosstalk import CrosstalkDocument
    from qpu_sdk.wire.models import BackendDocument
    from qpu_sdk.wire.usage import MeteringRecord

_BEND: Final = 0.3
_COMPANY: Final = {
    "0": "nobody else ran beside it",
    "1-3": "1 to 3 other jobs ran beside it",
    "4+": "4 or more other jobs ran beside it",
}


def draw_device(
    document: BackendDocument,
    regions: Mapping[str, Sequence[int]] | None = None,
    path: Path | str | None = None,
    *,
    qubits: str = "readout_error",
    title: str | None = None,
    dark: bool = False,
) -> Any:
    """The device as a matplotlib figure: an error of qubits, the gate error of couplers, a ring per region.

    What is worse stands out: it is darker on white, brighter on black. What is out of order is dotted.

    Args:
        document: topology and calibration.
        regions: label → its qubits. Labels that share a first word, like ``alice 1`` and ``alice 2``, share a colour.
        path: also write the picture there; its ending chooses the format.
        qubits: ``readout_error``, ``t1_us`` or ``t2_us``.
        title: above the picture; by default name and calibration.
        dark: for a dark page.

    Returns:
        A ``matplotlib.figure.Figure``, not attached to any window.

    Raises:
        InvalidRequestError: two regions share a qubit, a region has a qubit the device does not have, or there is no
            such quantity.
        QPUError: matplotlib is not installed.
    """
    shown, owner = quantity(qubits), owners(document, regions or {})
    colours, groups = of_regions(list(regions or {}))
    errors, values, places = edge_errors(document), qubit_values(document, shown), places_of(document)
    node_span, edge_span = span(values.values()), span(errors.values(), below=1.0)
    figure, axes, drawn = _chip_sheet(places, dark=dark)
    inside = {edge: owner[edge[0]] for edge in errors if edge[0] in owner and owner[edge[0]] == owner.get(edge[1])}
    _lines(axes, places, {edge: colours[region] for edge, region in inside.items()}, 15.0, alpha=0.4, zorder=0)
    _lines(axes, places, {edge: ramp(drawn.edges, share(error, edge_span)) for edge, error in errors.items()}, 3.5)
    stops = drawn.qubits if shown.high_is_bad else drawn.qubits[::-1]
    fills = {qubit: ramp(stops, share(value, node_span)) for qubit, value in values.items()}
    _nodes(axes, places, fills, {qubit: colours[region] for qubit, region in owner.items()}, drawn)
    handles = [_ring(colour, name) for name, colour in groups.items()]
    if len(values) < document.num_qubits:
        handles.append(_dotted(drawn))
    scale(figure, axes, shown.label, node_span, stops, drawn)
    if errors:
        scale(figure, axes, EDGE_LABEL, edge_span, drawn.edges, drawn)
    legend(axes, handles, drawn)
    figure.suptitle(title or f"{document.name}   calibration {document.calibration_id}", fontsize=10, color=drawn.ink)
    return finished(figure, path)


def draw_job(
    document: BackendDocument,
    metering: MeteringRecord,
    path: Path | str | None = None,
    *,
    qubits: str = "readout_error",
    dark: bool = False,
) -> Any:
    """Where a job ran: its region on the device. Of those beside it only how many there were is told, not where.

    Args:
        document: the device with the calibration that the job ran with.
        metering: of the job.
        path: also write the picture there.
        qubits: what their colour says; see :func:`draw_device`.
        dark: for a dark page.

    Raises:
        JobNotDoneError: it has not been placed yet.
        QPUError: matplotlib is not installed.
    """
    region = placement_of(metering)
    return draw_device(
        document,
        {f"qubits of the job: {', '.join(map(str, region))}" if len(region) <= 12 else "qubits of the job": region},
        path,
        qubits=qubits,
        title=f"{metering.job_id} on {document.name}\n{company_of(metering)}",
        dark=dark,
    )


def placement_of(metering: MeteringRecord) -> list[int]:
    """Physical qubits of a job, in the order of its own.

    Raises:
        JobNotDoneError: it has not been placed yet.
    """
    if metering.placement is None:
        raise JobNotDoneError(f"job {metering.job_id} ({metering.state}) ran on no qubits yet")
    return metering.placement


def company_of(metering: MeteringRecord) -> str:
    """How many were beside a job, in words."""
    return _COMPANY.get(metering.co_tenants or "", "who ran beside it is not known")


def draw_crosstalk(
    document: BackendDocument,
    crosstalk: CrosstalkDocument,
    path: Path | str | None = None,
    *,
    dark: bool = False,
) -> Any:
    """What neighbours do to each other: ZZ of every coupler, pairs of gates that disturb each other, readout groups.

    Couplers are coloured by |ζ| in kHz. An arc joins two couplers whose gates raise each other's error, as wide as the
    ratio is large, which stands beside it. Qubits of one readout group, next to each other in number, share a tone.

    Args:
        document: of the backend.
        crosstalk: of the same backend.
        path: also write the picture there.
        dark: for a dark page.

    Raises:
        InvalidRequestError: the two are of different backends.
        QPUError: matplotlib is not installed.
    """
    if document.name != crosstalk.name:
        raise InvalidRequestError(f"{crosstalk.name} is not {document.name}", field="crosstalk")
    zz_khz = {one.qubits: abs(one.zz_hz) / 1e3 for one in crosstalk.zz}
    places = places_of(document, zz_khz)
    limits = span(zz_khz.values())
    figure, axes, drawn = _chip_sheet(places, dark=dark)
    unknown = dict.fromkeys(set(edge_errors(document)) - set(zz_khz), drawn.faint)
    _lines(axes, places, unknown, 1.5)
    _lines(axes, places, {edge: ramp(drawn.edges, share(khz, limits)) for edge, khz in zz_khz.items()}, 5.0)
    group_of = {qubit: number for number, group in enumerate(crosstalk.readout_groups) for qubit in group}
    works = [qubit for qubit, seen in enumerate(document.qubits) if seen is not None]
    tones = {qubit: drawn.soft if group_of.get(qubit, 1) % 2 == 0 else drawn.paper for qubit in works}
    _nodes(axes, places, tones, dict.fromkeys(works, drawn.faint), drawn, ring=1.0)
    for pair in crosstalk.simultaneous:
        _arc(axes, places, pair.couplers, pair.ratio, drawn)
    if zz_khz:
        scale(figure, axes, "static ZZ |ζ| (kHz)", limits, drawn.edges, drawn)
    handles = _crosstalk_handles(crosstalk, drawn)
    if any(seen is None for seen in document.qubits):
        handles.append(_dotted(drawn))
    legend(axes, handles, drawn, columns=2)
    figure.suptitle(
        f"crosstalk of {document.name}   calibration {crosstalk.calibration_id}", fontsize=10, color=drawn.ink
    )
    return finished(figure, path)


def _chip_sheet(places: Mapping[int, Position], *, dark: bool) -> tuple[Any, Any, Theme]:
    width = max((x for x, _ in places.values()), default=0) + 1
    height = max((y for _, y in places.values()), default=0) + 1
    figure, axes, drawn = sheet(max(5.5, 0.68 * width + 2.2), max(2.6, 0.62 * height + 1.1), dark=dark)
    axes.set_xlim(-0.6, width - 0.4)
    axes.set_ylim(height - 0.4, -0.6)
    axes.set_aspect("equal")
    axes.set_axis_off()
    return figure, axes, drawn


def _ends(places: Mapping[int, Position], edge: Edge) -> tuple[Position, Position]:
    return places[edge[0]], places[edge[1]]


def _lines(
    axes: Any,
    places: Mapping[int, Position],
    colours: Mapping[Edge, str],
    width: float,
    *,
    alpha: float = 1.0,
    zorder: float = 1,
) -> None:
    """Couplers, each in its colour."""
    from matplotlib.collections import LineCollection  # noqa: PLC0415 - heavy, and only for pictures

    ends: Any = [_ends(places, edge) for edge in colours]
    how: dict[str, Any] = {"capstyle": "round", "alpha": alpha, "zorder": zorder}
    axes.add_collection(LineCollection(ends, colors=list(colours.values()), linewidths=width, **how))


def _nodes(
    axes: Any,
    places: Mapping[int, Position],
    fills: Mapping[int, str],
    rings: Mapping[int, str],
    drawn: Theme,
    ring: float = 3.5,
) -> None:
    """Every qubit, in order: filled, or dotted where it is out of order; with a ring where it has an owner."""
    order = sorted(places)
    axes.scatter(
        [places[qubit][0] for qubit in order],
        [places[qubit][1] for qubit in order],
        s=310,
        facecolors=[fills.get(qubit, drawn.paper) for qubit in order],
        edgecolors=[rings.get(qubit, "none" if qubit in fills else drawn.faint) for qubit in order],
        linewidths=[ring if qubit in rings else 0.0 if qubit in fills else 1.4 for qubit in order],
        linestyles=["-" if qubit in fills or qubit in rings else ":" for qubit in order],
        zorder=2,
        gid="qubits",
    )
    for qubit in order:
        ink = ink_on(fills[qubit]) if qubit in fills else drawn.faint
        axes.annotate(str(qubit), places[qubit], ha="center", va="center", fontsize=7.5, color=ink, zorder=3)


def _arc(axes: Any, places: Mapping[int, Position], couplers: tuple[Edge, Edge], ratio: float, drawn: Theme) -> None:
    """A bow between the middles of two couplers, bent to where no qubit is, with the ratio at its top."""
    (xa, ya), (xb, yb) = (_middle(places, coupler) for coupler in couplers)
    tops = [(0.5 * (xa + xb) - bend * (yb - ya), 0.5 * (ya + yb) + bend * (xb - xa)) for bend in (_BEND, -_BEND)]
    crowd = [*places.values(), *(_middle(places, edge) for edge in _near(places, couplers))]
    x, y = max(tops, key=lambda top: min(math.dist(top, other) for other in crowd))
    along = [step / 24 for step in range(25)]
    control = 2 * x - 0.5 * (xa + xb), 2 * y - 0.5 * (ya + yb)
    axes.plot(
        [(1 - t) ** 2 * xa + 2 * t * (1 - t) * control[0] + t**2 * xb for t in along],
        [(1 - t) ** 2 * ya + 2 * t * (1 - t) * control[1] + t**2 * yb for t in along],
        color=drawn.first,
        linewidth=_width(ratio),
        solid_capstyle="round",
        zorder=1.5,
        gid="pair-" + "-".join(f"{a}.{b}" for a, b in couplers),
    )
    box = {"boxstyle": "round,pad=0.12", "facecolor": drawn.paper, "edgecolor": "none"}
    axes.annotate(f"×{ratio:.1f}", (x, y), ha="center", va="center", fontsize=8, color=drawn.first, zorder=5, bbox=box)


def _middle(places: Mapping[int, Position], edge: Edge) -> tuple[float, float]:
    (xa, ya), (xb, yb) = _ends(places, edge)
    return 0.5 * (xa + xb), 0.5 * (ya + yb)


def _near(places: Mapping[int, Position], couplers: tuple[Edge, Edge]) -> list[Edge]:
    """Places between two qubits next to each other on the page, near the couplers: where another line may be."""
    ends = {qubit for coupler in couplers for qubit in coupler}
    return [
        (one, other)
        for one in ends
        for other, place in places.items()
        if math.dist(places[one], place) == 1.0 and (one, other) not in couplers and (other, one) not in couplers
    ]


def _width(ratio: float) -> float:
    return 1.0 + 0.45 * min(ratio, 12.0)


def _crosstalk_handles(crosstalk: CrosstalkDocument, drawn: Theme) -> list[Any]:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - heavy, and only for pictures

    handles: list[Any] = []
    if crosstalk.simultaneous:
        others = f", others ×{crosstalk.ordinary_ratio:.2g}" if crosstalk.ordinary_ratio > 1 else ""
        label = f"gates at once: error of each ×ratio{others}"
        handles.append(Line2D([], [], color=drawn.first, linewidth=3, label=label))
    if crosstalk.readout_groups:
        how: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": 11, "markerfacecolor": drawn.soft}
        label = "every second readout group (consecutive numbers)"
        handles.append(Line2D([], [], color=drawn.faint, label=label, **how))
    return handles


def _ring(colour: str, label: str) -> Any:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - heavy, and only for pictures

    how: dict[str, Any] = {
        "marker": "o",
        "linestyle": "none",
        "markersize": 11,
        "markerfacecolor": "none",
        "markeredgewidth": 3,
    }
    return Line2D([], [], markeredgecolor=colour, label=label, **how)


def _dotted(drawn: Theme) -> Any:
    """The mark of a qubit that is out of order; legends draw no dotted marker edges, so a dotted line stands for it."""
    from matplotlib.lines import Line2D  # noqa: PLC0415 - heavy, and only for pictures

    return Line2D([], [], color=drawn.faint, linestyle=":", linewidth=1.6, label="not usable")
