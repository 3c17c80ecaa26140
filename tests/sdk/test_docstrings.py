"""The examples in the SDK's docstrings print what they say."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest
from qiskit import QuantumCircuit, transpile

import qpu_sdk

MODULES = sorted(
    ".".join(("qpu_sdk", *path.relative_to(Path(qpu_sdk.__file__).parent).with_suffix("").parts)).removesuffix(
        ".__init__"
    )
    for path in Path(qpu_sdk.__file__).parent.rglob("*.py")
    if re.search(r"^\s*>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
)


def test_the_classes_that_people_begin_with_have_examples() -> None:
    assert {f"qpu_sdk.{name}" for name in ("estimator", "job", "sampler", "session")} | {"qpu_sdk"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_a_docstring_tells_what_happens(name, qpu_service, shared_provider, monkeypatch):
    monkeypatch.setenv("QPU_URL", qpu_service.url)
    monkeypatch.setenv("QPU_TOKEN", qpu_service.token)
    backend = shared_provider.backend("eagle127:line-2")
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    known = {
        "SamplerV2": qpu_sdk.SamplerV2,
        "backend": backend,
        "circuit": transpile(bell, backend, seed_transpiler=1),
        "measured": transpile(bell.measure_all(inplace=False), backend, seed_transpiler=1),
        "provider": shared_provider,
    }
    module = importlib.import_module(name)
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in doctest.DocTestFinder().find(module, extraglobs=known):
        runner.run(test, out=said.append)
    results = runner.summarize(verbose=False)
    assert results.attempted > 0
    assert results.failed == 0, "".join(said)
