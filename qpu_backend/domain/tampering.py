"""What was done to an audit chain: changed rows, missing ones, inserted, moved, cut off, another history.

Whatever somebody with the whole database but without the key does is found, as long as one head from after it is left.
Three things are not, because nothing is left that says otherwise: the database and *all* its heads put back to an
earlier state together, a row taken away or changed before it was sealed, and a row that was untrue when it was written.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from qpu_backend.domain.audit import ORIGIN, Entry, Head, Sealed, is_signed, mac_of, sealed_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Kind(StrEnum):
    """What can be wrong with a chain."""

    OTHER_KEY = "other_key"
    CHANGED = "changed"
    INSERTED = "inserted"
    MOVED = "moved"
    REMOVED = "removed"
    CUT_OFF = "cut_off"
    FORKED = "forked"
    ROLLED_BACK = "rolled_back"
    HEAD_FORGED = "head_forged"
    NO_HEAD = "no_head"
    UNSEALED = "unsealed"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a chain.

    Attributes:
        number: the row's place in the chain, of several the first; ``None``: it has none.
        last: of several rows the last.
        entry_id: of the row, where there still is one.
    """

    kind: Kind
    message: str
    number: int | None = None
    last: int | None = None
    entry_id: str | None = None


def verify(
    key: bytes,
    rows: Iterable[Sealed],
    heads: Iterable[Head],
    *,
    unsealed: Iterable[Entry] = (),
    now_us: int = 0,
    unsealed_limit_us: int = 60_000_000,
) -> list[Finding]:
    """Everything that is wrong with a chain; nothing for one that nobody touched.

    Args:
        key: with which it was sealed.
        rows: all sealed rows, by number; read once, so they may come from a cursor.
        heads: all that are left, in any order, read before the rows were.
        unsealed: rows that wait to be sealed.
        now_us: wall time.
        unsealed_limit_us: a row that waits longer is a finding.
    """
    reading = _Reading(key)
    for head in heads:
        reading.take_head(head)
    for row in rows:
        reading.take_row(row)
    late = [
        Finding(
            Kind.UNSEALED,
            f"{entry.id} ({entry.action}) waits to be sealed for {(now_us - entry.at_us) // 1_000_000} s: does a "
            "service run, and with the audit key?",
            entry_id=entry.id,
        )
        for entry in unsealed
        if now_us - entry.at_us > unsealed_limit_us
    ]
    return [*reading.findings(), *late]


@dataclass(slots=True)
class _Reading:
    """What is known of a chain, row by row. Of rows that are as they should be nothing is kept."""

    key: bytes
    seals: dict[int, set[str]] = field(default_factory=dict[int, set[str]])  # that heads have signed
    forged_heads: list[Head] = field(default_factory=list[Head])
    found: list[Finding] = field(default_factory=list[Finding])
    place: int = 0  # of the row before
    previous: str | None = ORIGIN  # mac of the row before, where that is genuine
    genuine: int = 0  # the greatest place that a row was sealed for
    rows: int = 0
    genuine_rows: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    failed: list[Sealed] = field(default_factory=list[Sealed])
    moved: list[tuple[int, Sealed]] = field(default_factory=list[tuple[int, Sealed]])  # with where they were sealed

    def take_head(self, head: Head) -> None:
        if is_signed(self.key, head):
            self.seals.setdefault(head.number, set()).add(head.seal)
        else:
            self.forged_heads.append(head)

    def take_row(self, row: Sealed) -> None:
        self.rows += 1
        if type(row.number) is not int or row.number <= self.place:
            text = f"{row.entry.id} was inserted: its number {row.number!r} is none, or another row's"
            self.found.append(Finding(Kind.INSERTED, text, None, entry_id=row.entry.id))
            return
        if row.number > self.place + 1:
            self.holes.append((self.place + 1, row.number - 1))
            self.previous = self._mac_by_head(row.number - 1)
        self.place = row.number
        at = sealed_at(self.key, row)
        if at != row.number:
            self.previous = self._mac_by_head(row.number)
            if at is None:
                self.failed.append(row)
            else:
                self.genuine = max(self.genuine, at)
                self.moved.append((at, row))
            return
        self.genuine_rows += 1
        self.genuine = max(self.genuine, row.number)
        _, before, mac = row.seal.split(":")
        if self.previous is not None and before != self.previous:
            text = f"row {row.number} ({row.entry.id}) follows another row {row.number - 1} than the one that is there"
            self.found.append(Finding(Kind.FORKED, text, row.number, entry_id=row.entry.id))
        if self.seals.get(row.number, {row.seal}) != {row.seal}:
            text = f"a head signed another row {row.number} than {row.entry.id}: the database was put back, and went on"
            self.found.append(Finding(Kind.ROLLED_BACK, text, row.number, entry_id=row.entry.id))
        self.previous = mac

    def _mac_by_head(self, number: int) -> str | None:
        seals = self.seals.get(number, ())
        return mac_of(next(iter(seals))) if len(seals) == 1 else None

    def findings(self) -> list[Finding]:
        top = max(self.genuine, max(self.seals, default=0))
        claimed = {at for at, _ in self.moved}
        places = [(row.number, row.number) for _, row in self.moved]
        vacant = _joined([*self.holes, *places, (self.place + 1, max(top, self.place + 1))])
        absent = _joined([*vacant, *((row.number, row.number) for row in self.failed)])
        lost = _without(vacant, claimed, top)
        found = [*self._without_heads(), *self._forged_heads(), *self.found]
        for row in self.failed:
            never = row.number in claimed or row.number > top
            kind, what = (Kind.INSERTED, "was never sealed") if never else (Kind.CHANGED, "is not what was sealed")
            text = f"row {row.number} ({row.entry.id}, {row.entry.action}) {what}"
            found.append(Finding(kind, text, row.number, entry_id=row.entry.id))
        for at, row in self.moved:
            copy = not _covers(absent, at)
            kind, what = (Kind.INSERTED, "is a copy of") if copy else (Kind.MOVED, "was sealed as")
            text = f"row {row.number} ({row.entry.id}, {row.entry.action}) {what} row {at}"
            found.append(Finding(kind, text, row.number, entry_id=row.entry.id))
        for first, last in lost:
            which = f"row {first} is" if first == last else f"rows {first} to {last} are"
            if first > self.place:
                text = f"{which} cut off: the chain ends at {self.place}, and reached {top}"
                found.append(Finding(Kind.CUT_OFF, text, first, last))
            else:
                found.append(Finding(Kind.REMOVED, f"{which} missing", first, last))
        return found

    def _without_heads(self) -> list[Finding]:
        if not self.rows or self.seals:
            return []
        if not self.genuine_rows and not self.moved:
            return [Finding(Kind.OTHER_KEY, "no seal and no head is made with this key: is it this service's?")]
        return [Finding(Kind.NO_HEAD, "no head is left: if the end of the chain was cut off, it does not show")]

    def _forged_heads(self) -> list[Finding]:
        return [
            Finding(Kind.HEAD_FORGED, f"the head of row {head.number} is not signed with this key", head.number)
            for head in self.forged_heads
        ]


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges, both ends included, in order, with neighbours joined."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _covers(ranges: Sequence[tuple[int, int]], number: int) -> bool:
    """Whether a number is in one of some joined ranges."""
    at = bisect_right(ranges, number, key=lambda one: one[0]) - 1
    return at >= 0 and number <= ranges[at][1]


def _without(ranges: Sequence[tuple[int, int]], taken: set[int], top: int) -> list[tuple[int, int]]:
    """What is left of joined ranges up to ``top`` when some numbers are taken out."""
    left: list[tuple[int, int]] = []
    out, at = sorted(taken), 0
    for begin, end in ranges:
        first, last = begin, min(end, top)
        while at < len(out) and out[at] <= last:
            if out[at] > first:
                left.append((first, out[at] - 1))
            first = max(first, out[at] + 1)
            at += 1
        if first <= last:
            left.append((first, last))
    return left
