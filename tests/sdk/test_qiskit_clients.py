"""Third-party Qiskit code runs on the backend unmodified."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.primitives import BackendEstimatorV2, BackendSamplerV2
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer import AerSimulator
from qiskit_experiments.library import T1, StandardRB

from qpu_sdk import SamplerV2


@pytest.fixture(scope="module")
def ghz(backend):
    circuit = QuantumCircuit(3, metadata={"k": (1,)})
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    return transpile(circuit, backend, initial_layout=[0, 1, 2], seed_transpiler=1)


def test_backend_sampler_v2(backend, ghz):
    measured = ghz.copy()
    measured.measure_all()
    (pub,) = BackendSamplerV2(backend=backend, options={"seed_simulator": 3}).run([measured], shots=300).result()
    counts = pub.data.meas.get_counts()
    assert sum(counts.values()) == 300
    assert counts["00000"] + counts["00111"] > 240
    assert counts["00000"] > 90
    assert pub.metadata["circuit_metadata"] == {"k": (1,)}
    (native,) = SamplerV2(backend, options={"seed_simulator": 3}).run([measured], shots=300).result(60)
    assert np.array_equal(native.data.meas.array, pub.data.meas.array)


def test_backend_estimator_v2(backend, ghz):
    observables = [SparsePauliOp(label) for label in ("IIIZZ", "IIXXX", "IIIIZ")]
    (pub,) = BackendEstimatorV2(backend=backend).run([(ghz, observables)], precision=0.05).result()
    assert np.allclose(pub.data.evs, [1, 1, 0], atol=0.3)


def test_randomised_benchmarking(backend):
    experiment = StandardRB((0,), lengths=[1, 20, 60], num_samples=2, seed=1, backend=backend)
    data = experiment.run(shots=200).block_for_results(timeout=240)
    assert data.status().value != "error", data.errors()
    error = data.analysis_results("EPC", dataframe=True).iloc[0].value
    assert 0 <= error.nominal_value < 0.05


def test_a_t1_measurement_finds_the_published_value(device):
    published = device.qubit_properties(0).t1
    experiment = T1((0,), delays=list(np.linspace(1e-6, 3 * published, 6)), backend=device)
    data = experiment.run(shots=1000, backend_run=True).block_for_results(timeout=240)
    assert data.status().value != "error", data.errors()
    measured = data.analysis_results("T1", dataframe=True).iloc[0].value
    assert measured.nominal_value == pytest.approx(published, rel=0.3)


def test_aer_can_imitate_the_backend(backend):
    assert AerSimulator.from_backend(backend).num_qubits == 5
