"""The operator's commands, mounted into ``qpu``: serve, migrate, tenant …, key …, for those who run a service."""

from __future__ import annotations

import os
import re
import socket
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from qpu_backend.bootstrap import SYSTEM, build, open_calibration, open_database, read_pepper
from qpu_backend.config import ServiceConfig, load_config
from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.tenancy import Role
from qpu_backend.physics.circuit import Op
from qpu_backend.pipeline.administration import Administration
from qpu_backend.pipeline.clocks import SystemClock
from qpu_backend.serving import HttpServer
from qpu_backend.stores.errors import StoreError
from qpu_backend.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from collections.abc import Generator

    from qpu_backend.physics.snapshot import Snapshot
    from qpu_backend.pipeline.calibration import Calibration
    from qpu_backend.stores.database import Database

ConfigFile = Annotated[Path | None, typer.Option("--config", help="TOML file; QPU_* variables override it.")]
DataFolder = Annotated[Path | None, typer.Option("--data", help="Folder of the service (database, pepper).")]
DatabaseUrl = Annotated[str | None, typer.Option("--database", help="SQLAlchemy URL; SQLite in the folder by default.")]

_TENANT_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LONGEST_LIFE_DAYS: Final = 36_500
_LONGEST_IDLE_HOURS: Final = 100_000

_console = Console()
tenant_app = typer.Typer(help="Tenants: who shares the devices.", no_args_is_help=True)
device_app = typer.Typer(help="Devices: what is shared.", no_args_is_help=True)
key_app = typer.Typer(help="API keys: how a tenant's principals log in.", no_args_is_help=True)


def _tenant_name(name: str) -> str:
    if _TENANT_NAME.fullmatch(name) is None:
        raise typer.BadParameter(f"{name!r} is no tenant's name: use 1 to 64 of the letters a-z and A-Z, digits, . _ -")
    return name


def _life_days(days: float | None) -> float | None:
    if days is not None and not 0 < days <= _LONGEST_LIFE_DAYS:
        raise typer.BadParameter(f"it must be more than 0 and at most {_LONGEST_LIFE_DAYS}; leave it out for no expiry")
    return days


def _idle_hours(hours: float) -> float:
    if not 0 < hours <= _LONGEST_IDLE_HOURS:
        raise typer.BadParameter(
            f"it must be more than 0 and at most {_LONGEST_IDLE_HOURS}; device time never goes back"
        )
    return hours


def mount(app: typer.Typer) -> None:
    """Add the operator's commands to the ``qpu`` command."""
    app.command()(serve)
    app.command()(migrate)
    app.add_typer(tenant_app, name="tenant")
    app.add_typer(key_app, name="key")
    app.add_typer(device_app, name="device")


def serve(
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; loopback by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Simulation processes.")] = None,
) -> None:
    """Run the service: HTTP, dispatch and simulation, until it is told to stop. SIGTERM drains."""
    settings = load_config(config, data=data, database=database, host=host, port=port, workers=workers)
    configure_logs(settings.log_level)
    listener = _listener(settings.host, settings.port)  # before anything starts: a taken port costs nobody a lease
    service = build(settings)
    service.start()
    try:
        HttpServer(service, announce=_say_where).run(sockets=[listener])
    finally:
        service.stop()


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        _console.print(f"[red]cannot listen on {host} port {port}: {why}; choose another --port[/]")
        raise typer.Exit(1) from error


def _say_where(address: tuple[str, int]) -> None:
    typer.echo(f"listening on http://{address[0]}:{address[1]}")


def migrate(config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """Bring the database to this release's schema. Safe to run again."""
    open_database(load_config(config, data=data, database=database)).close()
    _console.print("the database is at this release's schema")


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
    with _administration(load_config(config, data=data, database=database)) as administration:
        tenant = administration.create_tenant(name, weight=weight, max_queued_jobs=max_queued_jobs, limits=limits)
    _console.print(f"tenant [bold]{tenant.name}[/] ({tenant.id}), weight {tenant.weight}")


@tenant_app.command("list")
def list_tenants(config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """Every tenant."""
    table = Table("name", Column("id", no_wrap=True), "weight", "max queued", "disabled", box=SIMPLE_HEAD)
    with _administration(load_config(config, data=data, database=database)) as administration:
        for tenant in administration.tenants():
            disabled = "yes" if tenant.disabled else ""
            table.add_row(tenant.name, tenant.id, str(tenant.weight), str(tenant.max_queued_jobs), disabled)
    _console.print(table)


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
    with _administration(load_config(config, data=data, database=database)) as administration:
        administration.set_limit(name, resource, window, None if amount < 0 else amount)
    _console.print(f"{name}: {'no limit' if amount < 0 else amount} {resource.value} a {window.value}")


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
    with _administration(load_config(config, data=data, database=database)) as administration:
        key = administration.create_key(tenant, principal=principal, role=role, expires_at_us=expires_at_us)
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
    with _administration(load_config(config, data=data, database=database)) as administration:
        for key, principal in administration.keys(tenant):
            table.add_row(key.id, principal, _when(key.expires_at_us), _when(key.revoked_at_us))
    _console.print(table)


@key_app.command("revoke")
def revoke_key(key_id: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """Revoke a key by its id; it stops within a second."""
    with _administration(load_config(config, data=data, database=database)) as administration:
        done = administration.revoke_key(key_id)
    if not done:
        _console.print(f"[red]there is no valid key {key_id}[/]")
        raise typer.Exit(1)
    _console.print(f"{key_id} is revoked")


@device_app.command("list")
def list_devices(config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """Every device, its clock and its state."""
    table = Table("device", "state", "device time s", Column("calibration", no_wrap=True), box=SIMPLE_HEAD)
    with _administration(load_config(config, data=data, database=database)) as administration:
        for device in administration.devices():
            seconds = f"{device.device_time_us / 1e6:.1f}"
            table.add_row(device.id, device.status_msg, seconds, device.snapshot_id or "none")
    _console.print(table)


@device_app.command("pause")
def pause_device(
    device: str,
    why: Annotated[str, typer.Option(help="What tenants are told.")] = "paused by the operator",
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Start no further batch on a device; what runs ends, submissions go on."""
    with _administration(load_config(config, data=data, database=database)) as administration:
        administration.set_operational(device, operational=False, status_msg=why)
    _console.print(f"{device} is paused")


@device_app.command("resume")
def resume_device(
    device: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None
) -> None:
    """Serve a device's queue again."""
    with _administration(load_config(config, data=data, database=database)) as administration:
        administration.set_operational(device, operational=True, status_msg="active")
    _console.print(f"{device} is served again")


@device_app.command("calibrate")
def calibrate_device(
    device: str, config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None
) -> None:
    """Measure a device and publish the snapshot. Takes minutes of device time; a running service goes on meanwhile."""
    with _calibration(load_config(config, data=data, database=database), device) as calibration:
        attempt = calibration.calibrate(device)
    when = _device_time(attempt.row.device_time_us)
    if attempt.after is None:
        _console.print(f"[red]calibration of {device} failed at device time {when}: {attempt.row.failure}[/]")
        raise typer.Exit(1)
    table = Table("median", "before", "now", box=SIMPLE_HEAD)
    for (name, before), (_, now) in zip(_medians(attempt.before), _medians(attempt.after), strict=True):
        table.add_row(name, before, now)
    _console.print(table)
    taken = f"it took {attempt.row.device_us / 6e7:.1f} min"
    _console.print(
        f"{device}: calibration {attempt.after.number} ({attempt.row.snapshot_id}), device time {when}; {taken}"
    )


@device_app.command("history")
def device_history(
    device: str,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Calibrations of a device, failed ones too, newest first."""
    table = Table("number", "device time", "ended (UTC)", "calibration", box=None, pad_edge=False)
    with _calibration(load_config(config, data=data, database=database), device) as calibration:
        for row, number in calibration.history(device, limit=limit):
            of_failure = f"failed: {row.failure}"
            when = _device_time(row.device_time_us)
            table.add_row(str(number or ""), when, _when(row.ended_at_us), row.snapshot_id or of_failure)
    _console.print(table)


@device_app.command("pass")
def pass_device_time(
    device: str,
    hours: Annotated[float, typer.Option(callback=_idle_hours, help="Of device time; the device idles.")],
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Let a device idle: its clock moves on, it drifts, and its calibration ages. There is no way back."""
    with _calibration(load_config(config, data=data, database=database), device) as calibration:
        now_us = calibration.pass_time(device, round(3.6e9 * hours))
    _console.print(f"{device} is at device time {_device_time(now_us)}")


@contextmanager
def _opened(config: ServiceConfig) -> Generator[Database]:
    """A database for the length of one command; storage's refusals become one red line."""
    database = open_database(config)
    try:
        yield database
    except StoreError as error:
        _console.print(f"[red]{error}[/]")
        raise typer.Exit(1) from error
    finally:
        database.close()


@contextmanager
def _administration(config: ServiceConfig) -> Generator[Administration]:
    with _opened(config) as database:
        yield Administration(database, SYSTEM, read_pepper(config), SystemClock())


@contextmanager
def _calibration(config: ServiceConfig, device: str) -> Generator[Calibration]:
    with _opened(config) as database:
        yield open_calibration(config, database, device)


def _medians(snapshot: Snapshot) -> list[tuple[str, str]]:
    qubits = [snapshot.qubit(q) for q in snapshot.usable_qubits]
    two_qubit = [gate.error for (_, operands), gate in snapshot.gates.items() if len(operands) == 2]
    return [
        ("T1", f"{median(qubit.t1_us for qubit in qubits):.1f} µs"),
        ("T2", f"{median(qubit.t2_us for qubit in qubits):.1f} µs"),
        ("readout error", f"{median(qubit.readout_error for qubit in qubits):.2e}"),
        ("sx error", f"{median(snapshot.gate(Op.SX, (q,)).error for q in snapshot.usable_qubits):.2e}"),
        ("two-qubit error", f"{median(two_qubit):.2e}" if two_qubit else "none"),
        ("usable qubits, gates", f"{len(qubits)}, {len(two_qubit)}"),
    ]


def _device_time(us: int) -> str:
    days, rest = divmod(us // 1_000_000, 86_400)
    return f"{days} d {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


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


def _when(at_us: int | None) -> str:
    return "" if at_us is None else datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M")
