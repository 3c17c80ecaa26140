"""The file of the audit chain's heads: outside of the database, one line each, only ever added to."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from qpu_backend.domain.audit import read_heads

if TYPE_CHECKING:
    from pathlib import Path

    from qpu_backend.domain.audit import Head


class HeadFile:
    """Heads on disk. Any number of processes may add to one file: a line is one write at its end.

    A process that dies while it writes leaves half a line. The next one begins a line of its own, and readers take half
    a line for none: nothing is ever taken out of the file, so it may be marked as append-only.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self._durable = durable

    def read(self) -> list[Head]:
        """Every whole line, whoever signed it; none where there is no file."""
        try:
            return read_heads(self.path.read_text(encoding="ascii", errors="replace"))
        except FileNotFoundError:
            return []

    def append(self, head: Head) -> None:
        """Write a head down; it is on the disk when this returns.

        Raises:
            OSError: it is not. Half of it may be.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        is_new = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            line = f"{head.line}\n".encode()
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            if os.write(descriptor, line) != len(line):
                raise OSError(f"{self.path}: the disk took half a line")
            if self._durable:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new and self._durable:
            self._keep_name()

    def _keep_name(self) -> None:
        with suppress(OSError):  # where folders cannot be opened, their names are safe without
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
