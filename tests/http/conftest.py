"""The real service for these tests: one a process, on SQLite in a temporary folder, behind a Unix socket and a port."""

from __future__ import annotations

import itertools
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from qpu_backend.bootstrap import build
from qpu_backend.config import load_config
from qpu_backend.domain.tenancy import Role
from qpu_backend.serving import HttpServer, ServerThread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from qpu_backend.bootstrap import Service
    from qpu_backend.domain.quota import Resource, Window

MAX_BODY_BYTES = 200_000
"""Small, so that a body over it is quick to send."""


class Running:
    """A service that listens, and ways in.

    Attributes:
        service: its parts.
        socket: path of its Unix socket.
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, service: Service, socket: Path, port: int, cleanup: ExitStack) -> None:
        self.service = service
        self.socket = socket
        self.port = port
        self._cleanup = cleanup
        self._numbers = itertools.count(1)

    def tenant(self, *, max_queued_jobs: int = 1000, limits: Mapping[tuple[Resource, Window], int] | None = None) -> str:
        """The name of a new tenant."""
        name = f"tenant-{next(self._numbers)}"
        self.service.administration.create_tenant(name, max_queued_jobs=max_queued_jobs, limits=limits)
        return name

    def key(self, tenant: str, role: Role = Role.MEMBER, *, expires_at_us: int | None = None) -> str:
        """A key of the tenant's principal of that role."""
        return self.service.administration.create_key(
            tenant, principal=role.value, role=role, expires_at_us=expires_at_us
        )

    def client(self, key: str | None) -> httpx.Client:
        """A client over the Unix socket, closed together with the service."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        transport = httpx.HTTPTransport(uds=str(self.socket))
        client = httpx.Client(transport=transport, base_url="http://qpu", headers=headers, timeout=60)
        return self._cleanup.enter_context(client)

    def new_client(self, role: Role = Role.MEMBER) -> httpx.Client:
        """A client of a tenant of its own."""
        return self.client(self.key(self.tenant(), role))


@contextmanager
def running(folder: Path, **settings: object) -> Iterator[Running]:
    """A service in this folder for the length of the block."""
    limits = {"max_body_bytes": MAX_BODY_BYTES}
    config = load_config(data=folder, workers=1, decoders=1, heartbeat_s=1, limits=limits, **settings)
    service = build(config, durable=False)
    socket = folder / "api.sock"
    on_socket = ServerThread(HttpServer(service, uds=socket))
    on_port = ServerThread(HttpServer(service))
    with ExitStack() as cleanup:
        cleanup.callback(service.stop)
        for thread in (on_socket, on_port):
            thread.start()
            cleanup.callback(thread.stop)
        service.start()
        yield Running(service, socket, on_port.port, cleanup)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The service that these tests share."""
    with running(tmp_path_factory.mktemp("qpu")) as shared:
        yield shared


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts a service that a test may break."""
    with ExitStack() as cleanup:
        yield lambda **settings: cleanup.enter_context(running(tmp_path, **settings))


@pytest.fixture
def client(server: Running) -> httpx.Client:
    """A member of a tenant of its own."""
    return server.new_client()


@pytest.fixture
def operator(server: Running) -> httpx.Client:
    """An operator."""
    return server.new_client(Role.OPERATOR)
