"""Lanes over HTTP: a lane that is not open, a promise that could not be kept, and what a waiting job is told."""

from __future__ import annotations

from qpu_backend.config import LaneSection


def test_a_lane_that_is_not_there_is_refused_and_named(client, orders, refused):
    problem = refused(client.post("/v1/jobs", json=orders.of(options={"lane": "express"})), "lane_refused")
    assert problem["field"] == "options.lane"
    assert "interactive" in problem["detail"]
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_a_start_that_could_not_be_kept_is_refused(own_server, orders, refused):
    server = own_server(lanes={"standard": LaneSection(), "prompt": LaneSection(promise_s=1.0)})
    client = server.new_client()
    problem = refused(client.post("/v1/jobs", json=orders.of(options={"lane": "prompt"})), "promise_refused")
    assert problem["field"] == "options.lane"
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_a_probability_above_one_is_no_budget(client, orders, refused):
    problem = refused(client.post("/v1/jobs", json=orders.of(options={"max_loss": 1.5})), "invalid_request")
    assert problem["field"] == "options.max_loss"


def test_isolation_classes_are_run(client, orders):
    for isolation in ("buffered", "confidential"):
        job_id = orders.submit(client, orders.of(options={"isolation": isolation}))
        assert orders.finished(client, job_id)["state"] == "done"
