"""`qpu invoice …` and `qpu usage reconcile` on a service's folder: what they print, write and refuse."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import typer
from sqlalchemy import text
from typer.testing import CliRunner

from qpu_backend.cli import commands
from qpu_backend.config import load_config
from qpu_backend.domain.invoices import Month
from qpu_backend.pipeline.clocks import HandDrivenClock
from qpu_backend.stores.database import Database

MONTH = Month(2026, 1)


@pytest.fixture(scope="module")
def served(tmp_path_factory, laboratories, make):
    """The folder of a service whose tenant had a job in a month that is long over."""
    folder = tmp_path_factory.mktemp("served")
    with laboratories(folder, clock=HandDrivenClock(MONTH.interval.start_us)) as lab:
        order = make.sample(make.ghz(), shots=300).model_copy(update={"tags": ["-2+3"]})
        lab.ended(lab.submit(lab.tenant("acme"), order))
    return folder


@pytest.fixture
def qpu(served, tmp_path):
    """Runs a command on a copy of the folder: its exit code and what it printed."""
    data = tmp_path / "data"
    shutil.copytree(served, data)
    app = typer.Typer()
    commands.mount(app)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*arguments, "--data", str(data)])
        return result.exit_code, result.stdout

    run.data = data
    return run


def test_a_month_is_issued_once_and_shown_in_every_form(qpu, tmp_path):
    assert json.loads(qpu("invoice", "show", "acme", "2026-01")[1])["state"] == "preview"
    code, said = qpu("invoice", "issue", "2026-01")
    assert (code, "1 invoices issued, 0 were there before" in said) == (0, True)
    assert "0 invoices issued, 1 were there before" in qpu("invoice", "issue", "2026-01", "--tenant", "acme")[1]
    document = json.loads(qpu("invoice", "show", "acme", "2026-01")[1])
    assert (document["state"], document["tenant"], len(document["lines"])) == ("issued", "acme", 1)
    (row,) = csv.DictReader(qpu("invoice", "show", "acme", "2026-01", "--format", "csv")[1].splitlines())
    assert int(row["amount_micro"]) == document["total_micro"]
    (raw,) = csv.DictReader(qpu("invoice", "show", "acme", "2026-01", "--line", "1")[1].splitlines())
    assert (raw["shots"], json.loads(raw["tags"])) == ("300", ["-2+3"])
    page = tmp_path / "invoice.html"
    assert qpu("invoice", "show", "acme", "2026-01", "--format", "html", "--output", str(page))[0] == 0
    assert document["id"] in page.read_text(encoding="utf-8")
    assert qpu("usage", "reconcile")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("issue", "2026-13"), 2, ""),
        (("issue", "2099-01"), 1, "2099-01 is invoiced from"),
        (("issue", "2026-01", "--tenant", "nobody"), 1, "there is no tenant 'nobody'"),
        (("show", "nobody", "2026-01"), 1, "there is no tenant 'nobody'"),
        (("show", "acme", "2025-12"), 1, "there is no invoice '2025-12'"),
        (("show", "acme", "2026-01", "--line", "2"), 1, "there is no line"),
        (("show", "acme", "2026-01", "--output", "/nowhere/at/all"), 1, "cannot write"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_nothing_is_lost(qpu, arguments, code, words):
    exit_code, said = qpu("invoice", *arguments)
    assert exit_code == code
    assert words in " ".join(said.split())
    assert json.loads(qpu("invoice", "show", "acme", "2026-01")[1])["state"] == "preview"


def test_books_that_agree_exit_with_0_and_others_with_1_and_name_every_difference(qpu):
    code, said = qpu("usage", "reconcile")
    assert (code, said.startswith("0 differences among 1 batches, 1 jobs")) == (0, True)
    assert json.loads(qpu("usage", "reconcile", "--json")[1])["clean"]
    database = Database.open(load_config(data=qpu.data).database_url)
    with database.write() as connection:
        connection.execute(text("UPDATE usage_records SET shots = shots + 1"))
        connection.execute(text("UPDATE postings SET amount_micro = amount_micro + 7 WHERE account = 'revenue'"))
    database.close()
    code, said = qpu("usage", "reconcile")
    assert code == 1
    for kind in ("shots_differ", "unbalanced_transaction", "trial_balance"):
        assert kind in said
    assert "301 instead of 300 shots" in said
    code, said = qpu("usage", "reconcile", "--json")
    assert (code, json.loads(said)["counts"]["shots_differ"]) == (1, 1)
