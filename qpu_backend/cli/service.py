"""``qpu serve``, ``qpu work`` and ``qpu migrate``."""

from __future__ import annotations

import os
import socket
from typing import Annotated

import typer
from rich.markup import escape

from qpu_backend.bootstrap import build, open_database
from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, console
from qpu_backend.config import load_config
from qpu_backend.engines.cluster import ClusterRefused
from qpu_backend.engines.cluster_address import LOCAL, ClusterAddress
from qpu_backend.service import Roles
from qpu_backend.serving import HttpServer, Told
from qpu_backend.telemetry.logs import configure_logs


def _an_executor(address: str | None) -> str | None:
    if address not in {None, LOCAL}:
        try:
            ClusterAddress.parse(address or "")
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    return address


ExecutorAddress = Annotated[
    str | None,
    typer.Option(
        "--executor",
        callback=_an_executor,
        help="Where circuits are simulated: local, or a Dask cluster: dask://host:port here, dask+tls:// anywhere.",
    ),
]


def serve(
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; loopback by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    workers: Annotated[int | None, typer.Option(help="Simulation processes.")] = None,
    executor: ExecutorAddress = None,
    dispatch: Annotated[
        bool, typer.Option("--dispatch/--no-dispatch", help="Run jobs too, or leave that to `qpu work`.")
    ] = True,
) -> None:
    """Run the service: HTTP, dispatch and simulation, until it is told to stop. SIGTERM drains."""
    settings = load_config(
        config, data=data, database=database, host=host, port=port, workers=workers, executor=executor
    )
    configure_logs(settings.log_level)
    listener = _listener(settings.host, settings.port)  # before anything starts: a taken port costs nobody a lease
    try:
        service = build(settings, roles=Roles(works=dispatch))
    except ClusterRefused as error:
        console.print(f"[red]{escape(str(error))}[/]")
        raise typer.Exit(1) from error
    with Told(service):
        service.start()
        try:
            HttpServer(service, announce=_say_where).run(sockets=[listener])
        finally:
            service.stop()


def work(
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
    device: Annotated[list[str] | None, typer.Option(help="Only this device; may be repeated.")] = None,
    workers: Annotated[int | None, typer.Option(help="Simulation processes.")] = None,
    executor: ExecutorAddress = None,
) -> None:
    """Run the jobs that other processes take (`qpu serve --no-dispatch`), or stand by for it. SIGTERM drains.

    Of several such processes one works on a device at a time; the others take over when it ends.
    """
    settings = load_config(config, data=data, database=database, workers=workers, executor=executor)
    unknown = sorted(set(device or ()) - settings.devices.keys())
    if unknown:
        there = ", ".join(settings.devices)
        console.print(f"[red]there is no device {escape(repr(unknown[0]))} in the configuration; there are {there}[/]")
        raise typer.Exit(1)
    configure_logs(settings.log_level)
    try:
        service = build(settings, roles=Roles(answers=False, devices=frozenset(device) if device else None))
    except ClusterRefused as error:
        console.print(f"[red]{escape(str(error))}[/]")
        raise typer.Exit(1) from error
    with Told(service) as told:
        service.start()
        try:
            typer.echo(f"working on {', '.join(service.dispatchers)}")
            told.wait()
        finally:
            service.stop()


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        why = os.strerror(error.errno or 0)
        console.print(f"[red]cannot listen on {host} port {port}: {why}; choose another --port[/]")
        raise typer.Exit(1) from error


def _say_where(address: tuple[str, int]) -> None:
    typer.echo(f"listening on http://{address[0]}:{address[1]}")


def migrate(config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """Bring the database to this release's schema. Safe to run again."""
    open_database(load_config(config, data=data, database=database)).close()
    console.print("the database is at this release's schema")
