"""``qpu plan …``: why a batch is what it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Column, Table

from qpu_backend.cli.opening import ConfigFile, DatabaseUrl, DataFolder, console, device_time, plans, when
from qpu_backend.config import load_config

if TYPE_CHECKING:
    from qpu_backend.pipeline.plans import StoredPlan

plan_app = typer.Typer(help="Plans: what ran beside what, where, and why.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="One JSON document.")]
BatchOrJob = Annotated[str, typer.Argument(help="Id of a batch, or of a job that has run.")]


@plan_app.command("list")
def list_plans(
    device: str,
    limit: Annotated[int, typer.Option(min=1)] = 20,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """The last batches of a device, newest first."""
    table = Table(Column("batch", no_wrap=True), "state", "device time", "lasts s", "committed (UTC)", box=SIMPLE_HEAD)
    with plans(load_config(config, data=data, database=database)) as office:
        for row in office.recent(device, limit=limit):
            lasts, then = f"{row.device_us / 1e6:.2f}", device_time(row.device_start_us)
            table.add_row(row.id, row.state, then, lasts, when(row.created_at_us))
    console.print(table)


@plan_app.command("show")
def show_plan(
    name: BatchOrJob,
    as_json: AsJson = False,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """What a batch was planned from, who is in it and where, and why everybody else waited."""
    with plans(load_config(config, data=data, database=database)) as office:
        stored = office.read(name)
    if as_json:
        typer.echo(json.dumps(_document(stored)))
        return
    batch = stored.batch
    console.print(
        f"[bold]{batch.id}[/] on {batch.device_id}: {batch.state}, device time {device_time(batch.device_start_us)}, "
        f"{batch.device_us / 1e6:.2f} s; {len(stored.placements)} of {len(stored.view.jobs)} jobs seen"
    )
    table = Table(Column("job", no_wrap=True), "tenant", "qubits", "µs · qubit", "crosstalk", box=SIMPLE_HEAD)
    for placement in stored.placements:
        lost = "" if placement.crosstalk_loss is None else f"{placement.crosstalk_loss:.4f}"
        qubits = " ".join(str(qubit) for qubit in placement.region)
        table.add_row(placement.job_id, placement.tenant_id, qubits, str(placement.fairness_cost), lost)
    console.print(table)
    for line in batch.explanation:
        console.print(escape(line), soft_wrap=True, highlight=False)


@plan_app.command("replay")
def replay_plan(
    name: BatchOrJob,
    config: ConfigFile = None,
    data: DataFolder = None,
    database: DatabaseUrl = None,
) -> None:
    """Plan a batch again from what it was planned from; exit 1 if another batch comes out."""
    with plans(load_config(config, data=data, database=database)) as office:
        again = office.replay(name)
    if again.differences:
        for line in again.differences:
            console.print(f"[red]{escape(line)}[/]", soft_wrap=True)
        raise typer.Exit(1)
    console.print(f"{again.stored.batch.id}: planned again, the same batch of {len(again.stored.placements)} jobs")


def _document(stored: StoredPlan) -> dict[str, object]:
    batch = stored.batch
    return {
        "batch": batch.id,
        "device": batch.device_id,
        "state": batch.state,
        "snapshot": batch.snapshot_id,
        "device_start_us": batch.device_start_us,
        "device_us": batch.device_us,
        "view_digest": batch.view_digest,
        "whole": stored.whole,
        "placements": [
            {"job": p.job_id, "tenant": p.tenant_id, "region": list(p.region), "fairness_cost": p.fairness_cost}
            for p in stored.placements
        ],
        "explanation": batch.explanation,
        "view": stored.view.to_document(),
        "policy": stored.device.to_document(),
    }
