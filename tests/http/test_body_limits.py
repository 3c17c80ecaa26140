"""Bodies before anybody is known: only a route that carries circuits takes a long one, and reads it after the key."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from qpu_backend.domain.tenancy import Role

if TYPE_CHECKING:
    from typing import Any

SMALL = 65_536
"""Bytes of a body without circuits."""

WITH_CIRCUITS = ("/v1/jobs", "/v1/quotes", "/v1/backends/eagle127:line-5/predict")
WITHOUT = (
    ("PATCH", "/v1/principals/prn_x"),
    ("POST", "/v1/principals"),
    ("POST", "/v1/sessions"),
    ("POST", "/v1/admin/prices"),
    ("POST", "/v1/jobs/job_x/replay"),
    ("PUT", "/v1/jobs"),
    ("POST", "/v1/nowhere/predict"),
)


def answer(server: Any, head: list[str], body: bytes = b"") -> tuple[int, dict[str, Any]]:
    """Status and problem of a request of which perhaps not everything is sent."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(("\r\n".join([*head, "Host: qpu"]) + "\r\n\r\n").encode() + body)
        received = b""
        while not received.endswith(b"}"):
            piece = connection.recv(65_536)
            if not piece:
                break
            received += piece
    top, _, document = received.partition(b"\r\n\r\n")
    return int(top.split()[1]), json.loads(document)


def chunked(size: int) -> bytes:
    """So many bytes of a JSON list, without its end and without the last chunk."""
    content = b"[" + b"{}," * (size // 3)
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


@pytest.mark.parametrize(("method", "path"), WITHOUT)
def test_a_body_without_circuits_is_refused_from_its_declared_length_on(server, method, path):
    status, problem = answer(server, [f"{method} {path} HTTP/1.1", f"Content-Length: {SMALL + 1}"])
    assert (status, problem["code"]) == (413, "body_too_large")
    assert f"{SMALL} bytes" in problem["detail"]


def test_a_body_without_circuits_is_refused_while_it_arrives(server):
    head = ["PATCH /v1/principals/prn_x HTTP/1.1", "Content-Type: application/json", "Transfer-Encoding: chunked"]
    status, problem = answer(server, head, chunked(SMALL + 4))
    assert (status, problem["code"]) == (413, "body_too_large")


def test_a_body_without_circuits_of_exactly_the_limit_is_read(server):
    admin = server.new_client(Role.TENANT_ADMIN)
    headers = {"Content-Type": "application/json"}
    for name, size, status in (("fits", SMALL, 201), ("too-long", SMALL + 1, 413)):
        body = json.dumps({"name": name, "role": "member"}).encode()
        whole = body + b" " * (size - len(body))
        assert admin.post("/v1/principals", content=whole, headers=headers).status_code == status


@pytest.mark.parametrize("path", WITH_CIRCUITS)
@pytest.mark.parametrize("key", [None, "auditor"])
def test_a_body_with_circuits_is_not_awaited_before_the_key_is_known(server, path, key):
    """Nothing of it is ever sent: whoever waits for it does not answer."""
    head = [f"POST {path} HTTP/1.1", "Content-Type: application/json", "Content-Length: 300000"]
    if key is not None:
        head.append(f"Authorization: Bearer {server.key(server.tenant(), Role.AUDITOR)}")
    status, problem = answer(server, head)
    assert (status, problem["code"]) == ((401, "unauthenticated") if key is None else (403, "forbidden"))


@pytest.mark.parametrize("path", WITH_CIRCUITS)
def test_a_body_with_circuits_may_be_as_long_as_is_configured(client, orders, path):
    order = orders.of()
    document = {"circuits": order["circuits"]} if path.endswith("predict") else order
    body = json.dumps(document).encode()
    assert client.post(path, content=body + b" " * (300_000 - len(body))).status_code in {200, 202}
    assert client.post(path, content=body + b" " * (300_001 - len(body))).status_code == 413


def test_a_prediction_of_no_document_names_the_field(client, refused):
    problem = refused(client.post(WITH_CIRCUITS[2], json={"circuits": 1}), "invalid_request")
    assert problem["field"].startswith("circuits")
