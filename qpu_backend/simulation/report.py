"""Simulated runs as a table for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Column, Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpu_backend.simulation.execution import Outcome
    from qpu_backend.simulation.measures import Measures


@dataclass(frozen=True, slots=True)
class Row:
    """One policy.

    Attributes:
        measures: its figures.
        crosstalk: predicted loss of success to neighbours, of each job.
        outcomes: fidelities from the physics, where the batches were run.
    """

    measures: Measures
    crosstalk: Sequence[float]
    outcomes: Sequence[Outcome] = ()

    def to_document(self) -> dict[str, float | int | str]:
        """As JSON holds it; losses in points."""
        document = self.measures.to_document() | {
            "crosstalk_loss_mean": 100 * float(np.mean(self.crosstalk)),
            "crosstalk_loss_p95": 100 * float(np.percentile(self.crosstalk, 95)),
        }
        if self.outcomes:
            placement, crosstalk = losses(self.outcomes)
            document |= {
                "executed_jobs": len(self.outcomes),
                "fidelity": float(np.mean([one.together for one in self.outcomes])),
                "fidelity_isolated": float(np.mean([one.isolated for one in self.outcomes])),
                "executed_placement_loss_mean": float(placement.mean()),
                "executed_placement_loss_p95": float(np.percentile(placement, 95)),
                "executed_crosstalk_loss_mean": float(crosstalk.mean()),
                "executed_crosstalk_loss_p95": float(np.percentile(crosstalk, 95)),
            }
        return document


def losses(outcomes: Sequence[Outcome]) -> tuple[np.ndarray, np.ndarray]:
    """What each job lost to its place and to its neighbours, in points of fidelity."""
    isolated, alone, together = np.array([[o.isolated, o.alone, o.together] for o in outcomes]).T
    return 100 * (isolated - alone), 100 * (alone - together)


def predicted_table(rows: Sequence[Row]) -> Table:
    """What planner, time model and snapshot say."""
    names = (
        "speed-\nup",
        "used\n%",
        "jobs/\nbatch",
        "esp\n",
        "lost\n",
        "cross-\ntalk",
        "wait\ns",
        "p95\ns",
        "Jain\n",
        "plan\nms",
    )
    table = _table("policy\n", names)
    for row in rows:
        m = row.measures
        table.add_row(
            m.policy,
            f"{m.speedup:.2f}",
            f"{100 * m.utilisation:.0f}",
            f"{m.jobs_per_batch:.1f}",
            f"{m.esp:.3f}",
            f"{100 * (m.esp_isolated - m.esp):.1f}",
            f"{100 * float(np.mean(row.crosstalk)):.2f}",
            f"{m.p50_wait_s:.1f}",
            f"{m.p95_wait_s:.1f}",
            f"{m.jain:.3f}" if m.jain_windows else "–",
            f"{m.plan_ms_p50:.1f}",
        )
    return table


def executed_table(rows: Sequence[Row]) -> Table:
    """What the physics says, losses in points."""
    names = ("jobs\n", "fidelity\n", "first choice,\nalone", "lost to\nplace", "p95\n", "lost to\nneighbours", "p95\n")
    table = _table("policy\n", names)
    for row in rows:
        placement, crosstalk = losses(row.outcomes)
        table.add_row(
            row.measures.policy,
            str(len(row.outcomes)),
            f"{np.mean([one.together for one in row.outcomes]):.3f}",
            f"{np.mean([one.isolated for one in row.outcomes]):.3f}",
            f"{placement.mean():.2f}",
            f"{np.percentile(placement, 95):.2f}",
            f"{crosstalk.mean():.2f}",
            f"{np.percentile(crosstalk, 95):.2f}",
        )
    return table


def _table(first: str, others: Sequence[str]) -> Table:
    columns = [Column(name, justify="right", no_wrap=True) for name in others]
    return Table(Column(first, no_wrap=True), *columns, box=None, pad_edge=False)
