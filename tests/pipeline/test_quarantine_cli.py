"""``qpu device quarantine`` and ``release`` beside no server: what they say, and what is out of service afterwards."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

from qpu_backend.bootstrap import build
from qpu_backend.cli import commands
from qpu_backend.config import load_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def qpu(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Runs a command on a service that was started once: its exit code and its words."""
    build(load_config(data=tmp_path), durable=False, executor=ThreadPoolExecutor(1)).stop()
    app = typer.Typer()
    commands.mount(app)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])
        return result.exit_code, re.sub(r"[│\s]+", " ", result.output).strip()

    return run


def test_qubits_and_couplers_are_taken_out_of_service_and_back(qpu):
    nothing = (0, "eagle127: out of service: nothing")
    both = (0, "eagle127: out of service: qubit 17, coupler 4-15")
    assert qpu("device", "quarantine", "eagle127") == nothing
    assert qpu("device", "quarantine", "eagle127", "--qubit", "17", "--coupler", "15-4", "--note", "jumps") == both
    assert qpu("device", "quarantine", "eagle127") == both
    for words, told in (
        (("quarantine", "eagle127", "--qubit", "127"), (1, "there is no qubit 127: the device has 0 to 126")),
        (("quarantine", "eagle127", "--coupler", "0-9"), (1, "qubits 0 and 9 have no coupler on this device")),
        (("quarantine", "nothing", "--qubit", "1"), (1, "nothing")),
        (("quarantine", "eagle127", "--coupler", "0+1"), (2, "names no coupler")),
        (("release", "eagle127", "--coupler", "4"), (2, "names no coupler")),
        (("quarantine", "eagle127", "--qubit", "-1"), (2, "--qubit")),
    ):
        code, output = qpu("device", *words)
        assert (code, told[1] in output) == (told[0], True), output
        assert "Traceback" not in output
    assert qpu("device", "release", "eagle127", "--coupler", "4-15") == (0, "eagle127: out of service: qubit 17")
    assert qpu("device", "release", "eagle127") == nothing == qpu("device", "release", "eagle127")
    told = qpu("audit", "list", "--action", "device")[1]
    assert (told.count("device.quarantined"), told.count("device.released")) == (1, 2)
    assert "jumps" in told
