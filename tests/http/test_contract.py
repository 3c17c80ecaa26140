"""The application against its own OpenAPI: whatever follows the document, or does not, is answered as it says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from qpu_backend.domain.tenancy import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from schemathesis.schemas import APIOperation

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    ignored_auth,
    unsupported_method,
]
HEALTH = [HealthCheck.filter_too_much, HealthCheck.too_slow, HealthCheck.data_too_large]
QUICK = settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=HEALTH,
    phases=[Phase.explicit, Phase.generate],
)
DEEP = settings(max_examples=4_000, deadline=None, suppress_health_check=HEALTH)


@pytest.fixture(scope="session")
def operations(server) -> list[APIOperation]:
    """Every operation of the document but the stream of a tenant, which never ends."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", server.service.app).exclude(path="/v1/events")
    return [result.ok() for result in schema.get_all_operations()]


@pytest.fixture(scope="session")
def authorization(server) -> dict[str, str]:
    return {"Authorization": f"Bearer {server.key(server.tenant(), Role.OPERATOR)}"}


@pytest.fixture(scope="session")
def keep_promises(operations, authorization) -> Callable[[st.DataObject], None]:
    """Draws one request, and checks its answer against the document."""

    def check(data: st.DataObject) -> None:
        operation = data.draw(st.sampled_from(operations), label="operation")
        mode = data.draw(st.sampled_from(GenerationMode), label="mode")
        if mode is GenerationMode.NEGATIVE and not (list(operation.iter_parameters()) or operation.body):
            mode = GenerationMode.POSITIVE
        case = data.draw(operation.as_strategy(generation_mode=mode), label="case")
        case.call_and_validate(headers=authorization, checks=CHECKS)

    return check


def test_the_document_names_every_door_and_its_problems(operations):
    assert len(operations) >= 18
    for operation in operations:
        problems = operation.definition.raw["responses"]["4XX"]["content"]
        assert list(problems) == ["application/problem+json"]


@QUICK
@given(data=st.data())
def test_answers_are_what_the_document_promises(keep_promises, data):
    keep_promises(data)


@pytest.mark.slow
@DEEP
@given(data=st.data())
def test_answers_are_what_the_document_promises_for_long(keep_promises, data):
    keep_promises(data)
