"""The embedded service with its own processes: scripts, several processes on one path, workers that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from qpu_backend.embedded import EmbeddedService
from qpu_sdk import QPUProvider, SamplerV2

SCRIPT = """
import sys
from qiskit import QuantumCircuit
from qpu_sdk import QPUProvider, SamplerV2

path, jobs, wait, close = sys.argv[1] or None, int(sys.argv[2]), "wait" in sys.argv, "close" in sys.argv
provider = QPUProvider.embedded(path, workers=1)
circuit = QuantumCircuit(127, 1)
circuit.sx(0)
circuit.measure(0, 0)
backend = provider.backend("eagle127")
submitted = [SamplerV2(backend).run([circuit], shots=20) for _ in range(jobs)]
for job in submitted if wait else ():
    assert sum(job.result()[0].join_data().get_counts().values()) == 20
print("reached the end")
if close:
    provider.close()
"""
"""No main guard, as researchers write them."""


def script(tmp_path: Path, path: str, jobs: int, *words: str) -> subprocess.Popen[str]:
    file = tmp_path / "script.py"
    file.write_text(SCRIPT, encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-W", "default::UserWarning", file, path, str(jobs), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )


def finished(process: subprocess.Popen[str]) -> None:
    """It ended by itself, without an error and without a complaint about what it left behind."""
    out, errors = process.communicate(timeout=100)
    assert (process.returncode, out) == (0, "reached the end\n"), errors
    assert "leaked" not in errors
    assert "Traceback" not in errors
    assert "Exception" not in errors


@pytest.mark.parametrize("close", [pytest.param("close", marks=pytest.mark.slow), "forgets to close"])
def test_a_script_without_a_main_guard_runs_and_ends(tmp_path, close):
    finished(script(tmp_path, "", 2, "wait", close))


@pytest.mark.slow
def test_jobs_that_a_script_left_in_a_durable_service_are_done_by_the_next(tmp_path):
    finished(script(tmp_path, str(tmp_path / "qpu"), 30))
    with QPUProvider.embedded(tmp_path / "qpu", workers=1) as provider:
        jobs = provider.jobs(limit=100)
        assert len(list(jobs)) == 30
        for job in jobs:
            assert sum(job.result()[0].join_data().get_counts().values()) == 20


def test_two_processes_that_start_on_one_path_share_one_service(tmp_path):
    both = [script(tmp_path, str(tmp_path / "qpu"), 3, "wait", "close") for _ in range(2)]
    # Whichever comes first serves the other one, unless it has ended before: then that one serves itself.
    outcomes = [process.communicate(timeout=100) for process in both]
    assert any(process.returncode == 0 for process in both), outcomes
    for process, (out, errors) in zip(both, outcomes, strict=True):
        assert process.returncode == 0 or "service" in errors.lower(), (out, errors)


def test_a_second_process_on_a_path_is_a_client_of_the_first(tmp_path):
    service = EmbeddedService.start(tmp_path / "qpu", workers=1)
    try:
        again = EmbeddedService.start(tmp_path / "qpu")
        assert again.service is None
        assert (again.url, again.token) == (service.url, service.token)
        with pytest.raises(RuntimeError, match="another process"):
            again.create_tenant("alice")
        again.close()
        finished(script(tmp_path, str(tmp_path / "qpu"), 2, "wait", "close"))
    finally:
        service.close()
    assert not (tmp_path / "qpu" / "service.json").exists()
    reopened = EmbeddedService.start(tmp_path / "qpu", workers=1)
    assert reopened.service is not None
    assert reopened.token == service.token
    reopened.close()


def test_closing_twice_is_closing_once_and_leaves_nothing_behind():
    service = EmbeddedService.start(workers=1)
    assert service.service is not None
    folders = [Path(service.url.removeprefix("unix:")).parent]
    service.close()
    service.close()
    assert not any(folder.exists() for folder in folders)


def test_a_worker_process_that_is_killed_costs_time_and_nothing_else():
    theta = Parameter("t")
    circuit = QuantumCircuit(5, 5)
    circuit.sx(range(5))
    for a in range(4):
        circuit.ecr(a, a + 1)
        circuit.rz(theta, a)
    circuit.measure(range(5), range(5))
    table = np.linspace(0, 3, 1500)
    service = EmbeddedService.start(workers=2)
    with QPUProvider.connect(service.url, service.operator_token) as provider:
        sampler = SamplerV2(provider.backend("eagle127:line-5"), options={"seed_simulator": 5})
        sampler.run([circuit.assign_parameters([0.1])], shots=10).result()  # the workers are warm
        job = sampler.run([(circuit, table)], shots=20)
        while str(job.status().name) != "RUNNING":
            time.sleep(0.01)
        assert service.service is not None
        victim = next(iter(service.service._executor._executor._pool._processes))
        os.kill(victim, signal.SIGKILL)
        counts = job.result()[0].data.c.array
        assert provider.batches("eagle127")[0].attempt == 2
        again = sampler.run([(circuit, table)], shots=20).result()[0].data.c.array
        assert np.array_equal(counts, again)
    service.close()
