"""``qpu price``, ``qpu tenant credit`` and ``qpu usage refund`` on a service's folder, without a server."""

from __future__ import annotations

import re
import shutil
import tomllib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner

from qpu_backend.bootstrap import build
from qpu_backend.cli import commands
from qpu_backend.cli.opening import console
from qpu_backend.config import load_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BOOK = """\
[prices]
name = "2999"
per_shot_micro = 12
per_device_second_micro = 110000
per_qubit_second_micro = 22000
minimum_micro = 1000
free_micro_per_month = 5000000

[prices.lane_percent]
interactive = 200
"""


@pytest.fixture
def qpu(tmp_path, monkeypatch) -> Callable[..., tuple[int, str]]:
    """Runs a command in an 80-column terminal: its exit code and its words."""
    monkeypatch.setattr(console, "_width", 80)
    app = typer.Typer()
    commands.mount(app)

    def run(*arguments: str, whole: bool = False) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])
        return result.exit_code, result.output if whole else re.sub(r"[│\s]+", " ", result.output)

    return run


def start(folder: Path, **settings: object) -> None:
    build(load_config(data=folder, **settings), durable=False, executor=ThreadPoolExecutor(1)).stop()


@pytest.fixture(scope="module")
def once_started(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("started")
    start(folder)
    return folder


@pytest.fixture
def started(once_started, tmp_path) -> None:
    """The service has run once."""
    shutil.copytree(once_started, tmp_path, dirs_exist_ok=True)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "new.toml"
    path.write_text(BOOK)
    return path


@pytest.mark.usefixtures("started")
def test_a_price_book_is_announced_listed_and_shown_as_it_was_published(qpu, file):
    code, output = qpu("price", "publish", str(file), "--valid-from", "2999-01-01")
    assert (code, "2999 is in force from 2999-01-01 00:00 UTC" in output) == (0, True), output
    assert qpu("price", "publish", str(file), "--valid-from", "2999-01-01T01:00+01:00")[0] == 0  # the same moment
    code, output = qpu("price", "list")
    assert output.strip() == "2026-01 from the start in force 2999 from 2999-01-01 00:00 UTC announced"
    assert tomllib.loads(qpu("price", "show", "2999", whole=True)[1]) == tomllib.loads(BOOK)
    assert 'name = "2026-01"' in qpu("price", "show")[1]


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(
    ("changed", "moment", "told"),
    [
        (BOOK, "2020-01-01", "has passed"),
        (BOOK, "soon", "is no date"),
        (BOOK, "9999-12-31T23:00-05:00", "between the years 1970 and 9000"),
        (BOOK, "2999-01-01T00:00", "names no time zone"),
        (BOOK.replace("2999", "2026-01"), "2999-01-01", "never change"),
        (BOOK.replace("interactive", "express"), "2999-01-01", "no lane 'express'"),
        (BOOK.replace("minimum_micro = 1000", ""), "2999-01-01", "prices.minimum_micro is missing"),
        (BOOK.replace("= 12", "= -12"), "2999-01-01", "prices.per_shot_micro"),
        (BOOK.replace("prices", "price"), "2999-01-01", "no table [prices]"),
        ("[prices", "2999-01-01", "is no TOML"),
    ],
)
def test_a_price_book_that_cannot_be_is_refused_in_a_sentence(qpu, file, changed, moment, told):
    file.write_text(changed)
    code, output = qpu("price", "publish", str(file), "--valid-from", moment)
    assert code in {1, 2}
    assert told in output
    assert "Traceback" not in output
    assert qpu("price", "list")[1].strip() == "2026-01 from the start in force"


def test_a_price_book_may_be_announced_before_the_service_has_ever_run(qpu, file, tmp_path):
    assert qpu("price", "list")[0] == 1
    assert qpu("price", "publish", str(file), "--valid-from", "2999-01-01")[0] == 0
    start(tmp_path)
    assert qpu("price", "list")[1].startswith("2026-01 from the start in force 2999 ")


@pytest.mark.usefixtures("started")
def test_the_configuration_changes_no_price_book_that_is_in_force(qpu, tmp_path):
    prices = {"name": "by configuration", "per_shot_micro": 1}
    start(tmp_path, prices=prices)
    assert qpu("price", "list")[1].strip() == "2026-01 from the start in force"
    assert qpu("price", "show", "by configuration")[0] == 1


def test_a_credit_is_told_with_the_balance(qpu):
    qpu("tenant", "create", "acme")
    credit = ("tenant", "credit", "acme", "5000000", "--reason", "invoice 7", "--reference", "wire-1")
    assert qpu(*credit) == (0, "acme: 5000000 micro-credits credited; balance 5000000 ")
    assert qpu(*credit) == (0, "acme: 5000000 micro-credits had been credited before; balance 5000000 ")
    assert qpu(*credit[:3], "1", *credit[4:])[0] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("acme", "0", "--reason", "r"),
        ("acme", "1.5", "--reason", "r"),
        ("acme", "1"),
        ("acme", "1", "--reason", ""),
        ("acme", "1", "--reason", "two\nlines"),
        ("acme", "1", "--reason", "x" * 201),
        ("acme", "1", "--reason", "r", "--reference", "x" * 129),
        ("nobody", "1", "--reason", "r"),
    ],
)
def test_a_credit_that_cannot_be_is_refused(qpu, arguments):
    qpu("tenant", "create", "acme")
    code, output = qpu("tenant", "credit", *arguments)
    assert code in {1, 2}
    assert "Traceback" not in output
    assert qpu("tenant", "credit", "acme", "1", "--reason", "r")[1].endswith("balance 1 ")


def test_what_was_not_charged_is_not_given_back(qpu):
    code, output = qpu("usage", "refund", "use_none", "--reason", "r")
    assert (code, "there is no charge 'use_none'" in output) == (1, True)
