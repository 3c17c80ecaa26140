"""The front of the queue where somebody may not have all jobs run at once: jobs beyond such a limit are left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, String, bindparam, literal_column, select, tuple_, types

from qpu_backend.domain.running import Allowance
from qpu_backend.stores import policies
from qpu_backend.stores.jobs import QueuedJobRow
from qpu_backend.stores.rows import columns_of
from qpu_backend.stores.schema import jobs

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from qpu_backend.domain.tenancy import SystemScope


@dataclass(frozen=True, slots=True)
class LimitedView:
    """Jobs by (start tag, id), and the smallest start tag of those that a limit left out."""

    jobs: list[QueuedJobRow]
    unseen_tag: int | None


def limited_view(
    connection: Connection,
    scope: SystemScope,
    device_id: str,
    *,
    per_tenant: int,
    window: int,
    kept: Sequence[QueuedJobRow] = (),
    owners: Sequence[QueuedJobRow] = (),
    without: Collection[str] = (),
) -> LimitedView:
    """As :func:`qpu_backend.stores.jobs.queue_view`, with no more jobs of anybody than may start now.

    Args:
        connection: of the transaction.
        scope: the service.
        device_id: whose queue.
        per_tenant: jobs of a tenant, at most.
        window: jobs in all, at most, ``kept`` and ``owners`` not counted.
        kept: jobs that stay whatever is running, because their start was promised; they count against the limits.
        owners: jobs that are to be seen wherever they stand, as far as they may start.
        without: ids of jobs that cannot start whatever the limits: they are not seen and count against none.

    Returns:
        All of them in order.
    """
    walk = _Walk(connection, scope)
    for job in walk.known(kept):
        if job.id not in without:
            walk.keep(job)
    counts: dict[str, int] = {}
    in_window = 0
    after_tag, after_id = -(2**63), ""
    while in_window < window:
        values = {
            "device": device_id,
            "tag": after_tag,
            "id": after_id,
            "full": [*walk.held_tenants, *(tenant for tenant, count in counts.items() if count >= per_tenant)],
            "held": list(walk.held_principals),
            "window": window,
        }
        rows = [QueuedJobRow(*row) for row in connection.execute(_QUEUE, values)]
        for job in walk.known(rows):
            if job.id in without:
                continue
            if in_window < window and counts.get(job.tenant_id, 0) < per_tenant and walk.offer(job):
                counts[job.tenant_id] = counts.get(job.tenant_id, 0) + 1
                in_window += 1
        if len(rows) < window:
            break
        after_tag, after_id = rows[-1].start_tag, rows[-1].id
    for job in walk.known(owners):
        if job.id not in without:
            walk.offer(job)
    return LimitedView(
        sorted(walk.seen.values(), key=lambda job: (job.start_tag, job.id)), min(walk.left_out, default=None)
    )


class _Walk:
    """Jobs met so far, and who has as many of them as may start."""

    def __init__(self, connection: Connection, scope: SystemScope) -> None:
        self._connection = connection
        self._scope = scope
        self._allowance = Allowance(policies.count_running(connection, scope))
        self._tenants: set[str] = set()
        self.seen: dict[str, QueuedJobRow] = {}
        self.left_out: list[int] = []
        self.held_tenants: set[str] = set()
        self.held_principals: set[str] = set()

    def known(self, rows: Sequence[QueuedJobRow]) -> Sequence[QueuedJobRow]:
        """The same rows, once the limits of whoever they are of are known."""
        new = {job.tenant_id for job in rows} - self._tenants
        if new:
            self._allowance.learn(policies.limits_of_running(self._connection, self._scope, new))
            self._tenants |= new
        return rows

    def keep(self, job: QueuedJobRow) -> None:
        """It is seen whatever stands in the way."""
        self._allowance.take(job.tenant_id, job.principal_id)
        self.seen[job.id] = job

    def offer(self, job: QueuedJobRow) -> bool:
        """Whether it is seen: it may start, or it was promised to."""
        if job.id in self.seen:
            return True
        held_by = self._allowance.stops(job.tenant_id, job.principal_id)
        if held_by is None:
            self.keep(job)
            return True
        self.left_out.append(job.start_tag)
        if held_by[1]:
            self.held_principals.add(held_by[1])
        else:
            self.held_tenants.add(held_by[0])
        return False


_QUEUE: Final = (
    select(*columns_of(QueuedJobRow, jobs))
    .where(
        jobs.c.device_id == bindparam("device"),
        jobs.c.state == literal_column("'queued'"),
        tuple_(jobs.c.start_tag, jobs.c.id)
        > tuple_(bindparam("tag", type_=types.BigInteger()), bindparam("id", type_=String())),
        jobs.c.tenant_id.not_in(bindparam("full", expanding=True)),
        jobs.c.principal_id.not_in(bindparam("held", expanding=True)),
    )
    .order_by(jobs.c.start_tag, jobs.c.id)
    .limit(bindparam("window"))
)
