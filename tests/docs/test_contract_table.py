"""The page of the contract names tests that exist."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "reference" / "contract.md"
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", PAGE.read_text(encoding="utf-8"))))


@cache
def _functions(path: str) -> set[str]:
    file = TESTS / path
    return (
        set(re.findall(r"^(?:async )?def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
        if file.exists()
        else set()
    )


def test_every_line_is_held_by_a_test() -> None:
    rows = [
        line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| ") and "---" not in line
    ]
    without = [row for row in rows if "::" not in row and row != "| | held by |"]
    assert len(rows) > 70
    assert without == []


@pytest.mark.parametrize("path", sorted({path for path, _ in NAMED}))
def test_the_tests_that_the_page_names_are_there(path: str) -> None:
    assert {name for file, name in NAMED if file == path} - _functions(path) == set()
