"""Archive files: entries one after the other, each checked by its SHA-256, only ever added to, on disk when it counts.

    QPA1 │ SHA-256 of the body (32 bytes) │ length of the body (8 bytes) │ body: MessagePack, deflated        … again

Each pass writes a file of its own, so what a crash tears is the end of a file that nobody goes on writing; what it held
has not been forgotten, and is archived again.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from contextlib import contextmanager
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from qpu_backend.stores.ids import new_id
from qpu_sdk.wire.codec import pack, unpack

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

SUFFIX: Final = ".qpa"
_MAGIC: Final = b"QPA1"
_SHA_BYTES: Final = 32
_HEAD_BYTES: Final = len(_MAGIC) + _SHA_BYTES + 8
_LARGEST: Final = 1 << 34


class ArchiveBusy(Exception):
    """Another process is writing to this folder now."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"another process is archiving into {folder} now; try again when it has ended")
        self.folder = folder


class ArchiveDamaged(Exception):
    """What is in the file is not what was written; the message says where."""


class ArchiveFile:
    """A new file of a pass. It comes into being with its first entry."""

    def __init__(self, folder: Path, now_us: int) -> None:
        started = datetime.fromtimestamp(now_us // 1_000_000, UTC)
        self.path = folder / f"{started:%Y-%m-%dT%H%M%SZ}-{new_id('arc')}{SUFFIX}"
        self._out: BinaryIO | None = None

    def add(self, entry: dict[str, Any]) -> int:
        """Write one entry; it counts after :meth:`sync`. The bytes it takes."""
        if self._out is None:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._out = os.fdopen(os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        body = zlib.compress(pack(entry), 6)
        self._out.write(_MAGIC + hashlib.sha256(body).digest() + len(body).to_bytes(8, "big") + body)
        return _HEAD_BYTES + len(body)

    def sync(self) -> None:
        """Return when everything added survives a power cut."""
        if self._out is None:
            return
        self._out.flush()
        os.fsync(self._out.fileno())
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def close(self) -> None:
        """No more entries."""
        if self._out is not None:
            self._out.close()


@contextmanager
def alone_in(folder: Path) -> Generator[None]:
    """One process at a time writes to a folder: two would archive the same jobs, which is harmless and a waste.

    Raises:
        ArchiveBusy: another one does.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            flock(descriptor, LOCK_EX | LOCK_NB)
        except BlockingIOError as error:
            raise ArchiveBusy(folder) from error
        yield
    finally:
        os.close(descriptor)


def read_archive(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a file, or of every file of a folder, oldest first; each is checked, and so is every blob in it.

    A file that ends in the middle of an entry was torn by a crash: that entry counts for nothing and is left out.

    Raises:
        ArchiveDamaged: bytes are not those that were written.
        OSError: there is no such file.
    """
    for file in sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]:
        with file.open("rb") as source:
            yield from _entries(source, file)


def _entries(source: BinaryIO, file: Path) -> Iterator[dict[str, Any]]:
    while head := source.read(_HEAD_BYTES):
        if len(head) < _HEAD_BYTES:
            return
        length = int.from_bytes(head[-8:], "big")
        if not head.startswith(_MAGIC) or length > _LARGEST:
            raise ArchiveDamaged(f"{file}: at byte {source.tell() - len(head)} there is no entry of an archive")
        body = source.read(length)
        if len(body) < length:
            return
        if hashlib.sha256(body).digest() != head[len(_MAGIC) : len(_MAGIC) + _SHA_BYTES]:
            raise ArchiveDamaged(f"{file}: the entry that ends at byte {source.tell()} is not what was written")
        entry: dict[str, Any] = dict(unpack(zlib.decompress(body)))
        for sha256, blob in entry["blobs"].items():
            if hashlib.sha256(blob).hexdigest() != sha256:
                raise ArchiveDamaged(f"{file}: blob {sha256} of {entry['id']} is not what was written")
        yield entry
