"""``qpu serve`` and ``qpu migrate``."""

from __future__ import annotations

import os
import socket
from typing import Annotated

import typer

from qpu_backend.bootstrap import build, open_database
from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, console
from qpu_backend.config import load_config
from qpu_backend.serving import HttpServer
from qpu_backend.telemetry.logs import configure_logs


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
        console.print(f"[red]cannot listen on {host} port {port}: {why}; choose another --port[/]")
        raise typer.Exit(1) from error


def _say_where(address: tuple[str, int]) -> None:
    typer.echo(f"listening on http://{address[0]}:{address[1]}")


def migrate(config: ConfigFile = None, data: DataFolder = None, database: DatabaseUrl = None) -> None:
    """Bring the database to this release's schema. Safe to run again."""
    open_database(load_config(config, data=data, database=database)).close()
    console.print("the database is at this release's schema")
