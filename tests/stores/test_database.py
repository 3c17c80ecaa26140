"""The door: transactions are whole, readers never wait for writers and never write, the clock is the database's."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from qpu_backend.stores import database as database_module
from qpu_backend.stores.database import Database, now_us
from qpu_backend.stores.errors import DatabaseBusy

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import PostgresServer

TENANT = text("INSERT INTO tenants (id, name, created_at_us) VALUES (:id, :id, 0)")
COUNT = text("SELECT count(*) FROM tenants")


def test_a_transaction_is_committed_at_the_end_of_its_block(database: Database) -> None:
    with database.write() as connection:
        connection.execute(TENANT, {"id": "one"})
    with database.read() as connection:
        assert connection.execute(COUNT).scalar_one() == 1


def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.write() as connection:
            connection.execute(TENANT, {"id": "one"})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with database.write() as connection:  # and the connection is good for the next
        assert connection.execute(COUNT).scalar_one() == 0


def test_a_reader_cannot_write(database: Database) -> None:
    with database.read() as connection, pytest.raises(DBAPIError):
        connection.execute(TENANT, {"id": "one"})


def test_a_reader_neither_waits_for_a_writer_nor_sees_half_of_its_work(database: Database) -> None:
    with database.write() as writing:
        writing.execute(TENANT, {"id": "one"})
        with database.read() as connection:
            assert connection.execute(COUNT).scalar_one() == 0


def test_a_reader_sees_one_moment_for_as_long_as_it_reads(database: Database) -> None:
    with database.read() as connection:
        assert connection.execute(COUNT).scalar_one() == 0
        with database.write() as writing:
            writing.execute(TENANT, {"id": "one"})
        assert connection.execute(COUNT).scalar_one() == 0
    with database.read() as connection:
        assert connection.execute(COUNT).scalar_one() == 1


def test_references_are_enforced(database: Database) -> None:
    with pytest.raises(IntegrityError), database.write() as connection:
        connection.execute(
            text("INSERT INTO principals (id, tenant_id, name, role, created_at_us) VALUES ('p', 'none', 'p', 'x', 0)")
        )


def test_sixteen_threads_write_and_read_without_losing_anything(
    database: Database, together: Callable[..., list[object]]
) -> None:
    def work(thread: int) -> None:
        for turn in range(5):
            with database.write() as connection:
                connection.execute(TENANT, {"id": f"{thread}-{turn}"})
            with database.read() as connection:
                connection.execute(COUNT).scalar_one()

    assert together([lambda thread=thread: work(thread) for thread in range(16)]) == [None] * 16
    with database.read() as connection:
        assert connection.execute(COUNT).scalar_one() == 16 * 5


def test_the_clock_is_wall_time_in_microseconds(database: Database) -> None:
    before_us = time.time_ns() // 1000
    with database.read() as connection:
        read_us = now_us(connection)
    assert before_us - 2000 <= read_us <= time.time_ns() // 1000 + 2000


def test_the_clock_goes_on_within_a_transaction(database: Database) -> None:
    with database.write() as connection:
        first = now_us(connection)
        threading.Event().wait(0.01)
        assert now_us(connection) > first


def test_a_lock_held_by_another_process_for_too_long_is_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "BUSY_TIMEOUT_S", 0.05)
    database = Database.open(f"sqlite:///{tmp_path / 'busy.db'}")
    with database.write():
        pass
    other = sqlite3.connect(tmp_path / "busy.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseBusy), database.write():
        pass
    other.execute("ROLLBACK")
    with database.write(), pytest.raises(DatabaseBusy), database.write():  # one of this process waits in the pool
        pass
    other.close()
    database.close()


@pytest.mark.parametrize(("durable", "synchronous"), [(True, 2), (False, 0)])
def test_durability_on_sqlite_is_a_choice(tmp_path: Path, *, durable: bool, synchronous: int) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'some.db'}", durable=durable)
    with database.write() as connection:
        assert connection.execute(text("PRAGMA synchronous")).scalar_one() == synchronous
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
    database.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://localhost/qpu"])
def test_databases_that_would_not_work_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)sqlite"):
        Database.open(url)


def test_a_new_database_that_somebody_else_is_reading_is_opened_all_the_same(tmp_path: Path) -> None:
    """The switch to a write-ahead log fails at once while another process reads: another service that starts."""
    path = tmp_path / "new.db"
    reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    reader.execute("CREATE TABLE something (x)")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM something").fetchall()
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite3.connect(path, timeout=0).execute("PRAGMA journal_mode = WAL")
    threading.Timer(0.2, reader.execute, ["COMMIT"]).start()
    database = Database.open(f"sqlite:///{path}", durable=False)
    with database.write() as connection:
        assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
    database.close()
    reader.close()


def test_connections_that_the_server_closed_while_they_were_idle_are_replaced_unnoticed(
    postgres: PostgresServer, migrated_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_TRUSTED_IDLE_S", 0.0)
    database = Database.open(migrated_postgres, durable=False)
    with database.read() as one, database.read() as other, database.write() as writer:
        closed = [
            connection.execute(text("SELECT pg_backend_pid()")).scalar_one() for connection in (one, other, writer)
        ]
    for pid in closed:
        postgres.admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
    with database.write() as connection:
        connection.execute(TENANT, {"id": "one"})
    with database.read() as one, database.read() as other:
        assert [connection.execute(COUNT).scalar_one() for connection in (one, other)] == [1, 1]
        assert one.execute(text("SELECT pg_backend_pid()")).scalar_one() not in closed
    with database.write() as connection:
        connection.execute(text("DELETE FROM tenants"))
    database.close()
