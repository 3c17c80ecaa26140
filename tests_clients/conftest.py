"""The service that every client meets, and the table of which clients passed.

Each ``test_*.py`` is one client: ``CLIENT`` is its distribution, the first line of the module says what is run. A
client passes if all its tests do; one that is expected to fail is a defect of the client, and is told.
"""

from __future__ import annotations

import os
from collections import defaultdict
from importlib.metadata import version

import pytest
from qiskit.transpiler import generate_preset_pass_manager
from serving import DEVICES

from qpu_sdk import EstimatorV2, QPUProvider, SamplerV2

TESTS = pytest.StashKey[dict]()


@pytest.fixture(scope="session")
def provider():
    """On the service of ``serving.py``: the one that this program was given, or else one of its own."""
    with QPUProvider() if "QPU_URL" in os.environ else QPUProvider.embedded(workers=2, devices=DEVICES) as provider:
        yield provider


@pytest.fixture(scope="session")
def line(provider):
    """Five qubits in a line, somewhere on the chip."""
    return provider.backend("eagle127:line-5")


@pytest.fixture(scope="session")
def chip(provider):
    """The whole device."""
    return provider.backend("eagle127")


@pytest.fixture(scope="session")
def compiler(line):
    """Qiskit's own compiler, for the line."""
    return generate_preset_pass_manager(optimization_level=1, backend=line, seed_transpiler=7)


@pytest.fixture
def sampler(line):
    return SamplerV2(line, options={"seed_simulator": 11, "default_shots": 2000})


@pytest.fixture
def estimator(line):
    return EstimatorV2(line, options={"seed_simulator": 11, "default_precision": 0.02})


def pytest_configure(config):
    config.stash[TESTS] = defaultdict(list)


@pytest.fixture(autouse=True)
def _named(request, record_property):
    """Puts the client and its version into the report."""
    record_property("client", request.module.CLIENT)
    record_property("version", version(request.module.CLIENT))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    item.config.stash[TESTS][item.module].append(report)
    return report


def pytest_terminal_summary(terminalreporter, config):
    reports = config.stash[TESTS]
    if not reports:
        return
    terminalreporter.section("clients")
    passed = 0
    for module in sorted(reports, key=lambda module: module.CLIENT):
        of_client = reports[module]
        of_its_own = [report for report in of_client if report.skipped and hasattr(report, "wasxfail")]
        good = all(report.passed or report in of_its_own for report in of_client)
        passed += good
        tests = len({report.nodeid for report in of_client})
        seconds = sum(report.duration for report in of_client)
        terminalreporter.write_line(
            f"{'pass' if good else 'FAIL'}  {module.CLIENT:<26}{version(module.CLIENT):<10}"
            f"{tests:>3} tests{seconds:>7.1f} s  {module.__doc__.splitlines()[0]}"
        )
        for report in of_its_own:
            terminalreporter.write_line(f"      its own defect: {report.wasxfail}")
    terminalreporter.write_line(f"client_pass {passed}/{len(reports)}")
