"""``qpu simulate`` as people meet it."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from qpu_backend.cli.simulate import simulate

WORKLOAD = {
    "kinds": {"bell_n2": {"qubits": 2}, "cat_state_n4": {"qubits": 4, "standalone_device_s": 3.1}},
    "queue": ["bell_n2", "cat_state_n4", "bell_n2", "cat_state_n4"],
    "tenants": ["a", "b", "b", "a"],
    "weights": {"a": 2},
}


@pytest.fixture
def qpu(tmp_path, monkeypatch):
    """Runs the command on a workload: exit code, output, errors."""
    monkeypatch.chdir(tmp_path)
    app = typer.Typer()
    app.command()(simulate)

    def run(workload, *arguments):
        path = tmp_path / "workload.json"
        path.write_text(json.dumps(workload))
        result = CliRunner().invoke(app, [str(path), "--device", "falcon27", *arguments])
        return result.exit_code, result.stdout, result.stderr

    return run


def test_a_table_and_pictures_come_out(qpu, tmp_path):
    code, out, _ = qpu(WORKLOAD, "--policy", "all", "--plots", "pictures")
    assert code == 0, out
    for name in ("fifo", "pairs", "fixed-slots", "greedy-efs", "fair"):
        assert f"\n{name} " in out
        for kind in ("gantt", "shares"):
            assert (tmp_path / "pictures" / f"{kind}-{name}.png").read_bytes()[:4] == b"\x89PNG"
    assert (tmp_path / "pictures" / "waits.png").stat().st_size > 5000


def test_json_is_one_document_with_every_figure(qpu, tmp_path):
    code, out, _ = qpu(WORKLOAD, "--json", "--no-plots", "--policy", "fair", "--policy", "fifo", "--policy", "fair")
    assert code == 0
    document = json.loads(out)
    fair, fifo = document["policies"]
    assert (fair["policy"], fifo["policy"], fair["jobs"]) == ("fair", "fifo", 4)
    assert fifo["speedup"] == pytest.approx(1)
    assert fair["speedup"] > 1.5
    assert {"crosstalk_loss_mean", "esp", "esp_isolated", "utilisation", "p95_wait_s", "jain", "plan_ms_p95"} <= {*fair}
    assert list(tmp_path.iterdir()) == [tmp_path / "workload.json"]


def test_executing_adds_fidelities_and_both_losses(qpu):
    code, out, _ = qpu(WORKLOAD, "--json", "--no-plots", "--execute")
    assert code == 0
    (fair,) = json.loads(out)["policies"]
    assert fair["executed_jobs"] == 4
    assert 0.7 < fair["fidelity"] <= 1
    assert {"executed_placement_loss_mean", "executed_crosstalk_loss_mean"} <= {*fair}
    code, out, _ = qpu(WORKLOAD, "--no-plots", "--execute")
    assert "lost to" in out


def test_options_of_the_planner_reach_it(qpu):
    code, out, _ = qpu(WORKLOAD, "--no-plots", "--buffer", "0", "--stretch", "0.1", "--max-loss", "0.5")
    assert code == 0
    assert "buffer 0, stretch 0.1, " in out
    assert "max loss 0.5" in out


@pytest.mark.parametrize(
    ("change", "arguments", "says"),
    [
        ({"queue": ["nothing_n2", *WORKLOAD["queue"][1:]]}, (), "queue.0: kind 'nothing_n2' is not among kinds"),
        ({"arrival_s": [0, -1, 0, 0]}, (), "arrival_s.1: "),
        ({"weights": {"a": 0}}, (), "weights.a: "),
        (
            {"kinds": {**WORKLOAD["kinds"], "bell_n2": {"qubits": 30}}},
            (),
            "kinds.bell_n2.qubits: no shape of 30 qubits",
        ),
        ({}, ("--device", "nowhere"), "'nowhere' is unknown"),
    ],
)
def test_bad_input_is_one_line_that_names_the_field_and_exit_code_two(qpu, change, arguments, says):
    code, out, err = qpu({**WORKLOAD, **change}, "--no-plots", *arguments)
    assert code == 2
    assert out == ""
    assert says in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", [("--policy", "best"), ("--circuits", "nowhere"), ("--buffer", "2")])
def test_options_that_there_are_not_are_refused(qpu, arguments):
    code, _, err = qpu(WORKLOAD, "--no-plots", *arguments)
    assert code == 2
    assert err
