"""Keys over HTTP: shown once, rotated, revoked, by whose they are and by who manages the tenant."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from offices import Office

from qpu_backend.domain.principals import MAX_LIVE_KEYS
from qpu_backend.domain.tenancy import Role


@pytest.fixture
def office(server) -> Office:
    return Office(server)


def test_a_key_is_shown_once_and_never_again(office):
    ada = office.principal()
    key = office.key(ada, label="laptop")
    rotated = office.admin.post(f"/v1/keys/{key['id']}/rotate", json={}).json()
    pages = [
        office.admin.get(f"/v1/principals/{ada}/keys").text,
        office.server.client(rotated["key"]).get("/v1/me/keys").text,
        office.admin.get(f"/v1/principals/{ada}").text,
        office.admin.delete(f"/v1/keys/{key['id']}").text,
        office.admin.get("/v1/audit", params={"limit": 100}).text,
    ]
    for page in pages:
        assert "qpu_" not in page
        assert key["key"][4:] not in page
        assert rotated["key"][4:] not in page
    assert key["id"] in pages[0]


def test_a_rotated_key_works_for_its_grace_and_the_new_one_expires_when_the_old_would_have(office):
    ada = office.principal()
    expires_at = datetime.now(UTC) + timedelta(days=3)
    old = office.key(ada, label="laptop", expires_at=expires_at.isoformat())
    client = office.server.client(old["key"])
    new = client.post(f"/v1/keys/{old['id']}/rotate", json={"grace_s": 3600}).json()
    assert (new["label"], new["principal_id"], new["expires_at"]) == ("laptop", ada, old["expires_at"])
    assert not office.shut_out(client)
    assert not office.shut_out(office.server.client(new["key"]))
    listed = {key["id"]: key for key in client.get("/v1/me/keys").json()["keys"]}
    ends = datetime.fromisoformat(listed[old["id"]]["expires_at"]) - datetime.now(UTC)
    assert timedelta(minutes=55) < ends <= timedelta(hours=1)
    assert listed[old["id"]]["revoked_at"] is None
    facts = {"principal": ada, "by": new["id"], "grace_us": 3_600_000_000}
    assert office.audited("key.rotated") == [(f"principal:{ada}", old["id"], facts)]


def test_a_grace_never_prolongs_a_key(office):
    ada = office.principal()
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    old = office.key(ada, expires_at=soon)
    new = office.server.client(old["key"]).post(f"/v1/keys/{old['id']}/rotate", json={}).json()
    keys = office.admin.get(f"/v1/principals/{ada}/keys").json()["keys"]
    assert {key["expires_at"] for key in keys} == {old["expires_at"]} == {new["expires_at"]}


def test_without_a_grace_the_old_key_stops_at_once(office, refused):
    ada = office.principal()
    old = office.key(ada)
    client = office.server.client(old["key"])
    new = office.admin.post(f"/v1/keys/{old['id']}/rotate", json={"grace_s": 0}).json()
    assert office.shut_out(client)
    assert not office.shut_out(office.server.client(new["key"]))
    refused(office.admin.post(f"/v1/keys/{old['id']}/rotate", json={}), "key_ended")


def test_a_rotation_whose_answer_was_lost_is_not_repeated_but_done_again_once_it_is_undone(office, refused):
    ada = office.principal()
    old = office.key(ada)
    client, path = office.server.client(old["key"]), f"/v1/keys/{old['id']}/rotate"
    lost = client.post(path, json={}).json()
    problem = refused(client.post(path, json={}), "key_replaced")
    assert problem["status"] == 409
    assert lost["id"] in problem["detail"]
    assert lost["key"] not in problem["detail"]
    client.delete(f"/v1/keys/{lost['id']}")
    new = client.post(path, json={}).json()
    assert new["expires_at"] is None
    assert not office.shut_out(office.server.client(new["key"]))


def test_a_key_that_has_ended_is_not_rotated(office, refused, server):
    key = server.key(office.tenant, Role.MEMBER, expires_at_us=time.time_ns() // 1000 - 1)
    assert server.client(key).get("/v1/me").status_code == 401
    keys = {row.id for row, name in server.service.administration.keys(office.tenant) if name == "member"}
    refused(office.admin.post(f"/v1/keys/{keys.pop()}/rotate", json={}), "key_ended")


def test_a_revoked_key_is_shut_out_and_stays_revoked_since_the_first_time(office):
    ada = office.principal()
    key = office.key(ada)
    client = office.server.client(key["key"])
    first = client.delete(f"/v1/keys/{key['id']}").json()
    assert first["revoked_at"]
    assert office.shut_out(client)
    assert office.admin.delete(f"/v1/keys/{key['id']}").json() == first
    assert office.audited("key.revoked") == [(f"principal:{ada}", key["id"], {"principal": ada})]


def test_the_key_of_a_colleague_is_not_there_for_who_manages_nobody(office, refused):
    ada, bob = office.principal("ada"), office.principal("bob")
    key, client = office.key(ada), office.client(bob)
    never = "key_" + "0" * 32
    told = []
    for key_id in (key["id"], never):
        answers = client.post(f"/v1/keys/{key_id}/rotate", json={}), client.delete(f"/v1/keys/{key_id}")
        told += [refused(answer, "not_found")["detail"].replace(key_id, "…") for answer in answers]
    assert len(set(told)) == 1
    assert not office.shut_out(office.server.client(key["key"]))
    assert {one["principal_id"] for one in client.get("/v1/me/keys").json()["keys"]} == {bob}


def test_a_principal_has_only_so_many_keys_at_a_time(office, refused):
    ada = office.principal()
    keys = [office.key(ada) for _ in range(MAX_LIVE_KEYS)]
    refused(office.admin.post(f"/v1/principals/{ada}/keys", json={}), "limit_exceeded")
    client = office.server.client(keys[0]["key"])
    refused(client.post(f"/v1/keys/{keys[1]['id']}/rotate", json={}), "limit_exceeded")
    assert client.post(f"/v1/keys/{keys[1]['id']}/rotate", json={"grace_s": 0}).status_code == 201
    office.admin.delete(f"/v1/keys/{keys[2]['id']}")
    assert client.post(f"/v1/keys/{keys[0]['id']}/rotate", json={}).status_code == 201


@pytest.mark.parametrize(
    ("field", "order"),
    [
        ("expires_at", {"expires_at": "2020-01-01T00:00:00Z"}),
        ("expires_at", {"expires_at": "2999-01-01T00:00:00"}),
        ("expires_at", {"expires_at": 7e20}),
        ("label", {"label": "x" * 129}),
        ("label", {"label": "a\x00"}),
        ("key", {"key": "qpu_of_my_own"}),
    ],
    ids=str,
)
def test_a_key_that_cannot_be_is_refused(office, refused, field, order):
    problem = refused(office.admin.post(f"/v1/principals/{office.me}/keys", json=order), "invalid_request")
    assert problem["field"] == field


@pytest.mark.parametrize("grace_s", [-1, 1e9, "soon", None])
def test_a_grace_that_cannot_be_is_refused(office, refused, grace_s):
    key_id = office.admin.get("/v1/me/keys").json()["keys"][0]["id"]
    response = office.admin.post(f"/v1/keys/{key_id}/rotate", json={"grace_s": grace_s})
    assert refused(response, "invalid_request")["field"] == "grace_s"


@pytest.mark.parametrize("path", ["/v1/events", "/v1/jobs/{}/events"])
def test_a_stream_ends_with_the_key_that_opened_it(office, orders, path):
    ada = office.principal()
    key = office.key(ada)
    client, administration = office.server.client(key["key"]), office.server.service.administration
    administration.set_operational("eagle127", operational=False, status_msg="closed for this test")
    try:
        waiting = orders.submit(client)
        headers = {"Accept": "text/event-stream", "Last-Event-ID": "0"}
        with client.stream("GET", path.format(waiting), headers=headers) as response:
            heard = response.iter_text()
            assert waiting in "".join(next(heard) for _ in range(1 + (path == "/v1/events")))
            office.admin.delete(f"/v1/keys/{key['id']}")
            rest = "".join(heard)  # it ends
        assert waiting not in rest
    finally:
        administration.set_operational("eagle127", operational=True, status_msg="active")
        office.server.service.dispatchers["eagle127"].wake()


def test_the_owner_of_a_stolen_key_ends_what_the_thief_made_of_it_and_may_keep_its_own(office):
    ada = office.principal()
    stolen = office.key(ada)
    client = office.server.client(stolen["key"])
    thiefs = client.post(f"/v1/keys/{stolen['id']}/rotate", json={}).json()
    assert thiefs["replaces"] == stolen["id"]
    done = client.delete(f"/v1/keys/{stolen['id']}").json()
    assert (done["id"], done["successors_revoked"]) == (stolen["id"], [thiefs["id"]])
    assert office.shut_out(office.server.client(thiefs["key"]))
    told = [(subject, facts.get("came_of")) for _, subject, facts in office.audited("key.revoked")]
    assert sorted(told) == sorted([(stolen["id"], None), (thiefs["id"], stolen["id"])])
    leaked = office.key(ada)
    own = office.admin.post(f"/v1/keys/{leaked['id']}/rotate", json={}).json()
    kept = office.admin.delete(f"/v1/keys/{leaked['id']}", params={"successors": "keep"}).json()
    assert kept["successors_revoked"] == []
    assert not office.shut_out(office.server.client(own["key"]))
