"""The operator's commands, mounted into ``qpu``: serve, migrate, tenant …, key …, for those who run a service."""

from __future__ import annotations

import typer

from qpu_backend.cli.archives import archive_app, retention_app
from qpu_backend.cli.audit import audit_app
from qpu_backend.cli.credits import refund, tenant_app
from qpu_backend.cli.invoices import invoice_app
from qpu_backend.cli.keys import key_app
from qpu_backend.cli.plans import plan_app
from qpu_backend.cli.prices import price_app
from qpu_backend.cli.principals import principal_app
from qpu_backend.cli.quarantine import device_app
from qpu_backend.cli.quotas import policy_app, quota_app
from qpu_backend.cli.reconcile import reconcile
from qpu_backend.cli.service import migrate, serve, work
from qpu_backend.cli.simulate import simulate


def mount(app: typer.Typer) -> None:
    """Add the operator's commands to the ``qpu`` command."""
    app.command()(serve)
    app.command()(work)
    app.command()(migrate)
    app.command()(simulate)
    app.add_typer(tenant_app, name="tenant")
    app.add_typer(principal_app, name="principal")
    app.add_typer(key_app, name="key")
    app.add_typer(quota_app, name="quota")
    app.add_typer(policy_app, name="policy")
    app.add_typer(device_app, name="device")
    app.add_typer(plan_app, name="plan")
    app.add_typer(audit_app, name="audit")
    app.add_typer(retention_app, name="retention")
    app.add_typer(archive_app, name="archive")
    app.add_typer(invoice_app, name="invoice")
    app.add_typer(price_app, name="price")
    _group(app, "usage").command()(reconcile)
    _group(app, "usage").command()(refund)


def _group(app: typer.Typer, name: str) -> typer.Typer:
    """The commands under a word that the client has commands under already, or may have."""
    for group in app.registered_groups:
        if group.name == name and group.typer_instance is not None:
            return group.typer_instance
    new = typer.Typer(help="What was used.", no_args_is_help=True)
    app.add_typer(new, name=name)
    return new
