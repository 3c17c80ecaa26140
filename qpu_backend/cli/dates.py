"""Dates and lengths of time as they are typed: a day or a moment → µs of wall time, with bounds."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final

import typer

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
_DAY_US: Final = 86_400_000_000
LONGEST_DAYS: Final = 36_500


def moment_us(text: str, *, zone_needed: bool = False) -> int:
    """A day (its midnight, UTC) or a moment.

    Args:
        text: ISO 8601, e.g. ``2027-01-01`` or ``2027-01-01T08:00+01:00``.
        zone_needed: refuse a moment without a time zone; otherwise it is of UTC.

    Raises:
        typer.BadParameter: it is no date, or not between the years 1970 and 9000.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no date; write 2027-01-01 or 2027-01-01T08:00+01:00") from error
    if moment.tzinfo is None:
        if zone_needed and len(text) > len("2027-01-01"):
            raise typer.BadParameter(f"{text!r} names no time zone; write e.g. {text}Z")
        moment = moment.replace(tzinfo=UTC)
    if not _EPOCH <= moment < _LATEST:
        raise typer.BadParameter(f"{text!r} must lie between the years 1970 and 9000")
    return (moment - _EPOCH) // timedelta(microseconds=1)


def life_us(days: float) -> int:
    """How long something lives, from days.

    Raises:
        typer.BadParameter: no time at all, more than a century, or no number.
    """
    if not (math.isfinite(days) and 0 < days <= LONGEST_DAYS):
        raise typer.BadParameter(f"it must be more than 0 and at most {LONGEST_DAYS} days")
    return max(1, round(days * _DAY_US))


def seconds(length: float) -> float:
    """A length of time in seconds, of an option.

    Raises:
        typer.BadParameter: it is negative, more than a century, or no number.
    """
    if not 0 <= length <= LONGEST_DAYS * 86_400:
        raise typer.BadParameter("it must be a number of seconds, 0 or more")
    return length
