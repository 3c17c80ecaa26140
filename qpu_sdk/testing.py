"""pytest fixtures for other people's projects: a whole service and a provider on it.

With ``qpu-sdk[server]`` installed, a test only has to name them::

    def test_my_algorithm(qpu_provider):
        backend = qpu_provider.backend("eagle127:line-5")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import qpu_sdk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpu_sdk.provider import EmbeddedService, QPUProvider


@pytest.fixture(scope="session")
def qpu_service() -> Iterator[EmbeddedService]:
    """A service in this process, on a private database, shared by the tests of the session."""
    provider: Any = qpu_sdk.QPUProvider.embedded()  # loaded here: a plugin must not slow down every pytest start
    with provider:
        yield provider.service


@pytest.fixture
def qpu_provider(qpu_service: EmbeddedService) -> Iterator[QPUProvider]:
    """A provider on :func:`qpu_service`, as its first tenant."""
    with qpu_sdk.QPUProvider.connect(qpu_service.url, qpu_service.token) as provider:
        yield provider
