"""Simulations that take long: refused past the limit, and otherwise in nobody's way."""

from __future__ import annotations

import pytest
from qiskit import QuantumCircuit, transpile

from qpu_backend.embedded import EmbeddedService
from qpu_sdk import QPUProvider
from qpu_sdk.errors import CircuitTooLargeError

LONG_QUBITS, LONG_SHOTS = 13, 300  # some 2.6 s of simulation


def ghz(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


@pytest.fixture(scope="module")
def service():
    service = EmbeddedService.start(workers=2)
    yield service
    service.close()


@pytest.fixture(scope="module")
def operator(service):
    with QPUProvider.connect(service.url, service.operator_token) as provider:
        yield provider


def test_a_job_whose_simulation_would_take_too_long_is_refused_with_the_estimate(operator):
    backend = operator.backend("eagle127:line-20")
    circuit = transpile(ghz(20), backend, seed_transpiler=1, optimization_level=1)
    with pytest.raises(CircuitTooLargeError, match=r"about \d+ s and the limit is 60 s"):
        backend.run(circuit, shots=1000)


def test_a_strangers_long_simulations_hold_up_nobodys_short_job(service, operator):
    long_backend, short_backend = operator.backend(f"eagle127:line-{LONG_QUBITS}"), None
    with QPUProvider.connect(service.url, service.create_tenant("short")) as short_tenant:
        short_backend = short_tenant.backend("eagle127:line-3")
        long_circuit = transpile(ghz(LONG_QUBITS), long_backend, seed_transpiler=1, optimization_level=1)
        short_circuit = transpile(ghz(3), short_backend, seed_transpiler=1)
        service.pause("eagle127")
        long_jobs = [long_backend.run(long_circuit, shots=LONG_SHOTS, isolation="exclusive") for _ in range(3)]
        short_job = short_backend.run(short_circuit, shots=100)
        service.resume("eagle127")
        short_job.result(timeout=60)
        for job in long_jobs:
            job.result(timeout=120)
        ended = short_job.document().finished_at
    assert all(ended < job.document().finished_at for job in long_jobs)
    together = [{one.tenant for one in batch.placements} for batch in operator.batches("eagle127")]
    assert {"local", "short"} not in together
