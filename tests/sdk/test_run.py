"""``backend.run`` on the embedded service: results as Aer gives them, jobs as Qiskit and a researcher use them."""

from __future__ import annotations

import copy
import datetime as dt
import os
import signal
import threading

import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, transpile
from qiskit.primitives import BasePrimitiveJob
from qiskit.providers import JobStatus, JobV1
from qiskit.transpiler import Target

from qpu_sdk import QPUProvider
from qpu_sdk.errors import (
    BackendNotFoundError,
    CostCapExceededError,
    JobCancelledError,
    NotFoundError,
    QPUJobError,
    QPUJobTimeoutError,
)


@pytest.fixture(scope="module")
def ghz(backend):
    circuit = QuantumCircuit(3, metadata={"angle": (1, 2), (0, 1): "tuple key"}, name="ghz")
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.measure_all()
    return transpile(circuit, backend, seed_transpiler=1)


@pytest.fixture(scope="module")
def long_circuit(shared_provider):
    """Something that keeps the device busy for a few seconds: ten noisy qubits."""
    wide = shared_provider.backend("eagle127:line-10")
    circuit = QuantumCircuit(10)
    for layer in range(20):
        circuit.rx(0.1 * layer, range(10))
        for qubit in range(layer % 2, 9, 2):
            circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return wide, transpile(circuit, wide, seed_transpiler=1, optimization_level=0)


def test_counts_and_memory_are_hex_with_the_full_header(backend, ghz):
    result = backend.run(ghz, shots=200, memory=True, seed_simulator=5).result(60)
    (experiment,) = result.results
    assert experiment.shots == 200
    assert sum(experiment.data.counts.values()) == len(experiment.data.memory) == 200
    assert all(word.startswith("0x") for word in experiment.data.memory)
    assert experiment.header["creg_sizes"] == [["meas", 3]]
    assert experiment.header["memory_slots"] == 3
    assert experiment.header["name"] == "ghz"
    assert experiment.header["metadata"] == {"angle": (1, 2), (0, 1): "tuple key"}
    counts = result.get_counts()
    assert counts["000"] + counts["111"] > 150
    assert result.backend_name == backend.name


def test_registers_are_told_apart(backend):
    circuit = QuantumCircuit(QuantumRegister(5, "q"), ClassicalRegister(1, "a"), ClassicalRegister(2, "b"))
    circuit.x(1)
    circuit.measure([0, 1, 2], [0, 2, 1])
    counts = backend.run(circuit, shots=100).result(60).get_counts()
    assert max(counts, key=counts.get) == "10 0"


def test_equal_seeds_give_equal_shots(backend, ghz):
    first, second = (backend.run(ghz, shots=50, memory=True, seed_simulator=9).result(60) for _ in range(2))
    assert first.get_memory() == second.get_memory()


def test_several_circuits_are_one_job(backend, ghz):
    flipped = QuantumCircuit(5, 5, name="flipped", metadata={"second": True})
    flipped.x(0)
    flipped.measure(range(5), range(5))
    result = backend.run([ghz, flipped], shots=64).result(60)
    assert [experiment.header["name"] for experiment in result.results] == ["ghz", "flipped"]
    assert max(result.get_counts(1), key=result.get_counts(1).get) == "00001"


def test_an_unknown_option_warns_and_is_ignored(backend, ghz):
    with pytest.warns(UserWarning, match="no run option 'noise_model'"):
        job = backend.run(ghz, shots=10, noise_model=None)
    assert sum(job.result(60).get_counts().values()) == 10


def test_options_of_none_mean_the_default(backend, ghz):
    job = backend.run(ghz, shots=None, seed_simulator=None, rep_delay=None, memory=None, job_tags=None)
    assert sum(job.result(60).get_counts().values()) == backend.options.shots


def test_all_options_of_the_field_are_known(backend, ghz, recwarn):
    job = backend.run(
        ghz, shots=10, memory=True, seed_simulator=1, rep_delay=250e-6, job_tags=["t"], meas_level=2,
        meas_return="single", init_qubits=True,
    )  # fmt: skip
    job.result(60)
    assert job.tags == ["t"]
    assert not [warning for warning in recwarn if "run option" in str(warning.message)]


def test_a_price_above_the_cap_is_refused_by_the_service(backend, ghz):
    with pytest.raises(CostCapExceededError) as caught:
        backend.run(ghz, shots=1000, max_cost_micro=1)
    assert caught.value.status_code == 422
    assert caught.value.request_id
    assert caught.value.idempotency_key


def test_a_job_is_both_kinds_of_qiskit_job(backend, ghz):
    job = backend.run(ghz, shots=10)
    assert isinstance(job, JobV1)
    assert isinstance(job, BasePrimitiveJob)
    seen = []
    job.wait_for_final_state(timeout=60, callback=lambda *facts: seen.append(facts))
    assert job.status() is JobStatus.DONE
    assert (job.done(), job.running(), job.cancelled(), job.in_final_state()) == (True, False, False, True)
    assert job.backend() is backend
    assert all(fact[0] == job.job_id() and fact[2] is job for fact in seen)
    assert job.error_message() is None
    assert job.queue() is None
    with pytest.raises(QPUJobError):
        job.submit()
    assert "done" in repr(job)
    assert job.job_id() in job._repr_html_()


def test_metering_agrees_with_what_was_estimated(backend, ghz):
    job = backend.run(ghz, shots=100)
    job.result(60)
    record = job.metering()
    estimate = job.usage_estimate()
    assert record.shots == 100
    assert record.price_micro == estimate["price_micro"]
    assert record.device_us / 1e6 == pytest.approx(estimate["device_s"])
    assert len(record.placement) == record.footprint_qubits
    names = [event.name for event in job.events()]
    assert names[-1] == "done"
    assert [event.seq for event in job.events()] == list(range(1, len(names) + 1))
    assert job.properties().calibration_id == record.calibration_id == job.calibration_id


def test_a_job_outlives_the_provider_that_submitted_it(qpu_service, ghz):
    with QPUProvider.connect(qpu_service.url, qpu_service.token) as first:
        job = first.backend("eagle127:line-5").run(ghz, shots=100)
    with QPUProvider.connect(qpu_service.url, qpu_service.token) as second:
        again = second.job(job.job_id())
        assert again.idempotency_key == job.idempotency_key
        assert sum(again.result(60).get_counts().values()) == 100
        assert again.backend().name == "eagle127:line-5"
        assert again.result().results[0].header["metadata"] == {}


def test_a_wait_can_end_before_the_job(long_circuit):
    wide, circuit = long_circuit
    job = wide.run(circuit, shots=50_000)
    with pytest.raises(QPUJobTimeoutError, match="goes on"):
        job.result(timeout=0.01)
    assert sum(job.result(120).get_counts().values()) == 50_000


def test_interrupting_stops_the_wait_and_not_the_job(long_circuit):
    wide, circuit = long_circuit
    job = wide.run(circuit, shots=50_000)
    threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        job.result()
    assert not job.cancelled()
    assert job.result(120).success


def test_a_cancelled_job_has_no_result(long_circuit):
    wide, circuit = long_circuit
    ahead = wide.run(circuit, shots=50_000, isolation="exclusive")
    job = wide.run(circuit, shots=100, isolation="exclusive")
    assert job.cancel()
    with pytest.raises(JobCancelledError):
        job.result(60)
    assert job.status() is JobStatus.CANCELLED
    ahead.result(120)
    assert not ahead.cancel()


def test_jobs_are_found_by_tag_state_and_backend_page_by_page(shared_provider, backend, ghz):
    submitted = [backend.run(ghz, shots=5, job_tags=["paging"]) for _ in range(3)]
    for job in submitted:
        job.result(60)
    ids = [job.job_id() for job in reversed(submitted)]
    assert [job.job_id() for job in shared_provider.jobs(tag="paging")] == ids
    assert [job.job_id() for job in shared_provider.jobs(tag="paging", limit=2)] == ids[:2]
    assert [
        job.job_id() for job in shared_provider.jobs(tag="paging", state="done", backend=backend, limit=None)
    ] == ids
    assert shared_provider.jobs(tag="paging", state="failed") == []
    assert shared_provider.jobs(tag="nothing") == []


def test_what_does_not_exist_raises(shared_provider, qpu_service, backend, ghz):
    with pytest.raises(NotFoundError):
        shared_provider.job("job_00000000000000000000000000000000")
    with pytest.raises(BackendNotFoundError, match="did you mean eagle127"):
        shared_provider.backend("eagle128")
    job = backend.run(ghz, shots=5)
    with QPUProvider.connect(qpu_service.url, qpu_service.create_tenant("stranger")) as stranger:
        with pytest.raises(NotFoundError):
            stranger.job(job.job_id())
        assert stranger.jobs() == []


def test_backends_are_found_by_kind_and_size(shared_provider):
    assert {b.name for b in shared_provider.backends(kind="device")} == {"eagle127"}
    assert all(b.num_qubits >= 5 for b in shared_provider.backends(min_num_qubits=5, kind="virtual"))
    assert shared_provider.least_busy(min_num_qubits=5, kind="virtual").num_qubits == 5
    assert [b.name for b in shared_provider.backends("eagle127:line-3")] == ["eagle127:line-3"]
    with pytest.raises(BackendNotFoundError, match="1000 qubits"):
        shared_provider.least_busy(min_num_qubits=1000)


def test_a_backend_tells_what_tools_ask(device):
    assert device.num_qubits == 127
    assert device.status().operational
    assert device.refresh() is False
    assert device.properties() is device.document
    configuration = device.configuration()
    assert (configuration.num_qubits, configuration.simulator) == (127, False)
    assert configuration.max_experiments == device.max_circuits
    assert [0, 14] in configuration.coupling_map or [14, 0] in configuration.coupling_map
    assert "127" in repr(device)
    assert "<svg" in device._repr_html_()
    assert device.qubit_properties(0).t1 > 0


def test_targets_have_a_history(device):
    now = dt.datetime.now(dt.UTC)
    then = device.target_history(now)
    assert isinstance(then, Target)
    assert then.operation_names == device.target.operation_names
    with pytest.raises(NotFoundError, match="no calibration"):
        device.properties(dt.datetime(2000, 1, 1, tzinfo=dt.UTC))


def test_a_copy_of_a_backend_has_its_own_options(backend, ghz):
    twin = copy.deepcopy(backend)
    twin.set_options(shots=7)
    assert backend.options.shots == 1024
    assert sum(twin.run(ghz).result(60).get_counts().values()) == 7


def test_usage_adds_up(shared_provider, backend, ghz):
    before = shared_provider.usage()
    backend.run(ghz, shots=123).result(60)
    assert shared_provider.usage().shots - before.shots == 123
