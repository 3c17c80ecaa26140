"""What clients are told while the database cannot serve, and what the service tells of itself without a key."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

from qpu_backend.stores import database as database_module


def until(there):
    deadline = time.monotonic() + 60
    while not there():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_while_the_database_is_locked_writing_is_refused_and_reading_goes_on(
    monkeypatch, tmp_path, own_server, orders, refused
):
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.2)
    server = own_server()
    client = server.new_client()
    job_id = orders.submit(client)
    orders.finished(client, job_id)
    with closing(sqlite3.connect(tmp_path / "qpu.sqlite", isolation_level=None, timeout=30)) as other:
        other.execute("BEGIN IMMEDIATE")
        response = client.post("/v1/jobs", json=orders.of(), headers={"Idempotency-Key": "k"})
        refused(response, "unavailable")
        assert response.headers["Retry-After"] == "1"
        assert [job["id"] for job in client.get("/v1/jobs").json()["jobs"]] == [job_id]
        assert client.get(f"/v1/jobs/{job_id}/result").status_code == 200
        readiness = client.get("/readyz")
        assert readiness.status_code == 200
        assert readiness.json()["database"] == "degraded: writing has to wait"
        assert readiness.json()["status"].startswith("degraded: database: writing has to wait")
    again = client.post("/v1/jobs", json=orders.of(), headers={"Idempotency-Key": "k"})
    assert again.status_code == 202  # the refusal has not used the key up
    assert client.get("/readyz").json()["database"] == "ready"


def test_readiness_names_each_device_and_why_its_jobs_wait(own_server):
    server = own_server()
    client = server.client(None)  # without a key
    until(
        lambda: (
            client.get("/readyz").json() == {"status": "ready", "database": "ready", "devices": {"eagle127": "ready"}}
        )
    )
    with server.service.database.write() as connection:
        connection.exec_driver_sql("UPDATE devices SET operational = 0, status_msg = 'for Bob'")
    closed = "degraded: closed for new batches; jobs wait"
    assert client.get("/readyz").json()["devices"] == {"eagle127": closed}
    for dispatcher in server.service.dispatchers.values():
        dispatcher.stop()
    readiness = client.get("/readyz")
    assert readiness.status_code == 200
    assert readiness.json()["devices"] == {"eagle127": "degraded: nobody runs its jobs now; they wait"}
    assert readiness.json()["status"] == "degraded: eagle127: nobody runs its jobs now; they wait"
