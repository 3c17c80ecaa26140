"""Every route × every role × every kind of key: a table, and the routes of the application compared with it."""

from __future__ import annotations

import string
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
BOOKKEEPERS = frozenset({Role.TENANT_ADMIN, Role.OPERATOR, Role.BILLING, Role.AUDITOR})
OPERATORS = frozenset({Role.OPERATOR})
ADMINS = frozenset({Role.TENANT_ADMIN, Role.OPERATOR})

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
    ("GET", "/v1/backends/{name}/crosstalk"): EVERYBODY,
    ("POST", "/v1/backends/{name}/predict"): WORKERS,
    ("POST", "/v1/quotes"): WORKERS,
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
    ("GET", "/v1/invoices"): BOOKKEEPERS,
    ("GET", "/v1/invoices/{month}"): BOOKKEEPERS,
    ("GET", "/v1/invoices/{month}/lines/{number}/records"): BOOKKEEPERS,
    ("POST", "/v1/admin/invoices/{month}"): OPERATORS,
    ("POST", "/v1/admin/reconciliation"): OPERATORS,
    ("GET", "/v1/admin/reconciliation"): OPERATORS,
    ("GET", "/v1/prices"): ACCOUNTANTS,
    ("POST", "/v1/admin/prices"): OPERATORS,
    ("GET", "/v1/audit"): frozenset({Role.TENANT_ADMIN, Role.AUDITOR, Role.OPERATOR}),
    ("GET", "/v1/admin/audit"): OPERATORS,
    ("POST", "/v1/admin/tenants"): OPERATORS,
    ("GET", "/v1/admin/tenants"): OPERATORS,
    ("GET", "/v1/admin/tenants/{tenant}"): OPERATORS,
    ("PATCH", "/v1/admin/tenants/{tenant}"): OPERATORS,
    ("POST", "/v1/admin/tenants/{tenant}/keys"): OPERATORS,
    ("GET", "/v1/admin/devices"): OPERATORS,
    ("PATCH", "/v1/admin/devices/{device}"): OPERATORS,
    ("GET", "/v1/admin/devices/{device}/quarantine"): OPERATORS,
    ("POST", "/v1/admin/devices/{device}/quarantine"): OPERATORS,
    ("DELETE", "/v1/admin/devices/{device}/quarantine"): OPERATORS,
    ("POST", "/v1/admin/devices/{device}/calibrations"): OPERATORS,
    ("GET", "/v1/admin/devices/{device}/bookings"): OPERATORS,
    ("POST", "/v1/admin/devices/{device}/bookings"): OPERATORS,
    ("DELETE", "/v1/admin/devices/{device}/bookings/{booking_id}"): OPERATORS,
    ("GET", "/v1/me"): EVERYBODY,
    ("GET", "/v1/me/keys"): EVERYBODY,
    ("POST", "/v1/principals"): ADMINS,
    ("GET", "/v1/principals"): ADMINS,
    ("GET", "/v1/principals/{principal_id}"): ADMINS,
    ("PATCH", "/v1/principals/{principal_id}"): ADMINS,
    ("POST", "/v1/principals/{principal_id}/keys"): ADMINS,
    ("GET", "/v1/principals/{principal_id}/keys"): ADMINS,
    ("POST", "/v1/keys/{key_id}/rotate"): EVERYBODY,
    ("DELETE", "/v1/keys/{key_id}"): EVERYBODY,
}
"""Who may; ``None`` is everybody without a key. A new route must be entered here.

Where a name in the path is a tenant's own thing, it is also in ``OWNED`` (and gets an own and a foreign one in
``street``); one that means the same to everybody is in ``SHARED``.
"""

OWNED = {"job_id": "job", "session_id": "session", "principal_id": "principal", "key_id": "key"}
"""Names in paths that are one tenant's, and what a refusal calls such a thing."""
SHARED = {"name", "device", "calibration_id", "month", "number", "tenant", "booking_id"}
"""Names in paths that mean the same to every tenant."""

ANSWERS = {("POST", "/v1/jobs"): 202, ("POST", "/v1/jobs/{job_id}/cancel"): 409, ("POST", "/v1/sessions"): 201}
ANSWERS[("POST", "/v1/admin/prices")] = 201
ANSWERS[("POST", "/v1/admin/invoices/{month}")] = 409  # the running one is not over
ANSWERS |= dict.fromkeys((door for door in DOORS if door[0] == "POST" and door[1].startswith("/v1/principals")), 201)
ANSWERS[("POST", "/v1/keys/{key_id}/rotate")] = 201
ANSWERS[("POST", "/v1/admin/tenants")] = 201
ANSWERS[("POST", "/v1/admin/tenants/{tenant}/keys")] = 201
ANSWERS[("POST", "/v1/admin/devices/{device}/calibrations")] = 201
ANSWERS[("POST", "/v1/admin/devices/{device}/quarantine")] = 422  # nothing is named
ANSWERS[("POST", "/v1/admin/devices/{device}/bookings")] = 422  # what has no length
ANSWERS[("DELETE", "/v1/admin/devices/{device}/bookings/{booking_id}")] = 404
"""What an open door answers, where it is not 200: what is new is told so, and what is done cannot be cancelled."""

LOCAL = QuantumCircuit(1, 1)
"""One that every backend takes."""
LOCAL.sx(0)
LOCAL.measure(0, 0)

PRICES = {
    "name": "some day",
    "valid_from": "2999-01-01T00:00:00Z",
    "per_shot_micro": 1,
    "per_device_second_micro": 1,
    "per_qubit_second_micro": 1,
    "minimum_micro": 1,
}

OF_A_TENANT = [door for door in DOORS if any(f"{{{name}}}" in door[1] for name in OWNED)]
WITH_KEY = [door for door, roles in DOORS.items() if roles is not None]


@dataclass(frozen=True)
class Street:
    """Two tenants, one client for each role of the first, and things of each.

    Attributes:
        own: what the names in paths stand for, of the first tenant and of everybody.
        ended: of the first, what a DELETE may have.
        keys: two keys of each role beside the client's, to rotate and to revoke.
        foreign: what the names stand for, of the other tenant.
    """

    members: dict[Role, httpx.Client]
    own: dict[str, str]
    ended: dict[str, str]
    keys: dict[Role, tuple[str, str]]
    foreign: dict[str, str]

    def path(self, door: tuple[str, str], role: Role = Role.MEMBER) -> str:
        """The path of a door with its names filled in by what is there for this role."""
        method, path = door
        ended = method == "DELETE"
        return path.format(**(self.own | (self.ended if ended else {}) | {"key_id": self.keys[role][ended]}))


@pytest.fixture(scope="session")
def street(server, orders) -> Street:
    tenant = server.tenant()
    members = {role: server.client(server.key(tenant, role)) for role in Role}
    stranger = server.new_client()
    calibration = stranger.get("/v1/backends/eagle127").json()["calibration_id"]
    month = f"{time.gmtime().tm_year}-{time.gmtime().tm_mon:02}"
    own = {"name": "eagle127", "device": "eagle127", "calibration_id": calibration, "month": month, "number": "1"}
    own |= {"tenant": stranger.get("/v1/me").json()["tenant"], "booking_id": "bkg_0"}
    open_session = {"backend": "eagle127:line-2", "ttl_s": 3600}
    foreign: dict[str, str] = {}
    for client, names in ((members[Role.MEMBER], own), (stranger, foreign)):
        names["job_id"] = orders.submit(client)
        assert orders.finished(client, names["job_id"])["state"] == "done"
        names["session_id"] = client.post("/v1/sessions", json=open_session).json()["id"]
        names["principal_id"] = client.get("/v1/me").json()["principal_id"]
        names["key_id"] = client.get("/v1/me/keys").json()["keys"][0]["id"]
    closed = members[Role.MEMBER].post("/v1/sessions", json=open_session).json()["id"]
    assert members[Role.MEMBER].delete(f"/v1/sessions/{closed}").status_code == 200
    for role in (*Role, *Role):
        server.key(tenant, role)
    of_role = {role: [key["id"] for key in members[role].get("/v1/me/keys").json()["keys"]] for role in Role}
    return Street(
        members, own, {"session_id": closed}, {role: (ids[0], ids[1]) for role, ids in of_role.items()}, foreign
    )


def body_of(door: tuple[str, str], role: Role, orders: Any) -> Any:
    """What the door wants to be told; new things are called by the role, so that each is new."""
    return {
        ("POST", "/v1/jobs"): orders.of(),
        ("POST", "/v1/quotes"): orders.of(),
        ("POST", "/v1/admin/prices"): PRICES,
        ("POST", "/v1/admin/tenants"): {"name": f"made-by-{role}"},
        ("PATCH", "/v1/admin/tenants/{tenant}"): {"weight": 100},
        ("POST", "/v1/admin/tenants/{tenant}/keys"): {},
        ("PATCH", "/v1/admin/devices/{device}"): {"operational": True},
        ("POST", "/v1/admin/devices/{device}/quarantine"): {},
        ("POST", "/v1/admin/devices/{device}/bookings"): {"in_s": 1, "for_s": 0},
        ("POST", "/v1/sessions"): {"backend": "eagle127:line-2"},
        ("POST", "/v1/backends/{name}/predict"): {"circuits": orders.of(LOCAL)["circuits"]},
        ("POST", "/v1/principals"): {"name": f"new for {role}"},
        ("PATCH", "/v1/principals/{principal_id}"): {},
        ("POST", "/v1/principals/{principal_id}/keys"): {},
        ("POST", "/v1/keys/{key_id}/rotate"): {},
    }.get(door)


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


def test_every_name_in_a_path_is_one_tenants_or_everybodys(street):
    names = {name for _, path in DOORS for _, name, _, _ in string.Formatter().parse(path) if name}
    assert names == set(OWNED) | SHARED
    assert set(street.foreign) == set(OWNED)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("door", DOORS, ids=" ".join)
def test_a_role_passes_the_doors_of_its_line_and_no_other(street, orders, door, role):
    status = status_of(street.members[role], door, street.path(door, role), body_of(door, role, orders))
    allowed = DOORS[door]
    if allowed is None or role in allowed:
        assert status == ANSWERS.get(door, 200)
    else:
        assert status == 403


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("door", OF_A_TENANT, ids=" ".join)
def test_a_foreign_thing_is_not_found_on_any_route_like_one_that_never_was(street, orders, refused, door, role):
    method, path = door
    (name,) = (name for name in OWNED if f"{{{name}}}" in path)
    never = f"{street.foreign[name].partition('_')[0]}_{'0' * 32}"
    told: list[dict[str, Any]] = []
    for given in (street.foreign[name], never):
        others = {**street.own, name: given}
        response = street.members[role].request(method, path.format(**others), json=body_of(door, role, orders))
        if role not in (DOORS[door] or ()):
            refused(response, "forbidden")
            continue
        problem = refused(response, "not_found")
        assert problem["detail"] == f"there is no {OWNED[name]} '{given}'"
        told.append({**problem, "detail": problem["detail"].replace(given, "…"), "request_id": "…"})
    assert told[:1] == told[1:]


@pytest.mark.parametrize("accept", ["application/json", "text/event-stream"])
def test_the_events_of_a_foreign_job_are_not_found_in_either_form(street, refused, accept):
    path = f"/v1/jobs/{street.foreign['job_id']}/events"
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
        response = client.request(door[0], street.path(door))
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
    assert street.own["job_id"] not in heard


def test_a_method_that_a_route_does_not_take_says_which_it_takes(client, refused):
    response = client.delete("/v1/jobs")
    refused(response, "method_not_allowed")
    assert set(response.headers["Allow"].replace(" ", "").split(",")) <= {"GET", "POST"}
    refused(client.get("/v1/nothing"), "not_found")
