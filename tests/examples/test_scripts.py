"""The example scripts and the tutorial run as they are printed."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from qpu_sdk import QPUProvider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ROOT = Path(__file__).parents[2]


def script(name: str) -> ModuleType:
    """An example, imported without running it."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def provider() -> Iterator[QPUProvider]:
    """A provider on a service of its own."""
    with QPUProvider.embedded() as embedded:
        yield embedded


def test_the_first_example_runs_as_a_script_without_a_main_guard() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QPU_")}
    run = subprocess.run(
        [sys.executable, ROOT / "examples" / "five_lines.py"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=120,
    )
    assert run.returncode == 0, run.stderr
    assert "'00000'" in run.stdout
    assert "price_micro" in run.stdout


def test_the_tutorial_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "tutorials" / "first-job.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "first-job.md", "exec"), names)  # noqa: S102 - our own documentation
    shown = capsys.readouterr().out
    assert "11111" in shown
    opened = names["provider"]
    assert isinstance(opened, QPUProvider)
    opened.close()


def test_the_loop_in_a_session_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "how-to" / "sessions.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "sessions.md", "exec"), names)  # noqa: S102 - our own documentation
    *steps, last = capsys.readouterr().out.splitlines()
    assert len({step.partition("on qubits")[2] for step in steps}) == 1
    assert last.startswith("closed 0 µs · qubit")
    opened = names["provider"]
    assert isinstance(opened, QPUProvider)
    opened.close()


def test_two_steps_of_vqe_measure_an_energy_the_chain_can_have(provider: QPUProvider) -> None:
    vqe = script("estimator_vqe")
    energy = vqe.minimise(provider, steps=2)
    bound = sum(abs(coefficient) for _, _, coefficient in vqe.CHAIN)
    assert -bound <= energy <= bound


def test_a_replay_shows_what_sharing_cost(capsys: pytest.CaptureFixture[str]) -> None:
    with QPUProvider.embedded(devices={"eagle127": {"buffer": 0}}) as one:
        assert one.service is not None
        with QPUProvider.connect(one.service.url, one.service.create_tenant("initech")) as other:
            script("cost_of_sharing").compare(one, other, jobs_each=3)
    shown = dict(line.rsplit(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert [name.split()[0] for name in shown] == ["predicted", "predicted", "measured", "alone"]
    assert all(0.0 <= float(figure) <= 1.0 for figure in shown.values())
    assert float(shown["alone"]) == pytest.approx(float(shown["predicted at its best place"]), abs=0.3)


def test_two_tenants_share_the_chip_and_each_sees_its_own_qubits(
    provider: QPUProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    assert provider.service is not None
    with QPUProvider.connect(provider.service.url, provider.service.create_tenant("initech")) as other:
        script("two_tenants").share({"acme": provider, "initech": other}, jobs_each=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["acme", "initech", "acme", "initech"]
    assert all("1011" in line for line in lines[1::2])
