"""Every book is compared with every other one: nothing differs after a month of work, and what is planted is named."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from booked import MONTH, SETTINGS, START_US, book_a_month, work
from planted import PLANTS, TWICE
from sqlalchemy import Connection, text

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.ledger import ALLOWANCE, refund_id
from qpu_backend.domain.reconciliation import Difference
from qpu_backend.pipeline.clocks import HandDrivenClock
from qpu_backend.pipeline.crediting import Crediting
from qpu_backend.pipeline.reconciling import KEPT_OF_A_KIND, Reconciling
from qpu_backend.stores import reconciliation, transactions
from qpu_backend.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qpu_backend.domain.reconciliation import Finding


@dataclass(frozen=True)
class Books:
    """A laboratory with full books, and the names that plants use."""

    lab: Any
    clock: HandDrivenClock
    names: dict[str, str | int]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def books(request, tmp_path_factory, laboratories, make):
    """Ada and bob in a month that was invoiced; eve, who has no limits, and a job of bob's after it; jobs that wait."""
    url, clock = None, HandDrivenClock(START_US)
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database(tables=True))
    with laboratories(tmp_path_factory.mktemp("lab"), database=url, clock=clock, **SETTINGS) as lab:
        scopes = book_a_month(lab, clock, make)
        eve = lab.tenant("eve")
        invoicing = lab.service.door.invoicing
        invoicing.issue(MONTH, actor="test")
        with pytest.raises(Exception, match="no invoice"):
            invoicing.of_tenant("eve", MONTH)
        invoicing.issue(MONTH, actor="test", tenant="eve")
        of_month = invoicing.all_own_records(scopes["bob"], MONTH, 1)
        free_again = [record for record in of_month if not refunded_before(lab, record.id)]
        office = Crediting(lab.database, SYSTEM, clock)
        entries = [office.refund(record.id, reason="test", actor="test") for record in free_again]
        assert [ALLOWANCE in {one.account for one in entry.transaction.postings} for entry in entries] == [True]
        names: dict[str, str | int] = {**work(lab, eve, make), "freed": entries[0].transaction.id}
        late, given_back = lab.submit(scopes["bob"], make.sample(make.ghz())), lab.submit(eve, make.sample(make.ghz()))
        lab.ended(late, given_back)
        Crediting(lab.database, SYSTEM, clock).refund(lab.usage(eve, given_back).id, reason="test", actor="test")
        lab.pause()
        names |= {"late": late, "given_back": given_back, "within": MONTH.interval.end_us - 1}
        names |= {
            "waiting": lab.submit(eve, make.sample(make.ghz())),
            "reserving": lab.submit(scopes["ada"], make.sample(make.ghz())),
        }
        names |= {name: str(scope.tenant_id) for name, scope in {**scopes, "eve": eve}.items()}
        names |= {"eves": f"tenant:{eve.tenant_id}"}
        yield Books(lab, clock, names)


def refunded_before(lab: Any, usage_id: str) -> bool:
    with lab.database.read() as connection:
        return transactions.read_transaction(connection, SYSTEM, refund_id(usage_id)) is not None


class Rollback(Exception):
    """Nothing that was planted stays."""


@contextmanager
def planting(books: Books, *statements: str) -> Iterator[Connection]:
    """A transaction without foreign keys, in which books are falsified, and which leaves nothing behind."""
    with suppress(Rollback), books.lab.database.write() as connection:
        if books.lab.database.dialect == "sqlite":
            connection.execute(text("PRAGMA defer_foreign_keys = ON"))
        else:
            connection.execute(text("SET LOCAL session_replication_role = replica"))
        for each in statements:
            if each == TWICE:
                without_unique_jobs(connection)
                continue
            used = {name: value for name, value in books.names.items() if f":{name}" in each}
            assert connection.execute(text(each), used).rowcount > 0, each
        yield connection
        raise Rollback


def found(connection: Connection) -> list[Finding]:
    return list(reconciliation.findings(connection, SYSTEM))


def without_unique_jobs(connection: Connection) -> None:
    """Usage records may name a job twice."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("ALTER TABLE usage_records DROP CONSTRAINT uq_usage_records_job_id"))
        return
    connection.execute(text("CREATE TABLE loose AS SELECT * FROM usage_records"))
    connection.execute(text("DROP TABLE usage_records"))
    connection.execute(text("ALTER TABLE loose RENAME TO usage_records"))


def test_a_month_of_everything_differs_in_nothing(books):
    report = books.lab.service.door.reconciling.reconcile()
    assert report.findings == ()
    assert report.clean
    assert report.compared["invoices"] == 3
    assert min(report.compared.values()) > 0
    assert books.lab.service.door.reconciling.last is report


@pytest.mark.parametrize(("kinds", "statements"), [plant[1:] for plant in PLANTS], ids=[plant[0] for plant in PLANTS])
def test_what_is_planted_is_named_and_nothing_else(books, kinds, statements):
    with planting(books, *statements) as connection:
        findings = found(connection)
    assert {one.kind for one in findings} == kinds
    for one in findings:
        assert (one.expected != one.found) == bool(one.unit), one


def test_every_kind_of_difference_is_planted_alone():
    alone = {kind for _, kinds, _ in PLANTS if len(kinds) == 1 for kind in kinds}
    assert alone | {Difference.TRIAL_BALANCE} == set(Difference)


def test_what_was_planted_left_nothing_behind(books):
    with books.lab.database.read() as connection:
        assert found(connection) == []


def test_a_report_counts_every_finding_and_names_the_first_of_each_kind(books):
    class Falsified:
        """The database inside a transaction that falsifies it."""

        def __init__(self, connection: Connection) -> None:
            self._connection = connection

        @contextmanager
        def read(self) -> Iterator[Connection]:
            yield self._connection

    one = "INSERT INTO postings VALUES ('use_{}', 'revenue', :eve, 1, 1)"
    many = [one.format(number) for number in range(KEPT_OF_A_KIND + 5)]
    metrics = Metrics()
    with planting(books, *many) as connection:
        report = Reconciling(Falsified(connection), SYSTEM, books.clock, metrics).reconcile()
    assert report.counts == {
        Difference.POSTING_WITHOUT_FACT: KEPT_OF_A_KIND + 5,
        Difference.UNBALANCED_TRANSACTION: KEPT_OF_A_KIND + 5,
        Difference.TRIAL_BALANCE: 1,
    }
    assert len(report.findings) == 2 * KEPT_OF_A_KIND + 1
    assert not report.clean
    assert b"qpu_reconcile_findings 51.0" in metrics.render()
