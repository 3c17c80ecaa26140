"""The schema's history: it ends at the tables in schema.py, moves forward only, and refuses what it does not know."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from qpu_backend.stores.database import Database
from qpu_backend.stores.errors import SchemaMissing, SchemaTooNew
from qpu_backend.stores.migrations import history
from qpu_backend.stores.schema_money import metadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from tests.conftest import PostgresServer


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    database = Database.open(empty_url, durable=False)
    yield database
    database.close()


def test_the_migrated_schema_is_the_one_in_the_code(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []


def test_checks_and_indexes_are_those_of_the_code_to_the_letter_on_sqlite(
    migrated_sqlite: Path, tmp_path: Path
) -> None:
    made = create_engine(f"sqlite:///{tmp_path / 'made.db'}")
    migrated = create_engine(f"sqlite:///{migrated_sqlite}")
    metadata.create_all(made)
    with made.connect() as one, migrated.connect() as other:
        assert _sqlite_definitions(one) == _sqlite_definitions(other)
    made.dispose()
    migrated.dispose()


def test_checks_and_indexes_are_those_of_the_code_to_the_letter_on_postgresql(
    postgres: PostgresServer, migrated_postgres: str
) -> None:
    name = postgres.new_database()
    made = create_engine(postgres.url(name).replace("postgresql:", "postgresql+psycopg:"))
    migrated = create_engine(migrated_postgres.replace("postgresql:", "postgresql+psycopg:"))
    metadata.create_all(made)
    with made.connect() as one, migrated.connect() as other:
        assert _postgres_definitions(one) == _postgres_definitions(other)
    made.dispose()
    migrated.dispose()
    postgres.drop(name)


def test_every_revision_is_listed_in_its_order() -> None:
    script = ScriptDirectory(str(Path(history.__file__).parent))
    found = [revision.revision for revision in script.walk_revisions()]
    assert tuple(reversed(found)) == history.REVISIONS


def test_migrating_twice_changes_nothing(empty: Database) -> None:
    history.migrate(empty)
    with empty.write() as connection:
        connection.execute(text("INSERT INTO tenants (id, name, created_at_us) VALUES ('ten_1', 'a', 0)"))
    history.migrate(empty)
    with empty.read() as connection:
        history.require_current(connection)
        assert connection.execute(text("SELECT count(*) FROM tenants")).scalar_one() == 1


MIGRATE = """
import sys
from qpu_backend.stores.migrations import history
from qpu_backend.stores.database import Database
import alembic.command
database = Database.open(sys.argv[1], durable=False)
print("ready", flush=True)
sys.stdin.readline()
history.migrate(database)
database.close()
"""


def test_several_processes_may_migrate_at_once(empty_url: str, empty: Database) -> None:
    command = [sys.executable, "-c", MIGRATE, empty_url]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(3)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate()
    assert [process.returncode for process in processes] == [0, 0, 0]
    with empty.read() as connection:
        history.require_current(connection)


def test_several_databases_may_be_migrated_at_once(tmp_path: Path, together: Callable[..., list[object]]) -> None:
    databases = [Database.open(f"sqlite:///{tmp_path / str(number)}.db", durable=False) for number in range(4)]
    assert together([lambda each=each: history.migrate(each) for each in databases]) == [None] * 4
    for each in databases:
        with each.read() as connection:
            history.require_current(connection)
        each.close()


def test_a_database_of_a_newer_release_is_refused_and_left_alone(empty: Database) -> None:
    history.migrate(empty)
    with empty.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaTooNew) as refusal:
        history.migrate(empty)
    assert refusal.value.found == "9999"
    with empty.read() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_an_empty_database_is_not_current(empty: Database) -> None:
    with empty.read() as connection, pytest.raises(SchemaMissing) as refusal:
        history.require_current(connection)
    assert refusal.value.found is None


def _sqlite_definitions(connection: Connection) -> set[str]:
    rows = connection.execute(
        text("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND tbl_name <> 'alembic_version'")
    )
    # Columns and constraints may be written in another order, and names of tables in quotes.
    return {" ".join(sorted(_lines(sql))) for (sql,) in rows}


def _lines(sql: str) -> Iterator[str]:
    body = sql.replace('"', "").rstrip()
    added = re.sub(r"\n?, (\w+ (?:TEXT|INTEGER|BIGINT|BOOLEAN|JSON)\b)", r"\n\1", body.removesuffix(")") + "\n)")
    return (stripped for line in added.splitlines() if (stripped := line.strip(" ,\t")))


def _postgres_definitions(connection: Connection) -> set[tuple[str, ...]]:
    constraints = connection.execute(
        text(
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid > 0"
        )
    )
    indexes = connection.execute(text("SELECT tablename, indexname, indexdef FROM pg_indexes"))
    rows = [*constraints, *indexes]
    return {tuple(row) for row in rows if "alembic_version" not in row[0] and not row[0].startswith("pg_")}
