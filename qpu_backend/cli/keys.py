"""``qpu key …``."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.table import Column, Table

from qpu_backend.cli.dates import life_us
from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, administration, console, keys, when
from qpu_backend.config import load_config
from qpu_backend.domain.audit import CLI
from qpu_backend.domain.tenancy import Role  # noqa: TC001 - typer reads annotations at run time
from qpu_backend.pipeline.clocks import SystemClock

_LONGEST_GRACE_HOURS: Final = 720
_LONGEST_NAME: Final = 128

key_app = typer.Typer(help="API keys: how a tenant's principals log in.", no_args_is_help=True)


def _life_days(days: float | None) -> float | None:
    if days is not None:
        life_us(days)
    return days


def _grace_hours(hours: float) -> float:
    if not 0 <= hours <= _LONGEST_GRACE_HOURS:
        raise typer.BadParameter(f"it must be 0 (at once) to {_LONGEST_GRACE_HOURS} hours")
    return hours


def _label(label: str) -> str:
    if len(label) > _LONGEST_NAME or not (label == "" or label.isprintable()):
        raise typer.BadParameter(f"it must be at most {_LONGEST_NAME} printable characters")
    return label


def principal_name(name: str) -> str:
    """A name that a principal can have.

    Raises:
        typer.BadParameter: it is none.
    """
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        raise typer.BadParameter(f"a principal's name has 1 to {_LONGEST_NAME} printable characters")
    return name


@key_app.command("create")
def create_key(
    tenant: str,
    principal: Annotated[
        str, typer.Option(callback=principal_name, help="Whose key; made if there is none of that name.")
    ] = "default",
    role: Annotated[Role | None, typer.Option(help="Of a new principal, a member without it.")] = None,
    expires_in_days: Annotated[
        float | None, typer.Option(callback=_life_days, help="More than 0; without it the key does not expire.")
    ] = None,
    label: Annotated[str, typer.Option(callback=_label, help="What it is for, or where it lives.")] = "",
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Make an API key. It is printed this once and stored nowhere."""
    expires_at_us = None if expires_in_days is None else SystemClock().now_us() + life_us(expires_in_days)
    with administration(load_config(config, data=data, database=database)) as office:
        key = office.create_key(
            tenant, principal=principal, role=role, expires_at_us=expires_at_us, label=label, actor=CLI
        )
    typer.echo(key)


@key_app.command("list")
def list_keys(tenant: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """A tenant's keys, without the keys."""
    # Only the principal folds: with everything else whole, a line fits 80 columns.
    table = Table(
        Column("id", no_wrap=True),
        Column("principal: label", overflow="fold"),
        Column("expires (UTC)", no_wrap=True),
        Column("revoked (UTC)", no_wrap=True),
        box=None,
        pad_edge=False,
    )
    with administration(load_config(config, data=data, database=database)) as office:
        for key, principal in office.keys(tenant):
            whose = f"{principal}: {key.label}" if key.label else principal
            table.add_row(key.id, escape(whose), when(key.expires_at_us), when(key.revoked_at_us))
    console.print(table)


@key_app.command("rotate")
def rotate_key(
    key_id: str,
    grace_hours: Annotated[
        float, typer.Option(callback=_grace_hours, help="For how long the old key goes on to work; 0: not at all.")
    ] = 24.0,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Replace a key by a new one, which is printed this once; it expires when the old one would have.

    A key is replaced once: again only after what came of it was revoked.
    """
    with keys(load_config(config, data=data, database=database)) as office:
        _, key = office.rotate(office.keeper_of(key_id, actor=CLI), key_id, grace_us=round(3.6e9 * grace_hours))
    typer.echo(key)


@key_app.command("revoke")
def revoke_key(
    key_id: str,
    keep_successors: Annotated[
        bool, typer.Option("--keep-successors", help="Not the keys that came of it by rotation.")
    ] = False,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Revoke a key by its id, and the keys that came of it by rotation; they stop within a second."""
    with keys(load_config(config, data=data, database=database)) as office:
        done = office.revoke(office.keeper_of(key_id, actor=CLI), key_id, keep_successors=keep_successors)
    if not (done.new or done.successors):
        console.print(f"[red]{escape(key_id)} is revoked already[/]")
        raise typer.Exit(1)
    console.print(f"{key_id} is revoked")
    for successor in done.successors:
        console.print(f"{successor}, which came of it, is revoked too")
