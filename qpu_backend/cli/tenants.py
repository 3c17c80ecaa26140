"""``qpu tenant …``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, administration, console
from qpu_backend.config import load_config
from qpu_backend.domain.audit import CLI
from qpu_backend.domain.quota import Resource, Window

if TYPE_CHECKING:
    from qpu_backend.config import ServiceConfig

_TENANT_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

tenant_app = typer.Typer(help="Tenants: who shares the devices.", no_args_is_help=True)


def _tenant_name(name: str) -> str:
    if _TENANT_NAME.fullmatch(name) is None:
        raise typer.BadParameter(f"{name!r} is no tenant's name: use 1 to 64 of the letters a-z and A-Z, digits, . _ -")
    return name


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
        tenant = office.create_tenant(name, weight=weight, max_queued_jobs=max_queued_jobs, limits=limits, actor=CLI)
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
        office.set_limit(name, resource, window, None if amount < 0 else amount, actor=CLI)
    console.print(f"{name}: {'no limit' if amount < 0 else amount} {resource.value} a {window.value}")


@tenant_app.command("disable")
def disable_tenant(name: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """Lock a tenant out, within a second. Its jobs, facts and keys stay; what is queued still runs."""
    _set_disabled(load_config(config, data=data, database=database), name, disabled=True)


@tenant_app.command("enable")
def enable_tenant(name: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """Let a tenant in again that was locked out."""
    _set_disabled(load_config(config, data=data, database=database), name, disabled=False)


def _set_disabled(config: ServiceConfig, name: str, *, disabled: bool) -> None:
    with administration(config) as office:
        changed = office.set_tenant_disabled(name, disabled=disabled, actor=CLI)
    word = "disabled" if disabled else "enabled"
    console.print(f"{name} is {word}" if changed else f"{name} was {word} already")


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
