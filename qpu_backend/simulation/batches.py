"""What policies look at and answer with: waiting jobs, and a batch of them in their places."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from qpu_backend.domain.fairshare import charge
from qpu_backend.domain.rounds import batch_us, merged, profile_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpu_backend.domain.rounds import Track
    from qpu_backend.domain.views import QueuedJob
    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.simulation.kinds import Kind


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """A job in the queue.

    Attributes:
        job: as the planner sees it.
        kind: what it runs.
        position: in order of arrival.
    """

    job: QueuedJob
    kind: Kind
    position: int


@dataclass(frozen=True, slots=True, eq=False)
class Seat:
    """A job in its place.

    Attributes:
        job_id: the job.
        circuit: what it runs, on physical qubits.
        region: physical qubits it was given.
        buffer_qubits: qubits kept idle for it.
        own_us: device time it would take alone.
        cost: µs · qubit charged to it.
        track: its executions.
    """

    job_id: str
    circuit: IsaCircuit
    region: tuple[int, ...]
    buffer_qubits: int
    own_us: int
    cost: int
    track: Track


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Jobs that run at the same time.

    Attributes:
        seats: in the order in which they were chosen.
        device_us: how long it takes: as long as its longest job.
        virtual_time: of the fair queue afterwards; 0 where there is none.
    """

    seats: tuple[Seat, ...]
    device_us: int
    virtual_time: int = 0


class Policy(Protocol):
    """Who runs next, where, beside whom."""

    @property
    def name(self) -> str:
        """As on the command line."""
        ...

    @property
    def fair(self) -> bool:
        """Whether jobs are offered in the order of their tags, instead of that of their arrival."""
        ...

    def next_batch(self, waiting: Sequence[Waiting], virtual_time: int, now_us: int) -> Batch:
        """The next batch.

        Args:
            waiting: at least one job; each fits on the empty chip.
            virtual_time: of the fair queue.
            now_us: device time.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A job and its place, before the batch is closed."""

    waiting: Waiting
    circuit: IsaCircuit
    region: tuple[int, ...]
    buffer_qubits: int
    track: Track


def close(chosen: Sequence[Chosen], overhead_us: int) -> Batch:
    """A batch of jobs in their places, each charged as fair queueing would charge it."""
    profiles = [profile_of(one.track) for one in chosen]
    together = profiles[0]
    for profile in profiles[1:]:
        together = merged(together, profile)
    device_us = batch_us(overhead_us, together)
    own = [batch_us(overhead_us, profile) for profile in profiles]
    costs = charge([len(one.region) + one.buffer_qubits for one in chosen], own, device_us)
    return Batch(
        seats=tuple(
            Seat(one.waiting.job.id, one.circuit, one.region, one.buffer_qubits, own_us, cost, one.track)
            for one, own_us, cost in zip(chosen, own, costs, strict=True)
        ),
        device_us=device_us,
    )
