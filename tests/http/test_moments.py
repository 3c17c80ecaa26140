"""Moments that clients send: outside the years that can be told again they are refused, and nothing is stored."""

from __future__ import annotations

import pytest

from qpu_backend.domain.tenancy import Role

NEVER = ("9999-12-31T23:59:59-12:00", "9000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z")


@pytest.mark.parametrize("moment", NEVER)
def test_a_key_that_expires_in_no_year_that_can_be_told_is_not_made(server, refused, moment):
    admin = server.new_client(Role.TENANT_ADMIN)
    principal = admin.post("/v1/principals", json={"name": "robot", "role": "member"}).json()["id"]
    problem = refused(admin.post(f"/v1/principals/{principal}/keys", json={"expires_at": moment}), "invalid_request")
    assert problem["field"] == "expires_at"
    assert admin.get(f"/v1/principals/{principal}/keys").json()["keys"] == []
    last = admin.post(f"/v1/principals/{principal}/keys", json={"expires_at": "8999-12-31T23:59:59.999999Z"})
    assert last.status_code == 201
    (told,) = admin.get(f"/v1/principals/{principal}/keys").json()["keys"]
    assert told["expires_at"] == "8999-12-31T23:59:59.999999Z"


@pytest.mark.parametrize("moment", NEVER)
def test_nor_does_an_operator_make_one(server, operator, refused, moment):
    order = {"expires_at": moment, "principal": "robot", "role": "member"}
    problem = refused(operator.post(f"/v1/admin/tenants/{server.tenant()}/keys", json=order), "invalid_request")
    assert problem["field"] == "expires_at"


@pytest.mark.parametrize("moment", NEVER)
@pytest.mark.parametrize("path", ["/v1/usage", "/v1/audit", "/v1/admin/audit"])
def test_nothing_is_listed_since_a_moment_outside_the_calendar(operator, refused, path, moment):
    assert refused(operator.get(path, params={"since": moment}), "invalid_request")["field"] == "since"
    assert operator.get(path, params={"since": "1970-01-01T00:00:00Z"}).status_code == 200


@pytest.mark.parametrize("moment", NEVER)
def test_no_price_book_comes_into_force_then(operator, refused, moment):
    rates = dict.fromkeys(("per_shot_micro", "per_device_second_micro", "per_qubit_second_micro", "minimum_micro"), 1)
    order = {"name": f"of-{NEVER.index(moment)}", "valid_from": moment, **rates}
    assert refused(operator.post("/v1/admin/prices", json=order), "invalid_request")["field"] == "valid_from"
    announced = operator.get("/v1/prices").json()["announced"]
    assert order["name"] not in {book["name"] for book in announced}
