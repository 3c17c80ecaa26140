"""``qpu quota …`` and ``qpu policy …``: what a tenant, and each of its principals, may use and ask for."""

from __future__ import annotations

from typing import Annotated, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Column, Table

from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, administration, console
from qpu_backend.config import load_config
from qpu_backend.domain.audit import CLI
from qpu_backend.domain.policies import LISTS, NOT_LIMITED, POLICY_FIELDS
from qpu_backend.domain.quota import Resource, Window  # noqa: TC001 - typer reads annotations at run time

quota_app = typer.Typer(
    help="Quotas: what a tenant or one of its principals may use in an hour, a day or a month.", no_args_is_help=True
)
policy_app = typer.Typer(
    help="Policies: queue, running jobs, size of jobs, rate, lanes, isolation and slices.", no_args_is_help=True
)

_EVERYBODY: Final = "(all)"

Principal = Annotated[
    str | None, typer.Option(help="Name of the principal whose own limit it is; without it, the tenant as a whole.")
]
Field = Annotated[str, typer.Argument(help=f"One of {', '.join(POLICY_FIELDS)}.")]


@quota_app.command("set")
def set_quota(
    tenant: str,
    resource: Resource,
    window: Window,
    amount: Annotated[int, typer.Argument(min=0, help="Of every window.")],
    principal: Principal = None,
    burst: Annotated[int, typer.Option(min=0, help="What a window may take over from the one before.")] = 0,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Limit what may be used in a window: `qpu quota set school shots day 100000 --principal ada`."""
    with administration(load_config(config, data=data, database=database)) as office:
        office.set_limit(tenant, resource, window, amount, principal=principal, burst=burst, actor=CLI)
    more = f", and up to {burst} that the {window.value} before left" if burst else ""
    console.print(f"{_whose(tenant, principal)}: {amount} {resource.value} a {window.value}{more}")


@quota_app.command("lift")
def lift_quota(
    tenant: str,
    resource: Resource,
    window: Window,
    principal: Principal = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Lift a limit; what is used goes on being counted under the others."""
    with administration(load_config(config, data=data, database=database)) as office:
        office.set_limit(tenant, resource, window, None, principal=principal, actor=CLI)
    console.print(f"{_whose(tenant, principal)}: no limit of {resource.value} a {window.value}")


@quota_app.command("show")
def show_quotas(tenant: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """The quotas of a tenant and of its principals in the windows of now: free + reserved + spent = limit."""
    table = Table(Column("whose", overflow="fold"), Column("quota", no_wrap=True), "per", box=None, pad_edge=False)
    for name in ("limit", "carried", "reserved", "spent", "free"):
        table.add_column(name, justify="right", no_wrap=True)
    with administration(load_config(config, data=data, database=database)) as office:
        lines = office.limits(tenant)
    if not lines:
        console.print(f"{escape(tenant)}: nothing is limited")
        return
    for owner, line in lines:
        amounts = (line.limit, line.carried, line.reserved, line.spent, line.free)
        table.add_row(_EVERYBODY if owner is None else escape(owner), line.resource, line.window, *map(str, amounts))
    console.print(table)


@policy_app.command("set")
def set_policy(
    tenant: str,
    field: Field,
    values: Annotated[
        list[str], typer.Argument(help="A number; for lanes, isolation and slices the names that are open.")
    ],
    principal: Principal = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Limit what may be asked for: `qpu policy set school max_running_jobs 2`, `… lanes standard --principal ada`."""
    name = field.replace("-", "_")
    value = _names(values) if name in LISTS else _number(name, values)
    with administration(load_config(config, data=data, database=database)) as office:
        office.set_policy(tenant, name, value, principal=principal, actor=CLI)
    console.print(f"{_whose(tenant, principal)}: {name} {escape(_shown(value))}")


@policy_app.command("clear")
def clear_policy(
    tenant: str,
    field: Field,
    principal: Principal = None,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Lift one limit of a policy."""
    name = field.replace("-", "_")
    with administration(load_config(config, data=data, database=database)) as office:
        policy = office.set_policy(tenant, name, None, principal=principal, actor=CLI)
    console.print(f"{_whose(tenant, principal)}: {name} {_shown(getattr(policy, name))}")


@policy_app.command("show")
def show_policies(
    tenant: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None
) -> None:
    """What limits a tenant, and those of its principals that have limits of their own."""
    table = Table(Column("whose", overflow="fold"), "field", Column("value", overflow="fold"), box=SIMPLE_HEAD)
    with administration(load_config(config, data=data, database=database)) as office:
        found = office.policies(tenant)
    for owner, policy in found.items():
        for name in POLICY_FIELDS:
            if (value := getattr(policy, name)) != getattr(NOT_LIMITED, name):
                table.add_row(_EVERYBODY if owner is None else escape(owner), name, escape(_shown(value)))
    console.print(table)


def _whose(tenant: str, principal: str | None) -> str:
    return escape(tenant if principal is None else f"{principal} of {tenant}")


def _shown(value: int | tuple[str, ...] | None) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "none"
    return "not limited" if value is None else str(value)


def _names(values: list[str]) -> tuple[str, ...]:
    """The names, in however many words; the word `none` alone is no name at all."""
    return () if values == ["none"] else tuple(name for value in values for name in value.split(",") if name)


def _number(field: str, values: list[str]) -> int:
    if len(values) != 1 or not values[0].isascii() or not values[0].removeprefix("-").isdigit():
        raise typer.BadParameter(f"{field} is one whole number, not {' '.join(values)!r}")
    return int(values[0])
