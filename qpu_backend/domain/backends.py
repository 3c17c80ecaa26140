"""The names tenants give to backends: ``eagle127``, a device; ``eagle127:line-5``, a shape placed on it at dispatch."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from qpu_backend.domain.errors import UnknownBackend

MIN_LINE: Final = 2
MAX_LINE: Final = 20

_NAME: Final = re.compile(r"(?P<device>[a-z][a-z0-9_-]{0,62})(?::(?P<shape>.*))?", re.ASCII)
_LINE: Final = re.compile(r"line-(?P<length>[1-9][0-9]?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class BackendName:
    """A backend as a tenant names it.

    Attributes:
        device: catalogue name of the device.
        shape: e.g. ``line-5``, or ``None`` for the device itself, whose qubits are pinned.
    """

    device: str
    shape: str | None = None

    def __str__(self) -> str:
        return self.device if self.shape is None else f"{self.device}:{self.shape}"


def parse_backend(name: str) -> BackendName:
    """Read a name. Whether there is such a device is not known here.

    Raises:
        UnknownBackend: no device and no shape can have this name.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UnknownBackend(name, "names look like 'eagle127' or 'eagle127:line-5'")
    shape = match["shape"]
    if shape is not None:
        try:
            line_length(shape)
        except ValueError as error:
            raise UnknownBackend(name, str(error)) from None
    return BackendName(match["device"], shape)


def line_length(shape: str) -> int:
    """How many qubits the shape ``line-N`` has.

    Raises:
        ValueError: not a line of 2 to 20 qubits.
    """
    match = _LINE.fullmatch(shape)
    if match is None or not MIN_LINE <= int(match["length"]) <= MAX_LINE:
        raise ValueError(f"shapes are line-N, with N from {MIN_LINE} to {MAX_LINE}")
    return int(match["length"])


def line_pairs(length: int) -> tuple[tuple[int, int], ...]:
    """Coupled positions of a line, in order."""
    return tuple((position, position + 1) for position in range(length - 1))
