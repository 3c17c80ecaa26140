"""The operator's routes: tenants made and limited, devices closed, calibrated and booked; each change is audited."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from qpu_backend.domain.tenancy import Role
from qpu_backend.stores.schema_access import audit_log


@pytest.fixture
def office(own_server):
    """A service of one's own, and its operator."""
    server = own_server()
    return server, server.new_client(Role.OPERATOR)


def audited(server, subject: str) -> list[str]:
    query = select(audit_log).where(audit_log.c.subject == subject).order_by(audit_log.c.id)
    with server.service.database.read() as connection:
        rows = connection.execute(query).all()
    return [row.action for row in rows if row.actor.startswith("principal:prn_")]


def test_a_tenant_is_made_limited_and_given_a_key_that_works(office, orders, refused):
    server, operator = office
    made = operator.post("/v1/admin/tenants", json={"name": "school", "weight": 50})
    assert (made.status_code, made.headers["Location"]) == (201, "/v1/admin/tenants/school")
    key = operator.post("/v1/admin/tenants/school/keys", json={"principal": "ada", "role": "tenant_admin"})
    ada = server.client(key.json()["key"])
    assert (
        ada.get("/v1/me").json() | {"tenant": "school", "principal": "ada", "role": "tenant_admin"}
        == ada.get("/v1/me").json()
    )
    change = {
        "weight": 70,
        "quotas": [{"resource": "shots", "window": "day", "amount": 10}],
        "policy": {"max_circuits": 1, "lanes": ["standard"]},
    }
    changed = operator.patch("/v1/admin/tenants/school", json=change).json()
    assert (changed["weight"], changed["policy"]["max_circuits"], changed["policy"]["lanes"]) == (70, 1, ["standard"])
    assert [(quota["amount"], quota["free"]) for quota in changed["quotas"]] == [(10, 10)]
    assert operator.get("/v1/admin/tenants/school").json() == changed
    refused(ada.post("/v1/jobs", json=orders.of(shots=11)), "quota_exceeded")
    assert audited(server, made.json()["id"]) == [
        "tenant.created", "tenant.weighed", "quota.set", "policy.set", "policy.set",
    ]  # fmt: skip


def test_a_key_in_another_role_than_its_principal_has_is_refused_and_the_role_is_told(office, refused):
    server, operator = office
    path = f"/v1/admin/tenants/{server.tenant()}/keys"
    assert operator.post(path, json={"principal": "ada", "role": "billing"}).json()["role"] == "billing"
    assert operator.post(path, json={"principal": "bob"}).json()["role"] == "member"
    for role in (None, "billing"):
        assert operator.post(path, json={"principal": "ada", "role": role}).json()["role"] == "billing"
    for role in ("operator", "member"):
        problem = refused(operator.post(path, json={"principal": "ada", "role": role}), "name_taken")
        assert "billing" in problem["detail"]


def test_a_tenant_that_is_locked_out_comes_in_again(office, refused):
    server, operator = office
    tenant = server.tenant()
    client = server.client(server.key(tenant))
    assert operator.patch(f"/v1/admin/tenants/{tenant}", json={"disabled": True}).json()["disabled"]
    refused(client.get("/v1/me"), "unauthenticated")
    assert not operator.patch(f"/v1/admin/tenants/{tenant}", json={"disabled": False}).json()["disabled"]
    assert client.get("/v1/me").status_code == 200


def test_tenants_are_paged_through_once_each_oldest_first(office, refused):
    server, operator = office
    for number in range(5):
        operator.post("/v1/admin/tenants", json={"name": f"t{number}"})
    seen, cursor = [], None
    while True:
        page = operator.get("/v1/admin/tenants", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [one["name"] for one in page["tenants"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen[-5:] == [f"t{number}" for number in range(5)]
    assert len(seen) == len(set(seen)) == len(server.service.administration.tenants())
    refused(operator.get("/v1/admin/tenants", params={"cursor": "ten_0"}), "invalid_request")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"weight": 0}, "weight"),
        ({"weight": 10**7}, "weight"),
        ({"weigth": 1}, "weigth"),
        ({"policy": {"max_circuits": 0}}, None),
        ({"policy": {"isolation": ["none of them"]}}, None),
        ({"quotas": [{"resource": "shots", "window": "day", "amount": -1}]}, None),
        ({"quotas": [{"resource": "shots", "window": "day", "amount": each} for each in (1, 2)]}, "quotas"),
        ({"quotas": [{"resource": "shots", "window": "day", "amount": 1}] * 10}, "quotas"),
        ({"weight": 7, "quotas": [{"resource": "time", "window": "day", "amount": 1}]}, None),
    ],
)
def test_a_change_that_is_no_change_is_refused_whole(office, refused, change, field):
    server, operator = office
    tenant = server.tenant()
    before = operator.get(f"/v1/admin/tenants/{tenant}").json()
    problem = refused(operator.patch(f"/v1/admin/tenants/{tenant}", json=change), "invalid_request")
    assert field is None or field in problem["field"]
    assert operator.get(f"/v1/admin/tenants/{tenant}").json() == before


def test_names_that_are_taken_or_belong_to_nobody_are_told(office, refused):
    server, operator = office
    tenant = server.tenant()
    refused(operator.post("/v1/admin/tenants", json={"name": tenant}), "name_taken")
    for request in ("GET", "PATCH"):
        refused(operator.request(request, "/v1/admin/tenants/nobody", json={}), "not_found")
    refused(operator.post("/v1/admin/tenants/nobody/keys", json={}), "not_found")
    refused(
        operator.post(f"/v1/admin/tenants/{tenant}/keys", json={"expires_at": "2020-01-01T00:00:00Z"}),
        "invalid_request",
    )
    nothing = "/v1/admin/devices/nothing"
    refused(operator.patch(nothing, json={"operational": True}), "not_found")
    refused(operator.post(f"{nothing}/calibrations"), "not_found")
    refused(operator.post(f"{nothing}/bookings", json={"in_s": 1, "for_s": 1}), "not_found")


def test_a_closed_device_takes_jobs_and_runs_them_when_it_opens(office, orders):
    server, operator = office
    client = server.new_client()
    closed = operator.patch("/v1/admin/devices/eagle127", json={"operational": False, "status_msg": "cold head"}).json()
    assert (closed["operational"], closed["status_msg"]) == (False, "cold head")
    assert client.get("/v1/backends/eagle127/status").json()["status_msg"].startswith("cold head; ")
    job_id = orders.submit(client)
    assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "queued"
    operator.patch("/v1/admin/devices/eagle127", json={"operational": True})
    assert orders.finished(client, job_id)["state"] == "done"
    assert audited(server, "eagle127") == ["device.paused", "device.resumed"]


def test_a_calibration_that_an_operator_asks_for_is_published(office):
    server, operator = office
    before = operator.get("/v1/admin/devices").json()["devices"][0]
    made = operator.post("/v1/admin/devices/eagle127/calibrations").json()
    after = operator.get("/v1/admin/devices").json()["devices"][0]
    assert made["failure"] is None
    assert after["calibration_id"] == made["calibration_id"] != before["calibration_id"]
    assert after["device_time_us"] == made["device_time_us"] == before["device_time_us"] + made["device_us"]
    assert audited(server, "eagle127") == ["device.calibrated"]


def test_a_window_is_booked_told_and_given_back_once(office, refused):
    server, operator = office
    tenant = server.tenant()
    path = "/v1/admin/devices/eagle127/bookings"
    made = operator.post(path, json={"in_s": 60, "for_s": 30, "tenant": tenant, "note": "class"})
    assert made.status_code == 201
    assert made.json()["ends_us"] - made.json()["starts_us"] == 30_000_000
    assert operator.get(path).json()["bookings"] == [made.json()]
    overlap = operator.post(path, json={"in_s": 80, "for_s": 30})
    assert refused(overlap, "invalid_request")["field"] == "in_s"
    refused(operator.post(path, json={"in_s": 1000, "for_s": 30, "tenant": "nobody"}), "not_found")
    assert operator.delete(f"{path}/{made.json()['id']}").json() == made.json()
    refused(operator.delete(f"{path}/{made.json()['id']}"), "not_found")
    assert operator.get(path).json()["bookings"] == []
    assert audited(server, made.json()["id"]) == ["booking.made", "booking.cancelled"]


def test_a_qubit_in_quarantine_leaves_the_target_and_comes_back_with_its_numbers(office, refused):
    server, operator = office
    client = server.new_client()
    path = "/v1/admin/devices/eagle127/quarantine"
    before = client.get("/v1/backends/eagle127").json()
    order = {"qubits": [3], "couplers": [[15, 4]], "note": "jumps"}
    taken = operator.post(path, json=order).json()
    assert taken == operator.get(path).json()
    assert (taken["qubits"], taken["couplers"]) == ([3], [[4, 15]])
    target = client.get("/v1/backends/eagle127").json()
    assert target["calibration_id"] == taken["calibration_id"] != before["calibration_id"]
    used = {tuple(sorted(gate["qubits"])) for gate in target["gates"]}
    assert not any(3 in qubits for qubits in used)
    assert (4, 15) not in used
    assert (4,) in used
    listed = client.get("/v1/backends/eagle127/calibrations").json()["calibrations"]
    assert [one["id"] for one in listed] == [taken["calibration_id"], before["calibration_id"]]
    assert (
        client.get(f"/v1/backends/eagle127/calibrations/{before['calibration_id']}").json()["gates"] == before["gates"]
    )
    refused(operator.delete(path, params={"coupler": "4-x"}), "invalid_request")
    refused(operator.delete(path, params={"qubit": 127}), "invalid_request")
    for wrong in ({}, {"qubits": [-1]}, {"qubits": [127]}, {"couplers": [[0, 99]]}, {"couplers": [[1, 2, 3]]}):
        refused(operator.post(path, json=wrong), "invalid_request")
    assert operator.delete(path, params={"coupler": "15-4"}).json()["qubits"] == [3]
    assert operator.delete(path).json()["qubits"] == []
    after = client.get("/v1/backends/eagle127").json()
    assert (after["qubits"], after["gates"]) == (before["qubits"], before["gates"])
    assert audited(server, "eagle127") == ["device.quarantined", "device.released", "device.released"]


def test_keys_come_no_faster_than_the_service_allows_and_the_answer_says_when_to_try_again(own_server, refused):
    server = own_server(limits={"keys_per_minute": 1, "keys_burst": 2})
    operator = server.new_client(Role.OPERATOR)
    path = f"/v1/admin/tenants/{server.tenant()}/keys"
    for _ in range(2):
        assert operator.post(path, json={}).status_code == 201
    member = server.new_client()
    keys = [member.get("/v1/me/keys").json()["keys"][0]["id"]]
    for _ in range(2):
        keys.append(member.post(f"/v1/keys/{keys[-1]}/rotate", json={}).json()["id"])
    for last in (operator.post(path, json={}), member.post(f"/v1/keys/{keys[-1]}/rotate", json={})):
        problem = refused(last, "rate_limited")
        assert "1 keys a minute" in problem["detail"]
        assert 0 < int(last.headers["Retry-After"]) <= 60
    assert "keys" not in " ".join(server.client(None).get("/v1/version").json()["limits"])
    revoked = member.delete(f"/v1/keys/{keys[0]}").json()  # that is not counted
    assert revoked["successors_revoked"] == keys[1:]
