"""How many more jobs may start, of tenants and principals that may not have all of their jobs run at once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

Whose = tuple[str, str]
"""(tenant, principal); a principal of '' is the tenant as a whole."""


class Allowance:
    """What is left of the limits while a view of the queue is put together, in the order of the queue.

    Args:
        running: how many jobs run now, by principal.
    """

    def __init__(self, running: Mapping[Whose, int]) -> None:
        self._running = Counter(running)
        for (tenant, _), number in running.items():
            self._running[tenant, ""] += number
        self._left: dict[Whose, int] = {}

    def learn(self, limits: Mapping[Whose, int]) -> None:
        """Of some tenants and principals: how many jobs may run at once. Each is told once, before its jobs come."""
        for whose, limit in limits.items():
            self._left[whose] = limit - self._running[whose]

    def stops(self, tenant: str, principal: str) -> Whose | None:
        """Whose limit stands in the way of one job more: the tenant's, else the principal's, or nobody's."""
        return next((one for one in ((tenant, ""), (tenant, principal)) if self._left.get(one, 1) <= 0), None)

    def take(self, tenant: str, principal: str) -> None:
        """One job more may start; one that was promised its start may even where a limit stands in the way."""
        for one in ((tenant, ""), (tenant, principal)):
            if one in self._left:
                self._left[one] -= 1
