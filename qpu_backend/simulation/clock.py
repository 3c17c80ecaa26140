"""The loop in virtual time: jobs arrive and are tagged, the policy chooses a batch, and device time goes on by it."""

from __future__ import annotations

import time
from bisect import bisect_left, insort
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpu_backend.domain.fairshare import WEIGHT_UNIT, tag
from qpu_backend.domain.views import QueuedJob
from qpu_backend.simulation.batches import Batch, Waiting
from qpu_backend.simulation.workload import LANE_FACTOR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qpu_backend.simulation.batches import Policy
    from qpu_backend.simulation.kinds import Kind
    from qpu_backend.simulation.workload import Job, Workload

PER_TENANT: Final = 40
VIEW: Final = 64
"""The dispatcher looks at so many jobs of a tenant and of all; so does the simulated one."""


@dataclass(frozen=True, slots=True, eq=False)
class Ran:
    """A batch that ran.

    Attributes:
        starts_us: device time.
        batch: who ran where.
        plan_us: processor time that the decision took.
    """

    starts_us: int
    batch: Batch
    plan_us: float


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A workload that was simulated to its end.

    Attributes:
        policy: by which.
        workload: what was asked for.
        kinds: what ran.
        ran: the batches, in order.
    """

    policy: str
    workload: Workload
    kinds: Mapping[str, Kind]
    ran: tuple[Ran, ...]

    @property
    def ends_us(self) -> int:
        """Device time at which the last batch is over."""
        return self.ran[-1].starts_us + self.ran[-1].batch.device_us


def simulate(workload: Workload, kinds: Mapping[str, Kind], policy: Policy, *, buffer: int) -> Run:
    """Run a workload to its end.

    Args:
        workload: the jobs.
        kinds: each kind of the workload, compiled for the device.
        policy: who runs next.
        buffer: idle qubits that a job is expected to be charged for around it.
    """
    queue = Queue(workload, kinds, buffer, by_tag=policy.fair)
    arriving = list(reversed(workload.jobs))
    now_us = virtual_time = 0
    ran: list[Ran] = []
    while arriving or queue.waiting:
        if not queue.waiting:
            now_us = max(now_us, arriving[-1].arrival_us)
        while arriving and arriving[-1].arrival_us <= now_us:
            queue.enter(arriving.pop(), virtual_time)
        started = time.perf_counter()
        batch = policy.next_batch(queue.front(), virtual_time, now_us)
        plan_us = 1e6 * (time.perf_counter() - started)
        ran.append(Ran(now_us, batch, plan_us))
        queue.leave({seat.job_id for seat in batch.seats})
        virtual_time = max(virtual_time, batch.virtual_time)
        now_us += batch.device_us
    return Run(policy.name, workload, kinds, tuple(ran))


class Queue:
    """The waiting jobs in order: by tag, or by arrival."""

    def __init__(self, workload: Workload, kinds: Mapping[str, Kind], buffer: int, *, by_tag: bool) -> None:
        self.waiting: list[tuple[int, str]] = []
        self._weights = workload.weights
        self._kinds = kinds
        self._buffer = buffer
        self._by_tag = by_tag
        self._jobs: dict[str, tuple[tuple[int, str], Waiting]] = {}
        self._finish: dict[tuple[str, str], int] = {}
        self._entered = 0

    def enter(self, job: Job, virtual_time: int) -> None:
        """A job arrives and is tagged, once; the lanes of a tenant queue apart."""
        kind = self._kinds[job.kind]
        flow = (job.tenant, job.lane)
        weight = max(1, round(WEIGHT_UNIT * self._weights[job.tenant] * LANE_FACTOR[job.lane]))
        qubits = kind.shape.usual_qubits_with_buffer if self._buffer else kind.shape.table.regions.shape[1]
        cost = qubits * kind.own_us
        start, finish = tag(virtual_time, self._finish.get(flow, 0), cost, weight)
        self._finish[flow] = finish
        queued = QueuedJob(job.id, job.tenant, start, finish, cost, kind.footprint)
        key = (start if self._by_tag else self._entered, job.id)
        self._jobs[job.id] = key, Waiting(queued, kind, self._entered)
        self._entered += 1
        insort(self.waiting, key)

    def front(self) -> list[Waiting]:
        """As the dispatcher sees it: so many jobs of a tenant, and so many in all."""
        seen: list[Waiting] = []
        counts: dict[str, int] = {}
        for _, job_id in self.waiting:
            one = self._jobs[job_id][1]
            if counts.get(one.job.tenant, 0) < PER_TENANT:
                counts[one.job.tenant] = counts.get(one.job.tenant, 0) + 1
                seen.append(one)
                if len(seen) == VIEW:
                    break
        return seen

    def all(self) -> list[Waiting]:
        """Every waiting job."""
        return [self._jobs[job_id][1] for _, job_id in self.waiting]

    def leave(self, job_ids: set[str]) -> None:
        """These jobs run."""
        for job_id in job_ids:
            key, _ = self._jobs.pop(job_id)
            del self.waiting[bisect_left(self.waiting, key)]
