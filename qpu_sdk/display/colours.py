"""Colours: two scales of even steps in lightness, where what is worse stands out, and eight for regions.

Qubits have a scale from yellow over green to violet (viridis), couplers one from straw to brown (YlOrBr): told apart,
and in order, with any kind of colour vision. On white the worst is darkest, on black it is brightest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

REGIONS: Final = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c6bb1", "#7a7a00")
"""Okabe and Ito's set, and two more; the first ones are the furthest apart."""


@dataclass(frozen=True, slots=True)
class Theme:
    """What a picture is drawn with.

    Attributes:
        paper: the background.
        ink: of text.
        faint: of what is out of order.
        soft: of a second tone of the background.
        qubits: stops of the scale of qubits, best first.
        edges: stops of the scale of couplers, best first.
        first, second: of data and of what it is compared with.
    """

    paper: str
    ink: str
    faint: str
    soft: str
    qubits: tuple[str, ...]
    edges: tuple[str, ...]
    first: str
    second: str


LIGHT: Final = Theme(
    paper="#ffffff",
    ink="#1b1f24",
    faint="#9aa0a6",
    soft="#e4e7eb",
    qubits=("#d2e21b", "#6ece58", "#29af7f", "#228b8d", "#31678e", "#433e85", "#460b5e"),
    edges=("#fedc82", "#febb47", "#fb9225", "#e86c12", "#c84a02", "#963304", "#662506"),
    first="#0072b2",
    second="#d55e00",
)
DARK: Final = Theme(
    paper="#111418",
    ink="#e6e9ef",
    faint="#6b727b",
    soft="#2a3038",
    qubits=("#433e85", "#32648e", "#25858e", "#21a685", "#52c569", "#a5db36", "#fde725"),
    edges=("#792b05", "#b44103", "#e3660f", "#fc9427", "#fec652", "#fee79a", "#fffacb"),
    first="#56b4e9",
    second="#e69f00",
)


def theme(*, dark: bool) -> Theme:
    """For a dark page, or for a white one."""
    return DARK if dark else LIGHT


def ramp(stops: Sequence[str], share: float) -> str:
    """The colour at ``share`` (0 to 1) of a scale."""
    at = min(1.0, max(0.0, share)) * (len(stops) - 1)
    left = min(int(at), len(stops) - 2)
    part = at - left
    mixed = [round((1 - part) * a + part * b) for a, b in zip(_rgb(stops[left]), _rgb(stops[left + 1]), strict=True)]
    return "#" + "".join(f"{channel:02x}" for channel in mixed)


def luminance(colour: str) -> float:
    """Relative luminance, 0 to 1 (WCAG 2, after ITU-R BT.709)."""
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (channel / 255 for channel in _rgb(colour))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def ink_on(background: str) -> str:
    """Black or white, whichever reads better there."""
    return "#000000" if luminance(background) > 0.179 else "#ffffff"


def of_regions(labels: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """A colour for each region, and what the colours mean: one each, or, where labels share first words, one a word."""
    words = list(dict.fromkeys(label.split(" ", 1)[0] for label in labels))
    names = words if len(words) < len(labels) else list(labels)
    groups = {name: REGIONS[number % len(REGIONS)] for number, name in enumerate(names)}
    return [groups[label if label in groups else label.split(" ", 1)[0]] for label in labels], groups


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
