"""The ``qpu`` command against the embedded service."""

from __future__ import annotations

import re
import sys

import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from typer.testing import CliRunner

from qpu_sdk import EstimatorV2, SamplerV2, cli
from qpu_sdk.credentials import read_profile


@pytest.fixture
def qpu(qpu_service, monkeypatch, tmp_path):
    monkeypatch.setenv("QPU_URL", qpu_service.url)
    monkeypatch.setenv("QPU_TOKEN", qpu_service.token)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(cli.app, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    return run


def test_backends_jobs_usage_and_version_are_shown(qpu, backend):
    circuit = QuantumCircuit(1, 1)
    circuit.measure(0, 0)
    job = backend.run(circuit, shots=5, job_tags=["cli"])
    assert "eagle127:line-5" in qpu("backends")
    shown = qpu("job", job.job_id(), "--wait", "--counts")
    assert "metering" in shown
    assert "'0': 5" in shown or "'1'" in shown
    assert job.job_id() in qpu("jobs", "--tag", "cli", "--state", "done")
    assert "nothing to cancel" in qpu("job", job.job_id(), "--cancel")
    assert "shots" in qpu("usage")
    assert re.search(r"^cli +1 +5 ", qpu("usage", "--by", "tag"), re.MULTILINE)
    assert "service" in qpu("version")


def test_counts_of_a_sampler_are_told_apart_by_pub_register_and_binding(qpu, backend):
    theta = Parameter("theta")
    circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(1, "left"), ClassicalRegister(1, "right"))
    circuit.rz(theta, 0)
    circuit.measure([0, 1], [0, 1])
    job = SamplerV2(backend).run([(circuit, [[0.1], [0.2]], 7), (circuit, [0.3], 9)])
    shown = qpu("job", job.job_id(), "--counts")
    for which in ("pub 0 left binding 0", "pub 0 right binding 1", "pub 1 left", "pub 1 right"):
        (line,) = [line for line in shown.splitlines() if line.startswith(which + ": {")]
        assert sum(map(int, re.findall(r": (\d+)", line))) == (7 if "pub 0" in which else 9)


def test_an_estimator_says_that_it_has_no_counts(qpu, backend):
    job = EstimatorV2(backend).run([(QuantumCircuit(5), "ZIIII")], precision=0.1)
    assert "no counts" in qpu("job", job.job_id(), "--counts")


def test_login_tries_the_token_and_stores_it(qpu, qpu_service):
    assert "stored" in qpu("login", "--url", qpu_service.url, "--token", qpu_service.token)
    stored = read_profile()
    assert stored is not None
    assert stored.token == qpu_service.token


@pytest.mark.usefixtures("qpu")
def test_an_error_is_one_line_and_no_trace(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["qpu", "job", "job_nothing"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert error.startswith("not_found: ")
    assert "Traceback" not in error


@pytest.mark.usefixtures("qpu")
def test_a_long_error_stays_one_line(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys, "argv", ["qpu", "jobs", "--state", "[foo]"])
    with pytest.raises(SystemExit):
        cli.main()
    error = capsys.readouterr().err
    assert (
        error == "invalid_request: there is no state '[foo]'; it is one of queued, running, done, failed, cancelled\n"
    )
