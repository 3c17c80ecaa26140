"""Native primitives: shapes, metadata and values as Qiskit defines them."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter, ParameterVector
from qiskit.primitives import BaseEstimatorV2, BaseSamplerV2, StatevectorEstimator
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparseObservable, SparsePauliOp

from qpu_sdk import EstimatorV2, SamplerV2
from qpu_sdk.errors import InvalidCircuitError, InvalidRequestError, LimitExceededError, NotISAError
from qpu_sdk.wire.models import ProgramKind


def _rotation(backend, *, measured: bool) -> QuantumCircuit:
    """Qubit 0 turned by ``theta`` about x, qubit 1 entangled with it."""
    circuit = QuantumCircuit(2, metadata={("a", 1): (1, 2)})
    circuit.rx(Parameter("theta"), 0)
    circuit.rz(Parameter("phi"), 0)
    circuit.cx(0, 1)
    if measured:
        circuit.measure_all()
    return transpile(circuit, backend, initial_layout=[0, 1], seed_transpiler=1)


def _probability_of_one(data, index) -> float:
    counts = data.meas[index].get_counts()
    return counts.get("11", 0) / sum(counts.values())


def test_the_sampler_broadcasts_bindings(backend):
    circuit = _rotation(backend, measured=True)
    theta = np.array([[0.0, np.pi / 2, np.pi], [np.pi, 0.0, np.pi / 2]])
    values = np.stack([np.zeros_like(theta), theta], axis=-1)  # phi, theta: the order of circuit.parameters
    job = SamplerV2(backend).run([(circuit, values, 400), (circuit, [0.0, np.pi])], shots=100)
    first, second = job.result(60)
    assert first.data.shape == (2, 3)
    assert first.data.meas.num_shots == 400
    for index in np.ndindex(2, 3):
        assert _probability_of_one(first.data, index) == pytest.approx(np.sin(theta[index] / 2) ** 2, abs=0.12)
    assert second.data.shape == ()
    assert second.metadata == {"shots": 100, "circuit_metadata": {("a", 1): (1, 2)}}
    assert job.result().metadata["version"] == 2


def test_bindings_may_be_given_by_name_in_any_order(backend):
    circuit = _rotation(backend, measured=True)
    job = SamplerV2(backend).run([(circuit, {"theta": [np.pi, 0.0], "phi": [0.3, 0.2]})], shots=200)
    data = job.result(60)[0].data
    assert _probability_of_one(data, 0) > 0.85
    assert _probability_of_one(data, 1) < 0.15


def test_a_shape_without_parameters_repeats_the_circuit(backend):
    circuit = QuantumCircuit(1, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    job = SamplerV2(backend).run([(circuit, BindingsArray({}, shape=(3,)))], shots=10)
    data = job.result(60)[0].data
    assert data.shape == (3,)
    assert data.c.get_counts(2)["1"] > 5


def test_all_pubs_are_one_job_on_the_service(backend, shared_provider):
    circuit = _rotation(backend, measured=True)
    job = SamplerV2(backend, options={"default_shots": 10, "job_tags": ["primitive"]}).run([(circuit, [0, 0])] * 2)
    job.result(60)
    found = shared_provider.job(job.job_id())
    assert found.program is ProgramKind.SAMPLER
    assert found.tags == ["primitive"]
    assert found.result(60)[1].data.meas.num_shots == 10
    assert found.result()[1].metadata["circuit_metadata"] == {}


def test_a_job_fetched_later_by_its_id_has_the_shapes_of_its_pubs(backend, shared_provider):
    measured, plain = _rotation(backend, measured=True), _rotation(backend, measured=False)
    angles = np.linspace(0, 1, 12).reshape(3, 2, 2)
    fixed = measured.assign_parameters([0.1, 0.2])
    repeated = SamplerPub.coerce((fixed, BindingsArray({}, shape=(2, 1))))
    observables = [["Z" + "I" * (backend.num_qubits - 1)], ["I" * backend.num_qubits]]
    sampled = SamplerV2(backend, options={"default_shots": 10}).run([(measured, angles), repeated, (fixed,)])
    estimated = EstimatorV2(backend).run([(plain, observables, angles[:, 0])], precision=0.2)
    for job in (sampled, estimated):
        ours, later = job.result(60), shared_provider.job(job.job_id()).result(60)
        assert [pub.data.shape for pub in later] == [pub.data.shape for pub in ours]
        for mine, theirs in zip(ours, later, strict=True):
            assert all(np.array_equal(_array(mine.data[name]), _array(theirs.data[name])) for name in mine.data)
    assert [pub.data.shape for pub in sampled.result()] == [(3, 2), (2, 1), ()]
    assert estimated.result()[0].data.shape == (2, 3)


def _array(data):
    return data.array if hasattr(data, "array") else data


def test_the_estimator_broadcasts_as_qiskit_does(backend):
    circuit = _rotation(backend, measured=False)
    logical = ["ZZ", "XX", {"ZI": 0.5, "IZ": -1.5}, "IY", "II"]
    observables = [SparsePauliOp.from_list(o.items() if isinstance(o, dict) else [(o, 1)]) for o in logical]
    wide = [[o.apply_layout([0, 1], num_qubits=5)] for o in observables]
    values = np.random.default_rng(3).uniform(0, np.pi, (3, 2))
    pub = (circuit, wide, values, 0.02)
    job = EstimatorV2(backend).run([pub])
    (ours,) = job.result(60)
    (ideal,) = StatevectorEstimator().run([pub]).result()
    assert ours.data.evs.shape == ours.data.stds.shape == ideal.data.evs.shape == (5, 3)
    assert np.allclose(ours.data.evs, ideal.data.evs, atol=0.35)
    assert np.all(ours.data.evs[4] == 1)
    assert np.all(ours.data.stds[4] == 0)
    assert np.all(ours.data.stds[:4] <= 0.08)
    assert ours.metadata["target_precision"] == 0.02
    assert ours.metadata["shots"] >= 2500
    assert ours.metadata["circuit_metadata"] == {("a", 1): (1, 2)}
    assert job.result().metadata["version"] == 2


def test_projectors_are_probabilities(backend):
    circuit = QuantumCircuit(5)
    circuit.x(0)
    job = EstimatorV2(backend).run([(circuit, [SparseObservable("IIII1"), SparseObservable("IIII0")])], precision=0.05)
    ones, zeros = job.result(60)[0].data.evs
    assert ones > 0.85
    assert ones + zeros == pytest.approx(1, abs=1e-9)


def test_primitives_are_qiskits_primitives(backend):
    assert isinstance(SamplerV2(backend), BaseSamplerV2)
    assert isinstance(EstimatorV2(backend), BaseEstimatorV2)


def test_invalid_pubs_are_refused_before_they_are_sent(backend):
    circuit = _rotation(backend, measured=True)
    backwards = QuantumCircuit(2, 1)
    backwards.ecr(1, 0)
    backwards.ecr(0, 1)
    sampler, estimator = SamplerV2(backend), EstimatorV2(backend)
    with pytest.raises(InvalidRequestError, match="no circuit"):
        sampler.run([])
    with pytest.raises(NotISAError):
        sampler.run([backwards])
    with pytest.raises(InvalidRequestError, match="finite"):
        sampler.run([(circuit, [np.nan, 0])])
    with pytest.raises(LimitExceededError):
        sampler.run([(circuit, [0, 0])], shots=10**9)
    with pytest.raises(LimitExceededError, match="executions"):
        sampler.run([(circuit, np.zeros((10**6, 2)))], shots=1)
    with pytest.raises(InvalidRequestError, match="above 0"):
        estimator.run([(_rotation(backend, measured=False), "ZIIII", [0, 0], 0.0)])
    reserved = QuantumCircuit(1)
    reserved.add_register(type(circuit.cregs[0])(1, "shape"))
    with pytest.raises(InvalidCircuitError, match="shape"):
        sampler.run([reserved])


def test_many_bindings_cost_their_numbers_only(backend):
    vector = ParameterVector("v", 40)
    circuit = QuantumCircuit(5, 1)
    for number, parameter in enumerate(vector):
        circuit.sx(number % 5)
        circuit.rz(parameter, number % 5)
    circuit.measure(0, 0)
    job = SamplerV2(backend).run([(circuit, np.zeros((50, 40)))], shots=5)
    assert job.result(120)[0].data.c.shape == (50,)
