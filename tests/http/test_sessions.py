"""Sessions over HTTP: opened, looked at, kept alive, closed and paid for; a foreign one is like none at all."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import httpx

LINE = "eagle127:line-5"


def opened(client: httpx.Client, key: str | None = None, **asked: Any) -> dict[str, Any]:
    headers = {} if key is None else {"Idempotency-Key": key}
    response = client.post("/v1/sessions", json={"backend": LINE, **asked}, headers=headers)
    assert response.status_code == 201, response.text
    assert response.headers["Location"] == f"/v1/sessions/{response.json()['id']}"
    return response.json()


def closed(client: httpx.Client, session_id: str) -> dict[str, Any]:
    response = client.delete(f"/v1/sessions/{session_id}")
    assert response.status_code == 200, response.text
    return response.json()


def seconds(document: dict[str, Any], name: str) -> float:
    """From the opening of a session to one of its times."""
    times = [datetime.fromisoformat(document[each]) for each in ("opened_at", name)]
    return (times[1] - times[0]).total_seconds()


def test_a_loop_of_jobs_runs_in_one_place_and_is_told_what_holding_it_cost(server, client, orders):
    session = opened(client)
    assert (session["state"], session["region"], session["lane"], session["price_micro"]) == ("open", None, None, 0)
    places = []
    for _ in range(3):
        job_id = orders.submit(client, orders.of(options={"session": session["id"]}))
        assert orders.finished(client, job_id)["state"] == "done"
        places.append(sorted(client.get(f"/v1/jobs/{job_id}/metering").json()["placement"]))
    stranger = server.new_client()
    assert orders.finished(stranger, orders.submit(stranger, orders.of(shots=2000)))["state"] == "done"
    now = client.get(f"/v1/sessions/{session['id']}").json()
    assert places == [sorted(now["region"])] * 3
    assert (now["state"], now["lane"], now["unfinished_jobs"]) == ("open", "standard", 0)
    assert now["price_micro"] == round(now["held_us_qubits"] * 0.02) > 0
    before = client.get("/v1/usage").json()
    end = closed(client, session["id"])
    assert (end["state"], end["price_micro"], end["held_us_qubits"]) == (
        "closed",
        now["price_micro"],
        now["held_us_qubits"],
    )
    assert closed(client, session["id"]) == end == client.get(f"/v1/sessions/{session['id']}").json()
    usage = client.get("/v1/usage").json()
    assert (before["sessions"], usage["sessions"]) == (0, 1)
    assert usage["held_us_qubits"] == end["held_us_qubits"]
    assert usage["held_price_micro"] == usage["price_micro"] - before["price_micro"] == end["price_micro"]
    assert usage["price_micro"] == -usage["balance_micro"]


def test_a_session_lives_as_long_as_it_asks_and_a_touch_prolongs_it(client):
    usual, short = opened(client), opened(client, ttl_s=2.5)
    assert (usual["ttl_s"], seconds(usual, "expires_at"), seconds(usual, "ends_at")) == (300, 300, 28_800)
    assert (short["ttl_s"], seconds(short, "expires_at")) == (2.5, 2.5)
    later = client.post(f"/v1/sessions/{usual['id']}/touch").json()
    assert seconds(later, "expires_at") > 300
    assert {**later, "expires_at": usual["expires_at"]} == usual


def test_what_expired_is_closed_whoever_looks_first(own_server):
    server = own_server(sessions={"ttl_s": 0.001})
    client = server.new_client()
    session = opened(client)
    other = opened(client)
    listed = client.get("/v1/sessions").json()["sessions"]
    assert [(each["id"], each["state"]) for each in listed] == [(other["id"], "closed"), (session["id"], "closed")]
    third = opened(client)
    assert client.get(f"/v1/sessions/{third['id']}").json()["state"] == "closed"
    assert client.get("/v1/sessions", params={"open": True}).json()["sessions"] == []


def test_a_closed_session_takes_no_jobs_and_is_not_kept_alive(client, orders, refused):
    session = opened(client)
    closed(client, session["id"])
    job = client.post("/v1/jobs", json=orders.of(options={"session": session["id"]}))
    assert refused(job, "session_closed")["field"] == "options.session"
    assert refused(client.post(f"/v1/sessions/{session['id']}/touch"), "session_closed")["field"] is None


def test_a_session_may_cost_so_much_and_says_how_much_is_gone(client, orders, refused):
    session = opened(client, max_cost_micro=1)
    job = client.post("/v1/jobs", json=orders.of(options={"session": session["id"]}))
    assert refused(job, "session_cost_exceeded")["field"] == "options.session"
    assert (session["max_cost_micro"], session["spent_micro"], session["kind"]) == (1, 0, "session")


def test_a_job_of_another_backend_or_of_no_session_is_told_so(client, orders, refused):
    session = opened(client, backend="eagle127:line-2")
    for name in (session["id"], "ses_0", "x" * 128):
        response = client.post("/v1/jobs", json=orders.of(options={"session": name}))
        assert refused(response, "invalid_request")["field"] == "options.session"


def test_a_tenant_may_hold_a_share_of_the_chip_and_no_more(client, refused):
    sessions = []
    while True:
        response = client.post("/v1/sessions", json={"backend": LINE})
        if response.status_code != 201:
            break
        sessions.append(response.json())
    assert refused(response, "session_share_exceeded")["field"] == "backend"
    assert 0 < sum(session["max_qubits"] for session in sessions) <= 0.25 * 127
    closed(client, sessions[0]["id"])
    opened(client)


def test_a_repeated_request_opens_one_session(server, client, refused):
    first = opened(client, "k")
    assert opened(client, "k") == first
    assert opened(server.new_client(), "k")["id"] != first["id"]
    other = client.post("/v1/sessions", json={"backend": "eagle127:line-4"}, headers={"Idempotency-Key": "k"})
    refused(other, "idempotency_conflict")
    assert [each["id"] for each in client.get("/v1/sessions").json()["sessions"]] == [first["id"]]


def test_pages_hold_every_session_once_newest_first(client):
    ids = []
    for _ in range(5):
        ids.append(opened(client)["id"])
        closed(client, ids[-1])
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        page = client.get("/v1/sessions", params=params).json()
        seen += [session["id"] for session in page["sessions"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]
    assert seen == ids[::-1]
    assert client.get("/v1/sessions", params={"open": True}).json()["sessions"] == []


@pytest.mark.parametrize("whose", ["foreign", "nobody's"])
def test_a_foreign_session_is_not_found_on_any_route_like_one_that_never_was(server, client, refused, whose):
    owner = server.new_client()
    session_id = opened(owner)["id"] if whose == "foreign" else "ses_" + "0" * 32
    path = f"/v1/sessions/{session_id}"
    for method, of in (("GET", path), ("POST", path + "/touch"), ("DELETE", path)):
        assert refused(client.request(method, of), "not_found")["detail"] == f"there is no session '{session_id}'"
    assert client.get("/v1/sessions").json()["sessions"] == []
    problem = refused(client.get("/v1/sessions", params={"cursor": session_id}), "invalid_request")
    assert problem["field"] == "cursor"
    if whose == "foreign":
        assert owner.get(path).json()["state"] == "open"


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "invalid_request", "backend"),
        ({"backend": "osprey"}, "unknown_backend", "backend"),
        ({"backend": "eagle127:line-999"}, "unknown_backend", "backend"),
        ({"backend": LINE, "ttl_s": 0}, "invalid_request", "ttl_s"),
        ({"backend": LINE, "ttl_s": 4000}, "invalid_request", "ttl_s"),
        ({"backend": LINE, "ttl_s": 1e-9}, "invalid_request", "ttl_s"),
        ({"backend": LINE, "max_qubits": 5}, "invalid_request", "max_qubits"),
        ({"backend": "eagle127", "max_qubits": 0}, "invalid_request", "max_qubits"),
        ({"backend": "eagle127", "max_qubits": 100}, "session_share_exceeded", "backend"),
        ({"backend": LINE, "hold": True}, "invalid_request", "hold"),
        ({"backend": LINE, "wire_version": 2}, "invalid_request", "wire_version"),
    ],
)
def test_a_bad_request_names_its_field(client, refused, body, code, field):
    assert refused(client.post("/v1/sessions", json=body), code)["field"] == field
