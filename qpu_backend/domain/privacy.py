"""What a tenant may learn about the others on the chip: how many, as a class, and what they cost it, rounded."""

from __future__ import annotations

from enum import StrEnum
from math import isnan
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_STEPS_PER_UNIT: Final = 200
"""Half a point of success probability is 0.005."""

_FEW: Final = 3


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


def told_loss(loss: float) -> float:
    """A predicted loss of success probability as a tenant is told it: in steps of half a point (0.005), never below 0.

    Raises:
        ValueError: not a number.
    """
    if isnan(loss):
        raise ValueError("a loss that is not a number is nothing to tell")
    return min(max(round(loss * _STEPS_PER_UNIT), 0), _STEPS_PER_UNIT) / _STEPS_PER_UNIT
