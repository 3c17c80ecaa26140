"""Pictures of simulated runs: who had which qubits when, how long jobs waited, and what tenants got."""

# matplotlib's types are partly unknown.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from qpu_backend.simulation.measures import service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from qpu_backend.simulation.clock import Run

_LEGEND: Final = 20
"""Entries that a legend can hold."""


def gantt(run: Run, num_qubits: int, path: Path) -> None:
    """The chip over device time: a bar for each qubit of each job, by tenant, or by kind where there is one tenant.

    A bar is as long as its job; what follows it within a batch is waiting for the longest.
    """
    by_tenant = len(run.workload.weights) > 1
    of_job = {job.id: job.tenant if by_tenant else job.kind for job in run.workload.jobs}
    colours = _colours(sorted(set(of_job.values())))
    bars: list[list[tuple[float, float]]] = []
    fills: list[Any] = []
    for ran in run.ran:
        for seat in ran.batch.seats:
            opens, closes = 1e-6 * ran.starts_us, 1e-6 * (ran.starts_us + seat.own_us)
            for qubit in seat.region:
                low, high = qubit - 0.42, qubit + 0.42
                bars.append([(opens, low), (closes, low), (closes, high), (opens, high)])
                fills.append(colours[of_job[seat.job_id]])
    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.add_subplot()
    axes.add_collection(PolyCollection(bars, facecolors=fills, linewidths=0))
    for ran in run.ran:
        axes.axvline(1e-6 * ran.starts_us, color="0.75", linewidth=0.4, zorder=0)
    axes.set(xlim=(0, 1e-6 * run.ends_us), ylim=(-1, num_qubits), xlabel="device time / s", ylabel="qubit")
    axes.set_title(f"{run.policy}: {len(of_job)} jobs in {len(run.ran)} batches")
    if len(colours) <= _LEGEND:
        handles = [axes.scatter([], [], marker="s", color=colour, label=name) for name, colour in colours.items()]
        figure.legend(handles=handles, loc="outside right upper", fontsize="small", frameon=False)
    _save(figure, path)


def waits(runs: Sequence[Run], path: Path) -> None:
    """For each policy, which share of the jobs had started after how long."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for run, colour in zip(runs, _colours([run.policy for run in runs]).values(), strict=True):
        arrival = {job.id: job.arrival_us for job in run.workload.jobs}
        waited = sorted(1e-6 * (ran.starts_us - arrival[seat.job_id]) for ran in run.ran for seat in ran.batch.seats)
        share = np.arange(1, len(waited) + 1) / len(waited)
        axes.step([0.0, *waited], [0.0, *share], where="post", color=colour, label=run.policy)
    axes.set(xlabel="wait, device time / s", ylabel="share of jobs that have started", ylim=(0, 1.02))
    axes.set_xscale("symlog", linthresh=1.0)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    _save(figure, path)


def shares(run: Run, path: Path) -> None:
    """What each tenant has been served so far, over its weight: parallel lines where the policy is fair."""
    edges_us = np.linspace(0, run.ends_us, 201).astype(np.int64)
    tenants, got = service(run, edges_us)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    colours = _colours(tenants)
    for tenant, row in zip(tenants, got, strict=True):
        weight = run.workload.weights[tenant]
        served = np.concatenate([[0.0], 1e-6 * row.cumsum() / weight])
        axes.plot(1e-6 * edges_us, served, color=colours[tenant], linewidth=1.2, label=f"{tenant} ({weight:g})")
    axes.set(xlabel="device time / s", ylabel="service so far / weight, qubit · s", xlim=(0, 1e-6 * run.ends_us))
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.set_title(run.policy)
    if len(tenants) <= _LEGEND:
        figure.legend(loc="outside right upper", fontsize="small", frameon=False)
    _save(figure, path)


def pareto(
    points: Mapping[str, Sequence[tuple[str, float, float]]],
    curves: Mapping[str, Sequence[tuple[float, float, float]]],
    path: Path,
) -> None:
    """Throughput against fidelity, a panel for each device.

    Args:
        points: device → ``(name, speed-up, esp)`` of each policy.
        curves: device → ``(max loss, speed-up, esp)``: what ``fair`` can choose between.
        path: where the picture goes.
    """
    figure = Figure(figsize=(5 * len(points), 4.4), layout="constrained")
    names = list(dict.fromkeys(name for of_device in points.values() for name, _, _ in of_device))
    colours = _colours(names)
    for number, (device, of_device) in enumerate(points.items()):
        axes = figure.add_subplot(1, len(points), number + 1)
        curve = curves[device]
        label = "fair, by max_loss"
        axes.plot([x for _, x, _ in curve], [y for _, _, y in curve], "o-", color="0.7", markersize=3, label=label)
        for budget, speedup, esp in curve:
            axes.annotate(f"{budget:g}", (speedup, esp), (4, 4), textcoords="offset points", fontsize=7, color="0.4")
        for name, speedup, esp in of_device:
            axes.scatter([speedup], [esp], color=colours[name], s=50, label=name, zorder=2)
        axes.set(xlabel="speed-up over one job at a time", ylabel="mean success probability (esp)", title=device)
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        axes.margins(0.12)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", fontsize="small", frameon=False)
    _save(figure, path)


def _colours(names: Sequence[str]) -> dict[str, Any]:
    table = colormaps["tab10" if len(names) <= 10 else "tab20"] if len(names) <= _LEGEND else colormaps["turbo"]
    count = max(1, len(names) - 1)
    return {name: table(i if len(names) <= _LEGEND else i / count) for i, name in enumerate(names)}


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_figure(path, dpi=110)
