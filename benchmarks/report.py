"""How every benchmark speaks: a table for people, and with ``--json`` one object on its last line."""

from __future__ import annotations

import json
import platform
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def report(figures: Mapping[str, object], *, as_json: bool) -> None:
    """Print the figures."""
    width = max(len(name) for name in figures)
    for name, value in figures.items():
        print(f"{name:<{width}}  {value:.4g}" if isinstance(value, float) else f"{name:<{width}}  {value}")
    if as_json:
        print(json.dumps({**figures, "python": platform.python_version()}))


def spread(values: Sequence[float]) -> str:
    """Smallest, median and largest, for the table."""
    return f"{min(values):.4g} … {median(values):.4g} … {max(values):.4g}"
