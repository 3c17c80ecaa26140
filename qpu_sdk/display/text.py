"""Maps in characters, for terminals (rich): the device with regions, crosstalk, and where a job ran."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpu_sdk.display.chip import edge_errors, owners, places_of, quantity, qubit_values, share, span, told
from qpu_sdk.display.colours import DARK, ink_on, of_regions, ramp
from qpu_sdk.display.maps import company_of, placement_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.text import Text

    from qpu_sdk.wire.crosstalk import CrosstalkDocument
    from qpu_sdk.wire.models import BackendDocument
    from qpu_sdk.wire.usage import MeteringRecord

_BAR: Final = "#d55e00"
"""Reads on white and on black."""
_GROUPS_A_LINE: Final = 8


def device_text(
    document: BackendDocument,
    regions: Mapping[str, Sequence[int]] | None = None,
    *,
    qubits: str = "readout_error",
) -> Text:
    """The device in characters: every qubit by its number, every edge, and regions by colour and letter.

    The tile of a qubit is brighter the worse it is, with the scale below; a qubit of the second region shows as
    ``12B``. ``str()`` of the text is the picture without colours.

    Args:
        document: topology and calibration.
        regions: label → its qubits.
        qubits: ``readout_error``, ``t1_us`` or ``t2_us``.

    Raises:
        InvalidRequestError: two regions share a qubit, a region has a qubit the device does not have, or there is no
            such quantity.
    """
    from rich.text import Text  # noqa: PLC0415  # heavy, and only for pictures

    shown, owner = quantity(qubits), owners(document, regions or {})
    colours, _ = of_regions(list(regions or {}))
    values = qubit_values(document, shown)
    limits = span(values.values())
    stops = DARK.qubits if shown.high_is_bad else DARK.qubits[::-1]
    places = places_of(document)
    rows = 2 * max((y for _, y in places.values()), default=0) + 1
    columns = max((x for x, _ in places.values()), default=0) + 1
    cells = [[" " * 5] * columns for _ in range(rows)]
    styles: dict[tuple[int, int], str] = {}
    for a, b in edge_errors(document):
        (xa, ya), (xb, yb) = sorted((places[a], places[b]))
        if ya == yb and xb == xa + 1:
            cells[2 * ya][xa] = "   ──"
        elif xa == xb and yb == ya + 1:
            cells[2 * ya + 1][xa] = " │   "
    for qubit, (x, y) in places.items():
        region = owner.get(qubit)
        mark = " " if region is None else chr(ord("A") + region % 26)
        link = cells[2 * y][x][3:]
        cells[2 * y][x] = f"{qubit:^3}{link}" if mark == " " else f"{f'{qubit}{mark}':^4}{link[1:]}"
        fill = colours[region] if region is not None else None
        if fill is None and qubit in values:
            fill = ramp(stops, share(values[qubit], limits))
        bold = "bold " if region is not None else ""
        styles[2 * y, x] = "dim strike" if fill is None else f"{bold}{ink_on(fill)} on {fill}"
    text = Text(no_wrap=True)
    for y, row in enumerate(cells):
        for x, cell in enumerate(row):
            text.append(cell[:3], styles.get((y, x), "dim"))
            marked = cell[3] != "─" and cell[3] != " "
            text.append(cell[3], styles.get((y, x), "dim") if marked else "dim")
            text.append(cell[4:], "dim")
        text.append("\n")
    for number, label in enumerate(regions or {}):
        end = "\n" if number % 4 == 3 or number == len(regions or {}) - 1 else "   "
        text.append(f"{chr(ord('A') + number % 26)} {label}{end}", f"bold {colours[number]}")
    best, worst = limits if shown.high_is_bad else limits[::-1]
    text.append(f"{shown.label}: {told(best, shown.unit)} ")
    for step in range(12):
        text.append(" ", f"on {ramp(DARK.qubits, step / 11)}")
    text.append(f" {told(worst, shown.unit)}\n")
    return text


def job_text(document: BackendDocument, metering: MeteringRecord) -> Text:
    """Where a job ran, in characters.

    Raises:
        JobNotDoneError: it has not been placed yet.
    """
    text = device_text(document, {metering.job_id: placement_of(metering)})
    text.append(f"{company_of(metering)}\n")
    return text


def crosstalk_text(crosstalk: CrosstalkDocument, most: int = 10) -> Text:
    """The strongest crosstalk of a backend as lines of text, worst first.

    Args:
        crosstalk: as it is published.
        most: lines of each kind.
    """
    from rich.text import Text  # noqa: PLC0415  # heavy, and only for pictures

    text = Text()
    zz = sorted(crosstalk.zz, key=lambda one: -abs(one.zz_hz))
    limits = span(abs(one.zz_hz) for one in zz)
    text.append(f"static ZZ of {len(zz)} couplers, strongest first\n", "bold")
    for one in zz[:most]:
        part = share(abs(one.zz_hz), limits)
        text.append(f"  {one.qubits[0]:>3}-{one.qubits[1]:<3} {one.zz_hz / 1e3:>8.2f} kHz ")
        text.append("█" * max(1, round(20 * part)) + "\n", _BAR)
    if crosstalk.simultaneous:
        pairs = sorted(crosstalk.simultaneous, key=lambda one: -one.ratio)
        text.append(f"gates that disturb each other: {len(pairs)} pairs of couplers\n", "bold")
        for pair in pairs[:most]:
            (a, b), (c, d) = pair.couplers
            text.append(f"  {a:>3}-{b:<3} and {c:>3}-{d:<3} error ×{pair.ratio:.2f}\n")
    if crosstalk.readout_groups:
        text.append("readout groups, read through one line\n", "bold")
        names = [f"{group[0]}-{group[-1]}" for group in crosstalk.readout_groups]
        for start in range(0, len(names), _GROUPS_A_LINE):
            text.append(
                "  " + "  ".join(f"{name:<7}" for name in names[start : start + _GROUPS_A_LINE]).rstrip() + "\n"
            )
    return text
