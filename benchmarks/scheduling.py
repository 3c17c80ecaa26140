"""Every policy on the same jobs, the same chip and the same clock: throughput, fidelity, waits, shares, time to decide.

python benchmarks/scheduling.py --json [--workload PATH] [--circuits DIR] [--docs docs]
"""

from __future__ import annotations

import argparse
import re
import time
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from queue_scaling import plan_scaling
from report import report

from qpu_backend.domain.planning import plan
from qpu_backend.domain.views import View
from qpu_backend.simulation.clock import Queue, simulate
from qpu_backend.simulation.company import Profiles, crosstalk_losses
from qpu_backend.simulation.kinds import Chip
from qpu_backend.simulation.laboratory import POLICIES, compile_kinds
from qpu_backend.simulation.measures import measure
from qpu_backend.simulation.plots import gantt, pareto, shares
from qpu_backend.simulation.policies import device_view
from qpu_backend.simulation.synthetic import backlog, mixed
from qpu_backend.simulation.workload import parse_workload, read_workload

if TYPE_CHECKING:
    from qpu_backend.domain.views import DeviceView
    from qpu_backend.simulation.kinds import Kind
    from qpu_backend.simulation.workload import Workload

DEVICES = ("eagle127", "heron156")
WINDOW_S = 30.0
BUDGETS = (0.02, 0.05, 0.075, 0.125, 0.2, 1.0)
"""Values of ``max_loss`` for the curve of ``fair``."""
SIZES = (1_000, 10_000, 100_000)
HYPERQ_ON_HARDWARE = {"space": 8.44, "space and time": 9.69}
"""Speed-ups that HyperQ (OSDI'25) published, measured on ibm_brisbane."""
KEYS = (
    "speedup", "utilisation", "esp", "esp_isolated", "jobs_per_batch", "p50_wait_s", "p95_wait_s",
    "plan_ms_p50", "plan_ms_p95",
)  # fmt: skip


def one_device(device: str, workload: Workload, circuits: Path | None, pictures: Path | None) -> dict[str, Any]:
    """Figures of every policy on a device."""
    chip = Chip.named(device)
    kinds = compile_kinds(workload, chip, circuits)
    view = device_view(chip, kinds.values())
    crowd = parse_workload(backlog(16, 50, seed=0))
    crowd_kinds = compile_kinds(crowd, chip)
    crowd_view = device_view(chip, crowd_kinds.values())
    profiles = Profiles(chip)
    found: dict[str, Any] = {}
    for name, policy in POLICIES.items():
        run = simulate(workload, kinds, policy(chip, view), buffer=view.buffer)
        figures = measure(run, chip, WINDOW_S).to_document()
        lost = 100 * np.array(crosstalk_losses(run, chip, profiles))
        shared = simulate(crowd, crowd_kinds, policy(chip, crowd_view), buffer=view.buffer)
        fairness = measure(shared, chip, WINDOW_S)
        found[name] = {key: figures[key] for key in KEYS} | {
            "crosstalk_loss_mean": float(lost.mean()),
            "crosstalk_loss_p95": float(np.percentile(lost, 95)),
            "jain": fairness.jain,
            "jain_min": fairness.jain_min,
            "jain_windows": fairness.jain_windows,
        }
        if pictures is not None and name == "fair":
            gantt(run, chip.model.num_qubits, pictures / f"gantt-{device}.png")
            shares(shared, pictures / f"shares-{device}.png")
    found["fair_by_max_loss"] = [
        (budget, figures.speedup, figures.esp)
        for budget in BUDGETS
        for run in [
            simulate(workload, kinds, POLICIES["fair"](chip, replace(view, max_loss=budget)), buffer=view.buffer)
        ]
        for figures in [measure(run, chip, WINDOW_S)]
    ]
    found["decision_ms"] = decision_ms(workload, kinds, view)
    return found


def decision_ms(workload: Workload, kinds: dict[str, Kind], view: DeviceView) -> float:
    """One decision with all jobs of the workload queued, the window as wide as the queue; median of 20."""
    queue = Queue(workload, kinds, view.buffer, by_tag=True)
    for job in workload.jobs:
        queue.enter(job, 0)
    seen = View(tuple(one.job for one in queue.all()), 0)
    wide = replace(view, window=len(seen.jobs))
    times: list[float] = []
    for _ in range(21):
        started = time.perf_counter()
        plan(seen, wide, 0)
        times.append(1e3 * (time.perf_counter() - started))
    return median(times[1:])


def table(figures: dict[str, Any], jobs: int) -> str:
    """The figures as the page shows them."""
    head = (
        "device",
        "policy",
        "speed-up",
        "jobs a batch",
        "qubits used",
        "esp",
        "lost, points",
        "crosstalk, mean / p95",
    )
    lines = [
        f"{jobs} jobs, all there at the beginning; `jain` of 16 tenants with weights 1, 2 and 4.",
        "",
        f"| {' | '.join(head)} | Jain |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for device in DEVICES:
        for name in POLICIES:
            one = figures[device][name]
            lines.append(
                f"| `{device}` | `{name}` | {one['speedup']:.2f} | {one['jobs_per_batch']:.1f} "
                f"| {100 * one['utilisation']:.0f} % | {one['esp']:.3f} "
                f"| {100 * (one['esp_isolated'] - one['esp']):.1f} "
                f"| {one['crosstalk_loss_mean']:.2f} / {one['crosstalk_loss_p95']:.2f} | {one['jain']:.3f} |"
            )
    hardware = " and ".join(f"{ratio} ({what})" for what, ratio in HYPERQ_ON_HARDWARE.items())
    decisions = ", ".join(f"{figures[device]['decision_ms']:.1f} ms on `{device}`" for device in DEVICES)
    scaling = ", ".join(
        f"{one['decision_ms']:.1f} ms for {int(size):,}" for size, one in figures["plan_scaling"].items()
    )
    return "\n".join(
        [
            *lines,
            "",
            f"HyperQ published speed-ups of {hardware}, measured on hardware; everything in the table comes from one",
            "simulator.",
            "",
            f"One decision with all of them queued: {decisions}. The view from the database and the",
            f"decision, with jobs of 1,000 tenants waiting: {scaling}.",
        ]
    )


def write_page(docs: Path, text: str) -> None:
    """Put the table between its two marks on the page of scheduling."""
    page = docs / "explanation" / "scheduling.md"
    marks = r"(<!-- simulated: benchmarks/scheduling.py -->\n).*?(<!-- end of simulated -->)"
    written, count = re.subn(
        marks, lambda match: f"{match[1]}\n{text}\n\n{match[2]}", page.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    if count != 1:
        raise SystemExit(f"{page} has no place for the figures")
    page.write_text(written, encoding="utf-8")


def main() -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--workload", type=Path, help="a workload file; 145 generated jobs by default")
    parser.add_argument("--circuits", type=Path, help="folder of KIND.qasm files")
    parser.add_argument("--docs", type=Path, help="folder of the documentation, to be brought up to date")
    arguments = parser.parse_args()
    workload = parse_workload(mixed(145, seed=0)) if arguments.workload is None else read_workload(arguments.workload)
    pictures = None if arguments.docs is None else arguments.docs / "_static" / "scheduling"
    figures: dict[str, Any] = {device: one_device(device, workload, arguments.circuits, pictures) for device in DEVICES}
    chip = Chip.named(DEVICES[0])
    kinds = compile_kinds(workload, chip, arguments.circuits)
    figures["plan_scaling"] = plan_scaling(SIZES, device_view(chip, kinds.values()), list(kinds.values()))
    figures["hyperq_on_hardware"] = HYPERQ_ON_HARDWARE
    text = table(figures, len(workload.jobs))
    print(text)
    if pictures is not None:
        points = {
            device: [(name, figures[device][name]["speedup"], figures[device][name]["esp"]) for name in POLICIES]
            for device in DEVICES
        }
        curves = {device: figures[device]["fair_by_max_loss"] for device in DEVICES}
        pareto(points, curves, pictures / "pareto.png")
        write_page(arguments.docs, text)
    report(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
