"""pytest fixtures for other people's projects: a whole service, tenants on it, and what can go wrong.

With ``qpu-sdk[server]`` installed, a test only has to name them::

    def test_my_algorithm(qpu_backend):
        job = SamplerV2(qpu_backend).run([transpile(bell(), qpu_backend)])

The service starts when the first test asks for it, and is shared by all tests of the process; every test has a tenant
of its own. This module is loaded at every start of pytest, so it loads nothing that takes time.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

    from qpu_sdk.backend import QPUBackend
    from qpu_sdk.embedding import EmbeddedService
    from qpu_sdk.provider import QPUProvider
    from qpu_sdk.testing.faults import Faults
    from qpu_sdk.testing.handles import Clock, Operator, Tenant

__all__ = [
    "qpu_backend",
    "qpu_clock",
    "qpu_faults",
    "qpu_operator",
    "qpu_provider",
    "qpu_service",
    "qpu_settings",
    "qpu_tenant",
]

_BACKEND: Final = "eagle127:line-5"
_MARKER: Final = (
    "qpu(backend=None, **tenant): the backend of `qpu_backend`, and what the tenant of the test may use: "
    "shots_per_day, device_seconds_per_day, spend_micro_per_month, max_queued_jobs, weight."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--qpu-backend`` and the setting ``qpu_backend``."""
    text = f"name of the backend that the fixture qpu_backend gives (default: {_BACKEND})"
    parser.getgroup("qpu", "quantum backends").addoption("--qpu-backend", metavar="NAME", default=None, help=text)
    parser.addini("qpu_backend", text, default=_BACKEND)


def pytest_configure(config: pytest.Config) -> None:
    """The marker ``qpu``."""
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture(scope="session")
def qpu_settings() -> dict[str, Any]:
    """Settings of the service; define it in your ``conftest.py`` to have others.

    For example ``{"drift_seed": "my project", "devices": {"eagle127": {"drift": False}}}``; see
    :meth:`qpu_sdk.QPUProvider.embedded`. Devices follow from the seed alone, so every run of the tests has the same.
    """
    return {}


@pytest.fixture(scope="session")
def qpu_service(qpu_settings: dict[str, Any]) -> Generator[EmbeddedService]:
    """A service in this process, on a private database, shared by the tests of the session."""
    from qpu_sdk.embedding import start_service  # noqa: PLC0415 - see above
    from qpu_sdk.errors import QPUError  # noqa: PLC0415

    one_worker_each = {"workers": 1} if "PYTEST_XDIST_WORKER" in os.environ else {}
    try:
        service = start_service(None, **{**one_worker_each, **qpu_settings})
    except QPUError as error:
        pytest.fail(f"the fixtures of qpu_sdk.testing need a service: {error.message}", pytrace=False)
    yield service
    service.close()


@pytest.fixture
def qpu_tenant(qpu_service: EmbeddedService, request: pytest.FixtureRequest) -> Tenant:
    """A tenant that only this test has; what it may use is said with the marker ``qpu``."""
    from qpu_sdk.testing.handles import Tenant  # noqa: PLC0415

    facts = _marked(request)
    facts.pop("backend", None)
    try:
        return Tenant.create(qpu_service, request.node.name, **facts)
    except TypeError as error:
        pytest.fail(f"the marker qpu does not fit: {error}; it is {_MARKER}", pytrace=False)


@pytest.fixture
def qpu_provider(
    qpu_service: EmbeddedService, qpu_tenant: Tenant, request: pytest.FixtureRequest
) -> Generator[QPUProvider]:
    """A provider on :func:`qpu_service`, as :func:`qpu_tenant`.

    Where the test asks for :func:`qpu_faults` too, everything that this provider sends goes through them.
    """
    from qpu_sdk.testing.handles import provider_for  # noqa: PLC0415

    faults: Faults | None = request.getfixturevalue("qpu_faults") if "qpu_faults" in request.fixturenames else None
    with provider_for(qpu_service.url if faults is None else faults.url, qpu_tenant) as provider:
        yield provider


@pytest.fixture
def qpu_backend(qpu_provider: QPUProvider, request: pytest.FixtureRequest) -> QPUBackend:
    """A backend of :func:`qpu_provider`: of the marker ``qpu``, else of ``--qpu-backend``, else of the settings."""
    name = _marked(request).get("backend") or request.config.getoption("--qpu-backend")
    return qpu_provider.backend(str(name or request.config.getini("qpu_backend")))


@pytest.fixture
def qpu_clock(qpu_service: EmbeddedService) -> Clock:
    """The service's clocks, to be put forward: the wall's, and the own time of a device, in which it drifts."""
    from qpu_sdk.testing.handles import Clock  # noqa: PLC0415

    return Clock(qpu_service)


@pytest.fixture
def qpu_operator(qpu_service: EmbeddedService) -> Generator[Operator]:
    """Who runs the devices: drains, calibrates, loses workers. After the test everything works again."""
    from qpu_sdk.testing.handles import Operator  # noqa: PLC0415

    with Operator(qpu_service) as operator:
        yield operator


@pytest.fixture
def qpu_faults(qpu_service: EmbeddedService) -> Generator[Faults]:
    """A way to the service that refuses, loses and delays what the test says; none of it reaches other tests."""
    from qpu_sdk.testing.faults import Faults  # noqa: PLC0415

    with Faults(qpu_service.url) as faults:
        yield faults


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the markers say, the nearest one last."""
    said: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("qpu"))):
        said.update(marker.kwargs)
    return said
