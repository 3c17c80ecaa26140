"""Sessions as a researcher uses them: with the primitives, with ``run``, in ``with``, and from another program."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit.primitives import StatevectorSampler

from qpu_sdk import Batch, EstimatorV2, QPUProvider, SamplerV2, Session
from qpu_sdk.errors import (
    InvalidRequestError,
    NotFoundError,
    SessionClosedError,
    SessionCostExceededError,
    SessionShareExceededError,
)
from qpu_sdk.options import RunOptions, SamplerOptions
from qpu_sdk.wire.sessions import SessionState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpu_sdk import QPUBackend


def ansatz(backend: QPUBackend, *, measured: bool = True) -> QuantumCircuit:
    """One angle, entangled over five qubits."""
    circuit = QuantumCircuit(5)
    circuit.rx(Parameter("theta"), 0)
    for qubit in range(4):
        circuit.cx(qubit, qubit + 1)
    if measured:
        circuit.measure_all()
    return transpile(circuit, backend, optimization_level=1, seed_transpiler=1)


@pytest.fixture
def session(backend) -> Iterator[Session]:
    with backend.session() as one:
        yield one


def ended(session: Session) -> SessionState:
    """The state once its last job was noticed to have ended: within a second."""
    deadline = time.monotonic() + 20
    while session.status() is not SessionState.CLOSED and time.monotonic() < deadline:
        time.sleep(0.05)
    return session.status()


def test_a_loop_in_a_session_stays_where_it_is_and_others_stay_off(qpu_service, backend):
    token = qpu_service.create_tenant("beside-the-loop")
    with QPUProvider.connect(qpu_service.url, token) as other, backend.session(ttl_s=60) as session:
        assert session.region is None
        sampler, circuit = SamplerV2(session), ansatz(backend)
        places = []
        for step in range(3):
            job = sampler.run([(circuit, [0.3 * step])], shots=50)
            assert job.result(60)[0].data.meas.num_shots == 50
            places.append(sorted(job.metering().placement))
        assert places == [sorted(session.region)] * 3
        elsewhere = other.backend("eagle127:line-5")
        measured = transpile(circuit.assign_parameters([0.1]), elsewhere, seed_transpiler=1)
        job = elsewhere.run(measured, shots=800)
        job.result(60)
        assert not set(job.metering().placement) & set(session.region)
        document = session.document()
        assert document.held_us_qubits > 0
        assert document.price_micro == round(0.02 * document.held_us_qubits)
    assert session.status() is SessionState.CLOSED


@pytest.mark.parametrize("way", ["backend", "mode", "options", "run", "run_id"])
def test_every_way_to_name_a_session_reaches_the_service(backend, session, way):
    circuit = ansatz(backend).assign_parameters([0.1])
    match way:
        case "backend":
            job = SamplerV2(session).run([circuit], shots=5)
        case "mode":
            job = SamplerV2(mode=session).run([circuit], shots=5)
        case "options":
            job = SamplerV2(backend, options={"session": session}).run([circuit], shots=5)
        case "run":
            job = backend.run(circuit, session=session, shots=5)
        case _:
            job = backend.run(circuit, session=session.id, shots=5)
    job.result(60)
    assert job.session_id == session.id
    assert sorted(session.region) == sorted(job.metering().placement)


def test_the_estimator_takes_a_session_too(backend, session):
    from qiskit.quantum_info import SparsePauliOp  # noqa: PLC0415 - slow, and needed here only

    circuit = ansatz(backend, measured=False)
    observable = SparsePauliOp("IIIIZ").apply_layout(circuit.layout)
    estimator = EstimatorV2(mode=session)
    assert estimator.backend is backend
    job = estimator.run([(circuit, observable, [0.0])], precision=0.1)
    assert job.result(60)[0].data.evs == pytest.approx(1.0, abs=0.35)
    assert sorted(session.region) == sorted(job.metering().placement)


def test_sessions_are_opened_as_qiskits_own_are(shared_provider, backend):
    with Session(backend=backend) as one, shared_provider.session("eagle127:line-2", ttl_s=5) as two:
        assert one.backend() is backend
        assert two.backend().name == "eagle127:line-2"
        assert one.session_id == one.id
        assert {one.id, two.id} <= {each.id for each in shared_provider.sessions()}
        assert repr(two) == f"<Session {two.id} on eagle127:line-2: open>"
        before = two.last_known.expires_at
        two.touch()
        assert two.last_known.expires_at > before
    closed = {each.id for each in shared_provider.sessions(open_only=False, limit=None)}
    assert {one.id, two.id} <= closed - {each.id for each in shared_provider.sessions()}


def test_a_session_of_another_program_can_be_used_and_closed(shared_provider, backend):
    with Session(backend) as session:
        known = Session.from_id(session.id, backend)
        (listed,) = [each for each in shared_provider.sessions() if each.id == session.id]
        assert listed.backend().name == known.backend().name == backend.name
        listed.close()
        assert known.status() is SessionState.CLOSED
    with pytest.raises(NotFoundError):
        Session.from_id("ses_nobody's", backend)


def test_jobs_that_wait_when_the_block_ends_still_run_on_its_qubits(qpu_service, backend):
    circuit = ansatz(backend).assign_parameters([0.1])
    with backend.session() as session:
        sampler = SamplerV2(session)
        first = sampler.run([circuit], shots=5)
        first.result(60)
        qpu_service.pause("eagle127")
        try:
            last = sampler.run([circuit], shots=5)
        except BaseException:
            qpu_service.resume("eagle127")
            raise
    try:
        assert session.status() is SessionState.CLOSING
        with pytest.raises(SessionClosedError) as refusal:
            sampler.run([circuit], shots=5)
        assert refusal.value.field == "options.session"
        assert not refusal.value.retryable
        with pytest.raises(SessionClosedError):
            session.touch()
    finally:
        qpu_service.resume("eagle127")
    last.result(60)
    assert sorted(last.metering().placement) == sorted(first.metering().placement)
    assert ended(session) is SessionState.CLOSED


def test_a_block_that_fails_closes_its_session(backend):
    with pytest.raises(ZeroDivisionError), backend.session() as session:
        raise ZeroDivisionError
    assert session.status() is SessionState.CLOSED


def test_a_device_session_holds_at_most_what_it_asked_for(shared_provider):
    with shared_provider.session("eagle127", max_qubits=6) as session:
        assert session.document().max_qubits == 6
        circuit = QuantumCircuit(127, 6)
        circuit.measure(range(6), range(6))
        with pytest.raises(InvalidRequestError, match="may hold 6") as refusal:
            session.backend().run(circuit, session=session)
        assert refusal.value.field == "options.session"
    with pytest.raises(SessionShareExceededError) as refusal:
        shared_provider.session("eagle127", max_qubits=100)
    assert refusal.value.status_code == 429


@pytest.mark.parametrize(
    ("arguments", "field"), [({"ttl_s": 0}, "ttl_s"), ({"ttl_s": "long"}, "ttl_s"), ({"max_qubits": 0}, "max_qubits")]
)
def test_a_wrong_argument_is_found_before_anything_is_sent(backend, arguments, field):
    with pytest.raises(InvalidRequestError) as refusal:
        Session(backend, **arguments)
    assert (refusal.value.field, refusal.value.status_code) == (field, None)


def test_what_is_no_backend_of_ours_has_no_session():
    with pytest.raises(InvalidRequestError, match="needs a backend of this SDK"):
        Session(StatevectorSampler())  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("value", ["", 7, "x" * 129])
def test_an_option_that_is_no_session_is_refused_when_it_is_set(value: Any):
    for options in (RunOptions(), SamplerOptions()):
        with pytest.raises(InvalidRequestError, match="an open session"):
            options.session = value
    assert RunOptions(session="ses_1").wire().session == "ses_1"
    assert RunOptions().wire().session is None


def test_a_session_refuses_the_job_that_would_pass_its_cost(backend):
    circuit = ansatz(backend).assign_parameters([0.3])
    price = backend.run(circuit, shots=10).usage_estimate()["price_micro"]
    with Session(backend, max_cost=1.5 * price / 1e6, max_time=60) as session:
        assert SamplerV2(mode=session).run([circuit], shots=10).session_id == session.id
        with pytest.raises(SessionCostExceededError, match=session.id):
            SamplerV2(mode=session).run([circuit], shots=10)
        assert session.cost() == pytest.approx(price / 1e6)
        assert session.last_known.ends_at.timestamp() - session.last_known.opened_at.timestamp() == pytest.approx(60)


def test_a_batch_is_a_session_that_holds_nothing(backend, shared_provider):
    with Batch(backend, on_failure="cancel_rest") as batch:
        jobs = [backend.run(ansatz(backend).assign_parameters([0.3]), shots=10, session=batch) for _ in range(2)]
    assert all(job.result(60).get_counts() for job in jobs)
    assert (batch.region, batch.last_known.on_failure) == (None, "cancel_rest")
    known = next(one for one in shared_provider.sessions(open_only=False) if one.id == batch.id)
    assert isinstance(known, Batch)
    assert repr(known).startswith("<Batch ")


@pytest.mark.parametrize(
    ("asked", "field"),
    [({"max_time": 0}, "max_time_s"), ({"max_cost": -1.0}, "max_cost_micro"), ({"max_cost": "much"}, "max_cost"),
     ({"max_cost": float("nan")}, "max_cost"), ({"on_failure": "panic"}, "on_failure")],
)  # fmt: skip
def test_a_session_that_asks_for_nonsense_is_not_opened(backend, asked, field):
    with pytest.raises(InvalidRequestError) as caught:
        Session(backend, **asked)
    assert caught.value.field == field
