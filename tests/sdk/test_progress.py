"""Progress: shown where somebody looks, and only there; told as it comes; gone when the time is over."""

from __future__ import annotations

import io
import sys
import types

import pytest

from qpu_sdk.display import progress
from qpu_sdk.errors import QPUJobTimeoutError
from qpu_sdk.wire.models import JobDocument

JOB = {
    "id": "job_1",
    "backend": "eagle127:line-5",
    "program": "sampler",
    "state": "queued",
    "created_at": "2026-01-01T12:00:00Z",
    "finished_at": None,
    "tags": [],
    "num_circuits": 1,
    "num_executions": 1,
    "shots": 4000,
    "calibration_id": None,
    "price_micro": 1,
    "estimated_device_s": 3.0,
    "idempotency_key": None,
    "waiting": {"message": "other jobs are before it", "jobs_ahead": 3, "start_in_s": 75.0},
}


class Job:
    """A job that goes through some documents, one with each wait."""

    def __init__(self, *documents):
        self.documents = [JobDocument.model_validate(JOB | one) for one in documents]
        self.waits = []

    @property
    def last_known(self):
        return self.documents[0]

    def document(self):
        return self.documents[0]

    def wait_for_final_state(self, timeout=None, wait=0.0, callback=None):
        del wait
        self.waits.append(timeout)
        if len(self.documents) > 1:
            self.documents.pop(0)
            if callback is not None:
                callback()
        if not self.documents[0].state.final:
            raise QPUJobTimeoutError("not yet")


STEPS = (
    {},
    {"waiting": {"message": "", "jobs_ahead": 1, "start_in_s": 5.0}},
    {"state": "running", "waiting": None},
    {"state": "done", "waiting": None},
)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_nothing_is_written_where_output_is_no_terminal(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    job = Job({"state": "running", "waiting": None}, {"state": "done", "waiting": None})
    progress.watch(job)
    assert written.getvalue() == ""
    assert job.waits == [None]  # one wait, told by the service, not a question every few seconds


def test_a_terminal_shows_place_start_and_end(monkeypatch):
    written = Terminal()
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    progress.watch(Job(*STEPS), refresh_s=0.0)
    assert "done" in written.getvalue()
    assert "job_1" in written.getvalue()


def test_a_notebook_shows_a_card_and_changes_it(monkeypatch):
    shown: list[str] = []
    handle = types.SimpleNamespace(update=shown.append)
    display = types.ModuleType("IPython.display")
    display.HTML, display.display = str, lambda *_, **__: handle
    shell = types.SimpleNamespace(kernel=object())
    notebook = types.ModuleType("IPython")
    notebook.get_ipython = lambda: shell
    notebook.display = display
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    progress.watch(Job(*STEPS), refresh_s=0.0)
    assert "queued, 3 before it, starts in about 1 min 15 s" in shown[0]
    assert any("1 before it, starts in about 5 s" in page for page in shown)
    assert ">done<" in shown[-1]


def test_a_time_that_is_over_is_said_and_the_job_goes_on(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(QPUJobTimeoutError):
        progress.watch(Job({}), timeout=0.0)


def test_a_job_of_the_service_is_waited_for_with_progress(bell_job):
    assert bell_job.progress().result()[0].data.meas.num_shots == 200
    assert bell_job.wait(timeout=5.0) is bell_job
