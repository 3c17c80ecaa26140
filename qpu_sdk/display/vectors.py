"""The map of a device as SVG for a card: colours come from the card's style, so they follow the page's theme."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Final

from qpu_sdk.display.chip import EDGE_LABEL, QUANTITIES, edge_errors, places_of, qubit_values, share, span, told
from qpu_sdk.display.colours import LIGHT, ink_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpu_sdk.display.chip import Quantity
    from qpu_sdk.wire.models import BackendDocument

_PITCH: Final = 26
_STEPS: Final = len(LIGHT.qubits)
_MOST: Final = 400
"""A card of a larger chip has no map."""


def device_svg(document: BackendDocument, qubits: str = "readout_error") -> str:
    """Every qubit and coupler coloured by its error, with numbers to hover over, and the two scales below."""
    if not 0 < document.num_qubits <= _MOST:
        return ""
    shown = QUANTITIES[qubits]
    errors, values, places = edge_errors(document), qubit_values(document, shown), places_of(document)
    node_span, edge_span = span(values.values()), span(errors.values(), below=1.0)
    at = {qubit: ((x + 0.6) * _PITCH, (y + 0.6) * _PITCH) for qubit, (x, y) in places.items()}
    lines = "".join(
        f"<line x1='{at[a][0]:.1f}' y1='{at[a][1]:.1f}' x2='{at[b][0]:.1f}' y2='{at[b][1]:.1f}' stroke-width='4' "
        f"style='stroke:var(--qpu-e{_step(share(error, edge_span))})'><title>{a}-{b}: {told(error)}</title></line>"
        for (a, b), error in errors.items()
    )
    dots = "".join(_dot(qubit, *at[qubit], values.get(qubit), node_span, shown) for qubit in sorted(at))
    below = max((y for _, y in at.values()), default=0.0) + 0.75 * _PITCH
    scales = _scale(0, below, "q", shown.label, node_span, shown.unit, worst_high=shown.high_is_bad)
    if errors:
        scales += _scale(260, below, "e", EDGE_LABEL, edge_span, "", worst_high=True)
    width = max(max((x for x, _ in at.values()), default=0.0) + 0.6 * _PITCH, 520 if errors else 260)
    height = below + 34
    what = html.escape(f"map of {document.name}: {shown.label} and {EDGE_LABEL}", quote=True)
    return (
        f"<svg role='img' aria-label='{what}' viewBox='0 0 {width:.0f} {height:.0f}' width='{width:.0f}' "
        f"height='{height:.0f}' xmlns='http://www.w3.org/2000/svg'>{lines}{dots}{scales}</svg>"
    )


def _step(part: float) -> int:
    return min(_STEPS - 1, int(part * _STEPS))


def _dot(qubit: int, x: float, y: float, value: float | None, limits: tuple[float, float], shown: Quantity) -> str:
    if value is None:
        return (
            f"<circle cx='{x:.1f}' cy='{y:.1f}' r='9.5' fill='none' style='stroke:var(--qpu-faint)' "
            f"stroke-dasharray='2 2'><title>{qubit}: not usable</title></circle>"
            f"<text x='{x:.1f}' y='{y + 3:.1f}' font-size='8.5' text-anchor='middle' "
            f"style='fill:var(--qpu-faint)'>{qubit}</text>"
        )
    part = share(value, limits)
    step = _step(part if shown.high_is_bad else 1 - part)
    return (
        f"<circle cx='{x:.1f}' cy='{y:.1f}' r='10' style='fill:var(--qpu-q{step})'>"
        f"<title>{qubit}: {html.escape(shown.label)} {told(value, shown.unit)}</title></circle>"
        f"<text x='{x:.1f}' y='{y + 3:.1f}' font-size='8.5' text-anchor='middle' pointer-events='none' "
        f"style='fill:var(--qpu-t{step})'>{qubit}</text>"
    )


def _scale(
    x: float, y: float, name: str, label: str, limits: tuple[float, float], unit: str, *, worst_high: bool
) -> str:
    tiles = "".join(
        f"<rect x='{x + 18 * step:.0f}' y='{y:.0f}' width='18' height='9' style='fill:var(--qpu-{name}{step})'/>"
        for step in range(_STEPS)
    )
    best, worst = limits if worst_high else limits[::-1]
    words = f"{told(best, unit)} … {told(worst, unit)}  {label}"
    return (
        f"{tiles}<text x='{x:.0f}' y='{y + 23:.0f}' font-size='10.5' style='fill:var(--qpu-ink)'>"
        f"{html.escape(words)}</text>"
    )


def inks(stops: Sequence[str]) -> str:
    """CSS variables of the colour of numbers on each step of a scale of qubits."""
    return "".join(f"--qpu-t{step}:{ink_on(colour)};" for step, colour in enumerate(stops))
