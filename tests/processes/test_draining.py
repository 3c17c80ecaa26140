"""SIGTERM drains, whatever a process does of the service; a second one no longer waits. Nothing is lost either way."""

from __future__ import annotations

import os
import signal

import pytest


def submit(client, tools, *seeds, bindings=20):
    answers = [client.post("/v1/jobs", json=tools.order(seed, bindings=bindings)) for seed in seeds]
    assert [answer.status_code for answer in answers] == [202] * len(seeds), answers[-1].text
    return {answer.json()["id"]: answer.json()["shots"] for answer in answers}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_worker_settles_what_runs_and_leaves_the_rest_to_the_next_one(site, tools, kind):
    here = site(kind)
    api, worker = [process.ready() for process in (here.api(), here.worker())]
    with here.client(api, "alice") as client:
        accepted = {}
        for seed in range(6):  # too large to share a batch
            accepted |= submit(client, tools, seed, bindings=700)
        tools.until(lambda: here.states().get("running"), "a job's start")
        assert worker.end(signal.SIGTERM) == 0
        states = here.states()
        assert set(states) <= {"done", "queued"}
        assert states["done"] >= 1
        assert here.device().lease_holder is None
        assert len(worker.told("lease_released")) == 1
        assert "Traceback" not in worker.log()
        here.worker().ready()
        tools.until(lambda: here.states() == {"done": len(accepted)}, "the end of every job")
    here.check(accepted)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["serve", "work"])
def test_a_second_signal_no_longer_waits_for_a_batch_which_the_next_process_runs_again(site, tools, command):
    here = site()
    api = here.api().ready()
    doing = here.start(command).ready()
    with here.client(api, "alice") as client:
        accepted = submit(client, tools, 1)
        tools.until(lambda: here.states().get("done"), "its workers' start")
        for pid in tools.simulating(doing):
            os.kill(pid, signal.SIGSTOP)  # what they compute now takes for ever
        accepted |= submit(client, tools, 2)
        tools.until(lambda: here.states().get("running"), "a job's start")
        doing.send(signal.SIGTERM)
        with pytest.raises(Exception, match="timed out"):
            doing.process.wait(3)
        doing.send(signal.SIGTERM)
        assert doing.process.wait(20) == 0  # a drain lasts 30 s
        assert here.states() == {"done": 1, "running": 1}
        assert here.device().lease_holder is None
        here.worker().ready()
        tools.until(lambda: here.states() == {"done": 2}, "the end of every job")
    assert here.attempts() == 2
    here.check(accepted)


@pytest.mark.slow
def test_who_waits_is_told_when_the_process_that_answers_ends(site, tools):
    here = site()
    api = here.api().ready()
    with here.client(api, "alice") as client, here.client(api, "alice") as another:
        accepted = submit(client, tools, 1)
        (job_id,) = accepted
        waiting = tools.Waiting(another, job_id)
        with client.stream("GET", "/v1/events", headers={"Accept": "text/event-stream"}) as stream:
            lines = stream.iter_lines()
            assert next(lines) == "event: hello"
            api.send(signal.SIGTERM)
            assert list(lines)[-1:] == [""]  # the end of a stream, and not of a connection
        waiting.join(tools.PATIENCE_S)
        assert waiting.answer is not None
        assert (waiting.answer.status_code, waiting.answer.json()["code"]) == (409, "job_not_done")
    assert api.wait() == 0
    assert "Traceback" not in api.log()
    here.worker().ready()
    tools.until(lambda: here.states() == {"done": 1}, "the end of the job")
    here.check(accepted)
