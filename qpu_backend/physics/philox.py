"""Random numbers by address: any number of any stream, in any order, without a generator that moves.

Philox4x32-10 of Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011): a keyed
bijection of 128-bit counters. The key is a stream (a secret and a name), the counter says which number of it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray


_MULTIPLY_0: Final = np.uint64(0xD2511F53)
_MULTIPLY_1: Final = np.uint64(0xCD9E8D57)
_WEYL_0: Final = np.uint64(0x9E3779B9)
_WEYL_1: Final = np.uint64(0xBB67AE85)
_ROUNDS: Final = 10
_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)
_SCALE: Final = 2.0**-32


def stream(secret: bytes, *names: str) -> NDArray[np.uint64]:
    """The key of a stream, shape ``(2,)``: different for every secret and every sequence of names."""
    sha = hashlib.sha256(len(secret).to_bytes(8, "little") + secret)
    for name in names:
        sha.update(len(name.encode()).to_bytes(8, "little") + name.encode())
    return np.frombuffer(sha.digest()[:8], dtype="<u4").astype(np.uint64)


def philox(counter: NDArray[np.uint64], key: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Philox4x32-10.

    Args:
        counter: 32-bit words, shape ``(4, …)``.
        key: 32-bit words, shape ``(2, …)``; trailing axes broadcast against the counter's.

    Returns:
        Words, shape ``(4, …)``.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        product_0, product_1 = c0 * _MULTIPLY_0, c2 * _MULTIPLY_1
        c0, c1, c2, c3 = (
            (product_1 >> _HALF) ^ c1 ^ k0,
            product_1 & _LOW,
            (product_0 >> _HALF) ^ c3 ^ k1,
            product_0 & _LOW,
        )
        k0, k1 = (k0 + _WEYL_0) & _LOW, (k1 + _WEYL_1) & _LOW
    return np.stack(np.broadcast_arrays(c0, c1, c2, c3))


def words(
    key: NDArray[np.uint64], index: ArrayLike, *, level: ArrayLike = 0, place: ArrayLike = 0
) -> NDArray[np.uint64]:
    """Four words at each address ``(index, level, place)`` of a stream.

    Args:
        key: of the stream, shape ``(2, …)``.
        index: signed 64-bit integers; broadcast, as the others, to the shape of the answer.
        level: unsigned 32-bit integers.
        place: unsigned 32-bit integers.

    Returns:
        Shape ``(4, …)``.
    """
    at = np.asarray(index, dtype=np.int64).astype(np.uint64)
    parts = (at & _LOW, at >> _HALF, np.asarray(level, dtype=np.uint64), np.asarray(place, dtype=np.uint64))
    return philox(np.stack(np.broadcast_arrays(*parts)), key)


def uniforms(
    key: NDArray[np.uint64], index: ArrayLike, *, level: ArrayLike = 0, place: ArrayLike = 0
) -> NDArray[np.float64]:
    """Four independent numbers in the open interval (0, 1) at each address, shape ``(4, …)``."""
    return (words(key, index, level=level, place=place).astype(np.float64) + 0.5) * _SCALE


def normals(
    key: NDArray[np.uint64], index: ArrayLike, *, level: ArrayLike = 0, place: ArrayLike = 0
) -> NDArray[np.float64]:
    """Four independent standard normals at each address, shape ``(4, …)``, by Box and Muller: none beyond 6.8."""
    u0, u1, u2, u3 = uniforms(key, index, level=level, place=place)
    radius_0, radius_1 = np.sqrt(-2.0 * np.log(u0)), np.sqrt(-2.0 * np.log(u2))
    angle_0, angle_1 = 2.0 * np.pi * u1, 2.0 * np.pi * u3
    return np.stack(
        [radius_0 * np.cos(angle_0), radius_0 * np.sin(angle_0), radius_1 * np.cos(angle_1), radius_1 * np.sin(angle_1)]
    )
