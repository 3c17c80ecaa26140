"""Quotes over HTTP: what is quoted is what is charged, and what cannot be submitted cannot be quoted."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from qpu_backend.bootstrap import read_pepper
from qpu_backend.config import load_config
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.quotes import quote_key, sign, verify
from qpu_backend.domain.tenancy import Role


def quoted(client, document):
    response = client.post("/v1/quotes", json=document)
    assert response.status_code == 200, response.text
    return response.json()


def submitted(client, document, **headers):
    response = client.post("/v1/jobs", json=document, headers=headers)
    assert response.status_code == 202, response.text
    return response.json()


def test_a_job_costs_what_it_was_quoted_and_names_the_quote(client, orders):
    document = orders.of(options={"lane": "interactive"})
    quote = quoted(client, document)
    assert client.get("/v1/jobs").json()["jobs"] == []
    assert (quote["lane"], quote["shots"], quote["backend"]) == ("interactive", 100, orders.BACKEND)
    lasts = datetime.fromisoformat(quote["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=14) < lasts <= timedelta(minutes=15)
    job = submitted(client, document | {"quote": quote["token"], "max_cost_micro": quote["price_micro"]})
    assert (job["price_micro"], job["quote_id"]) == (quote["price_micro"], quote["id"])
    assert job["estimated_device_s"] == quote["device_us"] / 1e6
    orders.finished(client, job["id"])
    record = client.get(f"/v1/jobs/{job['id']}/metering").json()
    for fact in ("price_micro", "price_book", "device_us", "shots", "footprint_qubits", "lane"):
        assert record[fact] == quote[fact], fact
    assert record["quote_id"] == quote["id"]
    assert record["usage_id"].startswith("use_")
    assert client.get("/v1/usage").json()["balance_micro"] == -quote["price_micro"]


def test_without_a_quote_the_price_is_the_same_and_no_quote_is_named(client, orders):
    job = submitted(client, orders.of())
    assert (job["price_micro"], job["quote_id"]) == (quoted(client, orders.of())["price_micro"], None)


def test_a_quote_holds_for_the_same_circuits_built_again_and_as_often_as_one_likes(client, orders):
    token = quoted(client, orders.of(orders.circuit(name="first")))["token"]
    for name in ("second", "third"):
        assert submitted(client, orders.of(orders.circuit(name=name), quote=token))["quote_id"]
    assert submitted(client, orders.of(quote=token, tags=["weekly"], max_cost_micro=10**9))["quote_id"]


def test_a_quote_is_no_part_of_what_a_job_is(client, orders):
    """A retry with, without or with another quote is the same job, even when the quote holds no longer."""
    document = orders.of()
    token = quoted(client, document)["token"]
    key = {"Idempotency-Key": "once"}
    first = submitted(client, document | {"quote": token}, **key)
    for other in ({}, {"quote": quoted(client, document)["token"]}, {"quote": "qpq_nothing"}):
        again = submitted(client, document | other, **key)
        assert (again["id"], again["replayed"], again["quote_id"]) == (first["id"], True, first["quote_id"])


@pytest.mark.parametrize("change", ["shots", "circuit", "lane", "seed", "backend"])
def test_a_quote_for_another_job_is_refused(client, orders, refused, change):
    token = quoted(client, orders.of(orders.circuit(2)))["token"]
    other = {
        "shots": lambda: orders.of(orders.circuit(2), shots=101),
        "circuit": lambda: orders.of(orders.circuit(3)),
        "lane": lambda: orders.of(orders.circuit(2), options={"lane": "batch"}),
        "seed": lambda: orders.of(orders.circuit(2), options={"seed": 1}),
        "backend": lambda: orders.of(orders.circuit(2), backend="eagle127:line-6"),
    }[change]()
    problem = refused(client.post("/v1/jobs", json=other | {"quote": token}), "quote_mismatch")
    assert problem["field"] == "quote"
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_forged_damaged_and_foreign_quotes_are_refused_in_the_same_words(server, client, orders, refused):
    document = orders.of()
    mine, foreign = quoted(client, document), quoted(server.new_client(), document)
    body, _, signature = mine["token"].partition(".")
    cheap = base64.urlsafe_b64encode(b'[1,"quo_x","ten_x","2026-01","d",0,0,0,9999999999999999]').decode().rstrip("=")
    tokens = [
        foreign["token"],
        mine["token"][:-2],
        f"qpq_{cheap}.{signature}",
        body,
        "x",
        "ü." * 9,
        "qpq_." + signature,
    ]
    answers = [refused(client.post("/v1/jobs", json=document | {"quote": token}), "quote_invalid") for token in tokens]
    assert len({(answer["detail"], answer["field"]) for answer in answers}) == 1
    assert client.get("/v1/jobs").json()["jobs"] == []


def test_a_quote_under_a_price_book_that_is_not_here_is_none(server, client, orders, refused):
    """As another service gives it that has the same pepper and another database."""
    key = quote_key(read_pepper(load_config(data=server.socket.parent)))
    token = quoted(client, orders.of())["token"]
    payload = token.removeprefix("qpq_").partition(".")[0]
    tenant_id = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))[2]
    theirs = sign(replace(verify(token, key, tenant_id), price_book="theirs"), key)
    refused(client.post("/v1/jobs", json=orders.of(quote=theirs)), "quote_invalid")


def test_a_quote_expires(own_server, orders, refused):
    server = own_server(quotes={"life_s": 1e-6})
    client = server.new_client()
    token = quoted(client, orders.of())["token"]
    problem = refused(client.post("/v1/jobs", json=orders.of(quote=token)), "quote_expired")
    assert "ask for a new one" in problem["detail"]


def test_the_cap_holds_for_a_quoted_price_and_for_a_quote(client, orders, refused):
    quote = quoted(client, orders.of())
    below = orders.of(max_cost_micro=quote["price_micro"] - 1)
    refused(client.post("/v1/jobs", json=below | {"quote": quote["token"]}), "cost_cap_exceeded")
    refused(client.post("/v1/quotes", json=below), "cost_cap_exceeded")


BAD = {
    "no circuit": ("invalid_circuit", lambda orders: orders.raw(b"no circuit")),
    "no backend": ("unknown_backend", lambda orders: orders.of(backend="osprey")),
    "too many shots": ("limit_exceeded", lambda orders: orders.of(shots=10**6)),
    "no lane": ("lane_refused", lambda orders: orders.of(options={"lane": "express"})),
    "no session": ("invalid_request", lambda orders: orders.of(options={"session": "ses_none"})),
    "old calibration": ("calibration_drifted", lambda orders: orders.of(calibration_id="c", drift_policy="refuse")),
    "unknown pin": ("calibration_drifted", lambda orders: orders.of(calibration_id="c", drift_policy="pin")),
    "unknown field": ("invalid_request", lambda orders: orders.of(colour="red")),
    "a wider circuit": ("not_isa", lambda orders: orders.of(orders.circuit(6))),
}


@pytest.mark.parametrize("what", BAD)
def test_what_a_tenant_cannot_submit_it_cannot_have_quoted(client, orders, refused, what):
    code, make = BAD[what]
    document = make(orders)
    for path in ("/v1/jobs", "/v1/quotes"):
        problem = refused(client.post(path, json=document), code)
        assert problem["field"] == refused(client.post("/v1/jobs", json=document), code)["field"]


def test_a_quote_is_not_asked_for_with_a_quote(client, orders, refused):
    token = quoted(client, orders.of())["token"]
    assert refused(client.post("/v1/quotes", json=orders.of(quote=token)), "invalid_request")["field"] == "quote"


def test_a_session_that_would_take_the_job_is_quoted_and_is_not_prolonged_by_that(server, orders, refused):
    client = server.new_client()
    session = client.post("/v1/sessions", json={"backend": orders.BACKEND, "ttl_s": 3600}).json()
    document = orders.of(options={"session": session["id"]})
    assert quoted(client, document)["price_micro"] > 0
    assert client.get(f"/v1/sessions/{session['id']}").json()["expires_at"] == session["expires_at"]
    stranger = server.new_client()
    refused(stranger.post("/v1/quotes", json=document), "invalid_request")
    client.delete(f"/v1/sessions/{session['id']}")
    refused(client.post("/v1/quotes", json=document), "session_closed")


def test_a_quote_reserves_nothing(server, orders):
    limits = {(Resource.SHOTS, Window.DAY): 100, (Resource.SPEND_MICRO, Window.MONTH): 10**9}
    client = server.client(server.key(server.tenant(limits=limits)))
    for _ in range(3):
        quoted(client, orders.of(shots=100))
    assert {quota["reserved"] for quota in client.get("/v1/usage").json()["quotas"]} == {0}


def test_a_start_is_estimated_from_the_jobs_ahead(own_server, orders):
    server = own_server()
    client = server.new_client()
    assert quoted(client, orders.of())["start_in_s"] is None  # nothing has run yet
    orders.finished(client, orders.submit(client))
    office = server.service.administration
    at_once = quoted(client, orders.of())["start_in_s"]
    office.set_operational("eagle127", operational=False, status_msg="closed")
    for _ in range(9):
        orders.submit(server.new_client())
    assert quoted(client, orders.of())["start_in_s"] is None
    office.set_operational("eagle127", operational=True, status_msg="active")
    assert at_once > 0


@pytest.mark.parametrize("role", [Role.BILLING, Role.AUDITOR])
def test_who_may_not_submit_may_not_have_quoted(server, orders, refused, role):
    refused(server.new_client(role).post("/v1/quotes", json=orders.of()), "forbidden")


def test_asking_again_and_again_for_quotes_predictions_and_refused_jobs_comes_to_an_end(own_server, orders, refused):
    server = own_server()
    tenant = server.tenant()
    client = server.client(server.key(tenant))
    for name, value in (("submissions_per_minute", 1), ("burst", 1)):
        server.service.administration.set_policy(tenant, name, value, actor="cli")
    predict = f"/v1/backends/{orders.BACKEND}/predict"
    bodies = {
        "/v1/quotes": orders.of(),
        "/v1/jobs": orders.of(max_cost_micro=0),
        predict: {"circuits": orders.of()["circuits"]},
    }
    first = [client.post(path, json=body).status_code for path, body in bodies.items()]
    assert first == [200, 422, 200]
    for path, body in bodies.items():
        answers = (client.post(path, json=body) for _ in range(40))
        last = next(answer for answer in answers if answer.status_code == 429)
        assert "refused ones included" in refused(last, "rate_limited")["detail"]
        assert 1 <= int(last.headers["Retry-After"]) <= 6
