"""Generated workloads, as documents of :mod:`qpu_backend.simulation.workload`: the same seed, the same document."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

_MIX: Final = {
    "adder": (4, 6),
    "bb84": (5, 8),
    "cat_state": (3, 7),
    "deutsch": (2, 4),
    "grover": (2, 2),
    "hs4": (4, 6),
    "ising": (4, 8),
    "qaoa": (3, 6),
    "qft": (3, 5),
    "teleportation": (3, 3),
    "toffoli": (3, 3),
    "vqe": (3, 6),
    "wstate": (3, 6),
}
"""Family → fewest and most qubits."""


def mixed(jobs: int, seed: int, rate_per_s: float | None = None) -> dict[str, Any]:
    """Jobs of many families and sizes, of one tenant.

    Args:
        jobs: how many.
        seed: of everything random.
        rate_per_s: they arrive as a Poisson process of this rate in device time; all at once by default.
    """
    rng = np.random.default_rng(seed)
    families = rng.choice(list(_MIX), jobs).tolist()
    sizes = [int(rng.integers(_MIX[family][0], _MIX[family][1] + 1)) for family in families]
    queue = [f"{family}_n{size}" for family, size in zip(families, sizes, strict=True)]
    document: dict[str, Any] = {
        "note": f"generated: {jobs} jobs, seed {seed}",
        "kinds": {name: {"qubits": size} for name, size in sorted(dict(zip(queue, sizes, strict=True)).items())},
        "queue": queue,
    }
    if rate_per_s is not None:
        document["arrival_s"] = np.cumsum(rng.exponential(1 / rate_per_s, jobs)).round(6).tolist()
    return document


def backlog(tenants: int, jobs_per_weight: int, seed: int) -> dict[str, Any]:
    """Tenants of weights 1, 2, 4, 1, … who all have work queued from the beginning: GHZ states of four qubits.

    Args:
        tenants: how many.
        jobs_per_weight: jobs of a tenant of weight 1; others have more in proportion.
        seed: of the order of submission.
    """
    weights = {f"tenant-{number:02d}": 1 << number % 3 for number in range(tenants)}
    owners = [tenant for tenant, weight in weights.items() for _ in range(jobs_per_weight * weight)]
    order = np.random.default_rng(seed).permutation(len(owners)).tolist()
    return {
        "note": f"generated: {tenants} tenants, all backlogged, seed {seed}",
        "kinds": {"cat_state_n4": {"qubits": 4}},
        "queue": ["cat_state_n4"] * len(owners),
        "tenants": [owners[index] for index in order],
        "weights": weights,
    }
