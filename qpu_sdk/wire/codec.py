"""Values ↔ bytes: MessagePack with numpy arrays as an extension type. Never pickle.

An array travels as extension 1: the MessagePack list ``[dtype, shape, raw little-endian bytes]``.
The same value always gives the same bytes, so a SHA-256 of them is an identity.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, cast

import msgpack
import numpy as np

from qpu_sdk.wire.errors import MalformedPayload

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ARRAY = 1
_ALLOWED_KINDS = frozenset("buifc")
"""Dtype kinds an array may have: bool, unsigned, signed, float, complex."""


def pack(value: object) -> bytes:
    """Encode dicts, lists, strings, numbers, bytes and numpy arrays."""
    return msgpack.packb(value, default=_encode_extension, use_bin_type=True)


def unpack(data: bytes) -> Any:
    """Decode what :func:`pack` wrote; arrays come back read-only.

    Raises:
        MalformedPayload: the bytes are truncated or not of this format.
    """
    try:
        return msgpack.unpackb(data, ext_hook=_decode_extension, raw=False, strict_map_key=False)
    except MalformedPayload:
        raise
    except Exception as error:
        raise MalformedPayload(f"not a MessagePack document: {error}") from error


def digest(data: bytes) -> str:
    """The SHA-256 of the bytes, in hex: their name in every store."""
    return hashlib.sha256(data).hexdigest()


def _encode_extension(value: object) -> object:
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(cast("NDArray[Any]", value))
        if array.dtype.byteorder == ">":
            array = array.astype(array.dtype.newbyteorder("<"))
        dtype: object = array.dtype.descr if array.dtype.fields else array.dtype.str
        body = msgpack.packb([dtype, list(array.shape), array.tobytes()], use_bin_type=True)
        return msgpack.ExtType(_ARRAY, body)
    if isinstance(value, np.generic):
        return cast("np.generic[Any]", value).item()
    raise TypeError(f"cannot put a {type(value).__name__} on the wire")


def _decode_extension(code: int, data: bytes) -> object:
    if code != _ARRAY:
        raise MalformedPayload(f"unknown extension type {code}")
    try:
        spec, shape, raw = msgpack.unpackb(data, raw=False)
        layout = (
            [tuple(field) for field in cast("list[list[Any]]", spec)] if isinstance(spec, list) else cast("str", spec)
        )
        dtype: np.dtype[Any] = np.dtype(layout)
        kinds = {dtype.kind} if dtype.fields is None else {field[0].kind for field in dtype.fields.values()}
        if not kinds <= _ALLOWED_KINDS:
            raise MalformedPayload(f"arrays of {dtype} do not travel")
        return np.frombuffer(raw, dtype=dtype).reshape(shape)
    except (ValueError, TypeError) as error:
        raise MalformedPayload(f"not an array: {error}") from error
