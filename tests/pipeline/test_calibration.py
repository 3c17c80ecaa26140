"""Calibrating a device beside the running service, and what the service makes of it."""

from __future__ import annotations

import itertools
import subprocess
import sys

import pytest

from qpu_backend.bootstrap import open_calibration, read_drift_secret
from qpu_backend.config import load_config
from qpu_backend.engines.catalogue import read_device
from qpu_backend.physics.calibration import FAILURE_PROBABILITY, duration_us
from qpu_backend.physics.drift import QUANTUM_US
from qpu_backend.physics.fluctuations import DAY_US, HOUR_US
from qpu_backend.physics.philox import stream, uniforms
from qpu_backend.physics.snapshot import Snapshot
from qpu_backend.stores import blobs, snapshots
from qpu_backend.stores.errors import ClockReversed, MissingRow
from qpu_sdk.wire.codec import unpack

DEVICE = "eagle127"


def calibrated(lab):
    """The device as a tenant who asks now is shown it."""
    with lab.database.read() as connection:
        return lab.service.door.fleet.backend(connection, DEVICE).calibrated


def calibrate(lab):
    """An attempt that succeeds: now and then one fails."""
    attempts = (lab.service.calibration.calibrate(DEVICE) for _ in range(10))
    return next(attempt for attempt in attempts if attempt.after is not None)


def published(lab) -> list[Snapshot]:
    """Every published snapshot, oldest first."""
    with lab.database.read() as connection:
        rows = snapshots.list_snapshots(connection, DEVICE)[::-1]
        found = [Snapshot.from_document(unpack(blobs.get_blob(connection, row.blob_sha))) for row in rows]
    assert [(row.number, row.device_time_us) for row in rows] == [(one.number, one.device_time_us) for one in found]
    return found


def test_a_calibration_takes_device_time_and_publishes_a_numbered_snapshot(either_lab):
    before = calibrated(either_lab)
    attempt = calibrate(either_lab)
    now, row = calibrated(either_lab), either_lab.device()
    assert row.device_time_us == attempt.row.device_time_us >= duration_us(before.model) == attempt.row.device_us
    assert row.snapshot_id == now.row.id == attempt.row.snapshot_id != before.row.id
    assert now.snapshot == attempt.after != before.snapshot == attempt.before
    assert (now.snapshot.number, now.row.number) == (before.row.number + 1,) * 2
    assert now.snapshot.device_time_us == now.row.device_time_us == row.device_time_us
    assert published(either_lab)[-2:] == [before.snapshot, now.snapshot]
    (newest, number), *_, (oldest, one) = either_lab.service.calibration.history(DEVICE)
    assert (newest, number) == (attempt.row, now.row.number)
    assert (oldest.device_us, oldest.device_time_us, oldest.failure, one) == (0, 0, None, 1)


def test_jobs_run_on_with_the_new_calibration(either_lab, make):
    scope = either_lab.tenant()
    calibrate(either_lab)
    job_id = either_lab.submit(scope, make.sample(make.ghz(), shots=50))
    either_lab.ended(job_id)
    (ran,) = either_lab.batches(job_id)
    current = calibrated(either_lab).row
    assert ran.batch.snapshot_id == current.id
    assert ran.batch.device_start_us >= current.device_time_us
    either_lab.check_books()


def test_a_batch_that_runs_is_not_cut(new_lab, make):
    lab = new_lab(device={"crosstalk": False})
    old = calibrated(lab).row.id
    lab.workers.gate.clear()
    scope = lab.tenant()
    job_id = lab.submit(scope, make.sample(make.ghz(), shots=50))
    lab.until("running", job_id)
    calibrate(lab)
    lab.service.calibration.pass_time(DEVICE, HOUR_US)
    assert lab.rows(job_id)[0].state == "running"
    lab.workers.gate.set()
    lab.ended(job_id)
    assert lab.events(scope, job_id) == ["admitted", "running", "done"]
    (ran,) = lab.batches(job_id)
    assert (ran.batch.snapshot_id, ran.batch.attempt, ran.batch.state) == (old, 1, "done")
    lab.check_books()


def test_a_service_notices_what_another_process_calibrated(new_lab, make, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "drift_seed").write_bytes(b"with which the first calibration does not fail")
    lab = new_lab("a")
    before = calibrated(lab).row
    command = [sys.executable, "-c", "from qpu_sdk.cli import main; main()", "device"]
    for words in (["pass", DEVICE, "--hours", "30"], ["calibrate", DEVICE]):
        run = subprocess.run(
            [*command, *words, "--data", str(tmp_path / "a")], capture_output=True, text=True, check=True
        )
    assert "calibration 2" in run.stdout
    now = calibrated(lab)
    assert now.row.number == before.number + 1
    assert now.row.device_time_us > 30 * HOUR_US
    fleet = lab.service.door.fleet
    assert fleet.truth(DEVICE, now.row.device_time_us).detuning_hz == {}
    # Both processes know the same truth: what the other one measured is near what this one knows.
    true = fleet.truth(DEVICE, now.row.device_time_us).snapshot
    ratios = [now.snapshot.qubit(q).t1_us / true.qubit(q).t1_us for q in now.snapshot.usable_qubits]
    assert max(ratios) < 1.3
    assert min(ratios) > 0.75
    job_id = lab.submit(lab.tenant(), make.sample(make.ghz(), shots=50))
    lab.ended(job_id)
    assert lab.batches(job_id)[0].batch.snapshot_id == now.row.id


def test_calibrations_at_once_are_one_after_the_other(either_lab):
    calibration = either_lab.service.calibration
    first = max(number or 0 for _, number in calibration.history(DEVICE))
    clock_us = either_lab.device().device_time_us
    attempts = either_lab.at_once(
        [lambda: calibration.calibrate(DEVICE)] * 6 + [lambda: calibration.pass_time(DEVICE, HOUR_US)] * 3
    )
    ends = sorted(attempt.row.device_time_us for attempt in attempts[:6])
    numbers = sorted(attempt.after.number for attempt in attempts[:6] if attempt.after is not None)
    assert numbers == list(range(first + 1, first + 1 + len(numbers)))
    takes_us = duration_us(calibrated(either_lab).model)
    assert all(later - earlier >= takes_us for earlier, later in itertools.pairwise(ends))
    assert either_lab.device().device_time_us == clock_us + 6 * takes_us + 3 * HOUR_US
    assert calibrated(either_lab).row.number == numbers[-1]


def unlucky_secret() -> bytes:
    """A secret with which the first calibration of the device fails."""
    ends_us = duration_us(read_device(DEVICE)[0])
    secrets = (number.to_bytes(4, "big") for number in range(100_000))
    lots = ((secret, uniforms(stream(secret, DEVICE, "calibration lot"), ends_us)[0]) for secret in secrets)
    return next(secret for secret, lot in lots if lot < FAILURE_PROBABILITY)


def test_a_failed_calibration_takes_its_time_and_publishes_nothing(new_lab, tmp_path):
    (tmp_path / "unlucky").mkdir()
    (tmp_path / "unlucky" / "drift_seed").write_bytes(unlucky_secret())
    lab = new_lab("unlucky", started=False)
    before = calibrated(lab)
    attempt = lab.service.calibration.calibrate(DEVICE)
    assert attempt.after is None
    assert calibrated(lab) is before
    assert lab.device().device_time_us == duration_us(before.model)
    assert published(lab) == [before.snapshot]
    (failed, number), (first, one) = lab.service.calibration.history(DEVICE)
    assert (failed, number, one) == (attempt.row, None, 1)
    assert failed.snapshot_id is None
    assert "did not converge" in (failed.failure or "")
    assert first.snapshot_id == before.row.id
    assert lab.service.calibration.calibrate(DEVICE).after is not None
    assert [snapshot.number for snapshot in published(lab)] == [1, 2]


def test_device_time_passes_and_never_goes_back(new_lab):
    lab = new_lab(started=False)
    calibration = lab.service.calibration
    assert calibration.pass_time(DEVICE, 5 * HOUR_US) == lab.device().device_time_us == 5 * HOUR_US
    with pytest.raises(ClockReversed):
        calibration.pass_time(DEVICE, -1)
    assert lab.device().device_time_us == 5 * HOUR_US
    for refused in (
        lambda: calibration.pass_time("albatross", 1),
        lambda: calibration.calibrate("albatross"),
        lambda: calibration.history("albatross"),
    ):
        with pytest.raises(MissingRow, match="albatross"):
            refused()


# --- the truth as the service knows it --------------------------------------------------------------------------------


def test_a_minute_shares_a_truth_and_a_calibration_ends_it(new_lab):
    lab = new_lab(started=False)
    fleet = lab.service.door.fleet
    first = calibrated(lab)
    assert fleet.truth(DEVICE, 0).snapshot == first.snapshot
    minute = fleet.truth(DEVICE, DAY_US)
    assert fleet.truth(DEVICE, DAY_US + QUANTUM_US - 1) is minute
    assert fleet.truth(DEVICE, DAY_US + HOUR_US).snapshot != minute.snapshot
    assert minute.detuning_hz
    assert minute.snapshot.device_time_us == DAY_US
    lab.service.calibration.pass_time(DEVICE, DAY_US)
    calibrate(lab)
    now = calibrated(lab).row
    tuned = fleet.truth(DEVICE, now.device_time_us)
    assert tuned is not minute
    assert tuned.snapshot.device_time_us == now.device_time_us
    assert not tuned.detuning_hz
    assert fleet.truth(DEVICE, now.device_time_us + DAY_US).detuning_hz


def test_a_device_drifts_from_its_first_snapshot_whichever_is_current(new_lab, tmp_path):
    lab = new_lab("one", started=False)
    fleet = lab.service.door.fleet
    at_first = fleet.truth(DEVICE, 5 * DAY_US) if calibrated(lab) else None
    for _ in range(3):
        calibrate(lab)
    other = open_calibration(load_config(data=tmp_path / "one"), lab.database, DEVICE)
    with lab.database.read() as connection:
        other._fleet.backend(connection, DEVICE)
    calibrated(lab)
    assert at_first is not None
    for knows in (fleet, other._fleet):
        truth = knows.truth(DEVICE, 5 * DAY_US)
        assert [qubit.t1_us for qubit in truth.snapshot.qubits] == [q.t1_us for q in at_first.snapshot.qubits]


def test_without_drift_the_truth_stays_the_first_snapshot(new_lab):
    lab = new_lab(device={"drift": False}, started=False)
    lab.service.calibration.pass_time(DEVICE, DAY_US)
    attempt = calibrate(lab)
    calibrated(lab)
    truth = lab.service.door.fleet.truth(DEVICE, 2 * DAY_US)
    assert truth.snapshot == attempt.before != attempt.after
    assert not truth.detuning_hz
    assert calibrated(lab).snapshot.device_time_us > DAY_US


def test_a_command_takes_the_options_the_service_was_last_started_with(new_lab, tmp_path):
    for drifts in (True, False):
        lab = new_lab("one", device={"drift": drifts, "drift_scale": 2.0}, started=False)
        commands = open_calibration(load_config(data=tmp_path / "one"), lab.database, DEVICE)
        commands.calibrate(DEVICE)
        drift = commands._fleet.drift(DEVICE)
        assert (drift.enabled, drift.scale) == (drifts, 2.0)


def test_the_drift_seed_is_made_once_and_is_for_the_service_alone(new_lab, tmp_path):
    lab = new_lab("one", started=False)
    config = load_config(data=tmp_path / "one")
    assert (config.drift_seed_file.stat().st_mode & 0o777, len(read_drift_secret(config))) == (0o600, 32)
    others = lab.at_once([lambda: read_drift_secret(load_config(data=tmp_path / "new"))] * 16)
    assert len(set(others)) == 1
    assert len(others[0]) == 32
    assert others[0] != read_drift_secret(config)
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["drift_seed"]
    chosen = load_config(data=tmp_path / "chosen", drift_seed="of an experiment")
    assert read_drift_secret(chosen) == b"of an experiment"
    assert "experiment" not in repr(chosen)
    assert not chosen.drift_seed_file.exists()
