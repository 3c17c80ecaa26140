"""Lanes: classes of service. Who gets how large a share, who is promised a start, who may use them.

A lane's weight multiplies its tenant's, so a job in a lane of weight 400 is tagged as if it cost a quarter. No lane
starves: every tag is finite, and the queue is served in their order (ageing is part of fair queueing).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.errors import LaneRefused
from qpu_backend.domain.fairshare import WEIGHT_UNIT

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Lane:
    """A class of service.

    Attributes:
        name: e.g. ``standard``.
        weight: share relative to a lane of 100.
        promise_us: device time within which a job is promised to start, or refused; ``None`` promises nothing.
        tenants: names of those who may use it; ``None`` for everybody.
    """

    name: str
    weight: int = WEIGHT_UNIT
    promise_us: int | None = None
    tenants: frozenset[str] | None = None

    def weight_of(self, tenant_weight: int) -> int:
        """The weight that tags a job of a tenant in this lane, at least 1."""
        return max(1, tenant_weight * self.weight // WEIGHT_UNIT)


STANDARD: Final = "standard"


def lane_of(lanes: Mapping[str, Lane], name: str, tenant: str) -> Lane:
    """The lane a tenant asks for.

    Raises:
        LaneRefused: there is none of that name, or the tenant may not use it.
    """
    open_to = sorted(lane.name for lane in lanes.values() if lane.tenants is None or tenant in lane.tenants)
    if name not in open_to:
        raise LaneRefused(name, open_to)
    return lanes[name]
