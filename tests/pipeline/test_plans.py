"""Plans are stored with what they follow from: shown, explained, and planned again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import typer
from typer.testing import CliRunner

from qpu_backend.bootstrap import open_plans
from qpu_backend.cli import commands
from qpu_backend.config import load_config
from qpu_backend.domain.errors import NotFound


@pytest.fixture
def ran(new_lab, make, tmp_path):
    lab = new_lab("plans")
    with lab.queueing():
        shared = [lab.submit(lab.tenant(), make.sample(make.ghz())) for _ in range(3)]
        alone = lab.submit(lab.tenant(), make.sample(make.ghz(), isolation="exclusive"))
    lab.ended(*shared, alone)
    office = open_plans(load_config(data=tmp_path / "plans"), lab.service.database)
    return lab, office, shared, alone


def test_every_batch_is_planned_again_the_same(ran):
    lab, office, shared, alone = ran
    for one in lab.batches(*shared, alone):
        again = office.replay(one.batch.id)
        assert again.stored.whole
        assert again.differences == ()
        assert [placement.job_id for placement in again.decision.placements] == one.job_ids


def test_a_plan_is_found_by_its_jobs_and_says_why_others_waited(ran):
    _, office, shared, alone = ran
    stored = office.read(shared[1])
    assert {placement.job_id for placement in stored.placements} == set(shared)
    assert f"{alone}: waits, it runs alone" in stored.batch.explanation
    assert stored.batch.id in [row.id for row in office.recent("eagle127", limit=5)]
    with pytest.raises(NotFound):
        office.read("batch_none")


def test_a_changed_plan_is_told_difference_by_difference(ran, monkeypatch):
    _, office, shared, _ = ran
    stored = office.read(shared[0])
    fewer = replace(stored, view=replace(stored.view, jobs=stored.view.jobs[1:]))
    monkeypatch.setattr(office, "read", lambda _: fewer)
    differences = office.replay(shared[0]).differences
    assert "the stored view is not the one that was planned from" in differences
    assert f"{stored.view.jobs[0].id} ran and would wait" in differences


def test_the_operator_sees_and_repeats_plans_from_the_command_line(ran, tmp_path):
    _, _, shared, alone = ran
    app = typer.Typer()
    commands.mount(app)

    def qpu(*arguments):
        result = CliRunner().invoke(app, ["plan", *arguments, "--data", str(tmp_path / "plans")])
        return result.exit_code, result.output

    code, output = qpu("show", alone)
    assert code == 0, output
    assert "1 of " in output
    code, output = qpu("show", shared[0], "--json")
    document = json.loads(output)
    assert (code, document["whole"]) == (0, True)
    assert {placement["job"] for placement in document["placements"]} == set(shared)
    assert qpu("replay", shared[0])[0] == 0
    assert qpu("list", "eagle127")[0] == 0
    assert qpu("show", "nothing")[0] == 1
