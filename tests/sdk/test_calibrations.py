"""Calibrations as a researcher meets them: their age, their history, and jobs that belong to an older one."""

from __future__ import annotations

import datetime as dt

import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.transpiler import Target

from qpu_sdk import QPUProvider
from qpu_sdk.errors import CalibrationDriftedError, NotFoundError


@pytest.fixture(scope="module")
def story():
    """A service whose device aged for two days and was calibrated again, and its backend from before."""
    with QPUProvider.embedded(workers=1) as provider:
        service = provider.service
        old = provider.backend("eagle127")
        aged = old.status()
        between = dt.datetime.now(dt.UTC)
        service.pass_time("eagle127", hours=48)
        while not service.calibrate("eagle127"):
            pass
        yield provider, old, aged, between


def ghz(backend) -> QuantumCircuit:
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.measure_all()
    return transpile(circuit, backend, seed_transpiler=7)


def test_a_backend_keeps_its_calibration_until_it_is_refreshed(story):
    provider, old, _, _ = story
    twin = provider.backend("eagle127")
    assert twin.calibration_id != old.calibration_id
    assert twin.calibration_id in repr(twin)
    assert f"{twin.document.calibrated_at:%Y-%m-%d %H:%M}" in repr(twin)
    late = QPUProvider.backend(provider, "eagle127:line-5")
    assert late.refresh() is False
    assert late.calibration_id == twin.calibration_id


def test_the_age_of_the_calibration_is_that_of_the_device(story):
    provider, old, aged, _ = story
    assert aged.calibration_age_s == 0
    now = old.status()
    assert now.calibration_age_s < 3600
    assert now.calibrated_at > aged.calibrated_at
    assert now.calibration_id != old.calibration_id
    provider.service.pass_time("eagle127", hours=1.5)
    assert old.status().calibration_age_s == pytest.approx(now.calibration_age_s + 5400)


def test_a_refreshed_backend_has_the_new_numbers(story):
    provider, old, _, between = story
    backend = provider.backend("eagle127:line-5")
    backend._document = backend.properties(between)  # as if it was made then
    before = backend.target.qubit_properties[0].t1
    assert backend.refresh() is True
    assert backend.calibration_id == provider.backend("eagle127").calibration_id != old.calibration_id
    assert backend.target.qubit_properties[0].t1 != before


@pytest.mark.parametrize("name", ["eagle127", "eagle127:line-5"])
def test_the_target_of_a_time_is_that_of_the_newest_calibration_then(story, name):
    provider, old, _, between = story
    backend = provider.backend(name)
    then, now = backend.target_history(between), backend.target_history(dt.datetime.now(dt.UTC))
    assert isinstance(then, Target)
    assert then.qubit_properties[0].t1 != now.qubit_properties[0].t1
    assert now.qubit_properties[0].t1 == backend.target.qubit_properties[0].t1
    assert backend.properties(between).calibration_id == old.calibration_id
    at_once = backend.document.calibrated_at
    assert backend.properties(at_once).calibration_id == backend.calibration_id
    assert backend.properties(at_once - dt.timedelta(microseconds=1)).calibration_id == old.calibration_id
    local = between.astimezone().replace(tzinfo=None)
    assert backend.properties(local).calibration_id == old.calibration_id
    with pytest.raises(NotFoundError, match="no calibration from before"):
        backend.target_history(old.document.calibrated_at - dt.timedelta(microseconds=1))


def test_a_job_of_an_older_calibration_runs_is_pinned_or_is_refused(story):
    provider, old, _, _ = story
    circuit = ghz(old)
    current = provider.backend("eagle127").calibration_id
    with pytest.raises(CalibrationDriftedError, match="transpile again"):
        old.run(circuit, drift_policy="refuse")
    for policy, reported in (("warn", current), ("pin", old.calibration_id)):
        job = old.run(circuit, shots=20, drift_policy=policy)
        assert sum(job.result(60).get_counts().values()) == 20
        assert job.properties().calibration_id == job.calibration_id == reported
        assert job.metering().calibration_id == current
        assert old.calibration_id in (job.events()[0].message or "")
