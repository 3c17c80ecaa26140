"""A planner that fails stops its device, says so once, and loses nothing."""

from __future__ import annotations

import time

from qpu_backend.domain.jobs import JobState
from qpu_backend.pipeline import deciding
from qpu_backend.pipeline.deciding import STOPPED


def failures(lab):
    return lab.service.door.metrics.planner_failures.labels(device="eagle127")._value.get()


def test_a_planner_that_fails_stops_the_device_and_leaves_the_backlog(new_lab, make, monkeypatch):
    lab = new_lab()
    asked = []

    def broken(*_):
        asked.append(1)
        raise ZeroDivisionError

    with lab.queueing():
        ids = [lab.submit(lab.tenant(), make.sample(make.ghz())) for _ in range(3)]
        monkeypatch.setattr(deciding, "plan", broken)
    deadline = time.monotonic() + 30
    while lab.device().operational and time.monotonic() < deadline:
        time.sleep(0.01)
    assert lab.device().status_msg == STOPPED
    later = lab.submit(lab.tenant(), make.sample(make.ghz()))
    assert [row.state for row in lab.rows(*ids, later)] == [JobState.QUEUED] * 4
    assert len(asked) == failures(lab) == 1
    monkeypatch.undo()
    lab.resume()
    assert {row.state for row in lab.ended(*ids, later)} == {JobState.DONE}
