"""The whole way of one job on an idle service, beside stock Aer and beside plain Aer on the region: one run, medians.

python benchmarks/latency.py --json
"""

from __future__ import annotations

import argparse
import time
from statistics import median
from typing import TYPE_CHECKING

from qiskit import transpile
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime.fake_provider import FakeBrisbane
from reference import ghz, region_circuit, region_noise
from report import report, spread

from qpu_sdk import QPUProvider

if TYPE_CHECKING:
    from collections.abc import Callable

SHOTS = 1024
SAME_PHYSICS = {"crosstalk": False, "drift": False}
"""What the two ways of plain Aer simulate: isolated noise of the published calibration."""


def timed_ms(job: Callable[[int], object]) -> float:
    """One call, in ms."""
    timed_ms.calls += 1  # type: ignore[attr-defined]
    start = time.perf_counter()
    job(timed_ms.calls)  # type: ignore[attr-defined]
    return 1e3 * (time.perf_counter() - start)


timed_ms.calls = 0  # type: ignore[attr-defined]


def main() -> None:
    """Measure the three ways in turn, so that all see the same machine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument(
        "--repeats", type=int, default=60, help="of the two fast ways; the slow one runs a tenth as often"
    )
    arguments = parser.parse_args()

    brisbane = FakeBrisbane()
    stock = AerSimulator.from_backend(brisbane)
    with QPUProvider.embedded(devices={"eagle127": SAME_PHYSICS}) as provider:
        backend = provider.backend("eagle127")
        ours = transpile(ghz(5), backend, seed_transpiler=1, optimization_level=3)
        first = backend.run(ours, shots=SHOTS)
        first.result()
        qubits = first.metering().placement or []
        theirs = transpile(ghz(5), brisbane, initial_layout=qubits, seed_transpiler=1, optimization_level=3)
        noise, cut = region_noise(brisbane, qubits), region_circuit(brisbane, qubits)
        region = AerSimulator(method="density_matrix", noise_model=noise, max_parallel_threads=1)

        ways: dict[str, Callable[[int], object]] = {
            "ours": lambda seed: backend.run(ours, shots=SHOTS, seed_simulator=seed).result(),
            "region": lambda seed: region.run(cut, shots=SHOTS, seed_simulator=seed).result(),
            "stock": lambda seed: stock.run(theirs, shots=SHOTS, seed_simulator=seed).result(),
        }
        for way in ways.values():
            for seed in range(5 if way is not ways["stock"] else 1):
                way(seed)
        times: dict[str, list[float]] = {name: [] for name in ways}
        for turn in range(arguments.repeats):
            for name, way in ways.items():
                if name != "stock" or turn % 10 == 0:
                    times[name].append(timed_ms(way))
    for name, values in times.items():
        print(f"{name:<8} ms  {spread(values)}")
    ours_ms, region_ms, stock_ms = (median(times[name]) for name in ("ours", "region", "stock"))
    report(
        {
            "ours_ms": ours_ms,
            "stock_aer_ms": stock_ms,
            "region_aer_ms": region_ms,
            "speedup_vs_stock": stock_ms / ours_ms,
            "overhead_vs_region": ours_ms / region_ms,
        },
        as_json=arguments.json,
    )


if __name__ == "__main__":
    main()
