"""Every code of a problem document is one exception, with its facts."""

from __future__ import annotations

import pytest
from qiskit.exceptions import QiskitError
from qiskit.providers.exceptions import JobError, JobTimeoutError, QiskitBackendNotFoundError

from qpu_backend.http.problems import STATUS
from qpu_sdk import errors
from qpu_sdk.problems import EXCEPTION_OF_CODE, error_from_problem
from qpu_sdk.wire.models import Problem


def _problem(code: str) -> Problem:
    return Problem(
        type="about:blank", title="t", status=429, detail="d", code=code, field="f", request_id="r", retry_after_s=2.5
    )


NOT_SENT_YET = {"rate_limited"}
"""Codes of the contract that no service sends so far."""


def test_the_codes_of_server_and_client_are_the_same():
    assert set(STATUS) <= set(EXCEPTION_OF_CODE)
    assert set(EXCEPTION_OF_CODE) - set(STATUS) <= NOT_SENT_YET


@pytest.mark.parametrize("code", sorted(EXCEPTION_OF_CODE))
def test_a_problem_becomes_its_exception_with_its_facts(code):
    error = error_from_problem(_problem(code), idempotency_key="k")
    assert type(error) is EXCEPTION_OF_CODE[code]
    assert isinstance(error, QiskitError)
    assert (error.code, error.status_code, error.request_id, error.field) == (code, 429, "r", "f")
    assert (error.retry_after_s, error.idempotency_key) == (2.5, "k")
    assert error.message == "d" or code == "idempotency_conflict"


def test_a_conflict_of_keys_reminds_of_the_seed_after_the_services_sentence():
    message = error_from_problem(_problem("idempotency_conflict")).message
    assert message == "d (was the circuit transpiled again without `seed_transpiler`?)"


def test_a_code_of_a_later_version_is_a_service_error_that_keeps_it():
    error = error_from_problem(_problem("from_the_future"))
    assert type(error) is errors.ServiceError
    assert error.code == "from_the_future"
    assert errors.ServiceError.code == "internal"


def test_qiskits_own_classes_catch_ours():
    assert issubclass(errors.JobFailedError, JobError)
    assert issubclass(errors.QPUJobTimeoutError, JobTimeoutError)
    assert issubclass(errors.BackendNotFoundError, QiskitBackendNotFoundError)


def test_every_exception_stands_in_the_drawn_tree():
    drawn = errors.__doc__ or ""
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.QPUError)]
    assert len(classes) > 25
    assert all(kind.__name__ in drawn for kind in classes)
    assert all(kind.__doc__ for kind in classes)
