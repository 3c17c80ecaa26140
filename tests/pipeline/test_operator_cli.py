"""The operator's commands on a service's folder, without a server."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from qpu_backend import cli
from qpu_backend.bootstrap import build
from qpu_backend.config import load_config


@pytest.fixture
def qpu(tmp_path, monkeypatch):
    """Runs a command in an 80-column terminal: its exit code and its words."""
    monkeypatch.setattr(cli, "_console", Console(width=80))
    app = typer.Typer()
    cli.mount(app)

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
