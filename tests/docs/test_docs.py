"""The documents name what exists: modules, routes, error codes, files."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any, cast

import pytest
import typer

from qpu_backend.config import load_config
from qpu_backend.engines.catalogue import device_names
from qpu_backend.http import problems
from qpu_backend.http.app import ROUTERS
from qpu_sdk import cli

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "deploy").glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ROUTE = re.compile(r"^\| `(GET|POST|DELETE|PUT|PATCH) (/\S*)`", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def page(name: str) -> str:
    """The text of a page."""
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_architecture_page_names_every_module_and_no_other() -> None:
    listed = set()
    folder = ""
    for line in page("docs/explanation/architecture.md").splitlines():
        if heading := re.fullmatch(r"### `(\S+)/`", line):
            folder = heading[1]
        elif entry := re.match(r"\| `(\S+\.py)` \|", line):
            listed.add(f"{folder}/{entry[1]}")
    existing = {
        path.relative_to(ROOT).as_posix()
        for package in ("qpu_sdk", "qpu_backend")
        for path in (ROOT / package).rglob("*.py")
        if path.name != "__init__.py" and "versions" not in path.parts
    }
    assert listed == existing, "run `make modules`"


def test_the_http_page_lists_every_route_and_no_other() -> None:
    served = {
        (method, prefix + route.path_format)
        for prefix, router in ROUTERS
        for route in router.routes
        for method in route.methods
    }
    assert set(ROUTE.findall(page("docs/reference/http-api.md"))) == served


def test_the_errors_page_lists_every_code_with_its_status() -> None:
    listed = re.findall(r"^\| `(\w+)` \| (\d{3}) \|", page("docs/reference/errors.md"), re.MULTILINE)
    assert {code: int(status) for code, status in listed} == {
        code: status for code, (status, _) in problems.STATUS.items()
    }


def test_the_command_page_lists_every_command_and_no_other() -> None:
    cli.mount_commands()
    installed = set()
    for name, command in cast("Any", typer.main.get_command(cli.app)).commands.items():
        below = {f"{name} {under}" for under in getattr(command, "commands", ())}
        installed |= below | (set() if below and not command.invoke_without_command else {name})
    listed = re.findall(r"^\| `qpu ([a-z]+(?: [a-z]+)?)", page("docs/reference/cli.md"), re.MULTILINE)
    assert set(listed) == installed


def test_the_devices_page_describes_the_catalogue_as_it_is_and_shows_every_device() -> None:
    described = runpy.run_path(str(ROOT / "docs" / "devices.py"))["section"]()
    assert described in page("docs/reference/devices.md"), "run `make devices`"
    pictures = {f"{name}-{kind}.png" for name in device_names() for kind in ("map", "numbers")}
    folder = ROOT / "docs" / "_static" / "devices"
    assert {path.name for path in folder.iterdir()} == pictures
    assert max(path.stat().st_size for path in folder.iterdir()) < 150_000


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_links_only_to_files_that_exist(path: Path) -> None:
    missing = [link for link in LINK.findall(path.read_text(encoding="utf-8")) if not (path.parent / link).exists()]
    pages_without_suffix = [link for link in missing if (path.parent / f"{link}.md").exists()]
    assert set(missing) - set(pages_without_suffix) == set()


def test_the_example_configuration_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("DATA", "DATABASE", "HOST", "PORT", "WORKERS", "DECODERS", "LOG_LEVEL"):
        monkeypatch.delenv(f"QPU_{variable}", raising=False)
    config = load_config(ROOT / "deploy" / "qpu.toml")
    assert config.data == Path("/var/lib/qpu")


def test_the_readme_shows_the_first_example_as_it_is() -> None:
    script = page("examples/01_five_lines.py").split('"""', 2)[2].strip()
    shown = re.search(r"```python\n(.*?)```", page("README.md"), re.DOTALL)
    assert shown is not None
    assert shown[1].strip() == script
