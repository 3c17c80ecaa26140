"""Usage by tag: a job counts under each of its tags once, and under nothing where it has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qpu_backend.domain.jobs import JobState
from qpu_backend.stores import money
from qpu_backend.stores.errors import InvalidCursor
from qpu_backend.stores.tag_usage import usage_by_tag

if TYPE_CHECKING:
    from qpu_backend.domain.tenancy import TenantScope
    from tests.stores.conftest import House


def used(house: House, scope: TenantScope, tags: list[str], shots: int, at_us: int = 100) -> None:
    job = house.job(scope)
    record = money.UsageRow(
        f"use_{job}", scope.tenant_id, scope.principal_id, job, None, "eagle127", None, at_us, JobState.DONE,
        shots, 2 * shots, 1, 1, 1, "book-1", 3 * shots, tags,
    )  # fmt: skip
    with house.database.write() as connection:
        money.insert_usage_records(connection, house.system, [record])


def test_a_job_counts_under_each_of_its_tags_once_and_without_one_under_nothing(house: House) -> None:
    ada, eve = house.tenant("ada"), house.tenant("eve")
    used(house, ada, ["rb", "lab"], 1)
    used(house, ada, ["rb", "rb"], 10)
    used(house, ada, [], 100)
    used(house, ada, [], 1000)
    used(house, ada, ["rb"], 10_000, at_us=99)
    used(house, eve, ["rb"], 100_000)
    with house.database.read() as connection:
        shares, following = usage_by_tag(connection, ada, since_us=100)
    assert following is None
    assert shares == [
        (None, money.UsageTotals(2, 1100, 2200, 3300)),
        ("lab", money.UsageTotals(1, 1, 2, 3)),
        ("rb", money.UsageTotals(2, 11, 22, 33)),
    ]


def test_tags_are_paged_through_once_each(house: House) -> None:
    ada = house.tenant("ada")
    tags = [f"tag {number}" for number in range(5)] + ["µ/ö", "zz"]
    used(house, ada, tags, 1)
    used(house, ada, [], 1)
    seen: list[str | None] = []
    cursor = None
    with house.database.read() as connection:
        everything, _ = usage_by_tag(connection, ada, since_us=0)
        for _ in range(9):
            page, cursor = usage_by_tag(connection, ada, since_us=0, cursor=cursor, limit=1)
            seen += [tag for tag, _ in page]
            if cursor is None:
                break
        for wrong in ("none of ours", "aa", "dGFnLwA"):
            with pytest.raises(InvalidCursor):
                usage_by_tag(connection, ada, since_us=0, cursor=wrong)
    assert seen == [tag for tag, _ in everything]
    assert seen[0] is None
    assert sorted(filter(None, seen)) == sorted(tags)
