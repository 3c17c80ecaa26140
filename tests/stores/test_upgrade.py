"""A database that holds real work is upgraded: no row is lost, and none means anything else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from revision_0002 import FACTS, Rows, read_everything, restore
from sqlalchemy import text

from qpu_backend.domain.tenancy import SystemScope
from qpu_backend.stores import reconciliation
from qpu_backend.stores.database import Database
from qpu_backend.stores.migrations import history

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADDED: dict[str, dict[str, Any]] = {
    "principals": {"disabled": False, "role_set_at_us": None},
    "api_keys": {"label": "", "replaces": None},
    "jobs": {"quote_id": None, "archived_at_us": None},
    "batches": {"failures": 0},
    "limits": {"principal_id": "", "burst": 0},
    "quota_windows": {"principal_id": ""},
    "snapshots": {"out_of_service": None},
    "sessions": {
        "kind": "session",
        "on_failure": "continue",
        "max_cost_micro": None,
        "spent_micro": 0,
        "asked": None,
    },
}
"""What rows of before have in the columns that are new; the lane of a usage record follows from its job."""


@pytest.fixture
def old(empty_url: str, tmp_path: Path) -> Iterator[Database]:
    restore(empty_url, tmp_path)
    database = Database.open(empty_url, durable=False)
    yield database
    database.close()


def everything(database: Database) -> Rows:
    with database.read() as connection:
        return read_everything(connection)


def test_every_row_is_there_after_the_upgrade_and_says_what_it_said(old: Database) -> None:
    before = everything(old)
    assert {name: len(rows) for name, rows in before.items()} == FACTS["counts"]
    history.migrate(old)
    after = everything(old)
    lanes = {row["id"]: row["lane"] for row in before["jobs"]}
    assert len(set(lanes.values())) > 1
    for row in before["usage_records"]:
        row["lane"] = lanes[row["job_id"]]
    for name, rows in before.items():
        expected = [row | ADDED.get(name, {}) for row in rows]
        assert sorted(after.pop(name), key=repr_of) == sorted(expected, key=repr_of), name
    assert not any(after.values()), "a new table begins empty"


def test_jobs_of_before_are_found_by_their_tags(old: Database) -> None:
    tagged, other = sorted(row["id"] for row in everything(old)["jobs"])[:2]
    with old.write() as connection:
        for job_id, tags in ((tagged, '["rb", "ghz", "rb"]'), (other, '["ghz"]')):
            connection.execute(text(f"UPDATE jobs SET tags = '{tags}' WHERE id = '{job_id}'"))  # noqa: S608
    history.migrate(old)
    found = sorted((row["tag"], row["job_id"]) for row in everything(old)["job_tags"])
    assert found == [("ghz", tagged), ("ghz", other), ("rb", tagged)]


def repr_of(row: dict[str, Any]) -> str:
    return repr(sorted(row.items()))


def test_the_books_of_before_reconcile_after_the_upgrade(old: Database) -> None:
    history.migrate(old)
    with old.read() as connection:
        assert list(reconciliation.findings(connection, SystemScope("test"))) == []
