"""The form of an API key: ``qpu_``, 37 random characters and 6 of checksum, in base 62.

The checksum lets a client, a scanner or the door recognise a mistyped or foreign string without a look at the database;
it proves nothing. Randomness (220 bits) is an argument; a key is stored as an HMAC with the server's pepper only.
"""

from __future__ import annotations

import hashlib
import hmac
import zlib
from typing import Final

PREFIX: Final = "qpu_"
RANDOM_BYTES: Final = 32
RANDOM_LENGTH: Final = 37
CHECKSUM_LENGTH: Final = 6
KEY_LENGTH: Final = len(PREFIX) + RANDOM_LENGTH + CHECKSUM_LENGTH

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def make_key(randomness: bytes) -> str:
    """A new key from 32 bytes of a cryptographic random source; the reduction to base 62 is biased by 2⁻³⁵.

    Raises:
        ValueError: not 32 bytes.
    """
    if len(randomness) != RANDOM_BYTES:
        raise ValueError(f"a key is made from {RANDOM_BYTES} random bytes, not {len(randomness)}")
    body = PREFIX + _base62(int.from_bytes(randomness, "big"), RANDOM_LENGTH)
    return body + _checksum(body)


def is_well_formed(key: str) -> bool:
    """Whether the text has the form of a key and its checksum is right."""
    body, checksum = key[:-CHECKSUM_LENGTH], key[-CHECKSUM_LENGTH:]
    return (
        len(key) == KEY_LENGTH
        and key.startswith(PREFIX)
        and all(character in _ALPHABET for character in key[len(PREFIX) :])
        and hmac.compare_digest(checksum, _checksum(body))
    )


def key_hmac(key: str, pepper: bytes) -> str:
    """What is stored of a key: HMAC-SHA256 under the server's pepper, hexadecimal."""
    return hmac.new(pepper, key.encode(), hashlib.sha256).hexdigest()


def _checksum(body: str) -> str:
    return _base62(zlib.crc32(body.encode()), CHECKSUM_LENGTH)


def _base62(number: int, length: int) -> str:
    """The lowest ``length`` digits, most significant first."""
    digits: list[str] = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
