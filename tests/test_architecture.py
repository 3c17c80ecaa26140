"""Rules of the house that import-linter cannot see. The import rules are in pyproject.toml (`make contracts`)."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import qpu_backend.domain
from qpu_backend.domain.errors import every_error
from qpu_backend.http.problems import STATUS
from qpu_sdk.problems import EXCEPTION_OF_CODE

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
PACKAGES = ("qpu_backend", "qpu_sdk")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
PURE = [path for path in SOURCES if path.is_relative_to(ROOT / "qpu_backend/domain") or "physics" in path.parts]

for module_name in pkgutil.iter_modules(qpu_backend.domain.__path__, "qpu_backend.domain."):
    importlib.import_module(module_name.name)  # so that every_error() sees the families declared elsewhere
RAISED = [error for error in every_error() if not error.__subclasses__() or "__init__" in vars(error)]
"""What is raised itself, not only its children."""

SCOPES = {"TenantScope", "SystemScope"}
SCOPE_MAKERS = {"qpu_backend/http/auth.py", "qpu_backend/bootstrap.py"}
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "perf_counter", "sleep", "localtime", "gmtime"}
IMPURE_CALLS = {"open", "input", "print", "eval", "exec", "__import__", "default_rng"}
PURE_LIBRARIES = {"numpy", "rustworkx", "qpu_backend"}
SAYS_NOTHING = {"utils", "util", "helpers", "helper", "common", "base", "manager", "data", "info", "misc", "types"}


def relative(path: Path) -> str:
    """The path from the top of the repository, with forward slashes."""
    return path.relative_to(ROOT).as_posix()


@cache
def tree(path: Path) -> ast.Module:
    """The file, parsed."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def called(node: ast.Call) -> str:
    """The last name of what a call calls: ``a.b.c(…)`` → ``c``."""
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def imported(path: Path) -> set[str]:
    """Top-level names of the packages that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{relative(path)}:{node.lineno}: relative imports are not used here"
            names.add((node.module or "").partition(".")[0])
    return names


def loaded_by(statement: str) -> set[str]:
    """Top-level packages that a fresh interpreter has loaded after one statement."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(run.stdout.split())


def outside_of_the_table(module: ast.Module) -> Iterator[ast.AST]:
    """Every node of a module but those of the status table itself."""
    for statement in module.body:
        if not (isinstance(statement, ast.AnnAssign) and ast.unparse(statement.target) == "STATUS"):
            yield from ast.walk(statement)


def test_scopes_are_made_only_where_a_caller_is_authenticated() -> None:
    makers = {
        relative(path)
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and called(node) in SCOPES
    }
    assert makers <= SCOPE_MAKERS


def test_no_file_is_longer_than_400_lines() -> None:
    everything = [
        *SOURCES,
        *(path for folder in ("tests", "examples", "benchmarks") for path in (ROOT / folder).rglob("*.py")),
    ]
    lengths = {relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in everything}
    assert {name: length for name, length in lengths.items() if length > 400} == {}


@pytest.mark.parametrize("path", PURE, ids=relative)
def test_domain_and_physics_read_no_clock_do_no_io_and_draw_no_unseeded_numbers(path: Path) -> None:
    for node in ast.walk(tree(path)):
        if not isinstance(node, ast.Call):
            continue
        where = f"{relative(path)}:{node.lineno}"
        if called(node) == "default_rng":
            assert node.args or node.keywords, f"{where}: a generator without a seed"
            continue
        if isinstance(node.func, ast.Name):
            assert node.func.id not in IMPURE_CALLS, f"{where}: {node.func.id}(…)"
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
            clock = node.func.attr in CLOCKS and node.func.value.id in {"datetime", "date", "time", "dt"}
            assert not clock, f"{where}: reads a clock; take `now` as an argument"


@pytest.mark.parametrize("path", PURE, ids=relative)
def test_domain_and_physics_import_only_the_standard_library_numpy_and_rustworkx(path: Path) -> None:
    assert imported(path) - sys.stdlib_module_names <= PURE_LIBRARIES


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_a_file_says_what_it_is_and_its_name_says_something(path: Path) -> None:
    module = tree(path)
    assert path.stem not in SAYS_NOTHING
    if path.name != "__init__.py":
        assert ast.get_docstring(module), "a file begins with one sentence that says what it is"


def test_packages_hold_no_code_but_the_lazy_front_door() -> None:
    with_code = {
        relative(path)
        for path in SOURCES
        if path.name == "__init__.py" and any(not isinstance(node, ast.Expr) for node in tree(path).body)
    }
    doors = {"qpu_sdk/cli/__init__.py", "qpu_sdk/testing/__init__.py"}  # what entry points name
    assert with_code <= {"qpu_sdk/__init__.py"} | doors


def test_pydantic_models_stand_only_at_the_door() -> None:
    declaring = {
        relative(path)
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ClassDef)
        and "BaseModel" in {base.attr if isinstance(base, ast.Attribute) else ast.unparse(base) for base in node.bases}
    }
    assert declaring <= {"qpu_sdk/wire/documents.py", "qpu_backend/config.py", "qpu_backend/simulation/workload.py"}


def test_loading_the_wire_contract_loads_neither_qiskit_nor_an_http_client() -> None:
    assert (
        loaded_by("import qpu_sdk.wire.models, qpu_sdk.wire.results") & {"qiskit", "httpx", "tenacity", "qpu_backend"}
        == set()
    )


def test_loading_the_sdk_loads_no_server_and_no_plots() -> None:
    heavy = {"qpu_backend", "qiskit_aer", "sqlalchemy", "fastapi", "typer", "rich", "tqdm", "matplotlib"}
    assert loaded_by("import qpu_sdk") & heavy == set()


def test_every_domain_error_has_its_own_code_and_every_code_a_status() -> None:
    codes = [error.code for error in RAISED]
    assert len(codes) == len(set(codes))
    assert set(codes) - set(STATUS) == set()


def test_every_status_is_of_a_code_that_something_raises() -> None:
    literals = {
        node.value
        for path in SOURCES
        if path.is_relative_to(ROOT / "qpu_backend")
        for node in outside_of_the_table(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(STATUS) - {error.code for error in RAISED} - literals == set()


def test_the_sdk_has_an_exception_for_every_problem_and_for_no_other() -> None:
    assert set(EXCEPTION_OF_CODE) == set(STATUS)


def test_the_lock_names_no_index() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text(encoding="utf-8")
