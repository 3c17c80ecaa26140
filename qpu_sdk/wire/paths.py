"""Names as parts of a route's path."""

from __future__ import annotations

from urllib.parse import quote


def quoted(name: str) -> str:
    """A name as one segment of a path (backend names contain colons)."""
    return quote(name, safe="")


def quoted_backend(name: str) -> str:
    """The name of a backend as a part of a path: the slash of a slice's name stays one.

    What can be no backend's name is quoted whole.
    """
    parts = name.split("/")
    if len(parts) == 2 and not {"", ".", ".."}.intersection(parts):
        return "/".join(quoted(part) for part in parts)
    return quoted(name)
