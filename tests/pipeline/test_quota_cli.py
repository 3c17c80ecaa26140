"""``qpu quota`` and ``qpu policy`` on a service's folder: what they set, show and refuse, and that it is audited."""

from __future__ import annotations

import re

import pytest
import typer
from sqlalchemy import select
from typer.testing import CliRunner

from qpu_backend.bootstrap import open_database
from qpu_backend.cli import commands
from qpu_backend.cli.opening import console
from qpu_backend.config import load_config
from qpu_backend.stores.schema_access import audit_log


@pytest.fixture
def qpu(tmp_path, monkeypatch):
    """Runs a command in an 80-column terminal, for the tenant school with its principal ada: exit code and words."""
    monkeypatch.setattr(console, "_width", 80)
    app = typer.Typer()
    commands.mount(app)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])
        return result.exit_code, re.sub(r"[│─\s]+", " ", result.output).strip()

    assert run("tenant", "create", "school")[0] == 0
    assert run("key", "create", "school", "--principal", "ada")[0] == 0
    return run


def audited(tmp_path):
    database = open_database(load_config(data=tmp_path))
    with database.read() as connection:
        rows = connection.execute(select(audit_log).order_by(audit_log.c.id)).all()
    database.close()
    return [(row.actor, row.action, row.facts) for row in rows if row.action.startswith(("quota", "policy"))]


def test_quotas_of_a_tenant_and_a_principal_are_set_shown_and_lifted(qpu, tmp_path):
    assert qpu("quota", "show", "school") == (0, "school: nothing is limited")
    assert qpu("quota", "set", "school", "shots", "day", "1000") == (0, "school: 1000 shots a day")
    own = ("school", "shots", "day", "300", "--principal", "ada", "--burst", "50")
    assert qpu("quota", "set", *own) == (0, "ada of school: 300 shots a day, and up to 50 that the day before left")
    code, shown = qpu("quota", "show", "school")
    assert (code, "(all) shots day 1000 0 0 0 1000" in shown, "ada shots day 350 50 0 0 350" in shown) == (
        0,
        True,
        True,
    )
    assert qpu("quota", "lift", "school", "shots", "day")[0] == 0
    code, shown = qpu("quota", "show", "school")
    assert ("(all)" in shown, "ada" in shown) == (False, True)
    assert [(actor, action) for actor, action, _ in audited(tmp_path)] == [
        ("cli", "quota.set"),
        ("cli", "quota.set"),
        ("cli", "quota.lifted"),
    ]


def test_fields_of_a_policy_are_set_shown_and_cleared(qpu, tmp_path):
    assert qpu("policy", "set", "school", "max-running-jobs", "20") == (0, "school: max_running_jobs 20")
    assert qpu("policy", "set", "school", "lanes", "standard", "teaching", "--principal", "ada")[0] == 0
    assert qpu("policy", "set", "school", "isolation", "shared,buffered", "--principal", "ada")[0] == 0
    assert qpu("policy", "set", "school", "slices", "none", "--principal", "ada") == (0, "ada of school: slices none")
    assert qpu("policy", "set", "school", "max_queued_jobs", "50") == (0, "school: max_queued_jobs 50")
    code, shown = qpu("policy", "show", "school")
    assert code == 0
    for line in (
        "(all) max_queued_jobs 50",
        "(all) max_running_jobs 20",
        "ada lanes standard, teaching",
        "ada isolation buffered, shared",
        "ada slices none",
    ):
        assert line in shown
    assert qpu("policy", "clear", "school", "lanes", "--principal", "ada") == (0, "ada of school: lanes not limited")
    assert qpu("policy", "clear", "school", "max_queued_jobs") == (0, "school: max_queued_jobs 1000")
    assert "lanes" not in qpu("policy", "show", "school")[1]
    facts = audited(tmp_path)
    assert facts[1] == ("cli", "policy.set", {"field": "lanes", "value": ["standard", "teaching"]})
    assert facts[-1] == ("cli", "policy.cleared", {"field": "max_queued_jobs", "value": None})


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("policy set school max_jobs 3", "a policy has no 'max_jobs'"),
        ("policy set school max_circuits 0", "whole number from 1 to"),
        ("policy set school max_circuits three", "max_circuits is one whole number"),
        ("policy set school max_circuits 3 4", "max_circuits is one whole number"),
        ("policy set school isolation airtight", "one of shared, buffered, confidential, exclusive"),
        ("policy set school lanes [red]", "is no name for it"),
        ("policy set nobody max_circuits 3", "there is no tenant 'nobody'"),
        ("policy set school max_circuits 3 --principal bob", "there is no principal 'bob'"),
        ("policy clear school max_jobs", "a policy has no 'max_jobs'"),
        ("policy show nobody", "there is no tenant 'nobody'"),
        ("quota set school shots day 9007199254740993", "whole number from 0 to"),
        ("quota set school shots week 3", "week"),
        ("quota set school shots day 3 --principal bob", "there is no principal 'bob'"),
        ("quota set nobody shots day 3", "there is no tenant 'nobody'"),
        ("quota show nobody", "there is no tenant 'nobody'"),
    ],
)
def test_bad_input_is_refused_in_a_sentence_and_changes_nothing(qpu, tmp_path, arguments, why):
    code, output = qpu(*arguments.split())
    assert code in {1, 2}
    assert why in output
    assert "Traceback" not in output
    assert audited(tmp_path) == []
