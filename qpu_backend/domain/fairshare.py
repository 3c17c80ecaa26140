"""Fair queueing between tenants, in whole numbers: start-time fair queueing (Goyal, Vin and Cheng, SIGCOMM 1996).

A job is tagged once, when it is queued:  ``S = max(v, F_prev)``,  ``F = S + cost / weight``.  The queue is served by
ascending ``S``. For two tenants that always have work queued, and jobs that could change places, the service each gets
differs by at most one job:  ``|W_f/w_f − W_g/w_g| ≤ c_f/w_f + c_g/w_g``.

Costs are µs · qubit. Nothing here decides what fits beside what; see :mod:`qpu_backend.domain.planning`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

WEIGHT_UNIT: Final = 100
"""The weight at which one µs · qubit moves a tag by one."""


def tag(virtual_time: int, previous_finish: int, cost: int, weight: int) -> tuple[int, int]:
    """Start and finish tag of a job that is queued now.

    Args:
        virtual_time: of the device's queue.
        previous_finish: finish tag of the same tenant's last job on this device; 0 if there was none.
        cost: what the job is expected to occupy, µs · qubit.
        weight: the tenant's share relative to others, > 0.

    Raises:
        ValueError: a weight or cost that is not positive.
    """
    if weight <= 0 or cost <= 0:
        raise ValueError(f"a tag needs a positive cost and weight, not {cost} and {weight}")
    start = max(virtual_time, previous_finish)
    return start, start - (-cost * WEIGHT_UNIT // weight)


def virtual_time_after(virtual_time: int, served_start_tags: Sequence[int]) -> int:
    """Virtual time once these jobs have been taken from the front of the queue; it never goes back.

    It follows the last job served *in order*. A job served past one that found no room must not be counted: the one
    that was passed still has the smaller tag, and its tenant's next job must not start behind it.
    """
    return max((virtual_time, *served_start_tags))


def charge(occupied_qubits: Sequence[int], own_us: Sequence[int], batch_us: int) -> tuple[int, ...]:
    """What each placement of a batch is charged, µs · qubit.

    Each pays for its qubits (region and buffer) during its own time. For the rest of the batch everybody's qubits wait
    for the longest job, which therefore pays for that too; the first of them where several are equal. So, exactly:

        Σ charge + (capacity − Σ occupied) · batch  =  capacity · batch

    Args:
        occupied_qubits: of each placement.
        own_us: device time each would take alone, ≤ ``batch_us``.
        batch_us: device time of the batch.
    """
    costs = [qubits * own for qubits, own in zip(occupied_qubits, own_us, strict=True)]
    if costs:
        longest = max(range(len(costs)), key=lambda index: own_us[index])
        costs[longest] += sum(qubits * (batch_us - own) for qubits, own in zip(occupied_qubits, own_us, strict=True))
    return tuple(costs)
