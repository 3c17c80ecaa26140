"""Every route × every role × every kind of key: a table, and the routes of the application compared with it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest
from qiskit import QuantumCircuit

from qpu_backend.domain.tenancy import Role

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

EVERYBODY = frozenset(Role)
WORKERS = frozenset({Role.MEMBER, Role.TENANT_ADMIN, Role.OPERATOR})
READERS = WORKERS | {Role.AUDITOR}
ACCOUNTANTS = WORKERS | {Role.AUDITOR, Role.BILLING}
OPERATORS = frozenset({Role.OPERATOR})

DOORS: dict[tuple[str, str], frozenset[Role] | None] = {
    ("GET", "/openapi.json"): None,
    ("GET", "/healthz"): None,
    ("GET", "/readyz"): None,
    ("GET", "/v1/version"): None,
    ("GET", "/metrics"): OPERATORS,
    ("GET", "/v1/operations/{device}/batches"): OPERATORS,
    ("GET", "/v1/backends"): EVERYBODY,
    ("GET", "/v1/backends/{name}"): EVERYBODY,
    ("GET", "/v1/backends/{name}/status"): EVERYBODY,
    ("GET", "/v1/backends/{name}/calibrations"): EVERYBODY,
    ("GET", "/v1/backends/{name}/calibrations/{calibration_id}"): EVERYBODY,
    ("POST", "/v1/backends/{name}/predict"): WORKERS,
    ("POST", "/v1/jobs"): WORKERS,
    ("GET", "/v1/jobs"): READERS,
    ("GET", "/v1/jobs/{job_id}"): READERS,
    ("GET", "/v1/jobs/{job_id}/result"): READERS,
    ("GET", "/v1/jobs/{job_id}/metering"): READERS,
    ("GET", "/v1/jobs/{job_id}/events"): READERS,
    ("POST", "/v1/jobs/{job_id}/replay"): READERS,
    ("POST", "/v1/jobs/{job_id}/cancel"): WORKERS,
    ("POST", "/v1/sessions"): WORKERS,
    ("GET", "/v1/sessions"): READERS,
    ("GET", "/v1/sessions/{session_id}"): READERS,
    ("POST", "/v1/sessions/{session_id}/touch"): WORKERS,
    ("DELETE", "/v1/sessions/{session_id}"): WORKERS,
    ("GET", "/v1/events"): READERS,
    ("GET", "/v1/usage"): ACCOUNTANTS,
}
"""Who may; ``None`` is everybody without a key. A new route must be entered here."""

ANSWERS = {("POST", "/v1/jobs"): 202, ("POST", "/v1/jobs/{job_id}/cancel"): 409, ("POST", "/v1/sessions"): 201}
"""What an open door answers, where it is not 200: what is new is told so, and what is done cannot be cancelled."""

LOCAL = QuantumCircuit(1, 1)
"""One that every backend takes."""
LOCAL.sx(0)
LOCAL.measure(0, 0)

OF_A_JOB = [door for door in DOORS if "{job_id}" in door[1]]
WITH_KEY = [door for door, roles in DOORS.items() if roles is not None]


@dataclass(frozen=True)
class Street:
    """Two tenants, one client for each role of the first, and a finished job of each."""

    members: dict[Role, httpx.Client]
    own: str
    foreign: str
    calibration: str
    session: str
    closed_session: str

    def path(self, path: str, job_id: str, method: str = "GET") -> str:
        """The path with its names filled in."""
        names = {"job_id": job_id, "name": "eagle127", "device": "eagle127", "calibration_id": self.calibration}
        session_id = self.closed_session if method == "DELETE" else self.session
        return path.format(**names, session_id=session_id)


@pytest.fixture(scope="session")
def street(server, orders) -> Street:
    tenant = server.tenant()
    members = {role: server.client(server.key(tenant, role)) for role in Role}
    stranger = server.new_client()
    own, foreign = orders.submit(members[Role.MEMBER]), orders.submit(stranger)
    for client, job_id in ((members[Role.MEMBER], own), (stranger, foreign)):
        assert orders.finished(client, job_id)["state"] == "done"
    calibration = stranger.get("/v1/backends/eagle127").json()["calibration_id"]
    open_session = {"backend": "eagle127:line-2", "ttl_s": 3600}
    sessions = [members[Role.MEMBER].post("/v1/sessions", json=open_session).json()["id"] for _ in range(2)]
    assert members[Role.MEMBER].delete(f"/v1/sessions/{sessions[1]}").status_code == 200
    return Street(members, own, foreign, calibration, *sessions)


def routes_of(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Every method and path that the application answers, whatever its OpenAPI says."""
    pending = [(route, "") for route in app.routes]
    while pending:
        route, prefix = pending.pop()
        if (included := getattr(route, "original_router", None)) is not None:
            prefix += route.include_context.prefix
            pending += [(child, prefix) for child in included.routes]
            continue
        for method in route.methods - {"HEAD"}:
            yield method, prefix + getattr(route, "path_format", route.path)


def status_of(client: httpx.Client, door: tuple[str, str], path: str, body: object = None) -> int:
    """The status, without waiting for the end of a stream."""
    with client.stream(door[0], path, json=body) as response:
        return response.status_code


def test_every_route_has_a_line_in_the_table(server):
    assert sorted(routes_of(server.service.app)) == sorted(DOORS)
    assert {path for _, path in DOORS} - set(server.service.app.openapi()["paths"]) == {"/openapi.json"}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("door", DOORS, ids=" ".join)
def test_a_role_passes_the_doors_of_its_line_and_no_other(street, orders, door, role):
    path = street.path(door[1], street.own, door[0])
    bodies = {
        "/v1/jobs": orders.of(),
        "/v1/sessions": {"backend": "eagle127:line-2"},
        "/v1/backends/{name}/predict": {"circuits": orders.of(LOCAL)["circuits"]},
    }
    status = status_of(street.members[role], door, path, bodies.get(door[1]) if door[0] == "POST" else None)
    allowed = DOORS[door]
    if allowed is None or role in allowed:
        assert status == ANSWERS.get(door, 200)
    else:
        assert status == 403


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("door", OF_A_JOB, ids=" ".join)
@pytest.mark.parametrize("whose", ["foreign", "nobody's"])
def test_a_foreign_job_is_not_found_on_any_route_like_one_that_never_was(street, refused, door, role, whose):
    job_id = street.foreign if whose == "foreign" else "job_" + "0" * 32
    path = street.path(door[1], job_id)
    response = street.members[role].request(door[0], path)
    if role in (DOORS[door] or ()):
        assert refused(response, "not_found")["detail"] == f"there is no job '{job_id}'"
    else:
        refused(response, "forbidden")


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_the_events_of_a_foreign_job_are_not_found_in_either_form(street, refused, accept):
    path = f"/v1/jobs/{street.foreign}/events"
    refused(street.members[Role.MEMBER].get(path, headers={"Accept": accept}), "not_found")


@pytest.fixture(scope="session")
def bad_keys(server) -> dict[str, str | None]:
    tenant = server.tenant()
    revoked = server.key(tenant, Role.OPERATOR)
    server.revoke(tenant)
    good = server.key(tenant, Role.OPERATOR)
    return {
        "none": None,
        "revoked": revoked,
        "expired": server.key(tenant, Role.OPERATOR, expires_at_us=time.time_ns() // 1000 - 1),
        "of nobody": good[:4] + good[4:][::-1],
        "cut": good[:-1],
        "garbage": "qpu_" + "ß" * 43,
        "empty": "",
        "long": "qpu_" + "x" * 10_000,
    }


@pytest.mark.parametrize("kind", ["none", "revoked", "expired", "of nobody", "cut", "garbage", "empty", "long"])
def test_without_a_good_key_only_the_public_doors_open(server, bad_keys, street, refused, kind):
    key = bad_keys[kind]
    client = server.client(None)
    if key is not None:
        client.headers = httpx.Headers({b"Authorization": f"Bearer {key}".rstrip().encode("latin-1")})
    for door, roles in DOORS.items():
        response = client.request(door[0], street.path(door[1], street.own))
        if roles is None:
            assert response.status_code == 200
        else:
            refused(response, "unauthenticated")
            assert response.headers["WWW-Authenticate"] == "Bearer"
            assert not key or key not in response.text


@pytest.mark.parametrize("header", ["Basic cXB1OnFwdQ==", "Bearer", "bearer", "qpu_x", ""])
def test_another_scheme_than_bearer_is_no_key(server, refused, header):
    refused(server.client(None).get("/v1/usage", headers={"Authorization": header}), "unauthenticated")


def test_a_revoked_key_stops_within_a_second(server, refused):
    tenant = server.tenant()
    client = server.client(server.key(tenant))
    assert client.get("/v1/usage").status_code == 200
    server.revoke(tenant)
    time.sleep(1.0)
    refused(client.get("/v1/usage"), "unauthenticated")


def test_lists_streams_and_sums_hold_nothing_of_another_tenant(server, street, orders):
    stranger = server.new_client()
    assert stranger.get("/v1/jobs").json() == {"jobs": [], "next_cursor": None}
    assert stranger.get("/v1/usage").json()["jobs"] == 0
    mine = orders.submit(stranger)
    with stranger.stream("GET", "/v1/events", headers={"Last-Event-ID": "0"}) as response:
        heard = ""
        for text in response.iter_text():
            heard += text
            if '"done"' in heard:
                break
    assert mine in heard
    assert street.own not in heard


def test_a_method_that_a_route_does_not_take_says_which_it_takes(client, refused):
    response = client.delete("/v1/jobs")
    refused(response, "method_not_allowed")
    assert set(response.headers["Allow"].replace(" ", "").split(",")) <= {"GET", "POST"}
    refused(client.get("/v1/nothing"), "not_found")
