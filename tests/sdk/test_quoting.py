"""From a quote to a line of the invoice: one price, seen from every side; and how many shots to ask for."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparseObservable, SparsePauliOp, Statevector

from qpu_backend.domain.tenancy import Role
from qpu_sdk import EstimatorV2, QPUProvider, SamplerV2, recommend_shots
from qpu_sdk.errors import CostCapExceededError, InvalidRequestError, QuoteRefusedError
from qpu_sdk.grouping import grouped, strings_of
from qpu_sdk.wire.circuits import encode_observable

BACKEND = "eagle127:line-2"
_NUMBERS = itertools.count()


@pytest.fixture
def flip():
    circuit = QuantumCircuit(2, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    return circuit


@pytest.fixture
def own(qpu_service):
    """A provider of an administrator of a tenant that nobody else uses."""
    name = f"quoting-{next(_NUMBERS)}"
    qpu_service.create_tenant(name)
    token = qpu_service._own().administration.create_key(name, principal="head", role=Role.TENANT_ADMIN)
    with QPUProvider.connect(qpu_service.url, token) as provider:
        yield provider


def test_a_quote_is_the_cap_the_meter_and_the_line_of_the_invoice(own, flip):
    quote = own.quote(BACKEND, flip, shots=50)
    assert quote.price == pytest.approx(quote.price_micro / 1e6)
    assert quote.price_micro > 0
    assert (quote.shots, quote.start_in_s is None or quote.start_in_s >= 0) == (50, True)
    backend = own.backend(BACKEND)
    with pytest.raises(CostCapExceededError):
        backend.run(flip, shots=50, max_cost_micro=quote.price_micro - 1)
    job = backend.run(flip, shots=50, quote=quote, max_cost_micro=quote.price_micro, job_tags=["chain"])
    job.result(60)
    metering = job.metering()
    assert (metering.quote_id,) == quote.ids
    assert metering.price_micro == quote.price_micro == job.usage_estimate()["price_micro"]
    assert metering.device_us == pytest.approx(1e6 * quote.device_s)
    usage = own.usage(by="tag")
    assert {one.tag: one.price_micro for one in usage.tags} == {"chain": quote.price_micro}
    assert usage.price_micro == -usage.balance_micro == quote.price_micro
    month = f"{metering.finished_at:%Y-%m}"
    (line,) = [line for line in own.invoice(month).lines if line.kind == "jobs"]
    assert (line.amount_micro, line.records, line.shots) == (quote.price_micro, 1, 50)
    assert own.invoices() == []  # the month is not over


def test_a_quote_is_for_the_job_that_was_quoted(own, flip):
    backend = own.backend(BACKEND)
    quote = backend.quote(flip, shots=50)
    with pytest.raises(QuoteRefusedError):
        backend.run(flip, shots=51, quote=quote)
    narrower = own.version().limits.model_copy(update={"max_circuits": 1})
    own._connection._version = own.version().model_copy(update={"limits": narrower})
    narrow = own.backend(BACKEND)
    with pytest.raises(InvalidRequestError, match="parts"):
        narrow.run([flip] * 3, shots=50, split=True, quote=quote)


def test_a_split_job_is_quoted_and_paid_part_by_part(own, flip):
    narrower = own.version().limits.model_copy(update={"max_circuits": 2})
    own._connection._version = own.version().model_copy(update={"limits": narrower})
    backend = own.backend(BACKEND)
    quote = backend.quote([flip] * 5, shots=10, split=True)
    job = backend.run([flip] * 5, shots=10, split=True, quote=quote)
    assert job.usage_estimate()["price_micro"] == quote.price_micro
    assert tuple(part.metering().quote_id for part in job.parts) == quote.ids


def test_the_primitives_quote_what_they_would_run(own, flip):
    backend = own.backend(BACKEND)
    theta = Parameter("θ")
    turn = QuantumCircuit(2)
    turn.rz(theta, 0)
    pub = (turn, SparsePauliOp("IZ"), [0.1, 0.2])
    estimated = own.quote(backend, [pub], default_precision=0.1)
    assert estimated.shots == 200
    assert estimated.price_micro == EstimatorV2(backend).quote([pub], precision=0.1).price_micro
    sampled = own.quote(backend, (flip, None, 30))
    assert sampled.shots == 30
    assert sampled.price_micro == SamplerV2(backend).quote([(flip, None, 30)]).price_micro
    assert own.jobs() == []  # nothing was submitted


# --- how many shots -------------------------------------------------------------------------------------------------


def _variance(observable: SparsePauliOp, state: Statevector, bases) -> float:
    """Of one shot of every basis, in this state."""
    total = 0.0
    for basis in bases:
        part = SparsePauliOp.from_list(
            [(word, observable.coeffs[observable.paulis.to_labels().index(word)]) for word in basis]
        )
        mean = state.expectation_value(part).real
        total += state.expectation_value((part @ part).simplify()).real - mean**2
    return total


def _word(string: tuple[tuple[int, str], ...]) -> str:
    letters = dict(string)
    return "".join(letters.get(qubit, "I") for qubit in (1, 0))


words = st.text("IXYZ", min_size=2, max_size=2)


@settings(max_examples=30)
@given(
    st.dictionaries(words, st.floats(-3, 3).filter(lambda c: abs(c) > 0.01), min_size=1, max_size=6),
    st.floats(0.01, 0.5),
    st.integers(0, 2**32 - 1),
)
def test_the_standard_error_is_below_the_target_in_any_state_and_one_shot_less_may_not_do(terms, precision, seed):
    observable = SparsePauliOp.from_list(list(terms.items()))
    recommended = recommend_shots((QuantumCircuit(2), observable), precision=precision)
    strings = strings_of(encode_observable(SparseObservable.from_sparse_pauli_op(observable)))
    bases = [[_word(one) for one in basis] for basis in grouped(strings)]
    generator = np.random.default_rng(seed)
    amplitudes = generator.normal(size=4) + 1j * generator.normal(size=4)
    variance = _variance(observable, Statevector(amplitudes / np.linalg.norm(amplitudes)), bases)
    assert math.sqrt(max(0.0, variance) / recommended.shots) <= precision * (1 + 1e-9)
    bound = sum(sum(abs(terms[word]) for word in basis) ** 2 for basis in bases)
    assert recommended.shots == 1 or bound / (recommended.shots - 1) > precision**2 * (1 - 1e-9)
    assert math.ceil(1 / recommended.precision**2) == recommended.shots
    assert recommended.total_shots == recommended.shots * max(1, recommended.bases)


def test_one_pauli_needs_one_over_the_precision_squared():
    pub = (QuantumCircuit(1), SparsePauliOp("Z"))
    assert recommend_shots(pub, precision=0.1).shots == 100
    assert recommend_shots((QuantumCircuit(1), 2 * SparsePauliOp("Z")), precision=0.1).shots == 400
    assert recommend_shots((QuantumCircuit(1), SparsePauliOp("I")), precision=0.1).shots == 1
    two = (QuantumCircuit(2), [SparsePauliOp("ZZ"), SparsePauliOp(["XI", "ZI"])])
    recommended = recommend_shots(two, precision=0.1)
    assert (recommended.shots, recommended.bases, recommended.total_shots) == (200, 2, 400)


def test_what_it_recommends_is_what_the_service_takes(own):
    circuit = QuantumCircuit(2)
    circuit.sx(0)
    observable = SparsePauliOp(["IZ", "ZI", "XX"], [0.5, 0.5, 0.25])
    recommended = recommend_shots((circuit, observable), precision=0.1)
    (pub,) = EstimatorV2(own.backend(BACKEND)).run([(circuit, observable)], precision=recommended.precision).result(60)
    assert pub.metadata["shots"] == recommended.shots
    assert pub.data.stds <= 0.1 * (1 + 3 / math.sqrt(2 * recommended.shots))  # a sample's own spread


@pytest.mark.parametrize("precision", [0.0, -1.0, math.nan, math.inf])
def test_a_precision_of_nothing_is_refused(precision):
    with pytest.raises(InvalidRequestError):
        recommend_shots((QuantumCircuit(1), SparsePauliOp("Z")), precision=precision)
    with pytest.raises(InvalidRequestError):
        recommend_shots("nonsense", precision=0.1)
