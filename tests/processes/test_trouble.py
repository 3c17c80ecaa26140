"""Real trouble for real processes: a lock that is held, a database that restarts, workers that die, a frozen holder.

Each degrades with a clear state and recovers by itself.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
from contextlib import closing

import httpx
import pytest

pytestmark = pytest.mark.slow


def submit(client, tools, seed, *, bindings=20, key=None):
    headers = {} if key is None else {"Idempotency-Key": key}
    return client.post("/v1/jobs", json=tools.order(seed, bindings=bindings), headers=headers)


def accepted_of(*answers):
    assert [answer.status_code for answer in answers] == [202] * len(answers), answers[-1].text
    return {answer.json()["id"]: answer.json()["shots"] for answer in answers}


def readiness(api):
    return httpx.get(f"{api.url}/readyz")


def test_a_lock_that_another_process_holds_is_said_and_nothing_is_lost(site, tools):
    here = site()
    api, worker = [process.ready() for process in (here.api(), here.worker())]
    with here.client(api, "alice") as client, closing(sqlite3.connect(here.config.data / "qpu.sqlite")) as other:
        first = submit(client, tools, 1)
        tools.until(lambda: here.states() == {"done": 1}, "the end of the job")
        other.isolation_level = None
        other.execute("BEGIN IMMEDIATE")
        refused = submit(client, tools, 2, key="again")
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        assert len(client.get("/v1/jobs").json()["jobs"]) == 1  # reading goes on
        assert readiness(api).status_code == 200
        assert readiness(api).json()["database"] == "degraded: writing has to wait"
        tools.until(lambda: worker.told("lease_renewal_postponed"), "a renewal that failed")
        other.execute("ROLLBACK")
        answers = [submit(client, tools, 2, key="again") for _ in range(2)]
        tools.until(lambda: here.states() == {"done": 2}, "the end of the job")
        tools.until(lambda: readiness(api).json()["status"] == "ready", "readiness")
    assert here.device().lease_epoch == 1  # nobody else could take it meanwhile
    here.check(accepted_of(first, *answers))


def test_a_database_that_restarts_is_found_again_by_everybody(site, tools, own_postgres):
    server = own_postgres(fsync="off")
    here = site(server.url)
    api, worker = [process.ready() for process in (here.api(), here.worker())]
    heard: list[str] = []
    with here.client(api, "alice") as client, here.client(api, "alice") as another:
        first = submit(client, tools, 1)
        tools.until(lambda: here.states() == {"done": 1}, "the end of the job")

        def listen() -> None:
            with another.stream("GET", "/v1/events", headers={"Accept": "text/event-stream"}) as stream:
                for line in stream.iter_lines():
                    heard.append(line)
                    if line == "event: done":
                        return

        threading.Thread(target=listen, daemon=True).start()
        tools.until(lambda: heard, "the stream's begin")
        server.process.send_signal(signal.SIGINT)  # at once: its clients' connections end
        server.process.wait()
        refused = submit(client, tools, 2, key="again")
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        assert readiness(api).status_code == 503
        tools.until(lambda: worker.told("dispatch_paused"), "the pause")
        server.start()
        second = tools.until(lambda: (a := submit(client, tools, 2, key="again")).status_code == 202 and a, "recovery")
        tools.until(lambda: here.states() == {"done": 2}, "the end of the job")
        tools.until(lambda: "event: done" in heard, "the stream's going on")
        tools.until(lambda: readiness(api).json()["status"] == "ready", "readiness")
    assert worker.told("dispatch_resumed")
    assert [process.end() for process in (api, worker)] == [0, 0]
    here.check(accepted_of(first, second))


def test_workers_that_are_killed_again_and_again_cost_nobody_a_job(site, tools):
    here = site()
    api, worker = [process.ready() for process in (here.api(), here.worker())]
    accepted = {}
    with here.client(api, "alice") as client:
        for seed in range(3):
            accepted |= accepted_of(submit(client, tools, seed, bindings=700))
            for _ in range(2):  # the third time a batch would be dissolved
                failed = len(worker.told("batch_attempt_failed"))
                tools.until(lambda: here.states().get("running") and tools.simulating(worker), "the job's start")
                for pid in tools.simulating(worker):
                    os.kill(pid, signal.SIGKILL)
                tools.until(
                    lambda failed=failed: (
                        len(worker.told("batch_attempt_failed")) > failed or not here.states().get("running")
                    ),
                    "the attempt's end",
                )
            tools.until(lambda: set(here.states()) == {"done"}, "the end of the job")
    assert worker.told("batch_attempt_failed")
    here.check(accepted)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_holder_that_stands_still_is_replaced_and_cannot_settle_when_it_goes_on(site, tools, kind):
    here = site(kind)
    api, one, other = [process.ready() for process in (here.api(), here.worker(), here.worker())]
    holder = tools.until(lambda: here.device().lease_pid, "a lease")
    first, second = (one, other) if holder == one.pid else (other, one)
    with here.client(api, "alice") as client:
        answer = submit(client, tools, 1, bindings=1500)
        tools.until(lambda: first.told("batch_committed"), "the job's start")  # now it holds no lock
        first.send(signal.SIGSTOP)
        tools.until(lambda: here.states() == {"done": 1}, "the takeover")
        assert here.device().lease_pid == second.pid
        first.send(signal.SIGCONT)
        tools.until(lambda: first.told("lease_lost"), "its finding out")
        again = submit(client, tools, 2)
        tools.until(lambda: here.states() == {"done": 2}, "the end of the job")
    assert [process.end() for process in (first, second)] == [0, 0]
    assert here.attempts() == 2
    here.check(accepted_of(answer, again))
