"""The demo from start to end, as it looks in a terminal of 80 columns."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from qpu_sdk.demo import algorithms, run_demo


def test_the_tenants_run_different_circuits():
    alice, bob = algorithms(None)
    assert not {one.name for one in alice} & {one.name for one in bob}
    assert not any(one.circuit == other.circuit for one in alice for other in bob)


@pytest.mark.parametrize("tenant", [0, 1])
def test_every_circuit_ends_where_it_should(tenant):
    likeliest = {one.name: max(one.ideal(), key=one.ideal().get) for one in algorithms(None)[tenant]}
    for name, outcome in {"bernstein_vazirani": "01011", "bernstein_vazirani_4": "0110", "qft": "0101"}.items():
        assert likeliest.get(name, outcome) == outcome


def test_the_demo_fits_a_terminal_of_80_columns(tmp_path):
    terminal = io.StringIO()
    run_demo(None, tmp_path / "chip.png", Console(file=terminal, width=80))
    lines = terminal.getvalue().splitlines()
    results = lines[next(number for number, line in enumerate(lines) if "what alice sees" in line) :]
    assert all(len(line.rstrip()) <= 80 for line in results)
    assert not any("…" in line for line in results)
    for one in (*algorithms(None)[0], *algorithms(None)[1]):
        rows = [line for line in results if line.split()[:1] == [one.name]]
        assert len(rows) == 2, one.name  # its counts and its bill
    assert [len(line) < 80 for line in lines[-3:]] == [True] * 3
    assert [line.split(":")[0] for line in lines[-3:-1]] == ["F", "near"]
    assert lines[-1].endswith("s in all")
    assert any("bob's next job is refused" in line for line in lines)
    assert (tmp_path / "chip.png").exists()
