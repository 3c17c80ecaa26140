"""Bytes under their SHA-256: programs, results, execution records and snapshots. The same bytes are stored once."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, bindparam, select

from qpu_backend.stores.errors import CorruptBlob, MissingBlob
from qpu_backend.stores.expressions import insert_ignoring
from qpu_backend.stores.rows import parameters_of
from qpu_backend.stores.schema import blobs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SMALL: Final = 128
"""Bytes up to which compression never pays."""
_WORTHWHILE: Final = 0.9
"""Compressed bytes are kept when they are at most this fraction of the plain ones."""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes as they are stored.

    Attributes:
        sha256: of the plain bytes, in hex.
        codec: ``zlib`` or ``raw``: how ``body`` holds them.
        size: of the plain bytes.
        body: what goes to disk.
    """

    sha256: str
    codec: str
    size: int
    body: bytes


def encode_blob(data: bytes) -> Blob:
    """Hash and compress. Pure, so that large results can be prepared before a transaction takes the write lock."""
    sha256 = hashlib.sha256(data).hexdigest()
    if len(data) > _SMALL:
        packed = zlib.compress(data, 1)
        if len(packed) <= _WORTHWHILE * len(data):
            return Blob(sha256, "zlib", len(data), packed)
    return Blob(sha256, "raw", len(data), data)


def put_blobs(connection: Connection, bodies: Iterable[bytes | Blob]) -> list[str]:
    """Store bytes that are not there yet.

    Args:
        connection: of a write transaction.
        bodies: plain bytes, or what :func:`encode_blob` made of them.

    Returns:
        The SHA-256 of each, in the order given.
    """
    encoded = [body if isinstance(body, Blob) else encode_blob(body) for body in bodies]
    distinct = {blob.sha256: blob for blob in encoded}
    if distinct:
        # Ascending, so that two transactions storing the same bytes wait for each other in one direction only.
        connection.execute(_PUT, [_parameters(distinct[sha256]) for sha256 in sorted(distinct)])
    return [blob.sha256 for blob in encoded]


def get_blob(connection: Connection, sha256: str) -> bytes:
    """The bytes of that checksum, verified.

    Raises:
        MissingBlob: there are none.
        CorruptBlob: what is stored under it is something else.
    """
    return get_blobs(connection, [sha256])[sha256]


def get_blobs(connection: Connection, sha256s: Sequence[str]) -> dict[str, bytes]:
    """The bytes of several checksums, verified, by checksum.

    Raises:
        MissingBlob: one of them is not there.
        CorruptBlob: what is stored under one of them is something else.
    """
    wanted = list(dict.fromkeys(sha256s))
    if not wanted:
        return {}
    rows = connection.execute(_GET, {"sha256s": wanted})
    found = {row.sha256: _decode(Blob(row.sha256, row.codec, row.size, bytes(row.body))) for row in rows}
    for sha256 in wanted:
        if sha256 not in found:
            raise MissingBlob(sha256)
    return found


def _decode(blob: Blob) -> bytes:
    try:
        if blob.codec == "zlib":
            inflating = zlib.decompressobj()
            plain = inflating.decompress(blob.body, blob.size + 1)  # never more than was promised
            whole = inflating.eof and not inflating.unused_data
        else:
            plain, whole = blob.body, True
    except zlib.error as error:
        raise CorruptBlob(blob.sha256) from error
    if not whole or len(plain) != blob.size or hashlib.sha256(plain).hexdigest() != blob.sha256:
        raise CorruptBlob(blob.sha256)
    return plain


_parameters: Final = parameters_of(Blob)
_PUT: Final = insert_ignoring(blobs)
_GET: Final = select(blobs).where(blobs.c.sha256.in_(bindparam("sha256s", expanding=True)))
