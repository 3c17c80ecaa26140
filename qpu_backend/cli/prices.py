"""``qpu price …``: price books, dated and never changed."""

from __future__ import annotations

import tomllib
from contextlib import contextmanager
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.markup import escape

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.cli.dates import moment_us
from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, console, opened, when
from qpu_backend.config import PriceSection, load_config
from qpu_backend.domain.audit import CLI
from qpu_backend.pipeline.clocks import SystemClock
from qpu_backend.pipeline.price_books import PriceBooks
from qpu_backend.policies import price_book

if TYPE_CHECKING:
    from collections.abc import Generator

    from qpu_backend.config import ServiceConfig
    from qpu_backend.domain.pricing import PriceBook

price_app = typer.Typer(help="Price books: what a job costs, from when on.", no_args_is_help=True)


@contextmanager
def _books(config: ServiceConfig) -> Generator[PriceBooks]:
    with opened(config) as database:
        yield PriceBooks(database, SYSTEM, SystemClock(), config.lanes)


@price_app.command("list")
def list_prices(config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """Every price book, oldest first."""
    with _books(load_config(config, data=data, database=database)) as books:
        found = books.prices()
    for dated, state in (
        *((one, "was in force") for one in found.past),
        (found.current, "in force"),
        *((one, "announced") for one in found.announced),
    ):
        since = "from the start" if dated.valid_from_us == 0 else f"from {when(dated.valid_from_us)} UTC"
        console.print(f"[bold]{escape(dated.book.id)}[/]  {since}  {state}", soft_wrap=True)


@price_app.command("show")
def show_price(
    name: Annotated[str | None, typer.Argument(help="The one in force by default.")] = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """The rates of a price book, in the form in which `qpu price publish` reads them."""
    with _books(load_config(config, data=data, database=database)) as books:
        found = books.prices()
    for dated in (*found.past, found.current, *found.announced):
        if dated.book.id == (name or found.current.book.id):
            typer.echo(_as_toml(dated.book))
            return
    console.print(f"[red]there is no price book {escape(repr(name))}; `qpu price list` names them[/]")
    raise typer.Exit(1)


@price_app.command("publish")
def publish_price(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="TOML with a table [prices].")],
    valid_from: Annotated[
        str, typer.Option(help="A moment to come: 2027-01-01 (midnight, UTC), or 2027-01-01T08:00+01:00.")
    ],
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Announce a price book. What was submitted, or quoted and not expired, before keeps its price."""
    book, valid_from_us = _read_book(file), moment_us(valid_from, zone_needed=True)
    with _books(load_config(config, data=data, database=database)) as books:
        dated = books.publish(book, valid_from_us=valid_from_us, actor=CLI)
    console.print(f"price book [bold]{escape(book.id)}[/] is in force from {when(dated.valid_from_us)} UTC")


def _read_book(file: Path) -> PriceBook:
    try:
        table: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))["prices"]
        section = PriceSection.model_validate(table)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise typer.BadParameter(f"{file} is no TOML: {error}") from error
    except KeyError as error:
        raise typer.BadParameter(f"{file} has no table [prices]") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(("prices", *map(str, first["loc"])))
        raise typer.BadParameter(f"{file}: {where}: {first['msg']}") from error
    if missing := [name for name in ("name", *_NEEDED) if name not in table]:
        raise typer.BadParameter(f"{file}: prices.{missing[0]} is missing; nothing is guessed of a price")
    return price_book(section)


def _as_toml(book: PriceBook) -> str:
    rates = book.rates()
    lanes = rates.pop("lane_percent")
    lines = ["[prices]", f'name = "{book.id}"', *(f"{name} = {value}" for name, value in rates.items())]
    if lanes:
        lines += ["", "[prices.lane_percent]", *(f'"{lane}" = {percent}' for lane, percent in sorted(lanes.items()))]
    return "\n".join(lines)


_NEEDED = ("per_shot_micro", "per_device_second_micro", "per_qubit_second_micro", "minimum_micro")
