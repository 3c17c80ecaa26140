"""What a simulated run came to. Every definition that a figure has, in one place.

* speed-up: Σ stand-alone device times / Σ batch times.
* utilisation: Σ qubits of the circuits · their own time / (chip qubits · Σ batch times).
* esp: mean over jobs of Π(1 − error) over gates and measurements of the circuit as it ran, by the snapshot;
  ``isolated``: the same on its best place on the empty chip. Neighbours are not in it.
* waits: device time from arrival to start.
* Jain index of x = service / weight over the tenants, (Σx)² / (n Σx²), in windows in which all of them had work queued.
  Service is what a job was charged, spread evenly over its batch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from qpu_backend.simulation.kinds import success

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from qpu_backend.simulation.clock import Run
    from qpu_backend.simulation.kinds import Chip


@dataclass(frozen=True, slots=True)
class Measures:
    """Figures of one run; fractions between 0 and 1, waits in s of device time, planning in ms of processor time.

    Attributes:
        jain: mean over the windows; 1.0 where one tenant is alone or no window has everybody.
        jain_min: of the worst window.
        jain_windows: how many windows there are.
    """

    policy: str
    device: str
    jobs: int
    batches: int
    device_s: float
    speedup: float
    utilisation: float
    esp: float
    esp_isolated: float
    jobs_per_batch: float
    p50_wait_s: float
    p95_wait_s: float
    jain: float
    jain_min: float
    jain_windows: int
    plan_ms_p50: float
    plan_ms_p95: float

    def to_document(self) -> dict[str, float | int | str]:
        """As JSON holds it."""
        return asdict(self)


def measure(run: Run, chip: Chip, window_s: float) -> Measures:
    """All figures of a run.

    Args:
        run: the run.
        chip: the device it ran on.
        window_s: device time of a window of the Jain index.
    """
    kind_of = {job.id: run.kinds[job.kind] for job in run.workload.jobs}
    seats = [seat for ran in run.ran for seat in ran.batch.seats]
    busy_us = sum(ran.batch.device_us for ran in run.ran)
    used = sum(len(seat.circuit.qubits) * seat.own_us for seat in seats)
    arrival = {job.id: job.arrival_us for job in run.workload.jobs}
    waits_s = [1e-6 * (ran.starts_us - arrival[seat.job_id]) for ran in run.ran for seat in ran.batch.seats]
    plans_ms = [1e-3 * ran.plan_us for ran in run.ran]
    indices = jain_in_windows(run, window_s)
    return Measures(
        policy=run.policy,
        device=chip.model.name,
        jobs=len(seats),
        batches=len(run.ran),
        device_s=1e-6 * busy_us,
        speedup=sum(kind_of[seat.job_id].own_us for seat in seats) / busy_us,
        utilisation=used / (chip.model.num_qubits * busy_us),
        esp=float(np.mean([success(seat.circuit, chip.snapshot) for seat in seats])),
        esp_isolated=float(np.mean([kind_of[seat.job_id].best_esp for seat in seats])),
        jobs_per_batch=len(seats) / len(run.ran),
        p50_wait_s=float(np.percentile(waits_s, 50)),
        p95_wait_s=float(np.percentile(waits_s, 95)),
        jain=float(np.mean(indices)) if indices else 1.0,
        jain_min=min(indices, default=1.0),
        jain_windows=len(indices),
        plan_ms_p50=float(np.percentile(plans_ms, 50)),
        plan_ms_p95=float(np.percentile(plans_ms, 95)),
    )


def jain(values: Sequence[float] | NDArray[np.float64]) -> float:
    """Jain's index of fairness: 1 for equal values, 1/n where one has everything (DEC-TR-301)."""
    x = np.asarray(values, dtype=np.float64)
    return float(x.sum() ** 2 / (len(x) * (x @ x))) if x.any() else 1.0


def service(run: Run, edges_us: NDArray[np.int64]) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """What every tenant got in each window, µs · qubit.

    Args:
        run: the run.
        edges_us: ascending device times, one more than windows.

    Returns:
        The tenants, and float64 ``(tenants, windows)``.
    """
    tenants = tuple(run.workload.weights)
    row = {tenant: index for index, tenant in enumerate(tenants)}
    owner = {job.id: row[job.tenant] for job in run.workload.jobs}
    got = np.zeros((len(tenants), len(edges_us) - 1))
    for ran in run.ran:
        ends_us = ran.starts_us + ran.batch.device_us
        overlap = np.minimum(edges_us[1:], ends_us) - np.maximum(edges_us[:-1], ran.starts_us)
        share = np.maximum(overlap, 0) / ran.batch.device_us
        for seat in ran.batch.seats:
            got[owner[seat.job_id]] += seat.cost * share
    return tenants, got


def jain_in_windows(run: Run, window_s: float) -> list[float]:
    """Jain's index of weighted service in every whole window in which all tenants had a job waiting throughout."""
    if len(run.workload.weights) < 2:
        return []
    starts = {seat.job_id: ran.starts_us for ran in run.ran for seat in ran.batch.seats}
    window_us = round(1e6 * window_s)
    edges_us = np.arange(0, run.ends_us + 1, window_us)
    if len(edges_us) < 2:
        return []
    tenants, got = service(run, edges_us)
    weights = np.array([run.workload.weights[tenant] for tenant in tenants])
    waits: dict[str, list[tuple[int, int]]] = {tenant: [] for tenant in tenants}
    for job in run.workload.jobs:
        waits[job.tenant].append((job.arrival_us, starts[job.id]))
    found: list[float] = []
    for index, (opens, closes) in enumerate(zip(edges_us[:-1].tolist(), edges_us[1:].tolist(), strict=True)):
        if all(_covers(spans, opens, closes) for spans in waits.values()):
            found.append(jain(got[:, index] / weights))
    return found


def _covers(spans: list[tuple[int, int]], opens: int, closes: int) -> bool:
    """Whether at every time of a window at least one of the spans is open."""
    reached = opens
    for start, end in sorted(spans):
        if start > reached:
            return False
        reached = max(reached, end)
        if reached >= closes:
            return True
    return False
