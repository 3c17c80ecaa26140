"""``qpu audit …``: who did what to whom, and whether the log still is what was written."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from qpu_backend.cli.dates import moment_us, seconds
from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, auditor, console
from qpu_backend.config import load_config
from qpu_backend.pipeline.audit_heads import HeadFile
from qpu_backend.stores.audit import Search

if TYPE_CHECKING:
    from qpu_backend.pipeline.auditing import Verification
    from qpu_backend.stores.audit import AuditRow

audit_app = typer.Typer(help="The audit log: who did what to whom.", no_args_is_help=True)

HeadFiles = Annotated[
    list[Path] | None, typer.Option(help="File of signed heads; of every machine that seals. By default this one's.")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]


@audit_app.command("verify")
def verify_audit(
    heads: HeadFiles = None,
    unsealed_s: Annotated[
        float, typer.Option(callback=seconds, help="A row that waits longer to be sealed is a finding.")
    ] = 60.0,
    as_json: AsJson = False,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Check every row of the audit log; exit 1 if one was changed, removed, inserted, moved or cut off."""
    settings = load_config(config, data=data, database=database)
    files = heads or [settings.audit_heads_file]
    for file in heads or ():
        if not file.is_file():
            raise typer.BadParameter(f"there is no file {file}", param_hint="--heads")
    with auditor(settings) as office:
        found = office.verify([HeadFile(file) for file in files], unsealed_limit_us=round(1e6 * unsealed_s))
    if as_json:
        typer.echo(json.dumps(_document(found)))
    else:
        for finding in found.findings:
            console.print(f"[red]{finding.kind.value}: {escape(finding.message)}[/]", soft_wrap=True, highlight=False)
        whole = "nobody touched it" if found.clean else f"findings: {len(found.findings)}"
        console.print(f"{found.rows} rows, {found.heads} heads, {found.unsealed} not sealed yet: {whole}")
    if not found.clean:
        raise typer.Exit(1)


@audit_app.command("list")
def list_audit(
    tenant: Annotated[str | None, typer.Option(help="Name of a tenant: its matters only.")] = None,
    action: Annotated[str | None, typer.Option(help="key.created, or key for every key.….")] = None,
    since: Annotated[str | None, typer.Option(help="A day or a moment; UTC by default.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 20,
    as_json: AsJson = False,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """What was done, newest first."""
    since_us = None if since is None else moment_us(since)
    with auditor(load_config(config, data=data, database=database)) as office:
        tenant_id = None if tenant is None else office.tenant_id(tenant)
        rows, _ = office.rows(Search(tenant_id, action, since_us), limit=limit)
    if as_json:
        typer.echo(json.dumps([_row(row) for row in rows]))
        return
    for row in rows:
        entry, facts = row.entry, json.dumps(row.entry.facts, ensure_ascii=False)
        moment = datetime.fromtimestamp(entry.at_us / 1e6, UTC).strftime("%Y-%m-%d %H:%M:%S")
        line = f"{row.number or '-':>6}  {moment}  {entry.actor}  {entry.action}  {entry.subject}  {facts}"
        console.print(escape(line), soft_wrap=True, highlight=False)


def _document(found: Verification) -> dict[str, object]:
    return {
        "clean": found.clean,
        "rows": found.rows,
        "heads": found.heads,
        "unsealed": found.unsealed,
        "findings": [
            {"kind": one.kind, "number": one.number, "last": one.last, "id": one.entry_id, "message": one.message}
            for one in found.findings
        ],
    }


def _row(row: AuditRow) -> dict[str, object]:
    entry = row.entry
    return {
        "id": entry.id,
        "at_us": entry.at_us,
        "actor": entry.actor,
        "tenant_id": entry.tenant_id,
        "action": entry.action,
        "subject": entry.subject,
        "facts": entry.facts,
        "number": row.number,
        "seal": row.seal,
    }
