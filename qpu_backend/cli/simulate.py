"""``qpu simulate``: the scheduler without a chip, in virtual time."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

_ALL: Final = "all"
_POLICIES: Final = ("fifo", "pairs", "fixed-slots", "greedy-efs", "fair")


def _policies(names: list[str]) -> list[str]:
    for name in names:
        if name not in {*_POLICIES, _ALL}:
            raise typer.BadParameter(f"{name!r} is none of {', '.join(_POLICIES)}, {_ALL}")
    return list(_POLICIES if _ALL in names else dict.fromkeys(names))


def simulate(
    workload: Annotated[Path, typer.Argument(help="JSON file: kinds, queue, arrivals, tenants, weights, lanes.")],
    device: Annotated[str, typer.Option(help="A device of the catalogue.")] = "eagle127",
    policy: Annotated[
        list[str], typer.Option(callback=_policies, help=f"{', '.join(_POLICIES)} or {_ALL}; may be repeated.")
    ] = ["fair"],  # noqa: B006 - typer copies it
    circuits: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of KIND.qasm; others are generated.")
    ] = None,
    execute: Annotated[bool, typer.Option("--execute", help="Run the batches through the physics too.")] = False,
    buffer: Annotated[int | None, typer.Option(min=0, max=1, help="Idle qubits around a region.")] = None,
    stretch: Annotated[
        float | None, typer.Option(min=0, help="How much longer than its head a batch may last.")
    ] = None,
    packing: Annotated[float | None, typer.Option(min=0, help="Loss accepted to use up one qubit less.")] = None,
    max_loss: Annotated[float | None, typer.Option(min=0, help="Loss over the best place accepted to run now.")] = None,
    window_s: Annotated[float, typer.Option(min=0.001, help="Window of the Jain index, device time.")] = 30.0,
    plots: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("out/simulate"),
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Draw nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
) -> None:
    """Run a workload through the planner in virtual time: throughput, waits, shares and predicted fidelity."""
    # Qiskit and matplotlib take a second, which no other command should wait for.
    from qpu_backend.simulation.command import simulate_workload  # noqa: PLC0415

    options = {"buffer": buffer, "stretch": stretch, "packing": packing, "max_loss": max_loss}
    simulate_workload(
        workload,
        device,
        policy,
        circuits,
        {name: value for name, value in options.items() if value is not None},
        window_s=window_s,
        plots=None if no_plots else plots,
        as_json=as_json,
        physics=execute,
    )
