"""The operator's commands on a service's folder, without a server."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from qpu_backend.bootstrap import build
from qpu_backend.cli import commands
from qpu_backend.cli.opening import console
from qpu_backend.config import load_config


@pytest.fixture
def qpu(tmp_path, monkeypatch):
    """Runs a command in an 80-column terminal: its exit code and its words."""
    monkeypatch.setattr(console, "_width", 80)
    app = typer.Typer()
    commands.mount(app)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])
        return result.exit_code, re.sub(r"[│\s]+", " ", result.output)

    return run


@pytest.mark.parametrize("name", ["acme", "a.b_c-D9", "x" * 64])
def test_a_plain_name_makes_a_tenant(qpu, name):
    code, output = qpu("tenant", "create", name)
    assert (code, f"tenant {name}" in output) == (0, True), output


@pytest.mark.parametrize("name", ["bad name!", "", "x" * 65, "ümlaut", "a/b", "new\nline", "[red]", "acme\n"])
def test_a_name_with_anything_else_is_refused_and_makes_nothing(qpu, name):
    code, output = qpu("tenant", "create", name)
    assert code == 2
    assert "is no tenant's name" in output
    assert "digits" in output
    assert "ten_" not in qpu("tenant", "list")[1]


@pytest.mark.parametrize("days", ["0", "-1", "nan", "inf", "1e9"])
def test_a_key_that_would_have_expired_already_or_never_will_is_refused_and_not_made(qpu, days):
    qpu("tenant", "create", "acme")
    code, output = qpu("key", "create", "acme", "--expires-in-days", days)
    assert code == 2
    assert "more than 0" in output
    assert "key_" not in qpu("key", "list", "acme")[1]


def test_a_list_of_keys_shows_ids_and_times_whole_in_80_columns(qpu):
    qpu("tenant", "create", "acme")
    expected = {f"{datetime.now(UTC) + timedelta(days=1.5):%Y-%m-%d %H:%M}"}
    qpu("key", "create", "acme", "--principal", "a-principal-with-a-long-name", "--expires-in-days", "1.5")
    expected.add(f"{datetime.now(UTC) + timedelta(days=1.5):%Y-%m-%d %H:%M}")
    key_id = re.search(r"key_[0-9a-f]{32}", qpu("key", "list", "acme")[1])
    assert key_id is not None
    qpu("key", "revoke", key_id[0])
    _, output = qpu("key", "list", "acme")
    assert "…" not in output
    assert key_id[0] in output
    times = re.findall(r"\d{4}-\d{2}-\d{2} \d{2}:\d{2}", output)
    assert len(times) == 2
    assert times[0] in expected


# --- devices --------------------------------------------------------------------------------------------------------


@pytest.fixture
def device(tmp_path):
    """The name of a device that a service has been started with."""
    (tmp_path / "drift_seed").write_bytes(b"with which the first calibrations do not fail")
    build(load_config(data=tmp_path), durable=False, executor=ThreadPoolExecutor(1)).stop()
    return "eagle127"


def test_a_device_passes_time_is_calibrated_and_tells_its_history(qpu, device):
    assert "device time 1 d 06:30:00" in qpu("device", "pass", device, "--hours", "30.5")[1]
    code, output = qpu("device", "calibrate", device)
    assert code == 0, output
    assert re.search(r"T1 +[0-9.]+ µs +[0-9.]+ µs", output)
    assert re.search(r"two-qubit error +\S+e-03 +\S+e-03", output)
    new = re.search(r"calibration 2 \((cal_\w{32})\), device time 1 d 06:32:05; it took 2.1 min", output)
    assert new is not None, output
    _, history = qpu("device", "history", device)
    second, first = re.findall(r"(\d) +(\d d [\d:]{8}) \S+ \S+ (cal_\w{32})", history)
    assert second == ("2", "1 d 06:32:05", new[1])
    assert first[:2] == ("1", "0 d 00:00:00")
    assert len(re.findall("cal_", qpu("device", "history", device, "--limit", "1")[1])) == 1
    assert new[1] in qpu("device", "list")[1]


@pytest.mark.parametrize("hours", ["0", "-3", "nan", "inf", "1e9"])
def test_device_time_that_does_not_pass_is_refused(qpu, device, hours):
    code, output = qpu("device", "pass", device, "--hours", hours)
    assert code == 2
    assert "never goes back" in output
    assert " 0.0 " in qpu("device", "list")[1]


@pytest.mark.parametrize("words", [("calibrate",), ("history",), ("pass", "--hours", "1")])
def test_a_device_that_is_not_there_is_one_red_line(qpu, words):
    command, *options = words
    assert qpu("device", command, "albatross", *options) == (1, "there is no device 'albatross' ")


# --- bookings -------------------------------------------------------------------------------------------------------

NUMBER = r"bkg_[0-9a-f]{32}"


def test_windows_are_booked_listed_and_given_back(qpu, device):
    qpu("tenant", "create", "acme")
    code, output = qpu("device", "book", device, "--tenant", "acme", "--in", "60", "--for", "3600", "--note", "[b]VQE")
    booked = re.search(
        f"({NUMBER}): {device} is booked for acme, from device time 0 d 00:01:00 to 0 d 01:01:00", output
    )
    assert (code, booked is not None) == (0, True), output
    code, output = qpu("device", "maintain", device, "--in", "7200", "--for", "90.5")
    kept = re.search(f"({NUMBER}): {device} is under maintenance, from device time 0 d 02:00:00 to", output)
    assert (code, kept is not None) == (0, True), output
    _, output = qpu("device", "bookings", device)
    assert "eagle127 is at device time 0 d 00:00:00" in output
    assert re.findall(NUMBER, output) == [booked[1], kept[1]]
    assert "0 d 00:01:00 to 0 d 01:01:00 acme [b]VQE" in output
    assert "0 d 02:00:00 to 0 d 02:01:30 maintenance" in output
    code, output = qpu("device", "unbook", booked[1])
    assert (code, f"{booked[1]} is cancelled" in output) == (0, True), output
    assert re.findall(NUMBER, qpu("device", "bookings", device)[1]) == [kept[1]]
    assert qpu("device", "unbook", booked[1]) == (1, f"refused (booking): {booked[1]} is cancelled already ")


def test_a_window_that_cannot_be_booked_is_one_red_line_with_its_reason(qpu, device):
    qpu("tenant", "create", "acme")
    book = ("device", "book", device, "--tenant")
    assert qpu(*book, "acme", "--in", "-1", "--for", "5")[0] == 1
    assert "refused (in): it would begin in the past" in qpu(*book, "acme", "--in", "-1", "--for", "5")[1]
    assert "refused (for): it has no length" in qpu(*book, "acme", "--in", "1", "--for", "0")[1]
    assert qpu(*book, "nobody", "--in", "1", "--for", "5") == (1, "there is no tenant 'nobody' ")
    assert qpu(*book, "acme", "--in", "nan", "--for", "5")[0] == 2
    assert qpu(*book, "acme", "--in", "1", "--for", "inf")[0] == 2
    assert qpu(*book, "acme", "--in", "1", "--for", "5", "--note", "x" * 201)[0] == 2
    assert qpu("device", "maintain", "albatross", "--in", "1", "--for", "5") == (1, "there is no device 'albatross' ")
    assert qpu("device", "unbook", "bkg_1") == (1, "there is no booking 'bkg_1' ")
    assert re.findall(NUMBER, qpu("device", "bookings", device)[1]) == []
    taken = re.search(NUMBER, qpu(*book, "acme", "--in", "10", "--for", "5")[1])
    code, output = qpu("device", "maintain", device, "--in", "12", "--for", "5")
    assert (code, f"would overlap {taken[0]}, which begins in 10 s" in output) == (1, True), output
