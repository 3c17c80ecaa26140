"""The benchmark of long queues fills a database that the service's own query reads."""

from __future__ import annotations

import queue_scaling

from qpu_backend.domain.views import View
from qpu_backend.simulation.kinds import Chip
from qpu_backend.simulation.laboratory import compile_kinds
from qpu_backend.simulation.policies import device_view
from qpu_backend.simulation.workload import parse_workload


def test_decisions_are_made_over_as_many_jobs_as_the_dispatcher_sees(monkeypatch):
    chip = Chip.named("grid20")
    workload = parse_workload({"kinds": {"bell_n4": {"qubits": 4}}, "queue": ["bell_n4"]})
    kinds = compile_kinds(workload, chip)
    seen = []
    plan = queue_scaling.plan
    monkeypatch.setattr(queue_scaling, "plan", lambda view, device, now: seen.append(view) or plan(view, device, now))
    monkeypatch.setattr(queue_scaling, "DECISIONS", 2)
    found = queue_scaling.plan_scaling((30, 2_000), device_view(chip, kinds.values()), list(kinds.values()))
    assert [len(view.jobs) for view in seen] == [30, 30, queue_scaling.VIEW, queue_scaling.VIEW]
    assert isinstance(seen[0], View)
    assert len({job.tenant for job in seen[-1].jobs}) == queue_scaling.VIEW
    assert all(figure > 0 for one in found.values() for figure in one.values())
