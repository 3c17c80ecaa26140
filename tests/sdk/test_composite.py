"""Jobs larger than the limits, through a real service whose client believes in smaller ones."""

from __future__ import annotations

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.providers import JobStatus
from qiskit.quantum_info import SparsePauliOp

from qpu_sdk import EstimatorV2, Patience, QPUProvider, SamplerV2
from qpu_sdk.composite import CompositeJob, group_of
from qpu_sdk.errors import (
    CostCapExceededError,
    InvalidRequestError,
    JobCancelledError,
    JobFailedError,
    LaneRefusedError,
    LimitExceededError,
    NotFoundError,
    QPUJobError,
    ServiceUnreachableError,
)
from qpu_sdk.wire.models import JobState

BACKEND = "eagle127:line-2"


def _narrow(provider: QPUProvider, **limits: int) -> None:
    """Make the client believe in smaller limits than the service has."""
    version = provider.version()
    narrower = version.limits.model_copy(update=limits)
    provider._connection._version = version.model_copy(update={"limits": narrower})


@pytest.fixture
def narrow(qpu_provider):
    """A backend of at most two circuits, three executions and fifty shots a job."""
    _narrow(qpu_provider, max_circuits=2, max_executions=3, max_shots=50)
    return qpu_provider.backend(BACKEND)


def _flip(*qubits: int, size: int = 2, name: str = "c") -> QuantumCircuit:
    circuit = QuantumCircuit(2, size, name=name, metadata={"about": name})
    for qubit in qubits:
        circuit.x(qubit)
    circuit.measure(range(size), range(size))
    return circuit


def _turn() -> QuantumCircuit:
    theta = Parameter("θ")
    circuit = QuantumCircuit(2, 1, metadata={("a", 1): theta.name})
    circuit.sx(0)
    circuit.rz(theta, 0)
    circuit.sx(0)
    circuit.measure(0, 0)
    return circuit


def test_what_is_beyond_the_limits_is_refused_unless_asked_for(narrow):
    with pytest.raises(LimitExceededError):
        narrow.run([_flip()] * 5, shots=10)
    with pytest.raises(LimitExceededError):
        narrow.run(_flip(), shots=120)


def test_what_fits_is_one_job_as_ever(narrow):
    job = narrow.run([_flip()], shots=10, split=True)
    assert not isinstance(job, CompositeJob)
    assert job.tags == []


def test_circuits_and_shots_beyond_the_limits_are_one_result(narrow, qpu_provider):
    circuits = [_flip(0, name="a"), _flip(1, name="b"), _flip(0, 1, name="c")]
    job = narrow.run(circuits, shots=120, memory=True, split=True, job_tags=["large"], seed_simulator=3)
    assert isinstance(job, CompositeJob)
    result = job.result(60)
    assert [len(part.result(60).results) for part in job.parts] == [2, 1] * 3
    assert [experiment.header["name"] for experiment in result.results] == ["a", "b", "c"]
    assert [experiment.header["metadata"] for experiment in result.results] == [{"about": name} for name in "abc"]
    for index, likeliest in enumerate(["01", "10", "11"]):
        counts, memory = result.get_counts(index), result.get_memory(index)
        assert sum(counts.values()) == len(memory) == 120
        assert max(counts, key=counts.get) == likeliest
    assert (result.job_id, result.success) == (job.job_id(), True)
    assert [part["job_id"] for part in result.metadata["parts"]] == job.job_ids()
    assert result.metadata["seed"] == 3
    seeds = [part["seed"] for part in result.metadata["parts"]]
    assert len(set(seeds)) == len(seeds)
    assert job.tags == ["large"]
    assert len(qpu_provider.jobs(tag="large")) == 6


def test_a_sampler_keeps_its_shapes_and_metadata(narrow):
    values = np.linspace(0, np.pi, 8).reshape(2, 4)
    job = SamplerV2(narrow, options={"split": True}).run([(_turn(), values), _flip(0)], shots=110)
    first, second = job.result(60)
    assert first.data.c.shape == (2, 4)
    assert first.data.c.num_shots == second.data.c.num_shots == first.metadata["shots"] == 110
    assert first.metadata["circuit_metadata"] == {("a", 1): "θ"}
    ones = first.data.c.bitcount().mean(axis=-1).ravel()
    assert np.abs(ones - np.cos(values.ravel() / 2) ** 2).max() < 0.25  # θ = 0 flips the qubit, θ = π leaves it
    assert second.data.c.get_counts()["01"] > 90
    assert job.result().metadata["job_id"] == job.job_id()


def test_an_estimator_keeps_its_shapes_and_its_precision(narrow):
    circuit = _turn().remove_final_measurements(inplace=False)
    values = np.linspace(0, np.pi, 5)
    observables = [[SparsePauliOp("IZ")], [SparsePauliOp("IX")]]
    job = EstimatorV2(narrow, options={"split": True}).run([(circuit, observables, values)], precision=0.1)
    assert len(job.parts) == 5 * 2  # a binding needs two bases, three are the limit; 100 shots are 2 · 50
    (pub,) = job.result(60)
    assert pub.data.evs.shape == pub.data.stds.shape == (2, 5)
    assert (pub.metadata["target_precision"], pub.metadata["shots"]) == (0.1, 100)
    assert np.abs(pub.data.evs[0] + np.cos(values)).max() < 0.5
    assert (pub.data.stds <= 0.1011).all()  # of 50 shots a round: 1 / √(2 · 49) at most


def test_it_has_the_face_of_one_job(narrow):
    job = narrow.run([_flip(0)] * 5, shots=10, split=True)
    seen: list[tuple[str, JobStatus]] = []
    job.wait_for_final_state(60, callback=lambda job_id, status, _: seen.append((job_id, status)))
    assert {job_id for job_id, _ in seen} <= {job.job_id()}
    assert job.status() is JobStatus.DONE
    assert (job.done(), job.in_final_state(), job.running(), job.cancelled()) == (True, True, False, False)
    assert (job.queue(), job.error_message()) == (None, None)
    document, metering = job.document(), job.metering()
    records = [part.metering() for part in job.parts]
    assert (document.num_circuits, document.shots, metering.shots) == (5, 50, 50)
    assert metering.price_micro == sum(record.price_micro for record in records) == document.price_micro
    assert metering.device_us == sum(record.device_us for record in records)
    assert job.usage_estimate()["price_micro"] == document.price_micro
    assert {event.job_id for event in job.events()} == set(job.job_ids())
    assert [event.cursor for event in job.events()] == sorted(event.cursor for event in job.events())
    assert job.properties().calibration_id == job.calibration_id
    assert job.backend().name == BACKEND
    assert repr(job).startswith(f"<CompositeJob {job.job_id()}: 3 jobs on {BACKEND}")
    assert job.replay(alone=True, timeout=60).get_counts(4) == job.result(60).get_counts(4)
    assert job.cancel() is False


def test_it_is_found_again_by_its_id_from_another_program(narrow, qpu_service, qpu_tenant):
    values = np.linspace(0, np.pi, 8)
    job = SamplerV2(narrow, options={"split": True}).run([(_turn(), values)], shots=60)
    with QPUProvider.connect(qpu_service.url, qpu_tenant.token) as later:
        found = later.job(job.job_id())
        assert found.job_ids() == job.job_ids()
        (pub,) = found.result(60)
        assert pub.data.c == job.result(60)[0].data.c
        with pytest.raises(NotFoundError):
            later.job("grp_0")


def test_two_people_of_a_tenant_may_choose_the_same_key(narrow, qpu_service, qpu_tenant):
    mine = narrow.run([_flip(0)] * 5, shots=10, split=True, idempotency_key="row 1")
    token = qpu_service.service.administration.create_key(qpu_tenant.name, principal="somebody else")
    with QPUProvider.connect(qpu_service.url, token) as theirs:
        _narrow(theirs, max_circuits=2)
        job = theirs.backend(BACKEND).run([_flip(1)] * 5, shots=10, split=True, idempotency_key="row 1")
        assert job.job_id() != mine.job_id()
        assert theirs.job(mine.job_id()).job_ids() == mine.job_ids()
        assert not set(job.job_ids()) & set(mine.job_ids())


def test_parts_at_one_place_are_not_compared(narrow):
    job = narrow.run([_flip(0)] * 5, shots=10, split=True)
    twins = [part.last_known.model_copy(update={"id": f"{part.job_id()}2"}) for part in job.parts]
    documents = [*(part.last_known for part in job.parts), *twins]
    assert len(CompositeJob(documents, job._connection, find_backend=lambda _: narrow).parts) == 6


def test_the_same_submission_again_is_the_same_jobs(narrow, qpu_provider):
    first = narrow.run([_flip(0)] * 5, shots=10, split=True, idempotency_key="once only")
    again = narrow.run([_flip(0)] * 5, shots=10, split=True, idempotency_key="once only")
    assert first.job_ids() == again.job_ids()
    assert first.job_id() == again.job_id() == group_of(qpu_provider.me().principal_id, "once only")
    assert first.idempotency_key == "once only"
    assert again.last_known.replayed


def test_together_they_keep_to_the_cap(narrow, qpu_provider):
    price = narrow.run([_flip(0)] * 5, shots=10, split=True).usage_estimate()["price_micro"]
    options = {"shots": 10, "split": True, "job_tags": ["capped"]}
    with pytest.raises(CostCapExceededError, match="in 3 parts"):
        narrow.run([_flip(0)] * 5, max_cost_micro=price - 1, **options)
    assert qpu_provider.jobs(tag="capped") == []
    job = narrow.run([_flip(0)] * 5, max_cost_micro=price, **options)
    assert job.usage_estimate()["price_micro"] == price
    assert len(qpu_provider.jobs(tag="capped")) == 3


def test_its_own_tags_must_have_room(narrow):
    with pytest.raises(InvalidRequestError, match="14"):
        narrow.run([_flip(0)] * 5, split=True, job_tags=[str(number) for number in range(15)])


def test_what_is_mitigated_is_not_split(narrow):
    sampler = SamplerV2(narrow, options={"split": True, "twirling": {"enable_gates": True}})
    with pytest.raises(InvalidRequestError, match="mitigation"):
        sampler.run([_flip(0)] * 5, shots=32)


def test_cancelling_it_cancels_its_parts_and_keeps_what_is_done(narrow):
    job = narrow.run([_flip(0)] * 9, shots=10, split=True)
    job.parts[0].wait_for_final_state(60)
    job.cancel()
    job.wait_for_final_state(60)
    assert job.in_final_state()
    if job.status() is JobStatus.CANCELLED:  # unless all of them were quicker
        with pytest.raises(JobCancelledError, match="keep their results"):
            job.result(60)
    assert job.parts[0].result(60).get_counts()


def test_where_one_part_cannot_be_asked_the_others_are_cancelled_all_the_same(narrow, qpu_service, monkeypatch):
    qpu_service.pause("eagle127")
    try:
        job = narrow.run([_flip(0)] * 5, shots=10, split=True)
        post = narrow.connection.transport.post

        def first_is_lost(path, *arguments, **named):
            if path == f"/jobs/{job.parts[0].job_id()}/cancel":
                raise ServiceUnreachableError("no answer")
            return post(path, *arguments, **named)

        with monkeypatch.context() as patch:
            patch.setattr(narrow.connection.transport, "post", first_is_lost)
            with pytest.raises(ServiceUnreachableError):
                job.cancel()
        states = [part.status() for part in job.parts]
        assert states == [JobStatus.QUEUED, *[JobStatus.CANCELLED] * (len(states) - 1)]
    finally:
        job.cancel()
        qpu_service.resume("eagle127")


@pytest.fixture
def lossy(qpu_service, proxy, tmp_path):
    """A narrow provider through the flaky proxy, with a journal of its own."""
    patience = Patience(attempts=1)
    with QPUProvider.connect(proxy.url, qpu_service.token, patience=patience, journal=tmp_path) as provider:
        _narrow(provider, max_circuits=2)
        yield provider


def test_a_part_whose_answer_was_lost_is_recovered_with_those_that_were_not_sent(lossy, proxy):
    backend = lossy.backend(BACKEND)
    proxy.lose_answers = 1
    with pytest.raises(ServiceUnreachableError) as caught:
        backend.run([_flip(0)] * 5, shots=10, split=True, job_tags=["halfway"])
    assert "idempotency_key=" in caught.value.__notes__[0]
    assert len(lossy.unfinished_submissions()) == 3
    (job,) = lossy.recover()
    assert isinstance(job, CompositeJob)
    assert job.job_id() == group_of(lossy.me().principal_id, caught.value.idempotency_key)
    assert len(job.result(60).results) == 5
    assert len(lossy.jobs(tag="halfway")) == 3


def test_running_it_again_under_its_key_submits_only_the_rest(lossy, proxy):
    backend = lossy.backend(BACKEND)
    proxy.lose_answers = 1
    with pytest.raises(ServiceUnreachableError) as caught:
        backend.run([_flip(0)] * 5, shots=10, split=True, job_tags=["the rest"])
    key = caught.value.idempotency_key
    job = backend.run([_flip(0)] * 5, shots=10, split=True, job_tags=["the rest"], idempotency_key=key)
    assert len(job.result(60).results) == 5
    assert len(lossy.jobs(tag="the rest")) == 3
    assert lossy.unfinished_submissions() == []


def _with_states(job: CompositeJob, *states: str) -> CompositeJob:
    documents = [
        part.last_known.model_copy(
            update={"state": JobState(state), "error_message": "why" if state == "failed" else None}
        )
        for part, state in zip(job.parts, states, strict=True)
    ]
    return CompositeJob(documents, job._connection, find_backend=lambda _: job.backend())


def test_a_part_that_failed_is_named_and_the_others_are_kept(narrow):
    job = narrow.run([_flip(0)] * 5, shots=10, split=True)
    job.result(60)
    lost = _with_states(job, "done", "failed", "done")
    with pytest.raises(JobFailedError, match=f"{job.job_ids()[1]} failed: why.*2 of 3 parts are done"):
        lost.result(60)
    assert lost.status() is JobStatus.ERROR
    assert lost.parts[2].result(60).get_counts()
    assert lost.error_message() == f"{job.job_ids()[1]}: why"


@pytest.mark.parametrize(
    ("states", "status"),
    [
        (("queued", "queued", "queued"), JobStatus.QUEUED),
        (("done", "queued", "queued"), JobStatus.RUNNING),
        (("failed", "running", "queued"), JobStatus.RUNNING),
        (("done", "cancelled", "done"), JobStatus.CANCELLED),
        (("failed", "cancelled", "done"), JobStatus.ERROR),
    ],
)
def test_its_state_is_that_of_all(narrow, states, status):
    job = _with_states(narrow.run([_flip(0)] * 5, shots=10, split=True), *states)
    assert str(job.last_known.state) == {"ERROR": "failed"}.get(status.name, status.name.lower())


def test_parts_that_were_never_submitted_are_named(narrow):
    job = narrow.run([_flip(0)] * 5, shots=10, split=True)
    job.result(60)
    documents = [part.last_known for part in (job.parts[2], job.parts[0])]
    half = CompositeJob(documents, job._connection, find_backend=lambda _: narrow)
    assert half.missing == [1]
    with pytest.raises(QPUJobError, match="parts 1 of 3"):
        half.result(60)


@pytest.mark.parametrize("on_failure", ["continue", "cancel_rest"])
def test_a_refused_part_leaves_what_was_asked_for(narrow, qpu_provider, monkeypatch, on_failure):
    submitting = narrow.connection.submitting
    seen: list[object] = []

    def second_in_a_lane_that_is_not(requests):
        (key, request) = requests[1]
        options = request.options.model_copy(update={"lane": "nowhere"})
        seen.extend(requests)
        return submitting([requests[0], (key, request.model_copy(update={"options": options})), *requests[2:]])

    posted: list[str] = []
    post = narrow.connection.transport.post

    def listen(path, *arguments, **named):
        posted.append(path)
        return post(path, *arguments, **named)

    monkeypatch.setattr(narrow.connection, "submitting", second_in_a_lane_that_is_not)
    monkeypatch.setattr(narrow.connection.transport, "post", listen)
    tag = f"refused {on_failure}"
    with pytest.raises(LaneRefusedError):
        narrow.run([_flip(0)] * 5, shots=10, split=True, job_tags=[tag], on_failure=on_failure)
    assert len(seen) == 3
    (first,) = qpu_provider.jobs(tag=tag)
    cancelled = [f"/jobs/{first.job_id()}/cancel"] if on_failure == "cancel_rest" else []
    assert posted == ["/jobs", "/jobs", *cancelled]


def test_what_cannot_be_cancelled_is_named_and_the_rest_is(narrow, qpu_provider, qpu_service, monkeypatch):
    submitting = narrow.connection.submitting

    def last_in_a_lane_that_is_not(requests):
        (key, request) = requests[-1]
        options = request.options.model_copy(update={"lane": "nowhere"})
        return submitting([*requests[:-1], (key, request.model_copy(update={"options": options}))])

    cancelled: list[str] = []
    post = narrow.connection.transport.post

    def first_cancel_is_lost(path, *arguments, **named):
        if path.endswith("/cancel"):
            cancelled.append(path)
            if len(cancelled) == 1:
                lost = ServiceUnreachableError("no answer")
                lost.in_doubt = True
                raise lost
        return post(path, *arguments, **named)

    monkeypatch.setattr(narrow.connection, "submitting", last_in_a_lane_that_is_not)
    monkeypatch.setattr(narrow.connection.transport, "post", first_cancel_is_lost)
    qpu_service.pause("eagle127")
    try:
        with pytest.raises(LaneRefusedError) as caught:
            narrow.run([_flip(0)] * 5, shots=10, split=True, job_tags=["kept"], on_failure="cancel_rest")
        second, first = qpu_provider.jobs(tag="kept")
        assert cancelled == [f"/jobs/{one.job_id()}/cancel" for one in (first, second)]
        assert [second.status(), first.status()] == [JobStatus.CANCELLED, JobStatus.QUEUED]
    finally:
        qpu_service.resume("eagle127")
    assert f"but for {first.job_id()} (no answer)" in caught.value.__notes__[0]
    assert second.job_id() not in caught.value.__notes__[0]
    assert qpu_provider.unfinished_submissions() == []


def test_the_whole_is_drawn_on_the_qubits_of_all_its_parts(narrow):
    job = narrow.run([_flip()] * 3, shots=10, split=True)
    job.wait(60)
    placed = {qubit for part in job.parts for qubit in part.metering().placement or ()}
    marked = {word[:-1] for word in str(job.draw("text")).replace("─", " ").split() if word.endswith("A")}
    assert {int(word) for word in marked if word.isdigit()} == placed
