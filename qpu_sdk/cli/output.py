"""What commands write: tables for people, and one JSON document for programs, with the keys of the HTTP API."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Column, Table

from qpu_sdk.cli.completion import complete_backend, complete_job

if TYPE_CHECKING:
    from collections.abc import Iterable

out: Final = Console()

Profile = Annotated[str, typer.Option(help="Profile of qpu login.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, and nothing else.")]
Backend = Annotated[str | None, typer.Option(help="Its name.", autocompletion=complete_backend)]
BackendName = Annotated[str, typer.Argument(help="Its name, e.g. eagle127:line-5.", autocompletion=complete_backend)]
JobId = Annotated[str, typer.Argument(help="Id of the job.", autocompletion=complete_job)]


def write_json(document: object) -> None:
    """One document, on one line."""
    sys.stdout.write(json.dumps(document, default=_plain) + "\n")
    sys.stdout.flush()


def write_error(code: str, message: str, **facts: Any) -> None:
    """An error as a document on stderr."""
    known = {name: value for name, value in facts.items() if value is not None}
    sys.stderr.write(json.dumps({"error": {"code": code, "message": message, **known}}) + "\n")


def write_table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """A table. Its first column names the row, and so is what one copies into the next command: it is never cut."""
    first, *others = columns
    table = Table(Column(first, no_wrap=True), *others, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(str(cell) for cell in row))
    out.print(table)


def credits_of(micro: int) -> str:
    """Money for people."""
    return f"{micro / 1e6:.6f}"


def _plain(value: object) -> object:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"{type(value).__name__} is not written as JSON")
