"""Forgetting: blobs go with the last row that names them; who names one at that moment is told to come again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from qpu_backend.stores import blobs, new_jobs, retention, schema
from qpu_backend.stores.errors import DatabaseBusy
from qpu_backend.stores.retention import BEGINNING, Due

if TYPE_CHECKING:
    from tests.stores.conftest import House


def ended(house: House, name: str) -> str:
    """A job that is done."""
    job_id = house.job(house.tenant(name))
    house.batch(job_id)
    house.finish(job_id)
    return job_id


def due(house: House, due: Due = Due.EVERYTHING, *, before_us: int = 2**62, limit: int = 10) -> list[str]:
    with house.database.read() as connection:
        found = retention.due_jobs(
            connection, house.system, due, ended_before_us=before_us, after=BEGINNING, limit=limit
        )
    return [one.id for one in found]


def forget(house: House, kind: Due, *job_ids: str) -> retention.Forgotten:
    with house.database.write() as connection:
        return retention.forget(connection, house.system, kind, job_ids, [], now_us=house.now_us)


def stored(house: House) -> set[bytes]:
    with house.database.read() as connection:
        return {bytes(body) for body in connection.execute(select(schema.blobs.c.body)).scalars()}


def test_bytes_go_with_the_last_job_that_names_them(house: House) -> None:
    first, second = ended(house, "a"), ended(house, "b")  # the same program, record and result
    assert forget(house, Due.EVERYTHING, first).blobs == 0
    assert {b"program", b"record", b"result"} <= stored(house)
    assert due(house) == [second]
    gone = forget(house, Due.EVERYTHING, second)
    assert (gone.blobs, gone.blob_bytes) == (2, len(b"program" + b"result"))
    assert stored(house) == {b"record", b"snapshot", retention.MARKER}  # the plans of their batches name the record
    assert forget(house, Due.EVERYTHING, first, second).jobs == {}


def test_what_has_not_ended_long_enough_ago_is_not_due(house: House) -> None:
    done = ended(house, "a")
    house.job(house.tenant("b"))
    running = house.job(house.tenant("c"))
    house.batch(running)
    assert due(house) == due(house, Due.RECORDS) == [done]
    assert due(house, before_us=house.now_us + 1) == []
    assert forget(house, Due.EVERYTHING, running).jobs == {}
    assert list(forget(house, Due.RECORDS, done, running).jobs) == [done]
    assert due(house, Due.RECORDS) == []
    assert due(house) == [done]


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_a_submission_whose_bytes_go_to_the_archive_meanwhile_is_told_to_come_again(house: House) -> None:
    old, scope = ended(house, "a"), house.tenant("b")
    with pytest.raises(DatabaseBusy, match="again"), house.database.write() as connection:  # noqa: PT012
        [sha] = blobs.put_blobs(connection, [b"program"])  # there already
        assert forget(house, Due.EVERYTHING, old).blobs == 2
        new_jobs.insert_job(connection, scope, replace(house.new_job(scope), program_sha=sha))
    house.job(scope)
    assert b"program" in stored(house)
