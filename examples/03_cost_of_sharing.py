"""What did sharing the chip cost? A job beside its neighbours, and the same job as if it had been alone.

The device keeps no idle qubits between tenants here, so that neighbours touch.
"""

from __future__ import annotations

from pathlib import Path

from qiskit import qasm2, transpile

from qpu_sdk import QPUProvider, SamplerV2

CIRCUIT = Path(__file__).parent / "circuits" / "bernstein_vazirani_5.qasm"
ANSWER = "1011"
SHOTS = 4000


def compare(provider: QPUProvider, neighbour: QPUProvider, jobs_each: int = 16) -> None:
    """Run jobs of two tenants, and look at the one of the first that sharing is predicted to have cost the most."""
    backend = provider.backend("eagle127:line-5")
    circuit = transpile(qasm2.load(CIRCUIT), backend, optimization_level=3, seed_transpiler=7)
    (expected,) = backend.predict_success(circuit)
    print(f"predicted at its best place: {expected.success:.3f}")

    mine, theirs = SamplerV2(backend), SamplerV2(neighbour.backend("eagle127:line-5"))
    provider.service.pause(backend.document.device)  # it collects jobs, and then runs together what it may
    jobs = [sampler.run([circuit], shots=SHOTS) for _ in range(jobs_each) for sampler in (theirs, mine)][1::2]
    provider.service.resume(backend.document.device)
    for job in jobs:
        job.wait_for_final_state()
    job = max(jobs, key=lambda job: job.metering().crosstalk_loss)
    record = job.metering()
    print(f"predicted loss beside {record.co_tenants} other tenants: {record.crosstalk_loss:.3f}")

    for label, result in (("measured", job.result()), ("alone", job.replay(alone=True))):
        counts = result[0].data.meas.get_counts()
        print(f"{label}: {counts[ANSWER] / SHOTS:.3f}")


with QPUProvider.embedded(devices={"eagle127": {"buffer": 0}}) as acme:
    token = acme.service.create_tenant("initech")
    with QPUProvider.connect(acme.service.url, token) as initech:
        compare(acme, initech)
