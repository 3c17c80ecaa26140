"""``qpu usage reconcile``: whether the books agree; exit code 1 where they do not."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, console, reconciling
from qpu_backend.config import load_config
from qpu_backend.http.reconciliation import reconciliation_report


def reconcile(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Compare batches, jobs, usage, postings, quotas and invoices; exit 1 and name every difference."""
    with reconciling(load_config(config, data=data, database=database)) as office:
        report = office.reconcile()
    if as_json:
        typer.echo(reconciliation_report(report).model_dump_json(indent=2))
    else:
        for finding in report.findings:
            console.print(f"[red]{finding.kind}[/] {escape(finding.sentence)}", soft_wrap=True, highlight=False)
        seen = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in report.compared.items())
        unnamed = sum(report.counts.values()) - len(report.findings)
        more = f" ({unnamed} more are counted, not named)" if unnamed else ""
        console.print(f"{sum(report.counts.values())} differences{more} among {seen}", soft_wrap=True, highlight=False)
    if not report.clean:
        raise typer.Exit(1)
