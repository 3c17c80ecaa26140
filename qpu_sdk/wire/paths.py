"""Names as parts of a route's path."""

from __future__ import annotations

from urllib.parse import quote


def quoted(name: str) -> str:
    """A name as one segment of a path (backend names contain colons)."""
    return quote(name, safe="")
