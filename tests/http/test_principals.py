"""A tenant's own administrator: principals and their limits, and where its power ends."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from offices import Office

from qpu_backend.domain.principals import GRANTABLE
from qpu_backend.domain.tenancy import PERMISSIONS, Role


@pytest.fixture
def office(server) -> Office:
    return Office(server)


# --- principals ---------------------------------------------------------------------------------------------------


def test_a_principal_is_made_given_a_key_and_can_work(office):
    ada = office.principal()
    key = office.key(ada, label="laptop")
    assert key["key"].startswith("qpu_")
    me = office.server.client(key["key"]).get("/v1/me").json()
    assert (me["tenant"], me["principal"], me["principal_id"], me["role"]) == (office.tenant, "ada", ada, "member")
    assert me["permissions"] == sorted(PERMISSIONS[Role.MEMBER])
    assert me["limits"]["max_circuits"] > 0
    by = f"principal:{office.me}"
    assert office.audited("principal.created")[-1] == (by, ada, {"name": "ada", "role": "member"})
    noted = [row for row in office.audited("key.created") if row[1] == key["id"]]
    assert noted == [(by, key["id"], {"principal": ada, "label": "laptop", "expires_at_us": None})]


def test_a_list_of_principals_has_pages(office):
    ids = [office.me, *(office.principal(f"student-{number:02}") for number in range(5))]
    seen: list[str] = []
    cursor = None
    for _ in range(3):
        page = office.admin.get("/v1/principals", params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        seen += [principal["id"] for principal in page["principals"]]
        cursor = page["next_cursor"]
    assert seen == ids
    assert cursor is None


@pytest.mark.parametrize("path", ["/v1/principals", "/v1/principals/{}/keys", "/v1/me/keys", "/v1/usage?by=principal"])
def test_a_cursor_of_somebody_else_is_none(office, refused, server, path):
    stranger = Office(server)
    foreign = stranger.key(stranger.me)["id"] if path.endswith("keys") else stranger.me
    path = path.format(office.me)
    response = office.admin.get(f"{path}{'&' if '?' in path else '?'}cursor={foreign}")
    assert refused(response, "invalid_request")["field"] == "cursor"


def test_a_name_is_taken_once_in_a_tenant(office, server, refused):
    office.principal("ada")
    problem = refused(office.admin.post("/v1/principals", json={"name": "ada"}), "name_taken")
    assert problem["field"] == "name"
    Office(server).principal("ada")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": "x" * 129},
        {"name": "a\nb"},
        {"name": "ada", "role": "owner"},
        {"name": "ada", "disabled": False},
        {"name": "ada", "tenant": "other"},
        [],
    ],
    ids=str,
)
def test_a_principal_that_cannot_be_is_refused(office, refused, body):
    refused(office.admin.post("/v1/principals", json=body), "invalid_request")


@pytest.mark.parametrize("role", Role)
def test_a_tenant_gives_every_role_but_the_operators(office, refused, role):
    ada = office.principal()
    made = office.admin.post("/v1/principals", json={"name": "bob", "role": role})
    changed = office.change(ada, role=role)
    if role in GRANTABLE:
        assert (made.status_code, changed.json()["role"]) == (201, role)
    else:
        assert refused(made, "role_refused")["field"] == "role"
        refused(changed, "role_refused")
        assert len(office.admin.get("/v1/principals").json()["principals"]) == 2


def test_an_operator_of_the_tenant_is_not_the_tenants_to_touch(office, refused):
    operator_id, operator = office.operator()
    key_id = operator.get("/v1/me/keys").json()["keys"][0]["id"]
    for change in ({"role": "member"}, {"disabled": True}, {"policy": {"max_queued_jobs": 0}}):
        refused(office.change(operator_id, **change), "role_refused")
    refused(office.change(operator_id, quotas=[{"resource": "shots", "window": "day", "amount": 0}]), "role_refused")
    refused(office.admin.post(f"/v1/principals/{operator_id}/keys", json={}), "role_refused")
    refused(office.admin.post(f"/v1/keys/{key_id}/rotate", json={}), "role_refused")
    refused(office.admin.delete(f"/v1/keys/{key_id}"), "role_refused")
    assert not office.shut_out(operator)
    assert operator.get("/v1/me").json()["quotas"] == []
    refused(operator.post("/v1/principals", json={"name": "second", "role": "operator"}), "role_refused")
    assert operator.post(f"/v1/keys/{key_id}/rotate", json={}).status_code == 201  # its own


def test_a_role_changes_for_keys_that_are_there(office, refused):
    ada = office.principal()
    client = office.client(ada)
    refused(client.get("/v1/principals"), "forbidden")
    assert office.change(ada, role="tenant_admin").json()["role"] == "tenant_admin"
    office.forget()
    assert client.get("/v1/principals").status_code == 200
    by = f"principal:{office.me}"
    assert office.audited("principal.role_changed") == [(by, ada, {"from": "member", "to": "tenant_admin"})]


def test_a_disabled_principal_is_shut_out_until_it_is_enabled(office):
    ada = office.principal()
    client = office.client(ada)
    assert office.change(ada, disabled=True).json()["disabled"]
    assert office.shut_out(client)
    assert office.change(ada, disabled=True).status_code == 200
    assert not office.change(ada, disabled=False).json()["disabled"]
    assert not office.shut_out(client)
    assert [len(office.audited(f"principal.{what}")) for what in ("disabled", "enabled")] == [1, 1]


def test_a_disabled_principal_stops_within_a_second(office):
    ada = office.principal()
    client = office.client(ada)
    assert client.get("/v1/me").status_code == 200
    office.change(ada, disabled=True)
    time.sleep(1.0)
    assert client.get("/v1/me").status_code == 401


def test_a_disabled_tenant_is_shut_out_with_everybody(office):
    member = office.client(office.principal())
    administration = office.server.service.administration
    assert administration.set_tenant_disabled(office.tenant, disabled=True)
    assert not administration.set_tenant_disabled(office.tenant, disabled=True)
    assert office.shut_out(member)
    assert office.shut_out(office.admin)
    assert administration.set_tenant_disabled(office.tenant, disabled=False)
    assert not office.shut_out(member)


# --- no lock-out --------------------------------------------------------------------------------------------------


def test_the_last_administrator_cannot_be_disabled_or_demoted(office, refused):
    for change in ({"role": "member"}, {"role": "billing"}, {"disabled": True}):
        refused(office.change(office.me, **change), "lock_out")
    _, operator = office.operator()  # one who sits in the tenant is no administrator of it
    refused(operator.patch(f"/v1/principals/{office.me}", json={"disabled": True}), "lock_out")
    second = office.principal("second", "tenant_admin")
    office.change(second, disabled=True)
    refused(office.change(office.me, role="member"), "lock_out")
    assert office.admin.get("/v1/principals").status_code == 200


def test_an_administrator_may_step_down_when_another_is_there_but_not_disable_itself(office, refused):
    second = office.principal("second", "tenant_admin")
    refused(office.change(office.me, disabled=True), "lock_out")
    refused(office.change(office.me, role="member"), "lock_out")  # the other one has no key yet
    office.key(second)
    assert office.change(office.me, role="member").status_code == 200
    office.forget()
    refused(office.change(second, role="member"), "forbidden")


def test_two_administrators_who_demote_each_other_at_once_leave_one(office):
    ids = [office.me, office.principal("second", "tenant_admin")]
    clients = [office.admin, office.client(ids[1])]
    with ThreadPoolExecutor(2) as pool:
        answers = list(
            pool.map(
                lambda pair: pair[0].patch(f"/v1/principals/{pair[1]}", json={"role": "member"}).status_code,
                zip(clients, reversed(ids), strict=True),
            )
        )
    assert sorted(answers) in ([200, 403], [200, 409])
    office.forget()
    assert sorted(client.get("/v1/me").json()["role"] for client in clients) == ["member", "tenant_admin"]


# --- limits of a principal ----------------------------------------------------------------------------------------


def test_a_principal_is_limited_and_sees_it(office, orders, refused):
    ada, bob = office.principal("ada"), office.principal("bob")
    quota = {"resource": "shots", "window": "day", "amount": 10, "burst": 3}
    policy = {"max_queued_jobs": 2, "lanes": ["standard", "batch"]}
    told = office.change(ada, quotas=[quota], policy=policy).json()
    assert told["quotas"] == [{**quota, "reserved": 0, "spent": 0, "free": 13}]
    assert {name: value for name, value in told["policy"].items() if value is not None} == {
        "max_queued_jobs": 2,
        "lanes": ["batch", "standard"],
    }
    assert office.admin.get(f"/v1/principals/{ada}").json() == told
    me = office.client(ada).get("/v1/me").json()
    assert me["policy"] == told["policy"]
    assert [(line["limit"], line["principal"]) for line in me["quotas"]] == [(13, True)]
    refused(office.client(ada).post("/v1/jobs", json=orders.of()), "quota_exceeded")
    orders.submit(office.client(bob))
    told = office.change(ada, quotas=[{**quota, "amount": None}], policy={"lanes": None}).json()
    assert told["quotas"] == []
    assert told["policy"]["lanes"] is None
    assert told["policy"]["max_queued_jobs"] == 2
    orders.submit(office.client(ada))
    actors = {actor for what in ("quota.set", "quota.lifted", "policy.set") for actor, _, _ in office.audited(what)}
    assert actors == {f"principal:{office.me}"}


@pytest.mark.parametrize(
    "change",
    [
        {"quotas": [{"resource": "shots", "window": "day", "amount": -1}]},
        {"quotas": [{"resource": "shots", "window": "year", "amount": 1}]},
        {"quotas": [{"resource": "shots", "window": "day", "amount": 2**63}]},
        {"policy": {"isolation": ["solitary"]}},
        {"policy": {"lanes": ["no lane!"]}},
        {"policy": {"max_circuits": 0}},
        {"policy": {"weight": 1000}},
        {"weight": 1000},
    ],
    ids=str,
)
def test_a_limit_that_cannot_be_is_refused_and_nothing_else_is_changed(office, refused, change):
    ada = office.principal()
    before = office.admin.get(f"/v1/principals/{ada}").json()
    good = {"role": "auditor", "disabled": True, "quotas": [{"resource": "shots", "window": "hour", "amount": 1}]}
    refused(office.change(ada, **(good | change)), "invalid_request")
    assert office.admin.get(f"/v1/principals/{ada}").json() == before


# --- usage --------------------------------------------------------------------------------------------------------


def test_usage_by_principal_adds_up_to_the_tenants(office, orders):
    ada, bob = office.principal("ada"), office.principal("bob")
    for client, shots in ((office.client(ada), 100), (office.client(bob), 30), (office.client(bob), 20)):
        assert orders.finished(client, orders.submit(client, orders.of(shots=shots)))["state"] == "done"
    report = office.admin.get("/v1/usage", params={"by": "principal"}).json()
    used = {line["principal"]: line for line in report["principals"]}
    assert {name: (line["jobs"], line["shots"]) for name, line in used.items()} == {
        "tenant_admin": (0, 0),
        "ada": (1, 100),
        "bob": (2, 50),
    }
    for what in ("jobs", "shots", "device_us", "price_micro"):
        assert sum(line[what] for line in used.values()) == report[what]
    assert office.admin.get("/v1/usage").json()["principals"] is None


@pytest.mark.parametrize("role", Role)
def test_usage_by_principal_is_for_who_manages_or_accounts(server, refused, role):
    response = server.new_client(role).get("/v1/usage", params={"by": "principal"})
    if role is Role.MEMBER:
        refused(response, "forbidden")
    else:
        assert response.status_code == 200


def test_usage_by_tag_counts_a_job_under_each_of_its_tags_and_is_for_whoever_reads_usage(office, orders, refused):
    ada = office.client(office.principal("ada"))
    for tags, shots in ((["rb", "lab"], 100), (["rb"], 30), ([], 7)):
        assert orders.finished(ada, orders.submit(ada, orders.of(shots=shots) | {"tags": tags}))["state"] == "done"
    first = ada.get("/v1/usage", params={"by": "tag", "limit": 2}).json()
    rest = ada.get("/v1/usage", params={"by": "tag", "limit": 2, "cursor": first["next_cursor"]}).json()
    told = [(one["tag"], one["jobs"], one["shots"]) for page in (first, rest) for one in page["tags"]]
    assert told == [(None, 1, 7), ("lab", 1, 100), ("rb", 2, 130)]
    assert (rest["next_cursor"], rest["principals"], rest["jobs"]) == (None, None, 3)
    other = office.server.new_client(Role.BILLING).get("/v1/usage", params={"by": "tag"}).json()
    assert (other["tags"], ada.get("/v1/usage").json()["tags"]) == ([], None)
    refused(ada.get("/v1/usage", params={"by": "tag", "cursor": "rb"}), "invalid_request")


# --- thirty students ----------------------------------------------------------------------------------------------


def test_a_class_of_thirty_students_with_a_limit_each(office, orders, refused):
    students = [office.principal(f"student-{number:02}") for number in range(1, 31)]
    for student in students:
        quota = {"resource": "shots", "window": "day", "amount": 100}
        assert office.change(student, quotas=[quota], policy={"max_queued_jobs": 3}).status_code == 200
    eager, calm = office.client(students[0]), office.client(students[29])
    orders.submit(eager, orders.of(shots=100))
    problem = refused(eager.post("/v1/jobs", json=orders.of(shots=1)), "quota_exceeded")
    assert problem["retry_after_s"] > 0
    orders.submit(calm, orders.of(shots=100))
    assert len(office.admin.get("/v1/principals", params={"limit": 100}).json()["principals"]) == 31
