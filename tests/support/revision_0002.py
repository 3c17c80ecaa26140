"""A database as the release before revision 0003 left it, in the middle of its work: see ``tests/stores/fixtures``."""

from __future__ import annotations

import gzip
import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from sqlalchemy import JSON, Boolean, MetaData, create_engine, insert, select

from qpu_backend.stores.migrations import history

if TYPE_CHECKING:
    from sqlalchemy import Connection

_FIXTURES = Path(__file__).parents[1] / "stores" / "fixtures"

FACTS: dict[str, Any] = json.loads((_FIXTURES / "revision_0002.json").read_text(encoding="utf-8"))
"""What is in it: ``ids`` and ``states`` of its jobs by what they are, ``shots`` of those that ran or would have."""

Rows = dict[str, list[dict[str, Any]]]


def restore(url: str, folder: Path) -> None:
    """Put it into an empty database.

    Args:
        url: of the database.
        folder: for scratch files.
    """
    filled = folder / "revision_0002.db"
    _create_tables(f"sqlite:///{filled}")
    script = gzip.decompress((_FIXTURES / "revision_0002.sql.gz").read_bytes()).decode()
    with sqlite3.connect(filled) as raw:
        raw.executescript(script)
    raw.close()
    _create_tables(url)
    source, destination = create_engine(f"sqlite:///{filled}"), create_engine(_driver(url))
    tables = MetaData()
    with source.connect() as reading, destination.begin() as writing:
        tables.reflect(writing)
        for table in tables.sorted_tables:
            if table.name == "alembic_version":
                continue
            for column in table.columns:
                if isinstance(column.type, JSON):
                    column.type.none_as_null = True
            names = ", ".join(f'"{column.name}"' for column in table.columns)
            rows = reading.exec_driver_sql(f"SELECT {names} FROM {table.name}").all()  # noqa: S608 - our own names
            if rows:
                writing.execute(insert(table), [_values(table, row) for row in rows])
    source.dispose()
    destination.dispose()


def read_everything(connection: Connection) -> Rows:
    """Every row of every table, in the order of its key."""
    tables = MetaData()
    tables.reflect(connection)
    return {
        table.name: [
            dict(row._mapping) for row in connection.execute(select(table).order_by(*table.primary_key.columns))
        ]
        for table in tables.sorted_tables
        if table.name != "alembic_version"
    }


def _create_tables(url: str) -> None:
    """The schema of revision 0002."""
    config = Config()
    config.set_main_option("script_location", str(Path(history.__file__).parent))
    engine = create_engine(_driver(url))
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    engine.dispose()


def _driver(url: str) -> str:
    return url.replace("postgresql:", "postgresql+psycopg:")


def _values(table: Any, row: Any) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for column, value in zip(table.columns, row, strict=True):
        if value is not None and isinstance(column.type, JSON):
            value = json.loads(value)  # noqa: PLW2901 - the same, as a database takes it
        if value is not None and isinstance(column.type, Boolean):
            value = bool(value)  # noqa: PLW2901
        values[column.name] = value
    return values
