"""The audit log over HTTP: whose rows, which pages, and what a flood of bad keys leaves there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from qpu_backend.domain.tenancy import Role

if TYPE_CHECKING:
    import httpx

_PATIENCE_S = 20.0


@pytest.fixture
def house(server: Any) -> tuple[str, dict[Role, httpx.Client]]:
    """A tenant, and a client for each role."""
    tenant = server.tenant()
    return tenant, {role: server.client(server.key(tenant, role)) for role in Role}


def entries(client: httpx.Client, path: str = "/v1/audit", **search: Any) -> list[dict[str, Any]]:
    """Every row, through as many pages as there are."""
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        response = client.get(path, params=search | ({} if cursor is None else {"cursor": cursor}))
        assert response.status_code == 200, response.text
        page = response.json()
        found += page["entries"]
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def ids(rows: list[dict[str, Any]]) -> list[str]:
    """Which rows: the sealer may pass between two looks."""
    return [row["id"] for row in rows]


def test_a_tenants_auditor_reads_what_was_done_in_its_own_matters_and_nobody_elses(server: Any, house: Any) -> None:
    tenant, clients = house
    stranger = server.tenant()
    server.key(stranger)
    rows = entries(clients[Role.AUDITOR])
    made = [row["action"] for row in reversed(rows)]
    assert made == ["tenant.created", *["principal.created", "key.created"] * len(Role)]
    assert rows[-1]["facts"]["name"] == tenant
    assert {row["subject"] for row in rows} & {row["subject"] for row in _of(server, stranger)} == set()
    assert ids(entries(clients[Role.TENANT_ADMIN])) == ids(rows)
    assert "number" not in rows[0]  # it would tell how much others do


def _of(server: Any, tenant: str) -> list[dict[str, Any]]:
    return entries(server.client(server.key(tenant, Role.AUDITOR)))


def test_pages_are_whole_and_in_order_whatever_their_length(house: Any) -> None:
    _, clients = house
    whole = entries(clients[Role.AUDITOR], limit=100)
    assert len(whole) == 1 + 2 * len(Role)
    for limit in (1, 2, 7):
        assert ids(entries(clients[Role.AUDITOR], limit=limit)) == ids(whole)
    assert [row["at"] for row in whole] == sorted((row["at"] for row in whole), reverse=True)


def test_rows_are_found_by_action_noun_and_time(house: Any) -> None:
    _, clients = house
    auditor = clients[Role.AUDITOR]
    assert {row["action"] for row in entries(auditor, action="key")} == {"key.created"}
    assert len(entries(auditor, action="tenant.created")) == 1
    assert entries(auditor, action="nothing") == []
    assert entries(auditor, since="2999-01-01T00:00:00Z") == []
    first = entries(auditor)[0]["at"]
    assert {row["at"] for row in entries(auditor, since=first)} == {first}


def test_an_operator_reads_everybodys_with_their_places_in_the_chain(server: Any, house: Any) -> None:
    tenant, clients = house
    other = server.tenant()
    server.key(other)
    deadline = time.monotonic() + _PATIENCE_S
    while not all(row["sealed"] for row in entries(clients[Role.OPERATOR], "/v1/admin/audit", limit=100)):
        assert time.monotonic() < deadline  # the sealer looks once a second
    rows = entries(clients[Role.OPERATOR], "/v1/admin/audit", limit=100)
    assert sorted(row["number"] for row in rows) == list(range(1, len(rows) + 1))
    named = {row["facts"].get("name"): row["tenant_id"] for row in rows if row["action"] == "tenant.created"}
    assert {tenant, other} <= named.keys()
    own = entries(clients[Role.OPERATOR], "/v1/admin/audit", tenant_id=named[other])
    assert [row["action"] for row in own] == ["key.created", "principal.created", "tenant.created"]
    assert {row["tenant_id"] for row in own} == {named[other]}


@pytest.mark.parametrize("search", [{"cursor": "x"}, {"limit": 0}, {"limit": 101}, {"since": "2026-01-01T00:00:00"}])
@pytest.mark.parametrize("path", ["/v1/audit", "/v1/admin/audit"])
def test_a_search_that_means_nothing_is_refused(house: Any, refused: Any, path: str, search: dict[str, Any]) -> None:
    refused(house[1][Role.OPERATOR].get(path, params=search), "invalid_request")


def test_a_flood_of_bad_keys_is_one_row_with_the_count_and_never_a_key(own_server: Any) -> None:
    server = own_server()
    tenant = server.tenant()
    gone = server.key(tenant)
    server.revoke(tenant)
    operator = server.client(server.key(server.tenant(), Role.OPERATOR))
    for number in range(30):
        bad = gone if number % 3 == 0 else f"qpu_{number:043}"
        assert server.client(bad).get("/v1/usage").status_code == 401
    assert server.client("x" * 9000).get("/v1/usage").status_code == 401
    assert server.client(None).get("/v1/usage").status_code == 401  # no key is no refused key
    told: list[dict[str, Any]] = []
    deadline = time.monotonic() + _PATIENCE_S
    while not told:
        assert time.monotonic() < deadline
        told = entries(operator, "/v1/admin/audit", action="auth.refused")
    server.service._sealer.stop()  # writes what came after the first row
    told = entries(operator, "/v1/admin/audit", action="auth.refused")
    assert len(told) <= 2
    assert sum(row["facts"]["count"] for row in told) == 31
    reasons = [row["facts"]["reasons"] for row in told]
    assert sum(one.get("revoked", 0) for one in reasons) == 10
    assert sum(one.get("too_long", 0) for one in reasons) == 1
    named = {key for row in told for key in row["facts"]["keys"]}
    assert len(named) == 1
    assert all(key.startswith("key_") for key in named)
    assert gone not in str(told)
    assert {(row["actor"], row["tenant_id"]) for row in told} == {("service", None)}


def test_a_member_who_tries_the_doors_of_others_leaves_a_trace(own_server: Any, refused: Any) -> None:
    server = own_server()
    member = server.client(server.key(server.tenant()))
    operator = server.client(server.key(server.tenant(), Role.OPERATOR))
    for _ in range(3):
        refused(member.get("/v1/admin/tenants"), "forbidden")
    assert operator.get("/v1/admin/tenants").status_code == 200
    server.service._sealer.stop()
    told = entries(operator, "/v1/admin/audit", action="auth.refused")
    assert sum(row["facts"]["reasons"].get("forbidden", 0) for row in told) == 3
