"""Promised starts: earliest deadline first, admitted only if every promise can be kept.

A promise is a device time by which a job starts. Nothing is cut short, so at worst a batch of the longest kind begins
just before, and every job promised earlier runs in a batch of its own first::

    now ──[ longest batch ]──[ promised 1 ]──[ promised 2 ]──▶ start of 3         must be ≤ its promise

:func:`keepable` asks that once, at admission. :func:`due` asks it before each batch: as long as one more batch of
others leaves every promise keepable, jobs run in the order of their tags; else the most urgent promise runs first. So a
promise that was admitted is kept, whatever else arrives, while the device is neither calibrated nor closed and nothing
of it is put in quarantine or released: what is held back is counted again only then.

Earliest deadline first is optimal here (Jackson 1955); sharing only helps: who starts earlier delays nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class Promise(NamedTuple):
    """A job that has to start in time.

    Attributes:
        start_by_us: device time.
        lasts_us: at most, of a batch with this job at its head.
        job_id: whose.
    """

    start_by_us: int
    lasts_us: int
    job_id: str


def lasts_us(own_us: int, stretch: float) -> int:
    """Device time that a batch headed by a job takes at most.

    Args:
        own_us: of the job alone.
        stretch: how much longer the batch may last, as a fraction.
    """
    return own_us + int(own_us * stretch)


def keepable(promises: Iterable[Promise], now_us: int, longest_us: int) -> bool:
    """Whether each of some jobs starts in time if a batch of the longest kind begins first.

    Args:
        promises: in any order.
        now_us: device time at which the device is free.
        longest_us: the longest batch of other jobs; 0 where none begins first.
    """
    starts_us = now_us + longest_us
    for promise in sorted(promises):
        if starts_us > promise.start_by_us:
            return False
        starts_us += promise.lasts_us
    return True


def collides(start_by_us: int, longest_us: int, windows: Iterable[tuple[int, int]], now_us: int) -> bool:
    """Whether a booked window of others could delay a start that is promised.

    Args:
        start_by_us: the promise.
        longest_us: the longest batch; one that would not end before a window waits for its end.
        windows: ``(starts_us, ends_us)``.
        now_us: device time.
    """
    return any(starts_us < start_by_us + longest_us and ends_us > now_us for starts_us, ends_us in windows)


def due(promises: Iterable[Promise], now_us: int, longest_us: int) -> Promise | None:
    """The most urgent promise if it has to be served now, or ``None`` while another batch may go first."""
    ordered = sorted(promises)
    return ordered[0] if ordered and not keepable(ordered, now_us, longest_us) else None
