"""What admission asks of policies and rates: before anything is decoded, and again in the transaction that queues.

A policy that was read before the transaction may be some milliseconds old there; rates and queues are counted in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from qpu_backend.domain.errors import QueueFull
from qpu_backend.domain.lanes import lane_of
from qpu_backend.domain.rates import admit_all
from qpu_backend.stores import fairness, jobs, policies, rates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from qpu_backend.domain.lanes import Lane
    from qpu_backend.domain.tenancy import TenantScope
    from qpu_backend.stores.policies import Standing
    from qpu_sdk.wire.models import JobOptions

_AT_ONCE: Final = 64
"""Submissions of a tenant that may be queued at the same time, for several devices or lanes, unseen by each other."""


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


def count_submission(connection: Connection, scope: TenantScope, standing: Standing, now_us: int) -> None:
    """Count a submission, in the transaction that queues it.

    Raises:
        RateLimited: it comes too early after those before it.
    """
    rates.count_submission(connection, scope, standing.policies.rates(scope.principal_id), now_us)


def require_queue(connection: Connection, scope: TenantScope, standing: Standing) -> None:
    """Whether the tenant, and the principal, may have one unfinished job more.

    Raises:
        QueueFull: they may not.
    """
    most, most_own = standing.tenant.max_queued_jobs, standing.policies.principal.max_queued_jobs
    unfinished = jobs.count_unfinished(connection, scope)
    tight = unfinished + _AT_ONCE > (most if most_own is None else min(most, most_own))
    if tight and fairness.lock_tenant_queue(connection, scope):
        unfinished = jobs.count_unfinished(connection, scope)  # with those for other devices and lanes
    if unfinished >= most:
        raise QueueFull(limit=most, queued=unfinished)
    if most_own is not None:
        standing.policies.require_queued(policies.count_own_unfinished(connection, scope))
