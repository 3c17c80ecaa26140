"""Two processes answer, two work: the one that works is killed, the other one finishes, and the books are right."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import pytest

TENANTS = ("alice", "bob", "carol")
JOBS = 40
LONG = 1500


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def test_the_standby_finishes_what_a_killed_worker_had_begun(site, tools, kind):
    here = site(kind)
    started = [here.worker(), here.worker(), here.api(), here.api()]
    first, second, one, other = [process.ready() for process in started]
    accepted: dict[str, int] = {}
    with ExitStack() as stack:
        clients = {
            (process, name): stack.enter_context(here.client(process, name))
            for process in (one, other)
            for name in TENANTS
        }
        waiting = []
        for number in range(JOBS):
            name = TENANTS[number % len(TENANTS)]
            taking, elsewhere = (one, other) if number % 2 else (other, one)
            answer = clients[taking, name].post(
                "/v1/jobs", json=tools.order(number, bindings=LONG if number == JOBS // 2 else 20)
            )
            assert answer.status_code == 202, answer.text
            accepted[answer.json()["id"]] = answer.json()["shots"]
            if number % 8 == 0:  # waited for through the process that did not take it
                waiting.append(tools.Waiting(stack.enter_context(here.client(elsewhere, name)), answer.json()["id"]))
            if number == JOBS // 2:
                tools.until(lambda: here.states().get("running"), "a job's start")
                holder = here.device().lease_pid
                worker, standby = (first, second) if holder == first.pid else (second, first)
                assert holder == worker.pid
                worker.end(signal.SIGKILL)
        for client in waiting:
            client.join(tools.PATIENCE_S)
            assert client.answer is not None
            assert client.answer.status_code == 200, client.answer.text
        tools.until(lambda: here.states() == {"done": JOBS}, "the end of every job")
    assert here.device().lease_pid == standby.pid
    assert here.device().lease_epoch == 2
    assert [event["device"] for event in standby.told("lease_held_elsewhere")] == ["eagle127"]
    assert [event["epoch"] for event in standby.told("lease_taken")] == [2]
    for process in (one, other, standby):
        process.send(signal.SIGTERM)
    assert [process.wait() for process in (one, other, standby)] == [0, 0, 0]
    assert here.device().lease_holder is None
    here.check(accepted)
