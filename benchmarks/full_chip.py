"""A full chip: 16 tenants of five qubits, ten layers, 4,000 shots each, no buffers, every mechanism on, caches cold.

From the plan to the last count, as the service does it: profiles of everybody in workers, contexts, records, then the
records in workers. Used by ``benchmarks/physics.py``; on its own: ``python benchmarks/full_chip.py --json``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
from report import report

from qpu_backend.domain.planning import Placement, Plan
from qpu_backend.domain.programs import Execution, Program
from qpu_backend.domain.rounds import Member as RoundMember
from qpu_backend.domain.rounds import Round
from qpu_backend.engines.catalogue import read_device
from qpu_backend.engines.executors import local_executor
from qpu_backend.engines.protocol import RegionTask, decode_report, join_tasks
from qpu_backend.engines.worker import run_tasks
from qpu_backend.physics.circuit import IsaCircuit, Op, operations
from qpu_backend.physics.device import ConditionalErrors, Crosstalk
from qpu_backend.physics.drift import Truth
from qpu_backend.physics.embeddings import embeddings
from qpu_backend.physics.topology import mask_of
from qpu_backend.pipeline.batching import REMEMBERED_BYTES, assemble
from qpu_backend.pipeline.profiling import Profiler
from qpu_backend.pipeline.recent import Recent

if TYPE_CHECKING:
    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.physics.snapshot import Snapshot
    from qpu_backend.physics.topology import Topology
    from qpu_backend.pipeline.batching import Member

TENANTS, QUBITS, LAYERS, SHOTS, WORKERS = 16, 5, 10, 4_000, 2


def brickwork(seed: int) -> IsaCircuit:
    """Ten layers of random one-qubit gates and alternating two-qubit gates on a line, then measured."""
    rng = np.random.default_rng(seed)
    rows: list[tuple[int, int, int, int, int, float, int]] = []
    for layer in range(LAYERS):
        for q in range(QUBITS):
            rows += [(int(Op.RZ), q, -1, -1, -1, float(angle), -1) for angle in rng.uniform(-np.pi, np.pi, 1)]
            rows.append((int(Op.SX), q, -1, -1, -1, 0.0, -1))
        rows += [(int(Op.ECR), q, q + 1, -1, -1, 0.0, -1) for q in range(layer % 2, QUBITS - 1, 2)]
    rows += [(int(Op.MEASURE), q, -1, q, -1, 0.0, -1) for q in range(QUBITS)]
    return IsaCircuit(tuple(range(QUBITS)), QUBITS, (), operations(rows))


def crowded(model: DeviceModel, snapshot: Snapshot) -> list[tuple[int, ...]]:
    """Sixteen disjoint lines packed so that each touches at least two others."""
    lines = [
        tuple(int(q) for q in row)
        for row in embeddings(model.topology, QUBITS, pairwise(range(QUBITS)), usable_edges=snapshot.usable_edges)
        if row[0] < row[-1]
    ]
    masks = [mask_of(line) for line in lines]
    around = [model.topology.neighbour_mask(mask) for mask in masks]
    for seed in range(500):
        rng = np.random.default_rng(seed)
        chosen = [int(rng.integers(len(lines)))]
        while len(chosen) < TENANTS:
            taken = 0
            for index in chosen:
                taken |= masks[index]
            free = [index for index in rng.permutation(len(lines)).tolist() if not masks[index] & taken]
            if not free:
                break
            chosen.append(max(free, key=lambda index: sum(bool(around[index] & masks[other]) for other in chosen)))
        regions = [lines[index] for index in chosen]
        if len(regions) == TENANTS and min(touching(model.topology, regions)) >= 2:
            return regions
    raise RuntimeError("no such packing was found")


def touching(topology: Topology, regions: list[tuple[int, ...]]) -> list[int]:
    """How many other regions each one touches."""
    masks = [mask_of(region) for region in regions]
    return [
        sum(bool(topology.neighbour_mask(mask) & other) for j, other in enumerate(masks) if j != i)
        for i, mask in enumerate(masks)
    ]


def batch(model: DeviceModel, snapshot: Snapshot) -> tuple[Plan, dict[str, Any], dict[str, Program]]:
    """A plan with its jobs and programs."""
    regions = crowded(model, snapshot)
    placements = tuple(
        Placement(f"job{i}", f"tenant{i}", region, 0, False, 1, 1, 0.0) for i, region in enumerate(regions)
    )
    members = tuple(RoundMember(i, 0, 0) for i in range(TENANTS))
    rounds = (Round(1, SHOTS, 10_000, 260_000, members),)
    jobs = {
        one.job_id: SimpleNamespace(
            tenant_id=one.tenant,
            seed=i,
            footprint={"shape": "line-5"},
            options={"meas_level": 2},
            program_sha=one.job_id,
        )
        for i, one in enumerate(placements)
    }
    programs = {
        one.job_id: Program("sampler", (brickwork(i),), (np.zeros((1, 0)),), (Execution(0, 0, 0, 0, SHOTS),))
        for i, one in enumerate(placements)
    }
    return Plan(placements, rounds, 0, 1, 0, 127, 0), jobs, programs


def measure() -> dict[str, float]:
    """Simulate the batch with cold caches, and again with warm ones."""
    model, snapshot = read_device("eagle127")
    model = replace(model, crosstalk=replace(Crosstalk(), conditional=model.crosstalk.conditional))
    assert isinstance(model.crosstalk.conditional, ConditionalErrors)
    plan, jobs, programs = batch(model, snapshot)
    executor = local_executor(WORKERS)
    try:
        for call in [executor.submit(run_tasks, join_tasks([])) for _ in range(2 * WORKERS)]:
            call.result()  # the workers have loaded Aer, and nothing else
        seconds: list[float] = []
        members: tuple[Member, ...] = ()
        for _ in range(3):
            profiler = Profiler(executor, WORKERS)
            started = time.perf_counter()
            members = assemble(
                plan, jobs, programs, model, snapshot, Truth(snapshot, {}), profiler, Recent(REMEMBERED_BYTES)
            )
            calls = [
                executor.submit(run_tasks, join_tasks([member.record for member in members[lane::WORKERS]]))
                for lane in range(WORKERS)
            ]
            reports = [decode_report(call.result()) for call in calls]
            seconds.append(time.perf_counter() - started)
            failures = [task.failure for each in reports for task in each.tasks if task.failure]
            assert not failures, failures
    finally:
        executor.shutdown(cancel_futures=True)
    ghosts = [len(RegionTask.from_bytes(member.record).contexts[-1].ghosts) for member in members]
    return {
        "batch16_s": seconds[0],
        "batch16_warm_s": min(seconds[1:]),
        "ghosts_mean": float(np.mean(ghosts)),
        "ghosts_max": float(max(ghosts)),
        "neighbours_min": float(min(touching(model.topology, [p.region for p in plan.placements]))),
    }


def main() -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    report(dict(measure()), as_json=arguments.json)


if __name__ == "__main__":
    main()
