"""Waiting and submitting over a connection that breaks: nothing is lost, nothing is done twice, nothing polls."""

from __future__ import annotations

import threading
import time

import pytest
from qiskit import QuantumCircuit

from qpu_sdk import QPUJob
from qpu_sdk.errors import QPUJobTimeoutError, ServiceUnreachableError


def _listen(backend) -> None:
    """Wait until the stream of events is open."""
    while not backend.connection.events.open():
        time.sleep(0.01)


@pytest.fixture
def flip():
    circuit = QuantumCircuit(2, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit


def test_lost_answers_to_a_submission_make_one_job(through_proxy, proxy, flip):
    backend = through_proxy.backend("eagle127:line-2")
    proxy.lose_answers = 3
    job = backend.run(flip, shots=20, job_tags=["lost answers"])
    assert proxy.requests.count("POST /v1/jobs") == 4
    assert job.last_known.replayed
    assert job.result(60).get_counts()["1"] > 10
    assert [found.job_id() for found in through_proxy.jobs(tag="lost answers")] == [job.job_id()]


def test_a_submission_that_seemed_to_fail_is_found_by_its_key(through_proxy, proxy, flip):
    backend = through_proxy.backend("eagle127:line-2")
    proxy.lose_answers = 1000
    with pytest.raises(ServiceUnreachableError) as caught:
        backend.run(flip, shots=20, job_tags=["by key"])
    proxy.lose_answers = 0
    job = backend.run(flip, shots=20, job_tags=["by key"], idempotency_key=caught.value.idempotency_key)
    assert job.last_known.replayed
    assert len(through_proxy.jobs(tag="by key")) == 1


def _long(monkeypatch) -> None:
    """Make every job a long one: nobody waits for a result with a held request."""
    monkeypatch.setattr("qpu_sdk.job._PROMPT_S", 0.0)


@pytest.mark.timeout(60)  # half of the time after which a waiter that was forgotten would ask by itself
@pytest.mark.parametrize("stream_comes_back", [True, False])
@pytest.mark.parametrize("long", [True, False])
def test_a_wait_survives_a_broken_connection(through_proxy, proxy, flip, monkeypatch, stream_comes_back, long):
    if long:
        _long(monkeypatch)
    backend = through_proxy.backend("eagle127:line-2")
    _listen(backend)
    job = backend.run([flip] * 100, shots=20_000)
    cut = threading.Timer(0.05, proxy.cut_everything)
    proxy.refuse_streams = not stream_comes_back
    cut.start()
    assert len(job.result().get_counts()) == 100
    cut.join()


def test_waiting_works_without_a_stream(through_proxy, proxy, flip, monkeypatch):
    _long(monkeypatch)
    proxy.refuse_streams = True
    job = through_proxy.backend("eagle127:line-2").run(flip, shots=5)
    assert job.result(60).get_counts()


def test_a_short_job_is_two_requests_and_no_stream(through_proxy, proxy, flip):
    backend = through_proxy.backend("eagle127:line-2")
    proxy.requests.clear()
    jobs = [backend.run(flip, shots=5) for _ in range(8)]
    threads = [threading.Thread(target=job.result, args=(60,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(job.done() for job in jobs)
    assert proxy.requests.count("POST /v1/jobs") == 8
    assert sum("/result?wait=" in line for line in proxy.requests) == 8
    assert len(proxy.requests) == 16


def test_a_long_job_is_four_requests(through_proxy, proxy, qpu_service, flip, monkeypatch):
    monkeypatch.setattr("qpu_sdk.job._PROMPT_S", 0.01)
    monkeypatch.setattr("qpu_sdk.waiting._HELLO_S", 60.0)
    backend = through_proxy.backend("eagle127:line-2")
    qpu_service.pause("eagle127")
    job = backend.run(flip, shots=5)
    proxy.requests.clear()
    waiter = threading.Thread(target=job.result, args=(60,))
    try:
        waiter.start()
        while len(proxy.requests) < 3:
            time.sleep(0.01)
    finally:
        qpu_service.resume("eagle127")
    waiter.join()
    path = f"GET /v1/jobs/{job.job_id()}"
    assert proxy.requests == [f"{path}/result?wait=0.01", "GET /v1/events", path, f"{path}/result"]


def test_what_has_ended_is_told_though_no_time_is_left(through_proxy, backend, flip):
    job = backend.run(flip, shots=5)
    queued = job.last_known
    job.result(60)
    here = through_proxy.backend("eagle127:line-2")
    QPUJob(queued, here.connection, find_backend=lambda _: here).wait_for_final_state(0)


def test_long_waits_share_one_stream_and_nothing_polls(through_proxy, proxy, flip, monkeypatch):
    _long(monkeypatch)
    backend = through_proxy.backend("eagle127:line-2")
    _listen(backend)
    proxy.requests.clear()
    jobs = [backend.run([flip] * 30, shots=5000) for _ in range(4)]
    threads = [threading.Thread(target=job.wait_for_final_state, args=(60,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    looks = [line for line in proxy.requests if line.startswith("GET")]
    assert sorted(looks) == sorted(f"GET /v1/jobs/{job.job_id()}" for job in jobs)  # each once, when it began to wait


def test_a_result_is_waited_for_no_longer_than_asked(through_proxy, flip):
    job = through_proxy.backend("eagle127:line-2").run([flip] * 100, shots=100_000)
    started = time.monotonic()
    with pytest.raises(QPUJobTimeoutError):
        job.result(0.05)
    assert time.monotonic() - started < 5
    job.cancel()


def test_a_job_that_ended_before_the_stream_opened_is_not_waited_for(through_proxy, backend, flip):
    job = backend.run(flip, shots=5)
    queued = job.last_known
    job.result(60)
    here = through_proxy.backend("eagle127:line-2")
    _listen(here)  # too late for the events of the job above
    assert QPUJob(queued, here.connection, find_backend=lambda _: here).result(0).get_counts()


def test_waiting_for_a_job_of_another_program_asks_once_and_then_listens(through_proxy, backend, flip):
    job = backend.run(flip, shots=5)
    assert through_proxy.job(job.job_id()).result(60).get_counts()
