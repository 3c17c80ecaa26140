"""What all commands hang on, and the one place where an error becomes a line, or a JSON document, and an exit code."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape

from qpu_sdk.cli.output import write_error
from qpu_sdk.errors import QPUError

if TYPE_CHECKING:
    from collections.abc import Sequence

app = typer.Typer(
    name="qpu", help="Use a shared quantum processor.", no_args_is_help=True, pretty_exceptions_enable=False
)


def main() -> None:
    """Entry point of ``qpu``: commands of the client, those of an installed server, and errors as one line."""
    mount_commands()
    if _wants_json(sys.argv[1:]):
        sys.exit(_run_for_a_program())
    try:
        app()
    except QPUError as error:
        line = f"[bold red]{error.code}[/]: {escape(error.message)}"
        Console(stderr=True).print(line, highlight=False, soft_wrap=True)
        sys.exit(1)


@cache
def mount_commands() -> None:
    """Add the commands that other installed packages announce, once."""
    for point in entry_points(group="qpu_sdk.commands"):
        try:
            mount: Any = point.load()
        except ModuleNotFoundError as error:  # announced, but its dependencies are an extra that is not installed
            _mount_missing(point.name, error)
        else:
            mount(app)


def _wants_json(arguments: Sequence[str]) -> bool:
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in before


def _run_for_a_program() -> int:
    """The same for who reads JSON: an error is a document on stderr, also one of how the command was called."""
    try:
        code: Any = app(standalone_mode=False)
    except QPUError as error:
        write_error(error.code, error.message, field=error.field, request_id=error.request_id)
        return 1
    except typer.Abort:
        write_error("aborted", "nothing was done")
        return 1
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        told: Any = error  # how typer says that a command is called wrongly; where its class lives changed
        write_error("usage", told.format_message())
        return int(told.exit_code)
    return code if isinstance(code, int) else 0


def _mount_missing(name: str, error: ModuleNotFoundError) -> None:
    reason = str(error)

    def explain() -> None:
        raise QPUError(f'commands of the {name} need more packages: pip install "qpu-sdk[server]" ({reason})')

    app.command(name, help='Not installed: pip install "qpu-sdk[server]".', hidden=True)(explain)
