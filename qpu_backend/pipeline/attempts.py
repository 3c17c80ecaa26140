"""Attempts: how often one may have circuits read, for jobs, quotes and predictions, whatever becomes of them.

A rate of submissions counts those that are queued. Reading circuits costs as much where a job is refused afterwards, so
this is counted as well, before anything is read: in memory, by each process for itself.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from cachetools import LRUCache

from qpu_backend.domain.rates import admit_all

if TYPE_CHECKING:
    from qpu_backend.domain.policies import Policies
    from qpu_backend.domain.rates import Rate
    from qpu_backend.domain.tenancy import TenantScope

_PER_SUBMISSION: Final = 10
"""So many attempts are let through for each submission that a policy allows."""
_REMEMBERED: Final = 16_384
"""Principals and tenants; one that is forgotten begins with a full burst."""


class Attempts:
    """Counts attempts from any thread, by the algorithm of ``domain/rates.py``."""

    def __init__(self, usual: Rate, remembered: int = _REMEMBERED) -> None:
        """Nothing is counted yet.

        Args:
            usual: of a principal without a rate of submissions of its own.
            remembered: how many are counted at a time.
        """
        self._usual = replace(usual, principal=True, attempts=True)
        self._lock = threading.Lock()
        self._arrivals: LRUCache[tuple[str, str], int] = LRUCache(remembered)

    def count(self, scope: TenantScope, policies: Policies, now_us: int) -> None:
        """One attempt more.

        Raises:
            RateLimited: it comes too early; nothing changed.
        """
        rates = {scope.principal_id: self._usual} | {
            whose: replace(
                rate,
                per_minute=_PER_SUBMISSION * rate.per_minute,
                burst=_PER_SUBMISSION * rate.burst,
                attempts=True,
            )
            for whose, rate in policies.rates(scope.principal_id).items()
        }
        with self._lock:
            arrivals = {whose: self._arrivals.get((scope.tenant_id, whose), 0) for whose in rates}
            for whose, arrival_at_us in admit_all(rates, arrivals, now_us).items():
                self._arrivals[scope.tenant_id, whose] = arrival_at_us
