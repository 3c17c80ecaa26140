"""What admission asks of policies and rates: before anything is decoded, and again in the transaction that queues.

A policy that was read before the transaction may be some milliseconds old there; rates and queues are counted in it.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, final

from qpu_backend.domain.errors import QueueFull
from qpu_backend.domain.lanes import lane_of
from qpu_backend.domain.rates import admit_all
from qpu_backend.stores import fairness, jobs, policies, rates

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from qpu_backend.domain.lanes import Lane
    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.stores.policies import Standing
    from qpu_backend.stores.rates import Whose
    from qpu_sdk.wire.models import JobOptions

_AT_ONCE: Final = 256
"""Submissions of a tenant that may be queued at the same time, for several devices or lanes, unseen by each other: some
groups of other processes."""


def require_policy(standing: Standing, lanes: Mapping[str, Lane], options: JobOptions) -> Lane:
    """Whether a job may ask for what it asks, as far as that can be said without its circuits: the lane it gets.

    Raises:
        LaneRefused: there is no such lane, or it is not open.
        IsolationRefused: the class of isolation is not open.
    """
    standing.policies.require_isolation(options.isolation.value)
    return lane_of(standing.policies.open_lanes(lanes), options.lane, standing.tenant.name)


def require_pace(standing: Standing, scope: TenantScope, size: int, now_us: int) -> None:
    """Whether a submission of so many bytes may come now; a look that counts nothing.

    Raises:
        TooLarge: it has more bytes than a policy allows.
        RateLimited: it comes too early after those before it.
    """
    standing.policies.require_bytes(size)
    admit_all(standing.policies.rates(scope.principal_id), standing.arrivals, now_us)


@final
class Counts:
    """What is counted of those who submit in one transaction, under locks that last until it ends.

    What one of them is granted counts for the next; who is refused is not counted.
    """

    def __init__(self, asking: Sequence[tuple[TenantScope, Standing]]) -> None:
        """Nothing is counted yet.

        Args:
            asking: who submits, each as often as it does.
        """
        self._asking = asking
        self._scopes = [scope for scope, _ in asking]
        self._before: dict[Whose, int] = {}
        self._arrivals: dict[Whose, int] = {}
        self._unfinished: dict[str, int] = {}
        self._own: dict[Whose, int] = {}

    def lock_rates(self, connection: Connection) -> None:
        """Read what the submissions before left."""
        limited = {
            (scope.tenant_id, whose)
            for scope, standing in self._asking
            for whose in standing.policies.rates(scope.principal_id)
        }
        self._before = rates.lock_arrivals(connection, self._scopes, limited)
        self._arrivals = dict(self._before)

    def read_queues(self, connection: Connection) -> None:
        """Count what is unfinished; under the locks of the tags, so that concurrent twins are counted."""
        coming = Counter(scope.tenant_id for scope in self._scopes)
        most = {scope.tenant_id: standing.tenant.max_queued_jobs for scope, standing in self._asking}
        for scope, standing in self._asking:
            own = standing.policies.principal.max_queued_jobs
            most[scope.tenant_id] = min(most[scope.tenant_id], most[scope.tenant_id] if own is None else own)
        self._unfinished = dict.fromkeys(coming, 0) | jobs.count_all_unfinished(connection, self._scopes)
        tight = {
            scope.tenant_id: scope
            for scope in self._scopes
            if self._unfinished[scope.tenant_id] + coming[scope.tenant_id] + _AT_ONCE > most[scope.tenant_id]
        }
        locked = [fairness.lock_tenant_queue(connection, tight[tenant_id]) for tenant_id in sorted(tight)]
        if any(locked):  # with those for other devices and lanes
            self._unfinished |= jobs.count_all_unfinished(connection, [*tight.values()])
        for scope, standing in self._asking:
            whose = (scope.tenant_id, scope.principal_id)
            if standing.policies.principal.max_queued_jobs is not None and whose not in self._own:
                self._own[whose] = policies.count_own_unfinished(connection, scope)

    def require(self, scope: TenantScope, standing: Standing, now_us: int) -> dict[Whose, int]:
        """Whether one more submission may come now: what it leaves under its rates, for :meth:`count`.

        Raises:
            RateLimited: it comes too early after those before it.
            QueueFull: the tenant, or the principal, may have no unfinished job more.
        """
        limits = standing.policies.rates(scope.principal_id)
        arrivals = {whose: self._arrivals[scope.tenant_id, whose] for whose in limits}
        moved = admit_all(limits, arrivals, now_us)
        if self._unfinished[scope.tenant_id] >= standing.tenant.max_queued_jobs:
            raise QueueFull(limit=standing.tenant.max_queued_jobs, queued=self._unfinished[scope.tenant_id])
        if standing.policies.principal.max_queued_jobs is not None:
            standing.policies.require_queued(self._own[scope.tenant_id, scope.principal_id])
        return {(scope.tenant_id, whose): at_us for whose, at_us in moved.items()}

    def count(self, scope: TenantScope, moved: Mapping[Whose, int]) -> None:
        """It comes."""
        self._arrivals |= moved
        self._unfinished[scope.tenant_id] += 1
        if (whose := (scope.tenant_id, scope.principal_id)) in self._own:
            self._own[whose] += 1

    def write_rates(self, connection: Connection) -> None:
        """Leave what comes next its arrivals."""
        moved = {whose: at_us for whose, at_us in self._arrivals.items() if at_us != self._before[whose]}
        rates.move_arrivals(connection, self._scopes, moved)
