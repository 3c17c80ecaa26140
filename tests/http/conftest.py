"""The real service for these tests: one a process, on SQLite in a temporary folder, behind a Unix socket and a port."""

from __future__ import annotations

import atexit
import base64
import itertools
import re
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from believing import LIVE_S, House
from issuer import AUDIENCE, Issuer
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from warm import SharedWorkers, put_tables

from qpu_backend.bootstrap import build
from qpu_backend.config import LOCAL, load_config
from qpu_backend.domain.tenancy import Role
from qpu_backend.http.problems import STATUS
from qpu_backend.serving import HttpServer, ServerThread
from qpu_backend.telemetry.logs import configure_logs
from qpu_sdk.wire.circuits import encode_bindings, encode_circuits
from qpu_sdk.wire.models import QPY_VERSION_READ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from qpu_backend.domain.quota import Resource, Window
    from qpu_backend.service import Service

MAX_BODY_BYTES = 300_000
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

    def tenant(
        self, *, max_queued_jobs: int = 1000, limits: Mapping[tuple[Resource, Window], int] | None = None
    ) -> str:
        """The name of a new tenant."""
        name = f"tenant-{next(self._numbers)}"
        self.service.administration.create_tenant(name, max_queued_jobs=max_queued_jobs, limits=limits)
        return name

    def key(self, tenant: str, role: Role = Role.MEMBER, *, expires_at_us: int | None = None) -> str:
        """A key of the tenant's principal of that role."""
        return self.service.administration.create_key(
            tenant, principal=role.value, role=role, expires_at_us=expires_at_us
        )

    def revoke(self, tenant: str) -> None:
        """Revoke every key of the tenant."""
        office = self.service.door.keys
        for key, _ in self.service.administration.keys(tenant):
            assert office.revoke(office.keeper_of(key.id, actor="service"), key.id).new

    def client(self, key: str | None) -> httpx.Client:
        """A client over the Unix socket, closed together with the service."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        transport = httpx.HTTPTransport(uds=str(self.socket))
        client = httpx.Client(transport=transport, base_url="http://qpu", headers=headers, timeout=60)
        return self._cleanup.enter_context(client)

    def new_client(self, role: Role = Role.MEMBER) -> httpx.Client:
        """A client of a tenant of its own."""
        return self.client(self.key(self.tenant(), role))


@cache
def _shared_workers() -> SharedWorkers:
    workers = SharedWorkers()
    atexit.register(workers.end)
    return workers


@contextmanager
def running(folder: Path, *, limits: Mapping[str, int] | None = None, **settings: object) -> Iterator[Running]:
    """A service in this folder for the length of the block."""
    limits = {"max_body_bytes": MAX_BODY_BYTES, **(limits or {})}
    config = load_config(data=folder, workers=1, decoders=1, heartbeat_s=1, limits=limits, **settings)
    executor = _shared_workers() if config.executor == LOCAL else None
    if config.database is None:
        put_tables(folder / "qpu.sqlite")
    service = build(config, durable=False, executor=executor)
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
    configure_logs("error")
    with running(tmp_path_factory.mktemp("qpu")) as shared:
        yield shared


@pytest.fixture(scope="session")
def running_in() -> Callable[..., AbstractContextManager[Running]]:
    """A service in a folder, for the length of a ``with``."""
    return running


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


class Orders:
    """Bodies of ``POST /v1/jobs``, as JSON documents that a test may spoil."""

    BACKEND = "eagle127:line-5"

    def __init__(self, client: httpx.Client) -> None:
        document = client.get(f"/v1/backends/{self.BACKEND}").json()
        self.pairs = [tuple(gate["qubits"]) for gate in document["gates"] if gate["name"] == "ecr"]

    def circuit(self, num_qubits: int = 5, name: str = "ghz-like") -> QuantumCircuit:
        """Gates of the device in the directions it has, and a measurement of every qubit."""
        circuit = QuantumCircuit(QuantumRegister(num_qubits), ClassicalRegister(num_qubits, "c"), name=name)
        circuit.sx(range(num_qubits))
        for pair in self.pairs:
            if max(pair) < num_qubits:
                circuit.ecr(*pair)
        circuit.measure(range(num_qubits), range(num_qubits))
        return circuit

    def of(self, *circuits: QuantumCircuit, shots: int | None = 100, **changes: object) -> dict[str, Any]:
        """A ``circuits`` job, one pub a circuit."""
        payload = encode_circuits(circuits or [self.circuit()], QPY_VERSION_READ)
        pubs = [{"circuit": index, "shots": shots} for index in range(max(1, len(circuits)))]
        return self.raw(payload.data, pubs=pubs, **changes)

    def raw(self, data: bytes, *, codec: str = "qpy+zlib", **changes: object) -> dict[str, Any]:
        """A job over these bytes."""
        return {
            "backend": self.BACKEND,
            "program": "circuits",
            "circuits": {"codec": codec, "data": base64.b64encode(data).decode()},
            "pubs": [{"circuit": 0, "shots": 100}],
            **changes,
        }

    def slow(self) -> dict[str, Any]:
        """A job that runs for some seconds: nine thousand executions."""
        theta = Parameter("t")
        circuit = QuantumCircuit(5, 5)
        circuit.rz(theta, 0)
        circuit.sx(range(5))
        circuit.measure(range(5), range(5))
        table = encode_bindings(np.linspace(0, 1, 3000).reshape(-1, 1)).model_dump(mode="json", by_alias=True)
        return self.of(circuit, program="sampler") | {"pubs": [{"circuit": 0, "shots": 10, "bindings": table}]}

    def submit(self, client: httpx.Client, document: dict[str, Any] | None = None, key: str | None = None) -> str:
        """The id of a job that was accepted."""
        headers = {} if key is None else {"Idempotency-Key": key}
        response = client.post("/v1/jobs", json=self.of() if document is None else document, headers=headers)
        assert response.status_code == 202, response.text
        return response.json()["id"]

    def finished(self, client: httpx.Client, job_id: str) -> dict[str, Any]:
        """The job when it has ended, waiting by long poll."""
        seen = 0
        for _ in range(20):
            page = client.get(f"/v1/jobs/{job_id}/events", params={"after": seen, "wait": 10}).json()
            if page["final"]:
                return client.get(f"/v1/jobs/{job_id}").json()
            seen = page["events"][-1]["seq"] if page["events"] else seen
        raise AssertionError(f"{job_id} does not end")


def check_problem(response: httpx.Response, code: str) -> dict[str, Any]:
    """The problem document, after everything was checked that every one of them must be."""
    assert response.headers["Content-Type"] == "application/problem+json", response.text
    document = response.json()
    assert document["code"] == code, document
    status, title = STATUS[code]
    assert response.status_code == document["status"] == status
    assert document["title"] == title
    assert document["type"].endswith(code)
    assert document["request_id"] == response.headers["X-Request-Id"]
    assert len(response.content) < 2000
    assert not re.search(r"Traceback|\.py\b|0x[0-9a-f]{8}", response.text)
    return document


@pytest.fixture(scope="session")
def refused() -> Callable[[httpx.Response, str], dict[str, Any]]:
    """Checks an answer that is a problem of this code, and gives its document."""
    return check_problem


@pytest.fixture(scope="session")
def orders(server: Running) -> Orders:
    """Bodies of submissions."""
    return Orders(server.new_client())


@pytest.fixture(scope="session")
def believing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A service that believes an issuer of tokens."""
    with Issuer() as issuer:
        oidc = {"issuer": issuer.url, "audience": AUDIENCE, "role_claim": "qpu_role", "leeway_s": 5}
        with running(tmp_path_factory.mktemp("oidc"), oidc=oidc) as server:
            for name in ("acme", "initech"):
                server.service.administration.create_tenant(name)
            yield House(server, issuer, check_problem)


@pytest.fixture
def house(believing: House) -> House:
    """The same, with the issuer as at first."""
    believing.issuer.answer = None
    believing.issuer.extra = []
    believing.issuer.rotate()
    believing.later(LIVE_S)
    believing.forget()
    return believing
