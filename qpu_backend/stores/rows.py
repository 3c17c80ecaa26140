"""Tables ↔ frozen dataclasses: a row type's fields are columns, by name and in order; and many rows, read in parts."""

from __future__ import annotations

import operator
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement, Table

STREAMED: Final = {"yield_per": 1000}
"""How a statement is executed whose rows are too many to hold: so many of them at a time."""


def columns_of(row_type: type[Any], table: Table) -> tuple[ColumnElement[Any], ...]:
    """The table's columns that a row type names, in its order."""
    return tuple(table.c[field.name] for field in fields(row_type))


def parameters_of(row_type: type[Any]) -> Callable[[Any], dict[str, Any]]:
    """A function that turns a value into the parameters of an insert: its fields, by name."""
    names = [field.name for field in fields(row_type)]
    read = operator.attrgetter(*names)
    return lambda value: dict(zip(names, read(value), strict=True))
