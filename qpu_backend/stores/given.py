"""Many rows, or many keys, in one parameter: a JSON array that a statement reads as a table.

So a statement has one text however many rows it is given: it is compiled once, and PostgreSQL prepares it once.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import BigInteger, ColumnElement, Integer, Text, bindparam, literal_column, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import NullType

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Column, Insert, Subquery, Table
    from sqlalchemy.sql.compiler import SQLCompiler

ROWS: Final = "rows"
"""The parameter of :func:`given`."""


def given(table: Table, *names: str) -> Subquery:
    """Rows like those of a table, with the columns of these names, as a statement is given them in ``rows``."""
    source = _Given(literal_column(table.name), bindparam(ROWS, type_=Text())).table_valued("value", name="given")
    fields = [_Field(literal_column(name), type_=table.c[name].type).label(name) for name in names]
    return select(*fields).select_from(source).subquery("rows")


def put(insert: Insert, table: Table, *names: str) -> Insert:
    """An insert of the rows that it is given, in their order."""
    rows = select(given(table, *names)).where(literal_column("1") == literal_column("1"))
    return insert.from_select(list(names), rows)  # without a condition SQLite reads ON CONFLICT as part of a join


def given_rows(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The parameter of a statement that is given these rows."""
    return {ROWS: json.dumps(list(rows), separators=(",", ":"))}


def among(column: Column[Any], name: str) -> ColumnElement[bool]:
    """Whether a column of text or whole numbers is one of the values of a parameter; see :func:`listed`."""
    values = _Listed(bindparam(name, type_=Text()), type_=BigInteger() if _is_whole(column) else Text())
    return _Among(column, values)


def listed(values: Iterable[str | int]) -> str:
    """The parameter of :func:`among`."""
    return json.dumps(sorted(set(values)))  # pyright: ignore[reportArgumentType]


def _is_whole(column: Column[Any]) -> bool:
    return isinstance(column.type, Integer)


class _Given(FunctionElement[Any]):
    """The rows: of the type of a table, in the other parameter."""

    name = "given"
    inherit_cache = True


@compiles(_Given, "postgresql")
def _postgresql_given(element: _Given, compiler: SQLCompiler, **options: Any) -> str:
    table, rows = (compiler.process(clause, **options) for clause in element.clauses)
    return f"json_populate_recordset(CAST(NULL AS {table}), CAST({rows} AS JSON))"


@compiles(_Given, "sqlite")
def _sqlite_given(element: _Given, compiler: SQLCompiler, **options: Any) -> str:
    _, rows = (compiler.process(clause, **options) for clause in element.clauses)
    return f"json_each({rows})"


class _Field(FunctionElement[Any]):
    """A column of the rows."""

    name = "field"
    inherit_cache = True

    def __init__(self, column: ColumnElement[Any], type_: Any) -> None:
        super().__init__(column)
        self.type = type_


def _name_of(element: _Field) -> str:
    return str(next(iter(element.clauses)))


@compiles(_Field, "postgresql")
def _postgresql_field(element: _Field, compiler: SQLCompiler, **_: Any) -> str:
    return f"given.{compiler.preparer.quote(_name_of(element))}"


@compiles(_Field, "sqlite")
def _sqlite_field(element: _Field, _compiler: SQLCompiler, **_: Any) -> str:
    return f"(given.value ->> '{_name_of(element)}')"


class _Listed(FunctionElement[Any]):
    """The values of a parameter."""

    name = "listed"
    inherit_cache = True

    def __init__(self, values: ColumnElement[Any], type_: Any) -> None:
        super().__init__(values)
        self.type = type_


@compiles(_Listed, "postgresql")
def _postgresql_listed(element: _Listed, compiler: SQLCompiler, **options: Any) -> str:
    kind = compiler.dialect.type_compiler_instance.process(element.type)
    values = compiler.process(element.clauses, **options)
    return f"ANY(ARRAY(SELECT CAST(v AS {kind}) FROM json_array_elements_text(CAST({values} AS JSON)) AS v))"  # noqa: S608


@compiles(_Listed, "sqlite")
def _sqlite_listed(element: _Listed, compiler: SQLCompiler, **options: Any) -> str:
    return f"(SELECT value FROM json_each({compiler.process(element.clauses, **options)}))"  # noqa: S608


class _Among(FunctionElement[Any]):
    """A column, and the values. Of no type: SQLite would be asked whether a Boolean is 1, and use no index."""

    name = "among"
    inherit_cache = True
    type = NullType()


@compiles(_Among, "postgresql")
def _postgresql_among(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} = {values}"


@compiles(_Among, "sqlite")
def _sqlite_among(element: _Among, compiler: SQLCompiler, **options: Any) -> str:
    column, values = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} IN {values}"
