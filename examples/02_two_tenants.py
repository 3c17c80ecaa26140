"""Two tenants share one chip: each submits a few jobs, the scheduler puts them side by side in disjoint regions.

An idle device runs the first job at once and alone; those that arrive meanwhile run together. A tenant learns its own
qubits, and about the others only how many they were (0, 1-3, 4+) and what they cost it.
"""

from __future__ import annotations

from pathlib import Path

from qiskit import qasm2, transpile

from qpu_sdk import QPUProvider, SamplerV2

CIRCUITS = Path(__file__).parent / "circuits"


def share(providers: dict[str, QPUProvider], jobs_each: int = 3) -> None:
    """Run a GHZ state for one tenant beside Bernstein-Vazirani for the other, and print what each may know."""
    circuits = [qasm2.load(CIRCUITS / f"{name}.qasm") for name in ("ghz_5", "bernstein_vazirani_5")]
    ready = []
    for (tenant, provider), circuit in zip(providers.items(), circuits, strict=True):
        backend = provider.backend("eagle127:line-5")
        compiled = transpile(circuit, backend, optimization_level=3, seed_transpiler=7)
        ready.append((tenant, SamplerV2(backend), compiled))
    jobs = [
        (tenant, sampler.run([circuit], shots=4000)) for _ in range(jobs_each) for tenant, sampler, circuit in ready
    ]
    for tenant, job in jobs:
        counts = job.result()[0].data.meas.get_counts()
        record = job.metering()
        print(f"{tenant}: most often {max(counts, key=counts.__getitem__)}, on qubits {record.placement},", end=" ")
        print(f"beside {record.co_tenants} other tenants; {record.price_micro / 1e6} credits")


if __name__ == "__main__":
    with QPUProvider.embedded() as acme:
        token = acme.service.create_tenant("initech")
        with QPUProvider.connect(acme.service.url, token) as initech:
            share({"acme": acme, "initech": initech})
