"""Lines of the client's contract (docs/reference/contract.md) that belong to no other file of tests."""

from __future__ import annotations

import tomllib
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement

from qpu_sdk import Patience, QPUBackend, RunOptions
from qpu_sdk.credentials import Credentials
from qpu_sdk.errors import ServiceUnavailableError
from qpu_sdk.transport import Transport
from qpu_sdk.wire.models import VersionInfo

ROOT = Path(__file__).parents[2]


@pytest.fixture
def asked():
    """A transport to nowhere, how patient it is, and what reached the wire: every request is told to come later."""
    requests: list[httpx.Request] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(503, request=request)

    patience = Patience(connect_s=1, read_s=2, write_s=3, attempts=7, first_delay_s=1.0, longest_delay_s=16.0)
    transport = Transport(Credentials("http://127.0.0.1:9", "token"), patience)
    transport._client = httpx.Client(transport=httpx.MockTransport(refuse))
    pauses: list[float] = []
    transport._again.sleep = pauses.append
    return transport, requests, pauses


def test_pauses_between_tries_grow_and_are_drawn(asked):
    transport, requests, pauses = asked
    for _ in range(30):
        with pytest.raises(ServiceUnavailableError):
            transport.get("/version", VersionInfo)
        transport._budget._left = 100  # the next round is another program's
    assert len(requests) == 7 * 30
    rounds = [pauses[start : start + 6] for start in range(0, len(pauses), 6)]
    bounds = [2.0, 4.0, 8.0, 16.0, 16.0, 16.0]  # twice the mean, doubled each time, up to the longest
    for number, bound in enumerate(bounds):
        drawn = [each[number] for each in rounds]
        assert 0 <= min(drawn) < max(drawn) <= bound
        assert len(set(drawn)) > 20
        assert max(drawn) > bound / 2  # by chance once in 2³⁰


def test_each_phase_of_a_request_has_its_own_time_out(asked):
    transport, requests, _ = asked
    with pytest.raises(ServiceUnavailableError):
        transport.get("/version", VersionInfo)
    timeout = requests[0].extensions["timeout"]
    assert (timeout["connect"], timeout["read"], timeout["write"]) == (1, 2, 3)


def test_default_options_are_those_of_run(backend):
    options = dict(QPUBackend._default_options())
    assert options == {name: value for name, value in RunOptions().items() if name != "idempotency_key"}
    assert {"shots", "memory", "seed_simulator", "rep_delay", "job_tags", "meas_level", "init_qubits"} <= options.keys()
    assert dict(backend.options) == options


@pytest.mark.parametrize("package", ["qpu_sdk", "qpu_backend"])
def test_both_packages_say_that_they_are_typed(package):
    assert files(package).joinpath("py.typed").is_file()


def test_qiskit_is_any_of_version_2_from_2_3_on_and_tests_run_with_the_locked_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (qiskit,) = (r for r in map(Requirement, project["dependencies"]) if r.name == "qiskit")
    assert {str(one) for one in qiskit.specifier} == {">=2.3", "<3"}
    installed = version("qiskit")
    assert f"\nqiskit=={installed} " in (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert qiskit.specifier.contains(installed)
