"""``qpu simulate``: a workload through the planner in virtual time, without a chip and without a service."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from qpu_backend.physics.errors import InvalidDevice
from qpu_backend.simulation.clock import Run, simulate
from qpu_backend.simulation.company import Profiles, crosstalk_losses
from qpu_backend.simulation.execution import Outcome, execute
from qpu_backend.simulation.kinds import Chip
from qpu_backend.simulation.laboratory import POLICIES, compile_kinds
from qpu_backend.simulation.measures import measure
from qpu_backend.simulation.plots import gantt, shares, waits
from qpu_backend.simulation.policies import device_view
from qpu_backend.simulation.report import Row, executed_table, predicted_table
from qpu_backend.simulation.workload import InvalidWorkload, read_workload

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from qpu_backend.domain.views import DeviceView

_console = Console()
_errors = Console(stderr=True)


def simulate_workload(
    workload: Path,
    device: str,
    policies: Sequence[str],
    circuits: Path | None,
    options: dict[str, Any],
    *,
    window_s: float,
    plots: Path | None,
    as_json: bool,
    physics: bool,
) -> None:
    """Run a workload by each of some policies, print what came of it, and draw it.

    Raises:
        typer.Exit: code 2 after one line that names what was wrong with the workload, the device or the circuits.
    """
    try:
        asked = read_workload(workload)
        chip = Chip.named(device)
        kinds = compile_kinds(asked, chip, circuits)
    except (InvalidWorkload, InvalidDevice) as error:
        _errors.print(f"[red]{' '.join(str(error).split())}[/]", highlight=False, soft_wrap=True)
        raise typer.Exit(2) from error
    view = replace(device_view(chip, kinds.values()), **options)
    profiles = Profiles(chip)
    runs = [simulate(asked, kinds, POLICIES[name](chip, view), buffer=view.buffer) for name in policies]
    rows = [
        Row(
            measure(run, chip, window_s),
            crosstalk_losses(run, chip, profiles),
            _executed(run, chip, profiles) if physics else (),
        )
        for run in runs
    ]
    if as_json:
        typer.echo(json.dumps({"device": device, "policies": [row.to_document() for row in rows]}))
    else:
        _print(rows, view, asked_jobs=len(asked.jobs), physics=physics)
    if plots is not None:
        _draw(runs, chip, plots, quiet=as_json)


def _executed(run: Run, chip: Chip, profiles: Profiles) -> list[Outcome]:
    def tell(done: int, total: int) -> None:
        if sys.stderr.isatty():
            _errors.print(f"{run.policy}: batch {done} of {total} ran", end="\r", highlight=False)

    return execute(run, chip, profiles, tell)


def _print(rows: Sequence[Row], view: DeviceView, asked_jobs: int, *, physics: bool) -> None:
    _console.print(
        f"{asked_jobs} jobs on {view.name}: buffer {view.buffer}, stretch {view.stretch:g}, packing {view.packing:g}, "
        f"max loss {view.max_loss:g}",
        highlight=False,
    )
    _console.print(predicted_table(rows))
    _console.print(
        "esp: mean Π(1 − error) where jobs ran; lost: against their best places; crosstalk: predicted; both in points",
        style="dim",
    )
    if physics:
        _console.print(executed_table(rows))
        _console.print("fidelity: Hellinger, simulated beside the neighbours; losses in points", style="dim")


def _draw(runs: Sequence[Run], chip: Chip, folder: Path, *, quiet: bool) -> None:
    drawn: list[Path] = []
    for run in runs:
        drawn.append(folder / f"gantt-{run.policy}.png")
        gantt(run, chip.model.num_qubits, drawn[-1])
        drawn.append(folder / f"shares-{run.policy}.png")
        shares(run, drawn[-1])
    drawn.append(folder / "waits.png")
    waits(runs, drawn[-1])
    if not quiet:
        _console.print(f"drawn: {', '.join(str(path) for path in drawn)}", highlight=False, soft_wrap=True)
