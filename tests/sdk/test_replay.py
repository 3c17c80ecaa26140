"""Replays and predictions as a researcher meets them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

from qpu_sdk import EstimatorV2, SamplerV2
from qpu_sdk.errors import InvalidRequestError, JobCancelledError, NotISAError, QPUJobTimeoutError


@pytest.fixture(scope="module")
def rotation(backend):
    circuit = QuantumCircuit(2, metadata={("a", 1): (1, 2)})
    circuit.rx(Parameter("theta"), 0)
    circuit.cx(0, 1)
    return transpile(circuit, backend, initial_layout=[0, 1], seed_transpiler=1)


def measured(circuit):
    return circuit.measure_all(inplace=False)


@pytest.mark.parametrize("alone", [False, True])
def test_a_replay_has_the_type_and_the_shape_of_the_result(backend, rotation, alone):
    pub = (measured(rotation), np.linspace(0, np.pi, 6).reshape(2, 3))
    job = SamplerV2(backend, options={"seed_simulator": 3}).run([pub], shots=100)
    result, again = job.result(60)[0], job.replay(alone=alone)[0]
    assert again.data.meas.shape == (2, 3)
    assert np.array_equal(again.data.meas.array, result.data.meas.array)  # nobody was beside it
    assert again.metadata == result.metadata
    assert job.replay(alone=alone).metadata["execution"]["replay"] == {"alone": alone, "exact": True}
    assert "replay" not in job.result().metadata["execution"]


def test_expectation_values_are_replayed_too(backend, rotation):
    observable = SparsePauliOp(["ZZ", "XX"]).apply_layout(None, num_qubits=rotation.num_qubits)
    job = EstimatorV2(backend).run([(rotation, observable, [0.4])], precision=0.1)
    again = job.replay(alone=True)  # waits for the job itself
    assert again[0].data.evs == pytest.approx(job.result()[0].data.evs)
    assert again[0].data.stds == pytest.approx(job.result()[0].data.stds)


def test_results_of_run_are_replayed_with_their_memory(backend, rotation):
    job = backend.run(measured(rotation.assign_parameters([1.0])), shots=50, memory=True)
    assert job.replay().get_memory() == job.result(60).get_memory()


def test_a_replay_of_what_has_no_result_says_why(backend, rotation, qpu_service):
    service = qpu_service.service.administration
    service.set_operational("eagle127", operational=False, status_msg="closed for this test")
    try:
        job = SamplerV2(backend).run([(measured(rotation), [0.1])])
        with pytest.raises(QPUJobTimeoutError):
            job.replay(timeout=0.1)
        job.cancel()
        with pytest.raises(JobCancelledError):
            job.replay(alone=True)
    finally:
        service.set_operational("eagle127", operational=True, status_msg="active")


def test_a_replay_that_takes_long_is_asked_for_until_it_is_there(backend, rotation, monkeypatch):
    monkeypatch.setattr("qpu_sdk.fetching._REPLAY_S", 0.0)
    job = SamplerV2(backend).run([(measured(rotation), np.linspace(0, 1, 400))], shots=10)
    job.result(60)
    with pytest.raises(QPUJobTimeoutError):
        job.replay(timeout=0.0)
    assert job.replay().metadata["execution"]["replay"]["exact"]


def test_predictions_are_of_each_circuit_with_parameters_free_or_not(backend, device, rotation):
    bare, read, bound = backend.predict_success(
        [rotation, measured(rotation), measured(rotation.assign_parameters([0.3]))]
    )
    assert read == bound
    assert 0.0 < read.success < bare.success < 1.0
    parts = (read.gates, read.readout, read.idling, read.zz, read.crosstalk)
    assert read.success == pytest.approx(math.exp(-sum(parts)))
    assert len(read.region) == backend.num_qubits
    circuit = QuantumCircuit(127, 1)
    circuit.sx(90)
    circuit.measure(90, 0)
    (pinned,) = device.predict_success(circuit)
    assert pinned.region == [90]


def test_what_cannot_run_is_not_predicted(backend):
    with pytest.raises(InvalidRequestError):
        backend.predict_success("no circuit")
    wide = QuantumCircuit(backend.num_qubits + 1)
    wide.sx(0)
    with pytest.raises(NotISAError):
        backend.predict_success(wide)
