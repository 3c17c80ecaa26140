"""Invoices: what was recorded of a tenant in a month of UTC, as lines that are sums of raw records.

A record belongs to the month in which it was recorded, whenever its work began. Jobs and sessions are charged, refunds
are given back, and then the free allowance of the month is taken off, never more than there is to pay:

    total = jobs + sessions + refunds − min(allowance, max(0, jobs + sessions + refunds − given back later))

Only refunds of an earlier month's work can make a total negative.

What is refunded when its month is over is on the invoice of a later month. The allowance that it had used is not paid
out with it: an invoice that is issued afterwards leaves that much less free, and from a refund of what was on one that
is issued, what that one's allowance shrinks by is taken back. So a tenant gets back what it really paid, in whatever
order charges are refunded, and nothing when all of a month was free.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from qpu_backend.domain.errors import DomainError, InvalidRequest
from qpu_backend.domain.quota import Interval, Window, interval

if TYPE_CHECKING:
    from collections.abc import Iterable

_MONTH: Final = re.compile(r"(20[0-9]{2})-(0[1-9]|1[0-2])")
_SECOND_US: Final = 1_000_000


class LineKind(StrEnum):
    """What a line sums. The values are stored and sent."""

    JOBS = "jobs"
    SESSIONS = "sessions"
    """What sessions kept for their tenant and nobody used."""
    REFUNDS = "refunds"
    ALLOWANCE = "allowance"


class MonthNotOver(DomainError):
    """The month has not ended, or work that ended in it may still be on its way into the books."""

    code = "month_not_over"
    field = "month"

    def __init__(self, month: Month, ready_at_us: int) -> None:
        ready = datetime.fromtimestamp(ready_at_us // _SECOND_US, tz=UTC)
        super().__init__(
            f"{month} is invoiced from {ready:%Y-%m-%d %H:%M} UTC on; until then its invoices are previews"
        )
        self.month = str(month)
        self.retry_at_us = ready_at_us


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A month of UTC, written ``2026-11``."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From its written form.

        Raises:
            InvalidRequest: it is not one.
        """
        found = _MONTH.fullmatch(text)
        if found is None:
            raise InvalidRequest("a month is written like 2026-11", field="month")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of(cls, at_us: int) -> Self:
        """The one that this wall time falls into."""
        at = datetime.fromtimestamp(at_us // _SECOND_US, tz=UTC)
        return cls(at.year, at.month)

    @property
    def interval(self) -> Interval:
        """From its first microsecond to that of the next month, wall time."""
        first = datetime(self.year, self.number, 1, tzinfo=UTC)
        return interval(Window.MONTH, int(first.timestamp()) * _SECOND_US)

    def require_over(self, now_us: int, grace_us: int) -> None:
        """Refuse to close its books too early.

        Args:
            now_us: wall time.
            grace_us: how long a transaction that began in the month may take.

        Raises:
            MonthNotOver: its last record may not be there yet.
        """
        ready_at_us = self.interval.end_us + grace_us
        if now_us < ready_at_us:
            raise MonthNotOver(self, ready_at_us)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"


class Group(NamedTuple):
    """What the records of a line have in common."""

    kind: LineKind
    device_id: str | None = None
    lane: str | None = None
    price_book: str | None = None


@dataclass(frozen=True, slots=True)
class Fact:
    """One raw record: what a job used, what a session held, or a refund.

    Attributes:
        amount_micro: what the tenant was charged for it; negative where it was given something back.
    """

    group: Group
    shots: int
    device_us: int
    amount_micro: int


@dataclass(frozen=True, slots=True)
class Line:
    """The sum of the records of one group; the allowance has none.

    Attributes:
        number: from 1, in the order of the invoice.
        records: how many there are.
    """

    number: int
    group: Group
    records: int
    shots: int
    device_us: int
    amount_micro: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a tenant owes for a month.

    Attributes:
        lines: jobs, sessions, refunds, then the allowance.
        charged_micro: the sum of the lines before the allowance.
        allowance_micro: what of it was free, ≥ 0.
    """

    lines: tuple[Line, ...]
    charged_micro: int
    allowance_micro: int

    @property
    def total_micro(self) -> int:
        return self.charged_micro - self.allowance_micro


@dataclass(slots=True)
class _Sum:
    records: int = 0
    shots: int = 0
    device_us: int = 0
    amount_micro: int = 0

    def add(self, fact: Fact) -> None:
        self.records += 1
        self.shots += fact.shots
        self.device_us += fact.device_us
        self.amount_micro += fact.amount_micro


def draw_up(facts: Iterable[Fact], free_micro: int, given_back_micro: int = 0) -> Invoice:
    """The invoice over these records, however many there are; their order changes nothing.

    Args:
        facts: everything that was recorded of the tenant in the month.
        free_micro: what is free in a month, ≥ 0.
        given_back_micro: what of the month's charges was refunded after it, ≥ 0.
    """
    return close(sum_up(facts), free_micro, given_back_micro)


def sum_up(facts: Iterable[Fact]) -> tuple[Line, ...]:
    """The lines of these records, in the order of the invoice."""
    sums: dict[Group, _Sum] = {}
    for fact in facts:
        sums.setdefault(fact.group, _Sum()).add(fact)
    return tuple(
        Line(number, group, total.records, total.shots, total.device_us, total.amount_micro)
        for number, (group, total) in enumerate(sorted(sums.items(), key=_order), start=1)
    )


def close(lines: tuple[Line, ...], free_micro: int, given_back_micro: int = 0) -> Invoice:
    """The invoice of these lines, with its allowance as the last one."""
    charged_micro = sum(line.amount_micro for line in lines)
    allowance_micro = allowance_left(free_micro, charged_micro, given_back_micro)
    if allowance_micro:
        lines = (*lines, Line(len(lines) + 1, Group(LineKind.ALLOWANCE), 0, 0, 0, -allowance_micro))
    return Invoice(lines, charged_micro, allowance_micro)


def allowance_left(free_micro: int, charged_micro: int, given_back_micro: int) -> int:
    """What is free of what was charged in a month and stays charged, micro-credits.

    Args:
        free_micro: what may be free at most: that of the price book, or what an invoice that is issued left free.
        charged_micro: the sum of the month's lines before the allowance.
        given_back_micro: what of the month's charges was refunded after it, ≥ 0.
    """
    return min(free_micro, max(0, charged_micro - given_back_micro))


def taken_back(allowance_micro: int, charged_micro: int, given_back_micro: int, more_micro: int) -> int:
    """What the allowance of an invoice that is issued shrinks by when more of its month's charges is refunded.

    Args:
        allowance_micro: of the invoice.
        charged_micro: of the invoice.
        given_back_micro: what of the month's charges was refunded after it before.
        more_micro: the charge that is refunded now.
    """
    before, after = (
        allowance_left(allowance_micro, charged_micro, each)
        for each in (given_back_micro, given_back_micro + more_micro)
    )
    return before - after


def _order(entry: tuple[Group, _Sum]) -> tuple[tuple[bool, str | int], ...]:
    kind, *names = entry[0]
    return (True, list(LineKind).index(kind)), *((name is not None, name or "") for name in names)
