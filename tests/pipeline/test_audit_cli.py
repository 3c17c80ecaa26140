"""``qpu audit …`` on a service's folder, without a server."""

from __future__ import annotations

import json
import re
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import typer
from typer.testing import CliRunner

from qpu_backend.cli import commands

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def qpu(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Runs a command: its exit code and its words."""
    app = typer.Typer()
    commands.mount(app)

    def run(*arguments: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*arguments, "--data", str(tmp_path)])
        return result.exit_code, re.sub(r"[│\s]+", " ", result.output)

    return run


@pytest.fixture
def spoil(tmp_path: Path) -> Callable[[str], None]:
    """What somebody does to the database who can write to it."""

    def execute(statement: str) -> None:
        connection = sqlite3.connect(tmp_path / "qpu.sqlite")
        with connection:
            assert connection.execute(statement).rowcount == 1
        connection.close()

    return execute


def test_what_a_command_does_is_written_down_and_sealed_when_it_ends(qpu: Any) -> None:
    qpu("tenant", "create", "acme")
    qpu("key", "create", "acme", "--principal", "ada")
    code, output = qpu("audit", "list", "--json")
    assert code == 0
    rows = json.loads(output)
    assert [row["number"] for row in rows] == [3, 2, 1]
    assert [row["action"] for row in reversed(rows)] == ["tenant.created", "principal.created", "key.created"]
    assert {row["actor"] for row in rows} == {"cli"}
    assert qpu("audit", "verify") == (0, "3 rows, 3 heads, 0 not sealed yet: nobody touched it ")
    assert "qpu_" not in output


def test_rows_are_found_by_tenant_action_and_time(qpu: Any) -> None:
    qpu("tenant", "create", "acme")
    qpu("tenant", "create", "beta")
    qpu("key", "create", "beta")

    def found(*options: str) -> list[str]:
        return [row["action"] for row in json.loads(qpu("audit", "list", "--json", *options)[1])]

    assert found("--tenant", "acme") == ["tenant.created"]
    assert found("--tenant", "beta", "--action", "key") == ["key.created"]
    assert found("--limit", "1") == ["key.created"]
    assert found("--since", "2999-01-01") == []
    assert len(found("--since", "2020-01-01T00:00:00+02:00")) == 4
    assert "key.created" in qpu("audit", "list")[1]
    assert qpu("audit", "list", "--tenant", "nobody") == (1, "there is no tenant 'nobody' ")
    code, output = qpu("audit", "list", "--since", "yesterday")
    assert (code, "is no date" in output) == (2, True)


@pytest.mark.parametrize(
    ("statement", "told", "kind"),
    [
        ("UPDATE audit_log SET actor = 'service' WHERE number = 2", "changed: row 2 (aud_", "changed"),
        ("DELETE FROM audit_log WHERE number = 2", "removed: row 2 is missing", "removed"),
        ("DELETE FROM audit_log WHERE number = 3", "cut_off: row 3 is cut off", "cut_off"),
    ],
)
def test_a_planted_change_is_named_and_the_exit_code_says_so(
    qpu: Any, spoil: Any, statement: str, told: str, kind: str
) -> None:
    qpu("tenant", "create", "acme")
    qpu("key", "create", "acme")
    spoil(statement)
    code, output = qpu("audit", "verify")
    assert (code, told in output, "findings: 1" in output) == (1, True, True), output
    code, output = qpu("audit", "verify", "--json")
    found = json.loads(output)
    assert (code, found["clean"], [one["kind"] for one in found["findings"]]) == (1, False, [kind])
    assert qpu("audit", "verify")[0] == 1  # looking changes nothing


def test_verifying_takes_the_heads_of_other_machines(qpu: Any, tmp_path: Path) -> None:
    qpu("tenant", "create", "acme")
    heads = tmp_path / "audit_heads"
    assert qpu("audit", "verify", "--heads", str(heads), "--heads", str(heads))[1].startswith("1 rows, 4 heads")
    code, output = qpu("audit", "verify", "--heads", str(tmp_path / "none"))
    assert (code, "there is no file" in output) == (2, True)
    heads.write_text("")
    code, output = qpu("audit", "verify")
    assert (code, "no_head: no head is left" in output) == (1, True)
