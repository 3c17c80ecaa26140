"""``qpu tenant …`` and ``qpu key …``."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, administration, console, when
from qpu_backend.config import load_config
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.tenancy import Role

_TENANT_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST_LIFE_DAYS: Final = 36_500

tenant_app = typer.Typer(help="Tenants: who shares the devices.", no_args_is_help=True)
key_app = typer.Typer(help="API keys: how a tenant's principals log in.", no_args_is_help=True)


def _tenant_name(name: str) -> str:
    if _TENANT_NAME.fullmatch(name) is None:
        raise typer.BadParameter(f"{name!r} is no tenant's name: use 1 to 64 of the letters a-z and A-Z, digits, . _ -")
    return name


def _life_days(days: float | None) -> float | None:
    if days is not None and not 0 < days <= _LONGEST_LIFE_DAYS:
        raise typer.BadParameter(f"it must be more than 0 and at most {_LONGEST_LIFE_DAYS}; leave it out for no expiry")
    return days


@tenant_app.command("create")
def create_tenant(
    name: Annotated[str, typer.Argument(callback=_tenant_name, help="Up to 64 letters, digits, dots, _ and -.")],
    weight: Annotated[int, typer.Option(min=1, help="Share of a contended device, relative to others.")] = 100,
    shots_per_day: Annotated[int | None, typer.Option(min=0)] = None,
    device_seconds_per_day: Annotated[float | None, typer.Option(min=0)] = None,
    spend_micro_per_month: Annotated[int | None, typer.Option(min=0)] = None,
    max_queued_jobs: Annotated[int, typer.Option(min=1)] = 1000,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Make a tenant. Its first key: `qpu key create NAME`."""
    limits = _limits(shots_per_day, device_seconds_per_day, spend_micro_per_month)
    with administration(load_config(config, data=data, database=database)) as office:
        tenant = office.create_tenant(name, weight=weight, max_queued_jobs=max_queued_jobs, limits=limits)
    console.print(f"tenant [bold]{tenant.name}[/] ({tenant.id}), weight {tenant.weight}")


@tenant_app.command("list")
def list_tenants(config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """Every tenant."""
    table = Table("name", Column("id", no_wrap=True), "weight", "max queued", "disabled", box=SIMPLE_HEAD)
    with administration(load_config(config, data=data, database=database)) as office:
        for tenant in office.tenants():
            disabled = "yes" if tenant.disabled else ""
            table.add_row(tenant.name, tenant.id, str(tenant.weight), str(tenant.max_queued_jobs), disabled)
    console.print(table)


@tenant_app.command("limit")
def limit_tenant(
    name: str,
    resource: Resource,
    window: Window,
    amount: Annotated[int, typer.Argument(help="−1 lifts the limit.")],
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Limit what a tenant may use in a window: `qpu tenant limit alice shots day 100000`."""
    with administration(load_config(config, data=data, database=database)) as office:
        office.set_limit(name, resource, window, None if amount < 0 else amount)
    console.print(f"{name}: {'no limit' if amount < 0 else amount} {resource.value} a {window.value}")


@key_app.command("create")
def create_key(
    tenant: str,
    principal: Annotated[str, typer.Option(help="Whose key; made if there is none of that name.")] = "default",
    role: Annotated[Role, typer.Option(help="Of a new principal.")] = Role.MEMBER,
    expires_in_days: Annotated[
        float | None, typer.Option(callback=_life_days, help="More than 0; without it the key does not expire.")
    ] = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Make an API key. It is printed this once and stored nowhere."""
    expiry = None if expires_in_days is None else datetime.now(UTC) + timedelta(days=expires_in_days)
    expires_at_us = None if expiry is None else round(expiry.timestamp() * 1_000_000)
    with administration(load_config(config, data=data, database=database)) as office:
        key = office.create_key(tenant, principal=principal, role=role, expires_at_us=expires_at_us)
    typer.echo(key)


@key_app.command("list")
def list_keys(tenant: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """A tenant's keys, without the keys."""
    # Only the principal folds: with everything else whole, a line fits 80 columns.
    table = Table(
        Column("id", no_wrap=True),
        Column("principal", overflow="fold"),
        Column("expires (UTC)", no_wrap=True),
        Column("revoked (UTC)", no_wrap=True),
        box=None,
        pad_edge=False,
    )
    with administration(load_config(config, data=data, database=database)) as office:
        for key, principal in office.keys(tenant):
            table.add_row(key.id, principal, when(key.expires_at_us), when(key.revoked_at_us))
    console.print(table)


@key_app.command("revoke")
def revoke_key(key_id: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """Revoke a key by its id; it stops within a second."""
    with administration(load_config(config, data=data, database=database)) as office:
        done = office.revoke_key(key_id)
    if not done:
        console.print(f"[red]there is no valid key {key_id}[/]")
        raise typer.Exit(1)
    console.print(f"{key_id} is revoked")


def _limits(
    shots_per_day: int | None, device_seconds_per_day: float | None, spend_micro_per_month: int | None
) -> dict[tuple[Resource, Window], int]:
    asked = {
        (Resource.SHOTS, Window.DAY): shots_per_day,
        (Resource.DEVICE_US, Window.DAY): None
        if device_seconds_per_day is None
        else round(1e6 * device_seconds_per_day),
        (Resource.SPEND_MICRO, Window.MONTH): spend_micro_per_month,
    }
    return {key: amount for key, amount in asked.items() if amount is not None}
