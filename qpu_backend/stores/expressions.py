"""The few places where SQLite and PostgreSQL use different words; every other statement is one text for both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Insert, Table, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

if TYPE_CHECKING:
    from sqlalchemy.sql.compiler import SQLCompiler


class DatabaseClock(FunctionElement[int]):
    """The database's wall clock, µs since 1970."""

    name = "database_clock"
    inherit_cache = True
    type = BigInteger()


@compiles(DatabaseClock, "sqlite")
def _sqlite_clock(_element: DatabaseClock, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000"


@compiles(DatabaseClock, "postgresql")
def _postgresql_clock(_element: DatabaseClock, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"


class ArrayElements(FunctionElement[str]):
    """The strings of a JSON array, as a table with the column ``value``."""

    name = "array_elements"
    inherit_cache = True
    type = Text()


@compiles(ArrayElements, "sqlite")
def _sqlite_elements(element: ArrayElements, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(ArrayElements, "postgresql")
def _postgresql_elements(element: ArrayElements, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array_elements_text({compiler.process(element.clauses, **options)})"


class InsertIgnoring(Insert):
    """``INSERT … ON CONFLICT DO NOTHING``."""

    inherit_cache = True


@compiles(InsertIgnoring)
def _insert_ignoring(element: InsertIgnoring, compiler: SQLCompiler, **options: Any) -> str:
    insert = str(compiler.visit_insert(element, **options))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    before, returning, columns = insert.partition(" RETURNING ")
    return f"{before} ON CONFLICT DO NOTHING{returning}{columns}"


def insert_ignoring(table: Table) -> Insert:
    """An insert that leaves an existing row as it is; its row count says how many rows were new."""
    return InsertIgnoring(table)
