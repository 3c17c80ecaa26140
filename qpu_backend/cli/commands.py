"""The operator's commands, mounted into ``qpu``: serve, migrate, tenant …, key …, for those who run a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpu_backend.cli.bookings import device_app
from qpu_backend.cli.plans import plan_app
from qpu_backend.cli.service import migrate, serve
from qpu_backend.cli.simulate import simulate
from qpu_backend.cli.tenants import key_app, tenant_app

if TYPE_CHECKING:
    import typer


def mount(app: typer.Typer) -> None:
    """Add the operator's commands to the ``qpu`` command."""
    app.command()(serve)
    app.command()(migrate)
    app.command()(simulate)
    app.add_typer(tenant_app, name="tenant")
    app.add_typer(key_app, name="key")
    app.add_typer(device_app, name="device")
    app.add_typer(plan_app, name="plan")
