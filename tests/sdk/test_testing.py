"""The fixtures that other people's projects get: every test a tenant of its own, and a hand on what can go wrong."""

from __future__ import annotations

import pytest
from qiskit import QuantumCircuit

from qpu_backend.http.problems import STATUS
from qpu_sdk import Patience, QPUProvider, SamplerV2
from qpu_sdk.errors import (
    JobFailedError,
    NotFoundError,
    QuotaExceededError,
    RateLimitedError,
    ServiceUnreachableError,
    SessionClosedError,
)
from qpu_sdk.testing.faults import STATUS_OF_CODE
from qpu_sdk.testing.handles import Operator

_SEEN: list[tuple[str, str]] = []
"""(tenant, job) of tests before."""


@pytest.fixture(scope="module")
def qpu_service():
    """A service of these tests alone: they move its clock and calibrate its device."""
    with QPUProvider.embedded() as provider:
        yield provider.service


def _flips(backend, shots=20, **options):
    circuit = QuantumCircuit(2, 2)
    circuit.x(0)
    circuit.measure([0, 1], [0, 1])
    return backend.run(circuit, shots=shots, seed_simulator=7, **options)


@pytest.mark.parametrize("turn", [1, 2])
def test_every_test_has_a_tenant_of_its_own(qpu_backend, qpu_tenant, qpu_provider, turn):
    assert qpu_provider.jobs() == []
    for name, job_id in _SEEN:
        assert name != qpu_tenant.name
        with pytest.raises(NotFoundError):
            qpu_provider.job(job_id)
    _SEEN.append((qpu_tenant.name, _flips(qpu_backend).job_id()))
    assert len(_SEEN) == turn
    assert qpu_tenant.token not in repr(qpu_tenant)


@pytest.mark.qpu(backend="eagle127:line-3")
def test_the_marker_names_the_backend(qpu_backend):
    assert qpu_backend.name == "eagle127:line-3"


def test_without_it_the_backend_is_that_of_the_settings(qpu_backend, pytestconfig):
    assert qpu_backend.name == pytestconfig.getini("qpu_backend") == "eagle127:line-5"


@pytest.mark.qpu(shots_per_day=50)
def test_a_small_quota_is_used_up_and_comes_back_the_next_day(qpu_backend, qpu_clock):
    _flips(qpu_backend, shots=50).result()
    with pytest.raises(QuotaExceededError):
        _flips(qpu_backend, shots=1)
    qpu_clock.advance(days=1)
    assert _flips(qpu_backend, shots=1).result().success


def test_a_session_runs_out_when_the_clock_says_so(qpu_backend, qpu_clock):
    session = qpu_backend.session(ttl_s=60)
    sampler = SamplerV2(mode=session)
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    qpu_clock.advance(seconds=30)
    sampler.run([circuit], shots=10).result()
    qpu_clock.advance(minutes=2)
    with pytest.raises(SessionClosedError):
        sampler.run([circuit], shots=10)


def test_a_device_drifts_in_its_own_time_and_is_calibrated_on_request(qpu_backend, qpu_clock, qpu_operator):
    before = qpu_backend.status().calibration_age_s
    qpu_clock.pass_device_time(hours=2)
    assert qpu_backend.status().calibration_age_s >= before + 7200
    old = qpu_backend.calibration_id
    qpu_operator.calibrate()
    assert qpu_backend.refresh()
    assert qpu_backend.calibration_id != old


def test_on_a_drained_device_jobs_wait(qpu_backend, qpu_operator):
    qpu_operator.drain(why="helium")
    job = _flips(qpu_backend)
    status = qpu_backend.status()
    assert not status.operational
    assert "helium" in status.status_msg
    assert job.queue() is not None
    qpu_operator.resume()
    assert job.result(60).success


def test_the_operator_puts_everything_right_at_the_end(qpu_backend, qpu_service):
    with Operator(qpu_service) as operator:
        operator.drain()
        operator.fail_jobs()
        job = _flips(qpu_backend)
    assert job.result(60).success
    assert qpu_backend.status().operational


def test_a_job_survives_its_workers(qpu_backend, qpu_operator):
    undisturbed = _flips(qpu_backend).result(60).get_counts()
    qpu_operator.lose_workers(2)
    assert _flips(qpu_backend).result(60).get_counts() == undisturbed


def test_a_job_whose_workers_always_die_fails_and_costs_nothing(qpu_backend, qpu_operator):
    qpu_operator.fail_jobs()
    job = _flips(qpu_backend)
    with pytest.raises(JobFailedError):
        job.result(60)
    assert job.metering().price_micro == 0


def test_refused_submissions_are_sent_again(qpu_backend, qpu_faults):
    qpu_faults.refuse_submissions(2)
    assert _flips(qpu_backend).result(60).success
    assert qpu_faults.submissions == 3


def test_a_refusal_is_the_error_that_the_service_would_cause(qpu_backend, qpu_faults, qpu_provider):
    qpu_faults.refuse_submissions(code="rate_limited", retry_after_s=3600.0)
    with pytest.raises(RateLimitedError) as refused:
        _flips(qpu_backend)
    assert refused.value.status_code == 429
    assert refused.value.retry_after_s == 3600.0
    assert not refused.value.in_doubt
    qpu_faults.refuse_submissions(code="quota_exceeded")
    with pytest.raises(QuotaExceededError):
        _flips(qpu_backend)
    assert qpu_provider.jobs() == []
    with pytest.raises(ValueError, match="unavailable"):
        qpu_faults.refuse_submissions(code="no such thing")


def test_the_refusals_have_the_status_of_the_service():
    assert {code: STATUS[code][0] for code in STATUS_OF_CODE} == STATUS_OF_CODE


@pytest.mark.parametrize("what", ["lose_answers", "lose_requests"])
def test_a_lost_submission_is_one_job_in_the_end(qpu_backend, qpu_faults, qpu_provider, what):
    getattr(qpu_faults, what)(2)
    job = _flips(qpu_backend)
    assert qpu_faults.submissions == 3
    assert job.last_known.replayed == (what == "lose_answers")
    assert [one.job_id() for one in qpu_provider.jobs()] == [job.job_id()]


def test_slow_answers_meet_the_callers_patience(qpu_faults, qpu_tenant, qpu_provider):
    qpu_faults.slow_down(30)
    impatient = Patience(read_s=0.1, attempts=1)
    provider = QPUProvider.connect(qpu_faults.url, qpu_tenant.token, patience=impatient, journal=False)
    with provider, pytest.raises(ServiceUnreachableError, match="timed out"):
        provider.summaries()
    qpu_faults.slow_down(0)
    assert qpu_provider.summaries()


def test_a_result_is_waited_for_through_an_outage(qpu_backend, qpu_faults, qpu_operator):
    qpu_operator.drain()
    job = _flips(qpu_backend)
    with qpu_faults.unreachable(), pytest.raises(ServiceUnreachableError):
        qpu_backend.status()
    qpu_operator.resume()
    assert job.result(60).success
    assert "GET /v1/backends/eagle127:line-5/status" in qpu_faults.requests


def test_without_faults_asked_for_nothing_is_in_between(qpu_provider, qpu_service):
    assert qpu_service.url in repr(qpu_provider)
