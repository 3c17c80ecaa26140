"""The names tenants give to backends.

    eagle127               the device: these physical qubits
    eagle127:line-5        a virtual QPU: a shape, placed on the device at dispatch
    eagle127/acme          a slice: qubits of the device that belong to one tenant
    eagle127/acme:line-5   a virtual QPU inside a slice

A name says nothing of who may use it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from qpu_backend.domain.errors import UnknownBackend
from qpu_backend.domain.shapes import parse_shape

SLICE_NAME: Final = r"[a-z][a-z0-9_-]{0,62}"
_NAME: Final = re.compile(
    rf"(?P<device>[a-z][a-z0-9_-]{{0,62}})(?:/(?P<slice>{SLICE_NAME}))?(?::(?P<shape>.*))?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class BackendName:
    """A backend as a tenant names it.

    Attributes:
        device: catalogue name of the device.
        shape: e.g. ``line-5``, or ``None`` for the device itself, whose qubits are pinned.
        slice: the part of the device that is meant; ``None`` for all of it that belongs to nobody.
    """

    device: str
    shape: str | None = None
    slice: str | None = None

    @property
    def place(self) -> str:
        """The device or the slice, without the shape."""
        return self.device if self.slice is None else f"{self.device}/{self.slice}"

    def __str__(self) -> str:
        return self.place if self.shape is None else f"{self.place}:{self.shape}"


def parse_backend(name: str) -> BackendName:
    """Read a name. Whether there is such a device or slice, and whether the shape fits on it, is not known here.

    Raises:
        UnknownBackend: no device and no shape can have this name.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UnknownBackend(name, "names look like 'eagle127', 'eagle127:line-5' or 'eagle127/acme:line-5'")
    shape = match["shape"]
    if shape is not None:
        try:
            parse_shape(shape)
        except ValueError as error:
            raise UnknownBackend(name, str(error)) from None
    return BackendName(match["device"], shape, match["slice"])
