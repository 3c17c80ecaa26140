"""The law of fidelity budgets: nobody loses more than it accepts, whoever comes beside it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from queues import GROUP, LOUD, OPEN, belongs_to, crowds, devices, jobs_by_id, views

from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.planning import Placement, Plan, Wait, plan
from qpu_backend.domain.rounds import Need
from qpu_backend.domain.views import DeviceView, QueuedJob, View

Chip = Callable[..., DeviceView]


def lost_to(device: DeviceView, jobs: dict[str, QueuedJob], one: Placement, other: Placement) -> float:
    """Predicted −ln F that one placement loses to another, pair by pair."""
    assert device.proximity is not None
    own, their = jobs[one.job_id].footprint, jobs[other.job_id].footprint
    together_ns = min(max(need.duration_ns for need in each.needs) for each in (own, their)) - 100.0
    lost = sum(device.proximity.zz_per_ns[u, v] for u in one.region for v in other.region) * max(0.0, together_ns)
    read = [[p.region[f.qubits.index(q)] for q in f.measured] for p, f in ((one, own), (other, their))]
    return lost + 0.004 * sum(u // GROUP == v // GROUP for u in read[0] for v in read[1])


@given(st.tuples(views(), devices()) | st.tuples(crowds(), st.just(OPEN)))
def test_nobody_loses_more_fidelity_than_it_accepts(chip: Chip, asked: tuple[View, dict[str, object]]):
    """The head takes what there is; what comes after it may not cost it more than is left of its budget."""
    view, policy = asked
    device = chip(**(policy | {"proximity": LOUD}))
    decision = plan(view, device, 0)
    if isinstance(decision, Wait):
        return
    jobs = jobs_by_id(view)
    for index, placement in enumerate(decision.placements):
        job = jobs[placement.job_id]
        budget = device.max_loss if job.max_loss is None else job.max_loss
        before = sum(lost_to(device, jobs, placement, other) for other in decision.placements[:index])
        after = sum(lost_to(device, jobs, placement, other) for other in decision.placements[index + 1 :])
        assert placement.crosstalk == pytest.approx(before)
        best = 1.0
        if job.footprint.shape is not None:
            table = device.embeddings[job.footprint.shape]
            mine = [set(region) <= belongs_to(device, job) for region in table.regions.tolist()]
            best = math.exp(-float(table.score(job.footprint)[mine].min()))
        success = math.exp(-placement.loss - before)
        assert index == 0 or best - success <= budget + 1e-9
        borne = max(budget, device.max_loss)  # a tighter budget is about where a job goes, not about who may follow
        assert success - success * math.exp(-after) <= max(0.0, borne - (best - success)) + 1e-9


@pytest.mark.parametrize(("budget", "placed"), [(0.005, 1), (0.015, 2), (0.025, 3)])
def test_what_neighbours_cost_adds_up(chip: Chip, budget: float, placed: int):
    """Each of the two beside the first costs it a point."""

    def pair(name: str, *qubits: int) -> QueuedJob:
        footprint = Footprint(None, qubits, (), (1, 1), qubits, (0, 0), (Need(1, 9, 5_100),))
        return QueuedJob(name, "a", int(name), 9, 1, footprint, max_loss=None if name == "0" else 1.0)

    device = chip(small=True, buffer=0, max_loss=budget, proximity=replace(LOUD, readout=0.0))
    decision = plan(View((pair("0", 2, 3), pair("1", 0, 1), pair("2", 4, 5)), 0), device, 0)
    assert isinstance(decision, Plan)
    assert len(decision.placements) == placed
