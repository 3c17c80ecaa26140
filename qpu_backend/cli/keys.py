"""``qpu key …``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer
from rich.markup import escape
from rich.table import Column, Table

from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, administration, console, principals, when
from qpu_backend.config import load_config
from qpu_backend.domain.audit import CLI
from qpu_backend.domain.tenancy import Role  # noqa: TC001 - typer reads annotations at run time

_LONGEST_LIFE_DAYS: Final = 36_500
_LONGEST_GRACE_HOURS: Final = 720
_LONGEST_NAME: Final = 128

key_app = typer.Typer(help="API keys: how a tenant's principals log in.", no_args_is_help=True)


def _life_days(days: float | None) -> float | None:
    if days is not None and not 0 < days <= _LONGEST_LIFE_DAYS:
        raise typer.BadParameter(f"it must be more than 0 and at most {_LONGEST_LIFE_DAYS}; leave it out for no expiry")
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
    expiry = None if expires_in_days is None else datetime.now(UTC) + timedelta(days=expires_in_days)
    expires_at_us = None if expiry is None else round(expiry.timestamp() * 1_000_000)
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
    """Replace a key by a new one, which is printed this once; it expires when the old one would have."""
    with principals(load_config(config, data=data, database=database)) as office:
        _, key = office.rotate(office.keeper_of_key(key_id, actor=CLI), key_id, grace_us=round(3.6e9 * grace_hours))
    typer.echo(key)


@key_app.command("revoke")
def revoke_key(key_id: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """Revoke a key by its id; it stops within a second."""
    with administration(load_config(config, data=data, database=database)) as office:
        done = office.revoke_key(key_id, actor=CLI)
    if not done:
        console.print(f"[red]there is no valid key {escape(key_id)}[/]")
        raise typer.Exit(1)
    console.print(f"{key_id} is revoked")
