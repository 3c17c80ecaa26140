"""Whatever administers leaves a row in the audit log: every method, found by looking at the classes.

A new method of an administrative class has to be entered here, with how to call it and what it leaves. A new class that
writes has to be one of these, or among those whose facts are told elsewhere.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from qpu_backend import pipeline
from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.invoices import Month
from qpu_backend.domain.logins import Login, LoginPolicy
from qpu_backend.domain.policies import ISOLATION_CLASSES
from qpu_backend.domain.pricing import PriceBook
from qpu_backend.domain.quarantine import Quarantine
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.tenancy import Role
from qpu_backend.pipeline.clocks import SystemClock
from qpu_backend.pipeline.crediting import Crediting
from qpu_backend.pipeline.limiting import NewLimits, NewQuota
from qpu_backend.pipeline.logins import Logins
from qpu_backend.stores.schema_access import audit_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from qpu_backend.pipeline.keepers import Keeper

ACTOR = "principal:prn_of_the_test"
ISSUER = "oidc"
DEVICE = "eagle127"
NEVER_US = 32_000_000_000_000_000
_HOUR_US = 3_600_000_000

TOLD_ELSEWHERE = {
    "Archivist": "jobs.archived_at_us",
    "Cancellation": "job_events",
    "Decider": "plans and batches",
    "DeviceLease": "the device's row and its epoch",
    "Dispatcher": "job_events and batches",
    "Enqueueing": "job_events",
    "Sealer": "the audit log itself",
    "Sessions": "sessions, and what they cost in postings",
    "Settler": "job_events, usage records and postings",
}
"""Classes that write and administer nothing, with where their facts are."""


def classes() -> Iterator[type]:
    """Every class of the pipeline."""
    for found in pkgutil.iter_modules(pipeline.__path__):
        module = importlib.import_module(f"{pipeline.__name__}.{found.name}")
        for _, one in inspect.getmembers(module, inspect.isclass):
            if one.__module__ == module.__name__:
                yield one


def methods(one: type) -> dict[str, str]:
    """The methods that a class has itself, with their source."""
    written = {
        name: each
        for name, each in vars(one).items()
        if inspect.isfunction(each) and each.__code__.co_filename.endswith(f"{one.__module__.rpartition('.')[2]}.py")
    }
    return {name: inspect.getsource(each) for name, each in written.items()}


def writes(one: type, name: str) -> bool:
    """Whether a method opens a transaction that writes, itself or through others of its class."""
    own, seen, pending = methods(one), set[str](), [name]
    while pending:
        current = pending.pop()
        if current not in seen and current in own:
            seen.add(current)
            if ".write()" in own[current]:
                return True
            pending += re.findall(r"self\.(\w+)\(", own[current])
    return False


WRITERS = {one.__name__: one for one in classes() if any(".write()" in source for source in methods(one).values())}
ADMINISTRATIVE = {name: one for name, one in WRITERS.items() if name not in TOLD_ELSEWHERE}
METHODS = {
    f"{name}.{method}": one
    for name, one in ADMINISTRATIVE.items()
    for method in methods(one)
    if not method.startswith("_")
}


@dataclass(frozen=True)
class Deed:
    """How a method is called so that it changes something, and what that leaves."""

    do: Callable[[Any], object]
    leaves: tuple[str, ...]
    by: str = ACTOR


class Office(SimpleNamespace):
    """A service, its administration, and a tenant of each deed's own."""

    service: Any
    tenant: str
    keeper: Keeper
    ada: str
    key: str
    number: int

    def __getattr__(self, name: str) -> Any:
        return getattr(self.service, name, None) or getattr(self.service.door, name)


def book(number: int) -> PriceBook:
    """Prices of some day."""
    return PriceBook(
        id=f"book-{number}",
        per_shot_micro=1,
        per_device_second_micro=1,
        per_qubit_second_micro=1,
        minimum_micro=1,
    )


def login(office: Office, principal: str, role: Role) -> object:
    """Somebody with a token of the issuer."""
    policy = LoginPolicy("tenant", "role", frozenset(Role), create_principals=True)
    return Logins(office.database, SYSTEM, SystemClock(), policy).enter(Login(office.tenant, principal, role, 1))


def booked(office: Office) -> str:
    hours = 10 + office.number
    return office.bookings.book(DEVICE, in_us=hours * _HOUR_US, for_us=1_000_000, actor="before").id


def crediting(office: Office) -> Crediting:
    return Crediting(office.database, SYSTEM, SystemClock())


LAST_MONTH = Month(2026, 1)
SHOTS = (Resource.SHOTS, Window.DAY, 10)

LIMITS = NewLimits((NewQuota(*SHOTS),), {"max_circuits": 3})


def revoke_what_came_of_it_too(office: Office) -> None:
    office.keys.rotate(office.keeper, office.key)
    office.keys.revoke(office.keeper, office.key)


def quarantined_and_released(office: Office) -> None:
    office.quarantining.quarantine(DEVICE, Quarantine.of([126], []), actor="before")
    office.quarantining.release(DEVICE, actor=ACTOR)


DEEDS: dict[str, Deed | None] = {
    "Administration.create_tenant": Deed(
        lambda o: o.administration.create_tenant(f"new-{o.number}", actor=ACTOR), ("tenant.created",)
    ),
    "Administration.tenants": None,
    "Administration.page_of_tenants": None,
    "Administration.tenant": None,
    "Administration.change_tenant": Deed(
        lambda o: o.administration.change_tenant(o.tenant, weight=7, limits=LIMITS, disabled=True, actor=ACTOR),
        ("tenant.weighed", "quota.set", "policy.set", "tenant.disabled"),
    ),
    "Administration.set_tenant_disabled": Deed(
        lambda o: o.administration.set_tenant_disabled(o.tenant, disabled=True, actor=ACTOR), ("tenant.disabled",)
    ),
    "Administration.set_limit": Deed(
        lambda o: o.administration.set_limit(o.tenant, *SHOTS, actor=ACTOR), ("quota.set",)
    ),
    "Administration.limits": None,
    "Administration.set_policy": Deed(
        lambda o: o.administration.set_policy(o.tenant, "isolation", ISOLATION_CLASSES[:1], actor=ACTOR),
        ("policy.set",),
    ),
    "Administration.policies": None,
    "Administration.create_key": Deed(
        lambda o: o.administration.create_key(o.tenant, principal="new", actor=ACTOR),
        ("principal.created", "key.created"),
    ),
    "Administration.create_key_of": Deed(
        lambda o: o.administration.create_key_of(o.tenant, principal="newer", role=Role.MEMBER, actor=ACTOR),
        ("principal.created", "key.created"),
    ),
    "Administration.keys": None,
    "Administration.devices": None,
    "Administration.set_operational": Deed(
        lambda o: o.administration.set_operational(DEVICE, operational=False, status_msg="away", actor=ACTOR),
        ("device.paused",),
    ),
    "Bookings.book": Deed(
        lambda o: o.bookings.book(DEVICE, in_us=_HOUR_US, for_us=1_000_000, actor=ACTOR), ("booking.made",)
    ),
    "Bookings.cancel": Deed(lambda o: o.bookings.cancel(booked(o), actor=ACTOR), ("booking.cancelled",)),
    "Bookings.ahead": None,
    "Calibration.calibrate": Deed(lambda o: o.calibration.calibrate(DEVICE, actor=ACTOR), ("device.calibrated",)),
    "Calibration.history": None,
    "Calibration.pass_time": Deed(
        lambda o: o.calibration.pass_time(DEVICE, 1_000_000, actor=ACTOR), ("device.time_passed",)
    ),
    "Crediting.credit": Deed(
        lambda o: crediting(o).credit(o.tenant, 5, reason="paid", actor=ACTOR), ("tenant.credited",)
    ),
    "Crediting.refund": Deed(
        lambda o: crediting(o).refund(charged(o), reason="sorry", actor=ACTOR), ("charge.refunded",)
    ),
    "Invoicing.issue": Deed(lambda o: o.invoicing.issue(LAST_MONTH, tenant=o.tenant, actor=ACTOR), ("invoice.issued",)),
    "Invoicing.of_tenant": None,
    "Invoicing.records_of_tenant": None,
    "Invoicing.own": None,
    "Invoicing.own_page": None,
    "Invoicing.own_records": None,
    "Invoicing.all_own_records": None,
    "Keys.keeper_of": None,
    "Keys.create": Deed(lambda o: o.keys.create(o.keeper, o.ada), ("key.created",)),
    "Keys.page": None,
    "Keys.rotate": Deed(lambda o: o.keys.rotate(o.keeper, o.key), ("key.rotated",)),
    "Keys.revoke": Deed(revoke_what_came_of_it_too, ("key.rotated", "key.revoked", "key.revoked")),
    "Keys.revoke_all": Deed(lambda o: o.keys.revoke_all(o.keeper, o.ada), ("principal.keys_revoked",)),
    "Logins.enter": Deed(lambda o: login(o, "newcomer", Role.MEMBER), ("principal.created",), ISSUER),
    "PriceBooks.prices": None,
    "PriceBooks.publish": Deed(
        lambda o: o.price_books.publish(book(o.number), valid_from_us=NEVER_US, actor=ACTOR), ("price_book.published",)
    ),
    "Principals.keeper": None,
    "Principals.create": Deed(lambda o: o.principals.create(o.keeper, "bob", Role.MEMBER), ("principal.created",)),
    "Principals.page": None,
    "Principals.get": None,
    "Principals.named": None,
    "Principals.change": Deed(
        lambda o: o.principals.change(o.keeper, o.ada, role=Role.AUDITOR, disabled=True, limits=LIMITS),
        ("principal.role_changed", "principal.disabled", "quota.set", "policy.set"),
    ),
    "Quarantining.now": None,
    "Quarantining.quarantine": Deed(
        lambda o: o.quarantining.quarantine(DEVICE, Quarantine.of([o.number % 100], []), actor=ACTOR),
        ("device.quarantined",),
    ),
    "Quarantining.release": Deed(quarantined_and_released, ("device.released",)),
}
"""``None``: it only reads."""
DOERS = [name for name, deed in DEEDS.items() if deed is not None]


def charged(office: Office) -> str:
    """The id of something that the tenant paid for."""
    from qpu_backend.domain import ledger  # noqa: PLC0415
    from qpu_backend.stores import money  # noqa: PLC0415

    charge = ledger.charge(f"use_{office.number}", office.keeper.tenant_id, 7)
    with office.database.write() as connection:
        money.insert_postings(connection, SYSTEM, [charge], posted_at_us=1)
    return charge.id


def test_every_class_that_writes_either_administers_or_tells_its_facts_elsewhere():
    assert TOLD_ELSEWHERE.keys() <= WRITERS.keys()
    assert sorted(ADMINISTRATIVE) == sorted({name.split(".")[0] for name in DEEDS})


def test_every_public_method_of_an_administrative_class_is_in_the_table():
    assert sorted(METHODS) == sorted(DEEDS)


@pytest.mark.parametrize("name", METHODS)
def test_what_is_said_only_to_read_opens_no_transaction_that_writes(name: str):
    assert writes(METHODS[name], name.split(".")[1]) == (DEEDS[name] is not None)


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def office(lab: Any, numbers: Iterator[int]) -> Office:
    number = next(numbers)
    service = lab.service
    tenant = service.administration.create_tenant(f"tenant-{number}").name
    keeper = service.door.principals.keeper(tenant, actor=ACTOR)
    ada = service.door.principals.create(keeper, "ada", Role.MEMBER).id
    key, _ = service.door.keys.create(keeper, ada)
    return Office(service=service, tenant=tenant, keeper=keeper, ada=ada, key=key.id, number=number)


@pytest.mark.parametrize("name", DOERS)
def test_a_deed_leaves_its_rows_with_who_did_it_in_whose_matter(office: Office, name: str):
    deed = DEEDS[name]
    assert deed is not None
    before = rows(office)
    deed.do(office)
    new = [row for row in rows(office) if row not in before and row.actor != "before"]
    assert [(row.action, row.actor) for row in new] == [(action, deed.by) for action in deed.leaves]
    noun = deed.leaves[0].split(".")[0]
    of_the_service = noun in {"device", "booking", "price_book"}
    if name == "Administration.create_tenant":
        assert new[0].tenant_id == new[0].subject
    else:
        assert {row.tenant_id for row in new} == {None if of_the_service else office.keeper.tenant_id}
    assert all("qpu_" not in str(row.facts) for row in new)
    began_us = datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1e6
    assert all(row.subject and row.at_us > began_us for row in new)


def rows(office: Office) -> list[Any]:
    """The whole log, without its seals."""
    parts = [column for column in audit_log.c if column.name not in {"number", "seal"}]
    with office.database.read() as connection:
        return list(connection.execute(select(*parts).order_by(audit_log.c.id)))


@pytest.mark.parametrize("name", ["Administration.set_limit", "Bookings.book", "Calibration.pass_time"])
def test_a_deed_that_fails_leaves_no_row(office: Office, name: str):
    before = len(rows(office))
    failing: dict[str, Callable[[], object]] = {
        "Administration.set_limit": lambda: office.administration.set_limit(office.tenant, *SHOTS[:2], -5),
        "Bookings.book": lambda: office.bookings.book("albatross", in_us=1, for_us=1),
        "Calibration.pass_time": lambda: office.calibration.pass_time(DEVICE, -1),
    }
    with pytest.raises(Exception, match=r"\w"):
        failing[name]()
    assert len(rows(office)) == before
