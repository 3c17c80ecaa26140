"""Quotas: what a tenant, or one of its principals, may use in an hour, a day or a month.

Reserve at admission, settle with what was used, release on failure. Windows are fixed intervals of UTC. A reservation
settles into the window in which it was made, however late. For every line, at every moment, ``free + reserved + spent =
limit``.

Burst: what the window before left unused of its amount is *carried* into the next one, at most ``burst`` of it::

    carried = min(burst, max(0, amount - reserved - spent of the window before))        limit = amount + carried

What a window had carried itself is not carried on, so a limit is at most ``amount + burst`` however long nothing was
used, and a window before the first job counts as unused. Jobs that still run when their window is over can only free
what they reserved in it, and nobody reserves in a window once work was counted in the next: reservations never make a
limit fall within a window. A session that ends late is charged unasked, and may.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.errors import InvalidRequest, QuotaExceeded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SECOND_US: Final = 1_000_000
_HOUR_US: Final = 3600 * _SECOND_US
_DAY_US: Final = 24 * _HOUR_US
_LARGEST: Final = 2**53 - 1
"""Whole numbers up to here are the same in every JSON reader."""


class Resource(StrEnum):
    """What is limited."""

    SHOTS = "shots"
    DEVICE_US = "device_us"
    SPEND_MICRO = "spend_micro"


class Window(StrEnum):
    """For how long."""

    HOUR = "hour"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Interval:
    """``start_us ≤ t < end_us``, wall time in µs since 1970."""

    start_us: int
    end_us: int


def interval(window: Window, now_us: int) -> Interval:
    """The window of this kind that ``now_us`` (wall time, µs since 1970) falls into."""
    if window is not Window.MONTH:
        length = _HOUR_US if window is Window.HOUR else _DAY_US
        start = now_us // length * length
        return Interval(start, start + length)
    now = datetime.fromtimestamp(now_us // _SECOND_US, tz=UTC)
    first = datetime(now.year, now.month, 1, tzinfo=UTC)
    after = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
    return Interval(int(first.timestamp()) * _SECOND_US, int(after.timestamp()) * _SECOND_US)


@dataclass(frozen=True, slots=True)
class Line:
    """One limit of one tenant or principal in one window.

    Attributes:
        resource: what is limited.
        window: for how long.
        start_us: when this window began, wall time.
        limit: how much of the resource this window allows, ≥ 0, what it carries included.
        reserved: promised to jobs that have not ended, ≥ 0.
        spent: used by jobs that have ended, ≥ 0.
        carried: part of the limit that the window before left.
        burst: how much one window can carry at most.
        principal_id: whose limit it is, beside that of the tenant; '' is the tenant as a whole.
    """

    resource: Resource
    window: Window
    start_us: int
    limit: int
    reserved: int = 0
    spent: int = 0
    carried: int = 0
    burst: int = 0
    principal_id: str = ""

    def __post_init__(self) -> None:
        if min(self.limit - self.carried, self.reserved, self.spent, self.carried, self.burst - self.carried) < 0:
            raise ValueError(f"a quota line holds no negative amount, and carries no more than its burst: {self}")

    @property
    def free(self) -> int:
        """What is left. Negative after an operator lowered the limit below what is already promised."""
        return self.limit - self.reserved - self.spent

    @property
    def amount(self) -> int:
        """Of every window, without what this one carries."""
        return self.limit - self.carried

    def fits_from_us(self, amount: int) -> int | None:
        """The start of the window in which so much would fit if nothing else came; ``None`` where it fits in none."""
        next_us = interval(self.window, self.start_us).end_us
        if amount <= self.amount + carry(self.amount, self.burst, self.reserved, self.spent):
            return next_us
        full = self.amount + carry(self.amount, self.burst, 0, 0)
        return interval(self.window, next_us).end_us if amount <= full else None


def require_limit(amount: int, burst: int) -> None:
    """Refuse what cannot be a limit.

    Raises:
        InvalidRequest: a negative number, or one that is too large.
    """
    for name, value in (("amount", amount), ("burst", burst)):
        if not 0 <= value <= _LARGEST:
            raise InvalidRequest(f"the {name} of a quota is a whole number from 0 to {_LARGEST}", field=name)


def carry(amount: int, burst: int, reserved_before: int, spent_before: int) -> int:
    """What a window adds to its limit of what the one before it left unused.

    Args:
        amount: of every window.
        burst: how much of it may be carried.
        reserved_before: in the window before.
        spent_before: in the window before.
    """
    return min(burst, max(0, amount - reserved_before - spent_before))


def reserve(line: Line, amount: int) -> Line:
    """Promise ``amount`` to a job.

    Raises:
        QuotaExceeded: it is more than what is free; nothing changed.
        ValueError: a negative amount.
    """
    if amount < 0:
        raise ValueError(f"nobody reserves {amount}")
    if amount > max(line.free, 0):
        raise QuotaExceeded(
            resource=line.resource.value,
            window=line.window.value,
            limit=line.limit,
            free=max(line.free, 0),
            asked=amount,
            retry_at_us=line.fits_from_us(amount),
            principal=bool(line.principal_id),
        )
    return replace(line, reserved=line.reserved + amount)


def settle(line: Line, reserved: int, used: int) -> Line:
    """A job that had ``reserved`` promised ended after it ``used`` some of it; the rest is free again.

    Raises:
        ValueError: it used more than it had been promised, or the line never promised it.
    """
    if not 0 <= used <= reserved <= line.reserved:
        raise ValueError(f"cannot settle {used} of {reserved} where {line.reserved} is reserved")
    return replace(line, reserved=line.reserved - reserved, spent=line.spent + used)


def release(line: Line, reserved: int) -> Line:
    """A job that had ``reserved`` promised used nothing."""
    return settle(line, reserved, 0)


def reserve_all(lines: Iterable[Line], asked: Mapping[Resource, int]) -> tuple[Line, ...]:
    """Reserve on every line of a tenant and a principal, or on none.

    Args:
        lines: their limits in the current windows.
        asked: what the job needs of each resource; a resource that is not named is not needed.

    Raises:
        QuotaExceeded: for the limit that stands in the way longest, so that ``retry_at_us`` can be believed.
    """
    kept: list[Line] = []
    refusals: list[QuotaExceeded] = []
    for line in lines:
        try:
            kept.append(reserve(line, asked.get(line.resource, 0)))
        except QuotaExceeded as refusal:
            refusals.append(refusal)
    if refusals:
        raise max(refusals, key=lambda one: (one.retry_at_us is None, one.retry_at_us or 0))
    return tuple(kept)
