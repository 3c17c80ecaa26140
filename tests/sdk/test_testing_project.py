"""Other people's projects, run by pytest as they would be: the documented one, and what can be wrong with one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-code.md"


def _blocks() -> dict[str, str]:
    """The files of the page, by the name that stands before each."""
    text = PAGE.read_text(encoding="utf-8")
    named = re.findall(r"`([\w.]+)`[^\n]*\n(?:[^\n`]+\n)?\n```\w+\n(.*?)```", text, flags=re.DOTALL)
    return dict(named)


@pytest.fixture
def project(pytester):
    """The project of the page, with some text in its code replaced."""

    def write(old: str = "", new: str = "") -> pytest.Pytester:
        for name, text in _blocks().items():
            if name in {"ghz.py", "test_ghz.py", "pyproject.toml"}:
                if name == "ghz.py" and old:
                    assert old in text
                    text = text.replace(old, new)  # noqa: PLW2901
                (pytester.path / name).write_text(text, encoding="utf-8")
        return pytester

    return write


def test_the_page_has_a_whole_project():
    assert {"ghz.py", "test_ghz.py", "pyproject.toml", "conftest.py"} <= _blocks().keys()


@pytest.mark.slow
def test_the_project_of_the_page_passes(project):
    project().runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=6)


@pytest.mark.slow
def test_and_its_test_sees_that_the_code_is_wrong(project):
    broken = project("circuit.cx(qubit, qubit + 1)", "circuit.h(qubit + 1)")
    result = broken.runpytest_subprocess("-p", "no:cacheprovider", "-k", "agree_far")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["E * assert 0.* > 0.6"])


def test_without_the_server_the_error_says_what_to_install(pytester):
    pytester.makeconftest(
        """
        import qpu_sdk.embedding as embedding
        embedding.entry_points = lambda group: ()
        """
    )
    pytester.makepyfile("def test_it(qpu_backend): pass")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*need a service*pip install*qpu-sdk?server?*"])


def test_a_marker_that_says_nonsense_is_an_error_with_what_there_is(pytester):
    pytester.makeconftest(
        """
        import pytest
        @pytest.fixture(scope="session")
        def qpu_service():
            class Nothing:
                def create_tenant(self, name, *, shots_per_day=None): return "token"
            return Nothing()
        """
    )
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.qpu(shots_per_week=3)
        def test_it(qpu_tenant): pass
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "--strict-markers")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*shots_per_week*shots_per_day*"])


def test_nothing_is_loaded_before_a_test_asks_for_it(pytester):
    pytester.makepyfile(
        """
        import sys
        def test_it():
            heavy = {"qiskit", "httpx", "pydantic", "numpy", "fastapi", "qpu_sdk.provider", "http.server"}
            assert not heavy & sys.modules.keys()
            assert "qpu_sdk.testing" in sys.modules
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)


def test_every_worker_of_xdist_has_a_service_of_its_own(pytester):
    pytester.makeconftest(
        """
        import pathlib, pytest
        @pytest.fixture(scope="session")
        def qpu_service(worker_id):
            with (pathlib.Path(__file__).parent / "started").open("a") as out:
                out.write(worker_id + "\\n")
            return worker_id
        """
    )
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.parametrize("number", range(4))
        def test_it(qpu_service, number): assert qpu_service.startswith("gw")
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2").assert_outcomes(passed=4)
    assert sorted((pytester.path / "started").read_text().split()) == ["gw0", "gw1"]
