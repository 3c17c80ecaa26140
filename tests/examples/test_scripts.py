"""The examples, the tutorials' code and the how-to on sessions run as they are printed, and find what they say."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from qpu_sdk import QPUProvider

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
NUMBERED = sorted(path for path in EXAMPLES.iterdir() if path.suffix in {".py", ".ipynb"})


def printed(name: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines that a script prints, run in this process as ``python`` would."""
    runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    return capsys.readouterr().out.splitlines()


def notebook_printed(name: str) -> str:
    """What a notebook prints, run from its first cell to its last in a kernel of its own."""
    notebook = nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)
    NotebookClient(notebook, timeout=240, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    return "".join(output.get("text", "") for output in outputs if output.get("name") == "stdout")


def ci(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """The job for continuous integration, from a terminal."""
    return terminal("09_ci_job", *arguments, **settings)


def terminal(name: str, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """An example run from a terminal, with only these settings of ours."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QPU_")}
    return subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment | settings,
        timeout=120,
    )


def test_examples_are_numbered_without_a_gap_and_run_somewhere_here() -> None:
    assert [int(path.name[:2]) for path in NUMBERED] == list(range(1, len(NUMBERED) + 1))
    source = Path(__file__).read_text(encoding="utf-8")
    assert [path.stem for path in NUMBERED if f'"{path.stem}"' not in source] == []
    listed = re.findall(
        r"^\| `(\d\d_\S+)` \|", (ROOT / "docs" / "examples.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert listed == [path.name for path in NUMBERED]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    code = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert [cell.id for cell in code if cell.outputs or cell.execution_count is not None] == []


def test_the_first_example_runs_as_a_script_without_a_main_guard() -> None:
    run = terminal("01_five_lines")
    assert run.returncode == 0, run.stderr
    assert "'00000'" in run.stdout
    assert "price_micro" in run.stdout


def test_the_tutorial_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "tutorials" / "first-job.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for block in re.findall(r"```\{code-cell\} python\n(.*?)```", text, re.DOTALL):
        exec(compile(block, "first-job.md", "exec"), names)  # noqa: S102 - our own documentation
    shown = capsys.readouterr().out
    assert "11111" in shown
    assert "credits" in shown


def test_the_loop_in_a_session_runs_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "how-to" / "sessions.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    (block,) = [block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "embedded()" in block]
    exec(compile(block, "sessions.md", "exec"), names)  # noqa: S102 - our own documentation
    *steps, last = capsys.readouterr().out.splitlines()
    assert len({step.partition("on qubits")[2] for step in steps}) == 1
    assert last.startswith("closed 0 µs · qubit")
    opened = names["provider"]
    assert isinstance(opened, QPUProvider)
    opened.close()


def test_two_tenants_share_the_chip_and_each_sees_its_own_qubits(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed("02_two_tenants", capsys)
    assert [line.partition(":")[0] for line in lines] == ["acme", "initech"] * 3
    assert all("1011" in line for line in lines[1::2])


@pytest.mark.slow
def test_a_replay_shows_what_sharing_cost(capsys: pytest.CaptureFixture[str]) -> None:
    shown = dict(line.rsplit(": ", 1) for line in printed("03_cost_of_sharing", capsys))
    assert [name.split()[0] for name in shown] == ["predicted", "predicted", "measured", "alone"]
    assert all(0.0 <= float(figure) <= 1.0 for figure in shown.values())
    assert float(shown["alone"]) - float(shown["measured"]) > 0.1
    assert float(shown["alone"]) == pytest.approx(float(shown["predicted at its best place"]), abs=0.3)


@pytest.mark.slow
def test_vqe_of_the_chain_ends_below_where_it_began(capsys: pytest.CaptureFixture[str]) -> None:
    first, *_, last = printed("04_estimator_vqe", capsys)
    measured, exact = map(float, re.findall(r"[-+]\d+\.\d+", last))
    assert exact - 0.1 < measured < float(first.rpartition(" ")[2]) - 0.3


@pytest.mark.slow
def test_hydrogen_comes_out_below_one_configuration_and_on_the_same_qubits(capsys: pytest.CaptureFixture[str]) -> None:
    *sweeps, found, single, _ = printed("05_h2_in_a_session", capsys)
    assert len({line.partition("on qubits")[2] for line in sweeps}) == 1
    measured, uncertainty, exact = map(float, re.findall(r"-?\d+\.\d+", found))
    assert exact == pytest.approx(-1.1373, abs=1e-4)
    assert measured == pytest.approx(exact, abs=0.01)
    assert uncertainty < 0.005
    assert measured < float(single.rpartition(" ")[2])


def test_the_approximate_optimiser_finds_the_largest_cut_more_often_than_chance(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, _, most_often, hits = printed("06_qaoa_maxcut", capsys)
    assert most_often.endswith("cuts 6 of at most 6")
    found, by_chance = map(int, re.findall(r"(\d+)%", hits))
    assert found > 3 * by_chance


@pytest.mark.slow
def test_randomised_benchmarking_finds_the_published_error() -> None:
    shown = notebook_printed("07_randomised_benchmarking")
    measured, uncertainty, published = map(float, re.findall(r"\d\.\d+e-\d+", shown))
    assert abs(measured - published) < 4 * uncertainty < published


def test_deeper_mirrors_succeed_less_and_about_as_predicted(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[float(number) for number in line.split()] for line in printed("08_mirror_circuits", capsys)[1:]]
    assert [measured for _, _, measured in rows] == sorted((measured for _, _, measured in rows), reverse=True)
    assert all(measured == pytest.approx(predicted, abs=0.1) for _, predicted, measured in rows)


@pytest.mark.slow
def test_a_device_that_is_good_enough_exits_with_0() -> None:
    run = ci()
    assert run.returncode == 0, run.stderr
    assert 0.7 <= float(run.stdout.split()[0]) < 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [(["--at-least", "0.999"], 1, ""), (["--max-credits", "0.1"], 2, "refused: ")],
    ids=["not-good-enough", "too-dear"],
)
def test_what_a_pipeline_must_know_is_the_exit_code(arguments: list[str], code: int, said: str) -> None:
    run = ci(*arguments)
    assert run.returncode == code
    assert run.stderr.startswith(said)
    assert "Traceback" not in run.stderr


@pytest.mark.slow
def test_a_service_that_is_not_there_exits_with_3() -> None:
    run = ci(QPU_URL="unix:/nonexistent/api.sock", QPU_TOKEN="qpu_none")  # noqa: S106 - nobody's
    assert run.returncode == 3
    assert "Traceback" not in run.stderr


@pytest.mark.slow
def test_half_the_error_takes_four_times_the_shots() -> None:
    shown = notebook_printed("10_cost_against_precision")
    rows = re.findall(r"asked ([\d.]+)\s+reported ([\d.]+)\s+scatter ([\d.]+)\s+(\d+) shots\s+([\d.]+)", shown)
    prices = [float(row[-1]) for row in rows]
    assert len(rows) == 4
    assert prices == sorted(prices)
    assert all(float(reported) < float(asked) for asked, reported, *_ in rows)
    assert all(float(scatter) < 2 * float(reported) for _, reported, scatter, *_ in rows)
    assert "to the power -2.00" in shown
    quoted, billed = re.findall(r"quoted ([\d.]+) credits each, billed ([\d.]+)", shown)[0]
    assert quoted == billed


@pytest.mark.slow
def test_a_neighbour_is_felt_next_door_and_no_further(capsys: pytest.CaptureFixture[str]) -> None:
    rows = printed("11_noisy_neighbour", capsys)[1:]
    differences = [float(row.split()[-2]) for row in rows]
    assert differences[0] > 0.01
    assert differences[0] > 3 * abs(differences[1])
    assert differences[2] == pytest.approx(0, abs=0.002)
