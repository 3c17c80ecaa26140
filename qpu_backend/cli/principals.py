"""``qpu principal …``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Column, Table

from qpu_backend.cli.keys import principal_name
from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, console, keys, principals
from qpu_backend.config import load_config
from qpu_backend.domain.audit import CLI
from qpu_backend.domain.tenancy import Role

if TYPE_CHECKING:
    from qpu_backend.config import ServiceConfig

principal_app = typer.Typer(help="Principals: the people and programs of a tenant.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(callback=principal_name)]


@principal_app.command("create")
def create_principal(
    tenant: str,
    name: Name,
    role: Annotated[Role, typer.Option(help="What it may do.")] = Role.MEMBER,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Make a principal, without a key. Its first: `qpu key create TENANT --principal NAME`."""
    with principals(load_config(config, data=data, database=database)) as office:
        row = office.create(office.keeper(tenant, actor=CLI), name, role)
    console.print(f"{escape(name)} ({row.id}) has the role {role} in {tenant}")


@principal_app.command("list")
def list_principals(
    tenant: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None
) -> None:
    """A tenant's principals."""
    table = Table(
        Column("id", no_wrap=True),
        Column("name", overflow="fold"),
        Column("role", no_wrap=True),
        Column("disabled", no_wrap=True),
        box=None,
        pad_edge=False,
    )
    with principals(load_config(config, data=data, database=database)) as office:
        keeper = office.keeper(tenant, actor=CLI)
        cursor = None
        while True:
            rows, cursor = office.page(keeper, cursor=cursor)
            for row in rows:
                table.add_row(row.id, escape(row.name), row.role, "yes" if row.disabled else "")
            if cursor is None:
                break
    console.print(table)


@principal_app.command("disable")
def disable_principal(
    tenant: str, name: Name, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None
) -> None:
    """Lock a principal out, within a second. Its jobs and keys stay; what is queued still runs."""
    _change(load_config(config, data=data, database=database), tenant, name, disabled=True)
    console.print(f"{escape(name)} of {tenant} is disabled")


@principal_app.command("enable")
def enable_principal(
    tenant: str, name: Name, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None
) -> None:
    """Let a principal in again that was locked out."""
    _change(load_config(config, data=data, database=database), tenant, name, disabled=False)
    console.print(f"{escape(name)} of {tenant} is enabled")


@principal_app.command("role")
def change_role(
    tenant: str,
    name: Name,
    role: Role,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Give a principal another role; within a second, for all of its keys."""
    _change(load_config(config, data=data, database=database), tenant, name, role=role)
    console.print(f"{escape(name)} has the role {role} in {tenant}")


@principal_app.command("revoke")
def revoke_keys(
    tenant: str, name: Name, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None
) -> None:
    """Revoke every key of a principal; they stop within a second."""
    settings = load_config(config, data=data, database=database)
    with principals(settings) as office:
        keeper = office.keeper(tenant, actor=CLI)
        principal_id = office.named(keeper, name).id
    with keys(settings) as desk:
        closed = desk.revoke_all(keeper, principal_id)
    console.print(f"{closed} keys of {escape(name)} are revoked")


def _change(
    config: ServiceConfig, tenant: str, name: str, *, role: Role | None = None, disabled: bool | None = None
) -> None:
    with principals(config) as office:
        keeper = office.keeper(tenant, actor=CLI)
        office.change(keeper, office.named(keeper, name).id, role=role, disabled=disabled)
