"""Price books over HTTP: what is in force, what is announced, and that neither ever changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select

from qpu_backend.domain.tenancy import Role
from qpu_backend.stores.schema_access import audit_log

RATES = {"per_shot_micro": 7, "per_device_second_micro": 5, "per_qubit_second_micro": 3, "minimum_micro": 11}


def book(name: str, **changes: object) -> dict[str, object]:
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    return {"name": name, "valid_from": tomorrow, **RATES, **changes}


def audited(server, name: str):
    query = select(audit_log).where(audit_log.c.action == "price_book.published", audit_log.c.subject == name)
    with server.service.database.read() as connection:
        return connection.execute(query).all()


def test_everybody_sees_what_is_in_force_and_what_is_announced(own_server):
    server = own_server()
    member, operator = server.new_client(), server.new_client(Role.OPERATOR)
    found = member.get("/v1/prices").json()
    assert (found["current"]["name"], found["announced"]) == ("2026-01", [])
    assert found["current"]["lane_percent"] == {}
    order = book("next", lane_percent={"interactive": 200}, free_micro_per_month=13)
    published = operator.post("/v1/admin/prices", json=order)
    assert published.status_code == 201
    announced = member.get("/v1/prices").json()["announced"]
    assert announced == [published.json()]
    shown = {name: value for name, value in announced[0].items() if name != "valid_from"}
    assert shown == {name: value for name, value in order.items() if name != "valid_from"}
    assert datetime.fromisoformat(announced[0]["valid_from"]) == datetime.fromisoformat(order["valid_from"])
    assert member.get("/v1/prices").json()["current"] == found["current"]


def test_publishing_is_audited_once_and_told_again_it_is_the_same_book(server, operator):
    order = book("audited")
    answers = [operator.post("/v1/admin/prices", json=order) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()
    (row,) = audited(server, "audited")
    assert row.actor.startswith("principal:prn_")
    assert row.tenant_id is None
    assert (row.facts["per_shot_micro"], row.facts["lane_percent"]) == (7, {})


BAD = {
    "a book that exists": ("name", {"name": "2026-01"}),
    "a moment that has passed": ("valid_from", {"valid_from": "2020-01-01T00:00:00Z"}),
    "a moment before all dates": ("valid_from", {"valid_from": "0001-01-01T01:00:00+03:04"}),
    "a moment after all dates": ("valid_from", {"valid_from": "9999-12-31T23:00:00-03:04"}),
    "a moment in no time zone": ("valid_from", {"valid_from": "2999-01-01T00:00:00"}),
    "a lane that is not there": ("lane_percent", {"lane_percent": {"express": 100}}),
    "a negative rate": ("per_shot_micro", {"per_shot_micro": -1}),
    "a rate that no database holds": ("per_shot_micro", {"per_shot_micro": 10**18}),
    "half a percent": ("lane_percent.batch", {"lane_percent": {"batch": 12.5}}),
    "a field that there is not": ("per_year_micro", {"per_year_micro": 1}),
}


@pytest.mark.parametrize("what", BAD)
def test_a_book_that_cannot_be_is_refused_and_not_there(server, operator, refused, what):
    field, change = BAD[what]
    order = book("bad") | change
    problem = refused(operator.post("/v1/admin/prices", json=order), "invalid_request")
    assert problem["field"] == field
    assert "bad" not in {one["name"] for one in operator.get("/v1/prices").json()["announced"]}
    assert not audited(server, "bad")


def test_two_books_do_not_begin_together_and_one_that_was_announced_does_not_change(operator, refused):
    order = book("first", valid_from="2998-01-01T00:00:00Z")
    assert operator.post("/v1/admin/prices", json=order).status_code == 201
    changed = refused(operator.post("/v1/admin/prices", json=order | {"minimum_micro": 12}), "invalid_request")
    assert changed["field"] == "name"
    later = refused(operator.post("/v1/admin/prices", json=order | {"name": "second"}), "invalid_request")
    assert later["field"] == "valid_from"
