"""The audit chain: rows in the order of sealing, each sealed over the one before, and signed heads kept elsewhere.

        row 1             row 2             row 3
    ┌── seal 1 ◄───────── seal 2 ◄───────── seal 3        seal n = n : mac n−1 : mac n
  origin                    │                 │           mac n  = HMAC-SHA256(key, [n, mac n−1, row n])
                          head 2            head 3        head n = n, seal n, time, HMAC-SHA256(key, [those])

A seal names its place and the seal before in the open, so each row can be checked by itself: what was changed is named,
not everything behind it. ``tampering.py`` reads a chain and says what was done to it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CLI: Final = "cli"
SERVICE: Final = "service"
"""Actors that are no principals."""

ORIGIN: Final = "0" * 64
"""What the first row follows."""

_SEAL: Final = re.compile(r"(0|[1-9][0-9]{0,17}):([0-9a-f]{64}):([0-9a-f]{64})", re.ASCII)
_HEAD: Final = re.compile(rf"(0|[1-9][0-9]{{0,17}}) ({_SEAL.pattern}) (-?[0-9]{{1,18}}) ([0-9a-f]{{64}})", re.ASCII)


def by_principal(principal_id: str) -> str:
    """The actor that a principal is."""
    return f"principal:{principal_id}"


@dataclass(frozen=True, slots=True)
class Entry:
    """Who did what to whom: everything of a row that means something.

    Attributes:
        actor: ``principal:<id>``, ``cli`` or ``service``.
        tenant_id: whose matter it is; ``None``: the service's.
        action: what was done, ``noun.verb`` in the past tense.
        subject: id of what it was done to.
        facts: plain JSON.
    """

    id: str
    at_us: int
    actor: str
    tenant_id: str | None
    action: str
    subject: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Sealed:
    """A row with its place in the chain."""

    number: int
    seal: str
    entry: Entry


@dataclass(frozen=True, slots=True)
class Head:
    """Signed word that the chain reached a row: kept outside of the database.

    Attributes:
        at_us: wall time of the signing.
    """

    number: int
    seal: str
    at_us: int
    signature: str

    @property
    def line(self) -> str:
        """As it is written down."""
        return f"{self.number} {self.seal} {self.at_us} {self.signature}"


# --- sealing --------------------------------------------------------------------------------------------------------


def canonical(*parts: object) -> bytes:
    """Values → bytes, never the same for different values: JSON with sorted keys, ASCII only."""
    return json.dumps(parts, sort_keys=True, separators=(",", ":"), default=_unreadable).encode()


def _unreadable(value: object) -> dict[str, str]:
    """A value that no row of ours holds, such as bytes where text was, must not stop the verification."""
    return {"unreadable": repr(value)}


def mac_of(seal: str) -> str:
    """What the next seal is made over.

    Raises:
        ValueError: it has not the form of a seal.
    """
    if (match := _SEAL.fullmatch(seal)) is None:
        raise ValueError("not a seal")
    return match[3]


def seal(key: bytes, previous: str, number: int, entry: Entry) -> str:
    """The seal of a row at its place.

    Args:
        key: not in the database.
        previous: the mac of the seal before; :data:`ORIGIN` before the first.
        number: the place, from 1.
        entry: the row.
    """
    return f"{number}:{previous}:{_mac(key, number, previous, entry)}"


def seal_all(key: bytes, place: Place, entries: Sequence[Entry]) -> list[Sealed]:
    """Rows sealed one over the other, behind the last one."""
    rows: list[Sealed] = []
    number, previous = place.number, place.mac
    for entry in entries:
        number += 1
        rows.append(Sealed(number, seal(key, previous, number, entry), entry))
        previous = mac_of(rows[-1].seal)
    return rows


def sign(key: bytes, number: int, last_seal: str, at_us: int) -> Head:
    """Word that the chain reached this row."""
    return Head(number, last_seal, at_us, _signature(key, number, last_seal, at_us))


def is_genuine(key: bytes, row: Sealed) -> bool:
    """Whether the row was sealed with this key, at the place it is at."""
    return sealed_at(key, row) == row.number


def sealed_at(key: bytes, row: Sealed) -> int | None:
    """For which place a row was sealed with this key; ``None``: for none, or it was changed since."""
    match = _SEAL.fullmatch(str(row.seal))
    if match is None:
        return None
    number = int(match[1])
    try:
        return number if hmac.compare_digest(match[3], _mac(key, number, match[2], row.entry)) else None
    except RecursionError:  # facts nested deeper than anybody would
        return None


def is_signed(key: bytes, head: Head) -> bool:
    """Whether a head was signed with this key."""
    return hmac.compare_digest(head.signature, _signature(key, head.number, head.seal, head.at_us))


def read_heads(text: str) -> list[Head]:
    """The heads among lines. A line that is not whole, as a crash in the middle of writing leaves it, is none."""
    matches = (_HEAD.fullmatch(line) for line in text.split("\n"))
    return [Head(int(m[1]), m[2], int(m[6]), m[7]) for m in matches if m is not None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the chain goes on: behind this number, over this mac."""

    number: int
    mac: str


START: Final = Place(0, ORIGIN)
START_SEAL: Final = f"0:{ORIGIN}:{ORIGIN}"
"""What the head says that is signed before there is any row, so that there always is one."""


def resume(key: bytes, tail: Sequence[Sealed], head: Head | None) -> Place | None:
    """Where sealing goes on, or ``None``: what is there was sealed with another key, and must not be mixed with ours.

    A chain that ends before the last head lost its end; it goes on behind the head, so that no number is given out
    twice and the hole stays visible. A last row that somebody changed is no reason to stop.

    Args:
        key: ours.
        tail: the last rows of the chain, last first.
        head: the last one signed with our key.
    """
    if head is not None and (not tail or tail[0].number <= head.number):
        return Place(head.number, mac_of(head.seal))
    if not tail:
        return START
    if head is None and not any(is_genuine(key, row) for row in tail):
        return None
    match = _SEAL.fullmatch(str(tail[0].seal))
    return Place(tail[0].number, ORIGIN if match is None else match[3])


def _mac(key: bytes, number: int, previous: str, entry: Entry) -> str:
    parts = (entry.id, entry.at_us, entry.actor, entry.tenant_id, entry.action, entry.subject, entry.facts)
    return _hmac(key, canonical("row", 1, number, previous, *parts))


def _signature(key: bytes, number: int, last_seal: str, at_us: int) -> str:
    return _hmac(key, canonical("head", 1, number, last_seal, at_us))


def _hmac(key: bytes, message: bytes) -> str:
    return hmac.new(key, message, hashlib.sha256).hexdigest()
