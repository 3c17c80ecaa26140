"""``backend.run(meas_level=1)``: IQ points as Qiskit's results hold them, and the discriminator that is published."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.result.models import MeasLevel, MeasReturnType

from qpu_sdk.errors import InvalidRequestError, LimitExceededError, NotFoundError
from qpu_sdk.options import RunOptions
from qpu_sdk.readout import Discriminator
from qpu_sdk.wire.answers import to_result, to_sampler_result
from qpu_sdk.wire.errors import MalformedPayload
from qpu_sdk.wire.models import ProgramKind
from qpu_sdk.wire.results import JobResult, PointsOfPub, Register, decode_result, encode_result

LINE = Discriminator(axis=0.6 + 0.8j, threshold=2.0, centre_0=0.6 + 0.8j, centre_1=2.4 + 3.2j, sigma=0.5)
"""Centres at 1 and 4 along the axis, the line at 2."""


def prepared(*bits: int, num_qubits: int = 5) -> QuantumCircuit:
    """These qubits in 1, all measured."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    for qubit in bits:
        circuit.x(qubit)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


def test_every_shot_is_a_point_for_each_memory_slot(backend):
    result = backend.run([prepared(), prepared(0)], shots=30, meas_level=1, meas_return="single").result(60)
    for experiment in result.results:
        assert (experiment.shots, experiment.meas_level, experiment.meas_return) == (30, 1, "single")
        assert experiment.header["memory_slots"] == 5
        memory = experiment.data.memory
        assert (len(memory), len(memory[0]), len(memory[0][0])) == (30, 5, 2)
        assert isinstance(memory[0][0][0], float)
        assert not hasattr(experiment.data, "counts")
    assert result.get_memory(0).shape == (30, 5)
    assert result.get_memory(0).dtype == np.complex128


def test_the_mean_is_that_of_the_shots(backend):
    run = {"shots": 200, "meas_level": MeasLevel.KERNELED, "seed_simulator": 4}
    single = backend.run(prepared(1), meas_return=MeasReturnType.SINGLE, **run).result(60)
    mean = backend.run(prepared(1), meas_return=MeasReturnType.AVERAGE, **run).result(60)
    assert mean.results[0].meas_return == "avg"
    assert np.array(mean.results[0].data.memory).shape == (5, 2)
    # The device has drifted a little between the two jobs; of other shots the mean would be off by some percent.
    assert np.allclose(mean.get_memory(0), single.get_memory(0).mean(axis=0), rtol=1e-3)


def test_the_mean_is_the_default_as_in_qiskit(backend):
    (experiment,) = backend.run(prepared(), shots=10, meas_level=1).result(60).results
    assert (experiment.meas_return, experiment.shots) == ("avg", 10)
    assert RunOptions().wire().meas_return == RunOptions(meas_return="avg").wire().meas_return  # level 2 has no means


def test_a_virtual_qpu_has_discriminators_of_its_own_wherever_it_is_placed(backend):
    circuit = prepared(0, 2, 4)
    memory = backend.run(circuit, shots=500, meas_level=1, meas_return="single").result(60).get_memory(0)
    read = [backend.discriminator(qubit).bits(memory[:, qubit]).mean() for qubit in range(5)]
    assert all(read[qubit] > 0.75 for qubit in (0, 2, 4))
    assert all(read[qubit] < 0.25 for qubit in (1, 3))


def test_a_slot_that_nothing_is_measured_into_is_zero(backend):
    circuit = QuantumCircuit(5, 3)
    circuit.measure(0, 1)
    memory = backend.run(circuit, shots=20, meas_level=1, meas_return="single").result(60).get_memory(0)
    assert memory[:, 1].all()
    assert not memory[:, [0, 2]].any()


def test_points_are_found_again_by_the_id_of_their_job(shared_provider, backend):
    job = backend.run(prepared(), shots=10, meas_level=1, meas_return="single")
    again = shared_provider.job(job.job_id()).result(60)
    assert np.array_equal(again.get_memory(0), job.result(60).get_memory(0))
    assert again.results[0].header["creg_sizes"] == [["c", 5]]


def test_what_points_cannot_do_is_refused_before_anything_is_sent(backend):
    branching = prepared()
    with branching.if_test((0, 1)):
        branching.x(1)
    branching.measure(1, 1)
    with pytest.raises(InvalidRequestError, match="meas_level=2") as caught:
        backend.run(branching, meas_level=1)
    assert caught.value.field == "meas_level"
    wide = QuantumCircuit(5, 1000)
    wide.measure(0, 0)
    with pytest.raises(LimitExceededError, match="IQ points"):
        backend.run(wide, shots=100_000, meas_level=1)
    for level in (0, 3, True, "1"):
        with pytest.raises(InvalidRequestError, match="meas_level"):
            backend.run(prepared(), meas_level=level)


def test_a_qubit_that_is_not_there_has_no_discriminator(backend):
    for qubit in (-1, 5):
        with pytest.raises(NotFoundError, match=f"qubit {qubit}"):
            backend.discriminator(qubit)


def test_a_discriminator_reads_points_and_pairs_alike():
    points = np.array([LINE.centre_0, LINE.centre_1, 1.26 + 1.68j, 1.14 + 1.52j])
    pairs = np.stack([points.real, points.imag], axis=-1)
    assert LINE.bits(points).tolist() == LINE.bits(pairs).tolist() == [0, 1, 1, 0]
    assert LINE.bits(pairs.reshape(2, 2, 2)).shape == (2, 2)
    assert LINE.predict(pairs).tolist() == ["0", "1", "1", "0"]


def test_a_mean_point_tells_the_excitation():
    assert np.allclose(LINE.excitation([LINE.centre_0, LINE.centre_1, 1.5 + 2.0j]), [0, 1, 0.5])
    shifted = np.array([LINE.centre_1 + 3j * LINE.axis])  # across the axis there is nothing to learn
    assert np.allclose(LINE.excitation(shifted), [1])
    blind = Discriminator(1 + 0j, 0.0, 0j, 0j, 1.0)
    assert np.isnan(blind.excitation([1j])).all()


def test_a_discriminator_is_made_again_from_its_configuration():
    assert Discriminator.from_config(LINE.config()) == LINE
    assert LINE.is_trained()


@pytest.mark.parametrize("averaged", [False, True])
def test_points_survive_the_wire(averaged):
    points = (np.arange(12).reshape(1, 4, 3) * (1 - 2j)).astype(np.complex64)
    pub = PointsOfPub(points[:, 0] if averaged else points, 4, (Register("c", (0, 1, 2)),))
    result = JobResult("job_1", ProgramKind.CIRCUITS, (pub,), {"seed": 1})
    (again,) = decode_result(encode_result(result)).pubs
    assert isinstance(again, PointsOfPub)
    assert np.array_equal(again.points, pub.points)
    assert (again.shots, again.registers, again.averaged, again.num_clbits) == (4, pub.registers, averaged, 3)
    found = to_result(result, (), backend_name="b", backend_version="1", memory=False, date=None)
    assert np.array_equal(found.get_memory(0), pub.points[0])


def test_a_sampler_is_never_answered_with_points():
    pub = PointsOfPub(np.zeros((1, 4, 3), dtype=np.complex64), 4, ())
    with pytest.raises(MalformedPayload, match="sampler"):
        to_sampler_result(JobResult("job_1", ProgramKind.SAMPLER, (pub,)), ())
