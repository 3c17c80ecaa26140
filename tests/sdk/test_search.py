"""Searching jobs as a researcher does: filters, and pages that are fetched when they are needed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from qiskit import QuantumCircuit

from qpu_sdk import Batch, SamplerV2
from qpu_sdk.errors import BackendNotFoundError, InvalidRequestError

BACKEND = "eagle127:line-2"


@pytest.fixture
def flip():
    circuit = QuantumCircuit(2, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit


def _ids(jobs) -> list[str]:
    return [job.job_id() for job in jobs]


def test_filters_are_those_of_the_question_and_all_of_them_count(qpu_provider, flip):
    backend = qpu_provider.backend(BACKEND)
    before = datetime.now(UTC)
    with Batch(backend) as batch:
        plain = backend.run(flip, shots=5, job_tags=["search", "plain"], session=batch)
        sampled = SamplerV2(backend, options={"job_tags": ["search", "plain", "sampled"]}).run([flip], shots=5)
    for job in (plain, sampled):
        job.result(60)

    def found(**filters):
        return _ids(qpu_provider.jobs(tag="search", **filters))

    both, first, second = _ids([sampled, plain]), _ids([plain]), _ids([sampled])
    assert found() == _ids(qpu_provider.jobs(tag=["plain", "search"])) == both
    assert _ids(qpu_provider.jobs(tag=["search", "sampled"])) == found(program="sampler") == second
    assert found(session=batch) == found(session=batch.id) == found(program="circuits") == first
    assert found(state=["done", "failed"]) == found(state="done") == found(backend=backend) == both
    assert found(state=["queued", "cancelled"]) == found(backend="eagle127:line-3") == []
    assert found(created_after=before, created_before=datetime.now()) == both  # noqa: DTZ005 - of this machine's zone
    assert found(created_before=before) == found(created_after=before + timedelta(days=1)) == []
    assert found(limit=1) == second


def test_what_does_not_exist_is_said_to_and_not_an_empty_list(qpu_provider):
    with pytest.raises(BackendNotFoundError):
        qpu_provider.jobs(backend="foo")
    for wrong, field in (
        ({"state": ["done", "lost"]}, "state"),
        ({"program": "foo"}, "program"),
        ({"created_after": "today"}, "created_after"),
    ):
        with pytest.raises(InvalidRequestError) as caught:
            qpu_provider.jobs_iter(**wrong)
        assert caught.value.field == field


def test_pages_are_fetched_as_they_are_needed(through_proxy, proxy, flip, monkeypatch):
    monkeypatch.setattr("qpu_sdk.search._PAGE", 2)
    backend = through_proxy.backend(BACKEND)
    jobs = [backend.run(flip, shots=5, job_tags=["paged"]) for _ in range(5)]
    proxy.requests.clear()
    found = through_proxy.jobs_iter(tag="paged")
    assert proxy.requests == []
    assert next(found).job_id() == jobs[-1].job_id()
    assert len(proxy.requests) == 1
    assert _ids(found) == _ids(jobs[-2::-1])
    assert len(proxy.requests) == 3
    assert _ids(through_proxy.jobs(tag="paged", limit=None)) == _ids(jobs[::-1])
    assert len(list(through_proxy.jobs_iter(tag="paged", limit=3))) == 3
