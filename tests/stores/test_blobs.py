"""Blobs: what comes out is what went in, or an error; the same bytes are stored once."""

from __future__ import annotations

import hashlib
import os
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from qpu_backend.stores.blobs import encode_blob, get_blob, get_blobs, put_blobs
from qpu_backend.stores.errors import CorruptBlob, MissingBlob
from qpu_backend.stores.schema import blobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from qpu_backend.stores.database import Database

BODIES = [b"", b"short", b"counts " * 1000, os.urandom(5000), b"short"]


def test_bytes_come_back_under_their_checksum(database: Database) -> None:
    with database.write() as connection:
        names = put_blobs(connection, BODIES)
    assert names == [hashlib.sha256(body).hexdigest() for body in BODIES]
    with database.read() as connection:
        assert get_blobs(connection, names) == dict(zip(names, BODIES, strict=True))
        assert get_blob(connection, names[2]) == BODIES[2]
        assert get_blobs(connection, []) == {}


def test_the_same_bytes_are_stored_once(database: Database) -> None:
    with database.write() as connection:
        put_blobs(connection, BODIES)
    with database.write() as connection:
        put_blobs(connection, [*BODIES, encode_blob(b"short")])
        assert connection.execute(select(func.count()).select_from(blobs)).scalar_one() == len(set(BODIES))


@given(st.binary(max_size=400), st.integers(1, 40))
def test_encoding_never_makes_bytes_longer(data: bytes, repeats: int) -> None:
    blob = encode_blob(data * repeats)
    assert len(blob.body) <= blob.size == len(data * repeats)
    assert (zlib.decompress(blob.body) if blob.codec == "zlib" else blob.body) == data * repeats


def test_missing_bytes_are_named(database: Database) -> None:
    with database.read() as connection, pytest.raises(MissingBlob) as missing:
        get_blobs(connection, ["0" * 64])
    assert missing.value.name == "0" * 64


@pytest.mark.parametrize(
    "damage",
    [
        lambda body: body[:-1] + bytes([body[-1] ^ 1]),
        lambda body: body[: len(body) // 2],
        lambda body: body + b"more",
        lambda _body: b"",
        lambda _body: zlib.compress(b"something else, " * 1000),
    ],
    ids=["flipped", "truncated", "longer", "empty", "exchanged"],
)
@pytest.mark.parametrize("body", [b"counts " * 1000, os.urandom(5000)], ids=["zlib", "raw"])
def test_damage_is_detected(database: Database, body: bytes, damage: Callable[[bytes], bytes]) -> None:
    with database.write() as connection:
        [name] = put_blobs(connection, [body])
        stored = connection.execute(select(blobs.c.body)).scalar_one()
        connection.execute(update(blobs).values(body=damage(bytes(stored))))
    with database.read() as connection, pytest.raises(CorruptBlob) as corrupt:
        get_blob(connection, name)
    assert corrupt.value.sha256 == name


def test_threads_may_store_the_same_bytes_at_once(database: Database, together: Callable[..., list[object]]) -> None:
    def store(bodies: list[bytes]) -> list[str]:
        with database.write() as connection:
            return put_blobs(connection, bodies)

    results = together([lambda: store(BODIES), lambda: store(BODIES[::-1])] * 4)
    assert all(not isinstance(result, Exception) for result in results)
