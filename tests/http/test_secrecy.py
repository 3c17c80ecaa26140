"""What is never written down: keys, circuits, bindings, tags. All logs of a service that works and fails are read."""

from __future__ import annotations

import base64
import io
import json
import logging
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import structlog
from sqlalchemy import text

from qpu_backend.telemetry.logs import configure_logs
from qpu_sdk.wire.circuits import encode_bindings

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET = "rosebud"  # noqa: S105 - not a password: a word to look for
VALUE = 0.123456789


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """All logs of this process at level debug: the service's own and those of uvicorn and SQLAlchemy."""
    sink = io.StringIO()
    configure_logs("debug")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(file=sink))
    handler, root = logging.StreamHandler(sink), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield sink
    root.removeHandler(handler)
    root.setLevel(level)
    configure_logs("error")


def secret_order(orders: Any) -> dict[str, Any]:
    """A job whose every part can be recognised."""
    circuit = orders.circuit(name=SECRET)
    return orders.of(circuit, tags=[SECRET], calibration_id=SECRET)


def bad_orders(orders: Any) -> list[Any]:
    table = encode_bindings(np.array([[VALUE]])).model_dump(mode="json")
    good = secret_order(orders)
    return [
        good | {"backend": "eagle127:" + SECRET},
        good | {"pubs": [{"circuit": 0, "bindings": table}]},
        good | {"pubs": [{"circuit": 0, "shots": SECRET}]},
        good | {"options": {"seed": SECRET}},
        good | {"wire_version": SECRET},
        good | {"circuits": {"codec": SECRET, "data": SECRET}},
        orders.raw(SECRET.encode()),
        orders.raw(zlib.compress(SECRET.encode() * 20)),
        orders.raw(json.dumps([SECRET]).encode(), codec="qasm3"),
        orders.raw(json.dumps([f'include "/etc/{SECRET}";']).encode(), codec="qasm3"),
        SECRET,
        good | {"pubs": [{"circuit": 2**40}]},
    ]


def test_keys_and_payloads_are_never_logged_whatever_happens(own_server, written, orders, refused):
    server = own_server()
    tenant = server.tenant()
    key = server.key(tenant)
    client = server.client(key)
    job_id = orders.submit(client, secret_order(orders), key=SECRET)
    assert orders.finished(client, job_id)["state"] == "done"
    answers = [client.post("/v1/jobs", json=document) for document in bad_orders(orders)]
    answers.append(client.post("/v1/jobs", content=b'{"backend": "' + SECRET.encode()))
    client.post(f"/v1/jobs/{job_id}/cancel")
    wrong = server.client("qpu_" + SECRET)
    answers.append(wrong.get("/v1/jobs"))
    for answer in answers:
        refused(answer, answer.json()["code"])
    told = " ".join(answer.text for answer in answers[1:8] + answers[-3:])
    assert SECRET not in told
    circuits = secret_order(orders)["circuits"]["data"]
    with server.service.database.write() as connection:
        connection.execute(text("DROP TABLE job_events"))
    refused(client.post("/v1/jobs", json=secret_order(orders)), "internal")
    with server.service.database.write() as connection:
        connection.execute(text("ALTER TABLE blobs RENAME TO lost"))
    refused(client.post("/v1/jobs", json=secret_order(orders)), "internal")
    logs = written.getvalue()
    assert "job_admitted" in logs
    assert logs.count("request_failed") >= 2
    for secret in (SECRET, key, "qpu_" + SECRET, circuits[:40], str(VALUE), "[parameters:"):
        assert secret not in logs, secret
    assert base64.b64decode(circuits)[:12].hex() not in logs
