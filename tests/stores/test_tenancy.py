"""Under its own scope a tenant learns nothing of another and changes nothing of it: every function, generated."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from qpu_backend import stores
from qpu_backend.domain import ledger
from qpu_backend.domain.invoices import Group, Line, LineKind
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.rates import Rate
from qpu_backend.domain.sessions import Term
from qpu_backend.domain.tenancy import Role
from qpu_backend.stores import (
    access,
    audit,
    batches,
    bookings,
    events,
    fairness,
    invoices,
    jobs,
    money,
    new_jobs,
    quota,
    reservations,
    sessions,
)
from qpu_backend.stores.errors import ForeignTenant, MissingRow
from qpu_backend.stores.reservations import Held
from qpu_backend.stores.schema_money import metadata

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from qpu_backend.domain.tenancy import TenantScope
    from tests.stores.conftest import House


def _functions() -> dict[str, Callable[..., Any]]:
    found: dict[str, Callable[..., Any]] = {}
    for module_info in pkgutil.iter_modules(stores.__path__):
        module = importlib.import_module(f"{stores.__name__}.{module_info.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            if function.__module__ != module.__name__ or name.startswith("_"):
                continue
            if any("TenantScope" in str(one.annotation) for one in inspect.signature(function).parameters.values()):
                found[f"{module_info.name}.{name}"] = function
    return found


FUNCTIONS = _functions()

NOTHING: dict[str, object] = {
    "access.create_principal": ForeignTenant,
    "access.insert_key": ForeignTenant,
    "access.read_tenant": MissingRow,
    "audit.append": ForeignTenant,
    "audit.list_own_rows": ([], None),
    "batches.legs_of_job": [],
    "batches.placement_of_job": None,
    "bookings.own_bookings_ahead": [],
    "events.append_events": ForeignTenant,
    "events.append_first": ForeignTenant,
    "events.current_cursor": 0,
    "events.read_job_events": [],
    "events.read_tenant_events": [],
    "fairness.lock_finish_tags": ForeignTenant,
    "fairness.lock_tenant_queue": False,
    "fairness.read_finish_tag": 0,
    "fairness.write_finish_tags": ForeignTenant,
    "given_back.given_back_of": ForeignTenant,
    "invoice_records.facts_of": ForeignTenant,
    "invoice_records.records_of_line": ForeignTenant,
    "invoices.find_invoice": ForeignTenant,
    "invoices.lines_of": ForeignTenant,
    "invoices.list_invoices": ([], None),
    "job_states.request_cancel": None,
    "jobs.count_ahead": 0,
    "jobs.count_all_unfinished": {},
    "jobs.count_unfinished": 0,
    "jobs.find_by_idempotency_key": None,
    "jobs.get_job": None,
    "jobs.list_jobs": jobs.JobPageRows([], None),
    "keys.count_live_keys": ForeignTenant,
    "keys.end_key": ForeignTenant,
    "keys.get_key": ForeignTenant,
    "keys.page_of_keys": ForeignTenant,
    "keys.revoke_keys_of": ForeignTenant,
    "keys.revoke_one": ForeignTenant,
    "keys.successors_of": ForeignTenant,
    "keys.with_live_keys": ForeignTenant,
    "money.balance": 0,
    "new_jobs.insert_job": ForeignTenant,
    "new_jobs.insert_jobs": ForeignTenant,
    "money.usage_of_job": None,
    "money.usage_totals": money.UsageTotals(0, 0, 0, 0),
    "policies.count_own_unfinished": 0,
    "policies.read_standing": MissingRow,
    "policies.read_standings": {},
    "policies.running_limits": {},
    "principal_usage.usage_of_principals": {},
    "principals.get_principal": ForeignTenant,
    "principals.lock_roster": ForeignTenant,
    "principals.page_of_principals": ForeignTenant,
    "principals.set_standing": ForeignTenant,
    "quota.read_lines": [],
    "rates.count_key": None,
    "rates.lock_arrivals": ForeignTenant,
    "rates.move_arrivals": ForeignTenant,
    "reservations.hold": {},
    "reservations.write": ForeignTenant,
    "sessions.get_session": None,
    "sessions.insert_session": ForeignTenant,
    "sessions.list_sessions": ([], None),
    "sessions.lock_held_qubits": [],
    "sessions.lock_session": None,
    "sessions.session_totals": sessions.SessionTotals(0, 0, 0),
    "sessions.set_lane": None,
    "sessions.set_term": None,
    "sessions.spend": None,
    "sessions.unfinished_by_session": {},
    "tag_usage.usage_by_tag": ([], None),
    "quota.release": ForeignTenant,
    "quota.reserve": [],
}
"""What each function answers to somebody who owns nothing; an error type where it refuses."""
WRITERS = {
    "fairness.lock_tenant_queue",
    "jobs.count_ahead",
    "rates.count_key",
    "sessions.set_lane",
    "sessions.set_term",
    "sessions.spend",
}
"""Those that answer nothing to their owner either."""
SEE_THEMSELVES = {"access.read_tenant", "policies.read_standing", "policies.read_standings"}
NEED_A_TENANT = {"rates.count_key"}
"""Those that make a row of their own for whoever asks."""


def test_every_function_that_takes_a_tenants_scope_is_in_the_table() -> None:
    assert sorted(FUNCTIONS) == sorted(NOTHING)


@pytest.fixture
def victim(house: House) -> tuple[TenantScope, dict[str, Any]]:
    """A tenant with a row in every table, and the arguments that would reach them."""
    ada = house.tenant("ada")
    with house.database.write() as connection:
        quota.set_limit(
            connection,
            house.system,
            tenant_id=ada.tenant_id,
            resource=Resource.SHOTS,
            window=Window.DAY,
            amount=10**6,
        )
        reservation = quota.reserve(connection, ada, {Resource.SHOTS: 1024}, house.now_us)
        queue = ("eagle127", ada.tenant_id, "standard")
        fairness.lock_finish_tags(connection, [ada], [queue])
        fairness.write_finish_tags(connection, [ada], {queue: 100})
    ran = house.job(ada, idempotency_key="key", quota_start=reservation, tags=["rb"])
    opened, closed = house.session(ada), house.session(ada)
    waits = house.job(ada, idempotency_key="other", session_id=opened)
    batch_id = house.batch(ran)
    house.finish(ran)
    with house.database.write() as connection:
        batches.finish_batch(connection, house.system, batch_id, finished_at_us=house.now_us)
        events.append_events(connection, ada, [house.event(ada, ran), house.event(ada, waits)])
        record = house.used(ada, ran, id="use_1", batch_id=batch_id, price_micro=1)
        money.insert_usage_records(connection, house.system, [record])
        charge = ledger.charge("use_1", ada.tenant_id, 1)
        money.insert_postings(connection, house.system, [charge], posted_at_us=house.now_us)
        made = access.insert_key(
            connection,
            house.system,
            tenant_id=ada.tenant_id,
            principal_id=ada.principal_id,
            key_hmac="hmac",
            now_us=house.now_us,
        )
        window = bookings.BookingRow("bkg_1", "eagle127", ada.tenant_id, 100, 200, house.now_us, None, "")
        bookings.insert_booking(connection, house.system, window)
        sessions.close_session(connection, house.system, closed, closed_at_us=house.now_us, price_micro=1)
        own = {"tenant_id": ada.tenant_id, "principal_id": ""}
        connection.execute(insert(metadata.tables["policies"]), {**own, "max_running_jobs": 1})
        connection.execute(insert(metadata.tables["rate_limits"]), {**own, "arrival_at_us": 1})
        asked = {"action": "key.created", "subject": "key_1", "facts": {}}
        audit.append(connection, ada, actor="cli", tenant_id=ada.tenant_id, now_us=house.now_us, **asked)
        group = Group(LineKind.JOBS, "eagle127", "standard", "book-1")
        invoice = invoices.InvoiceRow("inv_1", ada.tenant_id, "2026-11", 1, 1, 0, 1)
        invoices.insert_invoice(connection, house.system, invoice, [Line(1, group, 1, 1, 1, 1)])
        row = jobs.get_job(connection, ada, waits)
        held = reservations.hold(connection, [ada], house.now_us)
        held.reserve(held.grant(ada, {Resource.SHOTS: 7}), {Resource.SHOTS: 7})
    arguments = {
        "job_id": [ran, waits],
        "job": [row],
        "new_job": [house.new_job(ada, program_sha=row.program_sha if row else "")],
        "key": ["key"],
        "device_id": ["eagle127"],
        "device_time_us": [0],
        "finish_tag": [7],
        "queues": [[queue]],
        "tags": [{queue: 7}],
        "limited": [[(ada.tenant_id, "")]],
        "arrivals": [{(ada.tenant_id, ""): 7}],
        "new": [[house.new_job(ada)]],
        "held": [held],
        "lane": ["standard"],
        "session_id": [opened, closed],
        "session": [house.new_session(ada)],
        "term": [Term(0, 1, 1)],
        "weight": [7],
        "events": [[house.event(ada, waits)]],
        "event": [house.event(ada, house.job(ada))],
        "asked": [{Resource.SHOTS: 10}],
        "actor": ["cli"],
        "action": ["key.created"],
        "subject": ["key_1"],
        "facts": [{}],
        "month": ["2026-11"],
        "invoice": [invoice],
        "group": [group],
        "tenant_id": [ada.tenant_id],
        "reservation": [reservation],
        "principal_id": [ada.principal_id],
        "principal_ids": [[ada.principal_id]],
        "key_id": [made.id],
        "key_hmac": ["another"],
        "name": ["spy"],
        "role": [Role.TENANT_ADMIN],
        "disabled": [True],
        "at_us": [house.now_us],
        "rates": [{"": Rate(60, 60)}],
        "rate": [Rate(60, 60, principal=True, keys=True)],
        "now_us": [house.now_us],
        "since_us": [0],
        "search": [audit.Search(), audit.Search(action="key")],
        "price_micro": [1],
        "filters": [jobs.JobFilter(), jobs.JobFilter(tags=("rb",))],
    }
    return ada, arguments


def _rows_of(connection: Connection, tenant_id: str) -> dict[str, list[Any]]:
    owned = {
        table.name: table.c.tenant_id if "tenant_id" in table.c else table.c.id
        for table in metadata.sorted_tables
        if "tenant_id" in table.c or table.name == "tenants"
    }
    return {
        name: sorted(map(str, connection.execute(select(metadata.tables[name]).where(column == tenant_id))))
        for name, column in owned.items()
    }


def _calls(function: Callable[..., Any], arguments: dict[str, list[Any]], name: str) -> list[dict[str, Any]]:
    """Every combination of what the victim owns, for the parameters that have to be given or are known."""
    calls: list[dict[str, Any]] = [{}]
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name in {"connection", "scope", "scopes"}:
            continue
        key = "new_job" if (name, parameter.name) == ("new_jobs.insert_job", "job") else parameter.name
        if key in arguments:
            calls = [{**call, parameter.name: value} for call in calls for value in arguments[key]]
        else:
            assert parameter.default is not inspect.Parameter.empty, f"say what {name}({parameter.name}=…) is here"
    return calls


def _answer(function: Callable[..., Any], connection: Connection, scope: TenantScope, call: dict[str, Any]) -> Any:
    """What a function, of one or of several, answers to this scope."""
    several = "scopes" in inspect.signature(function).parameters
    answer = function(connection, [scope] if several else scope, **call)
    return dict(answer.lines) if isinstance(answer, Held) else answer


def test_the_victim_has_a_row_in_every_tenants_table(house: House, victim: tuple[TenantScope, dict[str, Any]]) -> None:
    with house.database.read() as connection:
        rows = _rows_of(connection, victim[0].tenant_id)
    assert [name for name, found in rows.items() if not found] == []


@pytest.mark.parametrize("kind", ["another_tenant", "nobody"])
def test_a_foreign_tenant_sees_nothing_and_changes_nothing(
    house: House, victim: tuple[TenantScope, dict[str, Any]], stranger: TenantScope, kind: str
) -> None:
    ada, arguments = victim
    other = house.tenant("bob") if kind == "another_tenant" else stranger
    with house.database.read() as connection:
        before = _rows_of(connection, ada.tenant_id)
    for name, function in FUNCTIONS.items():
        if kind == "nobody" and name in NEED_A_TENANT:
            continue
        if kind == "another_tenant" and name in SEE_THEMSELVES:
            continue  # it is one, and sees itself: below
        for call in _calls(function, arguments, name):
            with house.database.write() as connection:
                expected = NOTHING[name]
                if name == "fairness.lock_tenant_queue":  # finds nothing: it says whether there is anybody to keep out
                    assert _answer(function, connection, other, call) is (house.database.dialect != "sqlite")
                elif isinstance(expected, type):
                    with pytest.raises(expected):
                        _answer(function, connection, other, call)
                elif name.startswith("fairness.") and kind == "another_tenant":
                    assert _answer(function, connection, other, call) in {None, 0, 7}, name  # 7: its own, once written
                else:
                    assert _answer(function, connection, other, call) == expected, name
    with house.database.read() as connection:
        assert _rows_of(connection, ada.tenant_id) == before
        if kind == "another_tenant":
            assert access.read_tenant(connection, other).name == "bob"


def test_the_owner_sees_what_the_stranger_does_not(house: House, victim: tuple[TenantScope, dict[str, Any]]) -> None:
    """The table above would be satisfied by functions that never find anything."""
    ada, arguments = victim
    readers = [name for name, nothing in NOTHING.items() if not isinstance(nothing, type) and name not in WRITERS]
    readers.sort(key=lambda name: name == "job_states.request_cancel")  # changes what the others see
    for name in readers:
        answers: list[Any] = []
        for call in _calls(FUNCTIONS[name], arguments, name):
            with house.database.write() as connection:
                answers.append(_answer(FUNCTIONS[name], connection, ada, call))
        assert any(answer != NOTHING[name] for answer in answers), name


def test_the_tables_themselves_refuse_a_row_that_points_at_another_tenants_job(
    house: House, victim: tuple[TenantScope, dict[str, Any]]
) -> None:
    _, arguments = victim
    bob = house.tenant("bob")
    [job_id, _] = arguments["job_id"]
    with pytest.raises(IntegrityError), house.database.write() as connection:
        connection.execute(
            text(
                'INSERT INTO job_events (job_id, seq, tenant_id, "cursor", name, state, at_us) '
                "VALUES (:job, 99, :tenant, 99, 'x', 'queued', 0)"
            ),
            {"job": job_id, "tenant": bob.tenant_id},
        )
    mixed = replace(bob, principal_id=victim[0].principal_id)  # bob's tenant, ada's principal
    with house.database.read() as connection:
        sha = jobs.read_jobs(connection, house.system, [job_id])[job_id].program_sha
    with pytest.raises(IntegrityError), house.database.write() as connection:
        new_jobs.insert_job(connection, mixed, house.new_job(mixed, program_sha=sha))
