"""The page of clients says which ones `make test-clients` runs, in the versions that are locked."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PINNED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)


def test_the_page_lists_every_client_in_its_locked_version_and_no_other() -> None:
    tests = ROOT / "tests_clients"
    pins: dict[str, str] = {}
    for lock in (
        "requirements-clients-older.lock",
        "requirements-clients.lock",
    ):  # of both: the second
        pins.update(PINNED.findall((ROOT / lock).read_text()))
    clients = {
        name
        for path in (*tests.glob("test_*.py"), *(tests / "older").glob("test_*.py"))
        for name in re.findall(r'^CLIENT = "([\w-]+)"$', path.read_text(), re.MULTILINE)
    }
    page = (ROOT / "docs" / "reference" / "clients.md").read_text()
    listed = re.findall(r"^\| `([a-z0-9-]+)` \| ([\d.]+) \|", page, re.MULTILINE)
    assert listed == [(name, pins[name]) for name in sorted(clients)]
