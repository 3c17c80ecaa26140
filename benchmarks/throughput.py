"""400 jobs of 8 tenants over HTTP, clients on the same cores, beside plain Aer straight through the same executor.

python benchmarks/throughput.py --json
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from qiskit import transpile
from reference import SHOTS, ghz, plain_run
from report import report

from qpu_backend.engines.executors import local_executor
from qpu_sdk import QPUProvider

TENANTS = 8
WORKERS = 2


def plain_jobs_per_s(qubits: list[int], jobs: int) -> float:
    """Plain Aer with the region-sliced noise model, one call a job, through the executor the service uses."""
    executor = local_executor(WORKERS)
    try:
        for future in [executor.submit(plain_run, qubits, seed) for seed in range(40)]:
            future.result()
        start = time.perf_counter()
        for future in [executor.submit(plain_run, qubits, seed) for seed in range(jobs)]:
            future.result()
        return jobs / (time.perf_counter() - start)
    finally:
        executor.shutdown()


def service_jobs_per_s(jobs: int, data: Path) -> tuple[float, list[int], float]:
    """The service in its own process over TCP; every tenant submits its part and reads every result."""
    port = 18127
    tools = [sys.executable, "-c", "from qpu_sdk.cli import main; main()"]

    def qpu(*words: str) -> str:
        done = subprocess.run([*tools, *words, "--data", str(data)], check=True, capture_output=True, text=True)  # noqa: S603
        return done.stdout.strip()

    keys: list[str] = []
    for number in range(TENANTS):
        qpu("tenant", "create", f"tenant-{number}")
        keys.append(qpu("key", "create", f"tenant-{number}"))
    serve = [*tools, "serve", "--data", str(data), "--port", str(port), "--workers", str(WORKERS)]
    log = (data / "serve.log").open("w", encoding="utf-8")
    server = subprocess.Popen(serve, stderr=log)  # noqa: S603
    try:
        providers = [_connected(port, key, server) for key in keys]
        backends = [provider.backend("eagle127:line-5") for provider in providers]
        circuit = transpile(ghz(5), backends[0], seed_transpiler=1, optimization_level=3)
        warm = [backend.run(circuit, shots=SHOTS) for backend in backends]
        for job in warm:
            job.result()
        placement = warm[0].metering().placement or []

        def tenant(backend: Any) -> list[Any]:
            submitted = [backend.run(circuit, shots=SHOTS) for _ in range(jobs // TENANTS)]
            return [(job, job.result().get_counts()) for job in submitted]

        start = time.perf_counter()
        with ThreadPoolExecutor(TENANTS) as threads:
            answers = [answer for done in threads.map(tenant, backends) for answer in done]
        took = time.perf_counter() - start
        if any(sum(counts.values()) != SHOTS for _, counts in answers):
            raise RuntimeError("a job came back without its shots")
        for provider in providers:
            provider.close()
        return len(answers) / took, placement, took
    finally:
        server.terminate()
        server.wait()
        log.close()


def _connected(port: int, key: str, server: subprocess.Popen[bytes]) -> QPUProvider:
    deadline = time.monotonic() + 60
    while True:
        provider = QPUProvider.connect(f"http://127.0.0.1:{port}", key)
        try:
            provider.version()
        except Exception:
            provider.close()
            if server.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return provider


def main() -> None:
    """Measure both in one run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--jobs", type=int, default=400)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qpu-throughput-") as data:
        ours, placement, took = service_jobs_per_s(arguments.jobs, Path(data))
    plain = plain_jobs_per_s(placement, arguments.jobs)
    print(f"{arguments.jobs} jobs of {TENANTS} tenants in {took:.2f} s")
    report({"jobs_per_s": ours, "region_aer_jobs_per_s": plain, "ratio": ours / plain}, as_json=arguments.json)


if __name__ == "__main__":
    main()
