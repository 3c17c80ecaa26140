"""``qpu retention …`` and ``qpu archive …``: moving what belongs to old jobs out of the database, and reading it."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - typer reads annotations at run time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from qpu_backend.bootstrap import open_archivist
from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, console, opened, when
from qpu_backend.config import load_config
from qpu_backend.domain.audit import CLI
from qpu_backend.pipeline.archives import ArchiveBusy, ArchiveDamaged, read_archive
from qpu_backend.telemetry.logs import configure_logs

if TYPE_CHECKING:
    from qpu_backend.config import ServiceConfig
    from qpu_backend.pipeline.retention import Pass

retention_app = typer.Typer(help="How long results are kept.", no_args_is_help=True)
archive_app = typer.Typer(help="What has been moved out of the database.", no_args_is_help=True)


@retention_app.command("run")
def run_retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be archived.")] = False,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Archive now what the configuration's [retention] says is due; the service does so once an hour."""
    settings = load_config(config, data=data, database=database)
    if not settings.retention.rule().limited:
        console.print("everything is kept for ever: set results_days or records_days under \\[retention]")
        return
    configure_logs("error")
    try:
        with opened(settings, seals=not dry_run) as store:
            done = open_archivist(settings, store).run(actor=CLI, dry_run=dry_run)
    except (ArchiveBusy, OSError) as error:
        raise _told(error) from error
    console.print(_summary(done, settings, dry_run=dry_run), soft_wrap=True, highlight=False)
    if done.skipped:
        console.print(f"[red]{done.skipped} jobs have damaged bytes and were left as they are; see the log[/]")
        raise typer.Exit(1)


def _summary(done: Pass, settings: ServiceConfig, *, dry_run: bool) -> str:
    what = f"{done.jobs} jobs, and the execution records of {done.records} more"
    if dry_run:
        return f"{what}, would be archived into {escape(str(settings.archive_folder))}"
    if done.file is None:
        return "nothing is due"
    return f"{what}, were archived into {escape(str(done.file))}; {done.freed_bytes} bytes are free in the database"


@archive_app.command("show")
def show_archive(
    file: Annotated[Path, typer.Argument(help="An archive file, or the folder of them.")],
    job_id: Annotated[str, typer.Argument(help="Id of a job, or of a batch for what it was planned from.")],
    result: Annotated[Path | None, typer.Option(help="Write the result's bytes to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document, without the bytes.")] = False,
) -> None:
    """Read a job back from an archive. Every checksum on the way to it is verified."""
    try:
        found = [entry for entry in read_archive(file) if entry["id"] == job_id]
    except (ArchiveDamaged, OSError) as error:
        raise _told(error) from error
    if not found:
        console.print(f"[red]{escape(str(file))} holds nothing of {escape(job_id)}[/]")
        raise typer.Exit(1)
    if result is not None:
        _write_result(found, result, job_id)
    if as_json:
        sizes = [{**entry, "blobs": {sha: len(body) for sha, body in entry["blobs"].items()}} for entry in found]
        typer.echo(json.dumps(sizes, indent=2))
        return
    for entry in found:
        _show(entry)


def _write_result(found: list[dict[str, Any]], file: Path, job_id: str) -> None:
    for entry in found:
        for row in entry["rows"].get("jobs", ()):
            body = entry["blobs"].get(row["result_sha"])
            if body is not None:
                file.write_bytes(body)
                return
    console.print(f"[red]{escape(job_id)} has no result in this archive[/]")
    raise typer.Exit(1)


def _show(entry: dict[str, Any]) -> None:
    console.print(f"{entry['kind']} {entry['id']}, archived {when(entry['archived_at_us'])}", highlight=False)
    for row in entry["rows"].get("jobs", ()):
        told = f"{row['state']}, of {row['tenant_id']} on {row['backend']}, {row['shots']} shots, seed {row['seed']}"
        console.print(f"  {told}", highlight=False, soft_wrap=True)
    for row in entry["rows"].get("job_events", ()):
        console.print(f"  {row['seq']:>3} {when(row['at_us'])} {row['name']}", highlight=False)
    for row in entry["rows"].get("placements", ()):
        console.print(f"  leg {row['leg']} on {row['region']} in {row['batch_id']}", highlight=False, soft_wrap=True)
    for sha256, body in entry["blobs"].items():
        console.print(f"  {sha256} {len(body)} bytes, as they were", highlight=False, soft_wrap=True)


def _told(error: Exception) -> typer.Exit:
    console.print(f"[red]{escape(str(error))}[/]", soft_wrap=True)
    return typer.Exit(1)
