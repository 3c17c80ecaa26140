"""Results that went to the archive, and results whose bytes are damaged: said clearly, never a wrong answer."""

from __future__ import annotations

import pytest
from sqlalchemy import update
from structlog.testing import capture_logs

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.retention import Retention
from qpu_backend.pipeline.clocks import SystemClock
from qpu_backend.pipeline.retention import Archivist
from qpu_backend.stores import jobs, schema


@pytest.fixture
def shelf(own_server, tmp_path):
    """A server of a test's own, and what archives all of it."""
    server = own_server()
    database = server.service.database
    return server, Archivist(database, SYSTEM, SystemClock(), Retention(results_us=0), tmp_path / "archive", at_once=5)


def test_an_archived_result_is_gone_and_the_job_is_not(shelf, orders, refused):
    server, archivist = shelf
    client = server.new_client()
    job_id = orders.submit(client)
    assert orders.finished(client, job_id)["state"] == "done"
    etag = client.get(f"/v1/jobs/{job_id}/result").headers["ETag"]
    metering = client.get(f"/v1/jobs/{job_id}/metering").json()
    assert archivist.run(actor="cli").jobs == 1
    for headers in ({}, {"If-None-Match": etag}, {"Accept": "application/json"}):
        answer = client.get(f"/v1/jobs/{job_id}/result", headers=headers)
        assert answer.status_code == 410
        assert job_id in refused(answer, "result_archived")["detail"]
    refused(client.post(f"/v1/jobs/{job_id}/replay"), "result_archived")
    assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "done"
    assert client.get(f"/v1/jobs/{job_id}/metering").json() == metering
    assert job_id in [job["id"] for job in client.get("/v1/jobs").json()["jobs"]]
    refused(server.new_client().get(f"/v1/jobs/{job_id}/result"), "not_found")  # a foreign one is not even archived


def test_a_cancelled_job_that_was_archived_still_says_that_it_was_cancelled(shelf, orders, refused):
    server, archivist = shelf
    server.service.administration.set_operational("eagle127", operational=False, status_msg="closed for this test")
    client = server.new_client()
    job_id = orders.submit(client)
    client.post(f"/v1/jobs/{job_id}/cancel")
    assert archivist.run(actor="cli").jobs == 1
    refused(client.get(f"/v1/jobs/{job_id}/result"), "job_cancelled")


def test_a_damaged_result_is_the_service_s_trouble_and_stands_in_its_log(shelf, orders, refused):
    server, _ = shelf
    client = server.new_client()
    job_id = orders.submit(client)
    assert orders.finished(client, job_id)["state"] == "done"
    with server.service.database.write() as connection:
        sha = jobs.read_jobs(connection, SYSTEM, [job_id])[job_id].result_sha
        connection.execute(update(schema.blobs).where(schema.blobs.c.sha256 == sha).values(body=b"other bytes"))
    with capture_logs() as logs:
        problem = refused(client.get(f"/v1/jobs/{job_id}/result"), "internal")
    assert sha not in problem["detail"]
    (line,) = [entry for entry in logs if entry["event"] == "request_failed"]
    assert (line["log_level"], line["request_id"]) == ("error", problem["request_id"])
    assert sha in str(line["exc_info"])
