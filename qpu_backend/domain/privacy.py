"""What a tenant may learn about the others: how many, as a class; what they cost it and how long, rounded; bookings."""

from __future__ import annotations

from enum import StrEnum
from math import ceil, isfinite, isnan, log2
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from qpu_backend.domain.views import Booking

_STEPS_PER_UNIT: Final = 200
"""Half a point of success probability is 0.005."""

_FEW: Final = 3

_WAITS_S: Final = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400)
"""Durations that are told; above a day, every double."""

_SHORTEST_WAIT_S: Final = 1.0


class CoTenants(StrEnum):
    """How many other tenants had jobs in the same batch."""

    NONE = "0"
    FEW = "1-3"
    MANY = "4+"


def co_tenants(own: str, tenants: Iterable[str]) -> CoTenants:
    """The class of a job's company.

    Args:
        own: the tenant who asks.
        tenants: the tenant of every placement of the batch, its own included. Its own other jobs are no company.
    """
    others = len(set(tenants) - {own})
    if others == 0:
        return CoTenants.NONE
    return CoTenants.FEW if others <= _FEW else CoTenants.MANY


class ToldWindow(NamedTuple):
    """A booked window of a device as a tenant is told it.

    Attributes:
        starts_us: device time.
        ends_us: device time.
        kind: its own, somebody else's, or nobody's.
        id: of the booking, if it is its own.
    """

    starts_us: int
    ends_us: int
    kind: Literal["yours", "booked", "maintenance"]
    id: str | None = None


def told_windows(windows: Iterable[Booking], own: Collection[str]) -> list[ToldWindow]:
    """Booked windows as a tenant is told them: of others', neither whose nor how many one behind the other.

    Args:
        windows: by their start, disjoint.
        own: ids of the tenant's own.
    """
    told: list[ToldWindow] = []
    for window in windows:
        if window.id in own:
            told.append(ToldWindow(window.starts_us, window.ends_us, "yours", window.id))
            continue
        kind = "maintenance" if window.maintenance else "booked"
        if told and told[-1].kind == kind and told[-1].ends_us == window.starts_us:
            told[-1] = told[-1]._replace(ends_us=window.ends_us)
        else:
            told.append(ToldWindow(window.starts_us, window.ends_us, kind))
    return told


def told_loss(loss: float) -> float:
    """A predicted loss of success probability as a tenant is told it: in steps of half a point (0.005), never below 0.

    Raises:
        ValueError: not a number.
    """
    if isnan(loss):
        raise ValueError("a loss that is not a number is nothing to tell")
    return min(max(round(loss * _STEPS_PER_UNIT), 0), _STEPS_PER_UNIT) / _STEPS_PER_UNIT


def told_pace(seconds_per_batch: float, jobs_per_batch: float) -> tuple[float, int]:
    """How fast a device works, as far as a tenant may learn it: most paces look like many others.

    A wait that is only rounded at its end would not do: who queues jobs one after the other would read the pace from
    where the answer changes.

    Returns:
        Seconds a batch, rounded up to a few steps; jobs a batch, rounded down to a power of two.

    Raises:
        ValueError: not finite, or below 0.
    """
    if not isfinite(jobs_per_batch):
        raise ValueError("a pace that is not finite is nothing to tell")
    return _rounded_up(seconds_per_batch), 1 << (int(max(1.0, jobs_per_batch)).bit_length() - 1)


def told_wait(seconds: float) -> float:
    """A wait as a tenant is told it: rounded up to 1, 2, 5, 10, 20, 30 s and so on.

    Raises:
        ValueError: not finite, or below 0.
    """
    return max(_SHORTEST_WAIT_S, _rounded_up(seconds))


def _rounded_up(seconds: float) -> float:
    if not (isfinite(seconds) and seconds >= 0):
        raise ValueError(f"{seconds} s is no duration")
    for step in _WAITS_S:
        if seconds <= step:
            return float(step)
    return float(_WAITS_S[-1] * 2 ** ceil(log2(seconds / _WAITS_S[-1])))
