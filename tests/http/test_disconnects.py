"""Clients that leave, lie about sizes or speak no HTTP: the server goes on and forgets them."""

from __future__ import annotations

import json
import socket
import struct
import time
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def connect(server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def head(key: str, request: str = "POST /v1/jobs", **headers: object) -> bytes:
    lines = [f"{request} HTTP/1.1", "Host: qpu", f"Authorization: Bearer {key}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def answer(connection: socket.socket) -> tuple[int, dict]:
    """Status and problem, from the raw bytes."""
    received = b""
    while b"\r\n\r\n" not in received or not received.endswith(b"}"):
        piece = connection.recv(65536)
        if not piece:
            break
        received += piece
    top, _, body = received.partition(b"\r\n\r\n")
    return int(top.split()[1]), json.loads(body)


def came_true(condition: Callable[[], bool]) -> bool:
    """Whether it is so within some seconds."""
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def hang_up(connection: socket.socket) -> None:
    """Reset the connection instead of closing it."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.fixture
def key(server) -> str:
    return server.key(server.tenant())


@pytest.fixture
def alone(server, key, orders) -> Iterator:
    """Afterwards the server still takes a job of this tenant, and has no other one."""
    yield
    client = server.client(key)
    job_id = orders.submit(client)
    assert orders.finished(client, job_id)["state"] == "done"
    assert [job["id"] for job in client.get("/v1/jobs").json()["jobs"]] == [job_id]


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("size", ["300001", "99999999999999"])
def test_a_declared_body_over_the_limit_is_refused_before_it_is_sent(server, key, size):
    with connect(server) as connection:
        connection.sendall(head(key, Content_Length=size))
        status, problem = answer(connection)
    assert (status, problem["code"]) == (413, "body_too_large")
    assert "300000 bytes" in problem["detail"]


@pytest.mark.usefixtures("alone")
def test_a_chunked_body_over_the_limit_is_refused_while_it_arrives(server, key):
    with connect(server) as connection:
        connection.sendall(head(key, Transfer_Encoding="chunked"))
        for _ in range(31):
            connection.sendall(b"2710\r\n" + b" " * 10_000 + b"\r\n")
        status, problem = answer(connection)  # no last chunk was sent
    assert (status, problem["code"]) == (413, "body_too_large")


def test_a_body_of_exactly_the_limit_is_read(server, key, orders):
    body = json.dumps(orders.of()).encode()
    client = server.client(key)
    assert client.post("/v1/jobs", content=body + b" " * (300_000 - len(body))).status_code == 202
    assert client.post("/v1/jobs", content=body + b" " * (300_001 - len(body))).status_code == 413


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("sent", [0, 1, 100])
def test_a_client_that_leaves_in_the_middle_of_a_request_leaves_nothing(server, key, orders, sent):
    body = json.dumps(orders.of()).encode()
    with capture_logs() as logged:
        for leave in (socket.socket.close, hang_up):
            connection = connect(server)
            connection.sendall(head(key, Content_Length=len(body)) + body[:sent])
            leave(connection)
        with connect(server) as connection:
            connection.sendall(head(key, "GET /nowhere"))
            assert answer(connection)[0] == 404
    assert [event["event"] for event in logged if event["log_level"] == "error"] == []


def test_a_client_that_leaves_before_the_answer_finds_its_job_by_its_key(server, key, orders):
    body = json.dumps(orders.of()).encode()
    connection = connect(server)
    connection.sendall(head(key, Content_Length=len(body), Idempotency_Key="mine") + body)
    hang_up(connection)
    client = server.client(key)
    job_id = orders.submit(client, json.loads(body), key="mine")
    assert [job["id"] for job in client.get("/v1/jobs").json()["jobs"]] == [job_id]
    assert orders.finished(client, job_id)["state"] == "done"


@pytest.mark.parametrize("path", ["/v1/events", "/v1/jobs/{}/events", "/v1/jobs/{}/events?wait=60"])
def test_clients_that_leave_while_they_wait_are_forgotten(own_server, orders, path):
    server = own_server()
    server.service.administration.set_operational("eagle127", operational=False, status_msg="closed")
    key, notices = server.key(server.tenant()), server.service.door.notices
    path = path.format(orders.submit(server.client(key)))
    connections = [connect(server) for _ in range(5)]
    for connection in connections:
        accept = "*/*" if "wait" in path else "text/event-stream"
        connection.sendall(head(key, f"GET {path}", Accept=accept, Last_Event_ID=1))
    assert came_true(lambda: notices.waiting == 5)
    for connection in connections:
        hang_up(connection)
    assert came_true(lambda: notices.waiting == 0)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
        b"GET\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=["TLS", "no request", "negative length", "endless length", "two lengths", "long path"],
)
def test_bytes_that_are_no_request_are_refused(server, nonsense):
    with connect(server) as connection:
        connection.sendall(nonsense)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65536):
            received += piece
    assert b" 500 " not in received
    assert b" 202 " not in received
    assert b"Traceback" not in received


def test_a_reset_in_the_middle_of_the_answer_is_survived(server, key):
    for _ in range(3):
        connection = connect(server)
        connection.sendall(head(key, "GET /v1/backends/eagle127") * 3)
        connection.recv(10)
        hang_up(connection)
    assert server.client(key).get("/healthz").json() == {"status": "alive"}
