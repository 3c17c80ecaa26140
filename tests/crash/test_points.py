"""Every transaction of the service is a point at which it is killed, or says why it is not."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import faults
import pytest
from crash_strikes import POINTS, STAGES, TRANSACTIONS, Met
from faults import Armed, Moment, passed

SERVICE = Path(__file__).parents[2] / "qpu_backend"


def transactions():
    """(file, ``module.function``) of everything in the service that opens one."""
    for path in sorted(SERVICE.rglob("*.py")):
        waiting = [(ast.parse(path.read_text(encoding="utf-8")), "")]
        while waiting:
            node, function = waiting.pop()
            for child in ast.iter_child_nodes(node):
                named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                waiting.append((child, child.name if named else function))
                match child:
                    case ast.Call(func=ast.Attribute(attr="write"), args=[], keywords=[]):
                        yield path, f"{path.stem}.{function}"


def test_every_transaction_of_the_service_is_a_point():
    assert {name for _, name in transactions()} == {point.name for point in TRANSACTIONS}


def test_a_point_names_one_place():
    files = Counter(name for _, name in set(transactions()))
    assert [name for name, number in files.items() if number > 1] == []
    assert len({point.name for point in POINTS}) == len(POINTS)


def test_a_point_says_how_it_is_met_or_why_it_is_not():
    for point in POINTS:
        assert bool(point.why) == (point.met is Met.NOT_HERE), point
        assert bool(point.command) == (point.met in {Met.BY_COMMAND, Met.SOON_AFTER_A_COMMAND}), point


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_every_stage_is_in_the_launcher(stage):
    assert f'"{stage.name}"' in Path(faults.__file__).read_text(encoding="utf-8")


def test_who_is_not_armed_for_passes(tmp_path, monkeypatch):
    monkeypatch.setenv(faults.FOLDER, str(tmp_path))
    armed = Armed(tmp_path, "here.there", Moment.AFTER, 2)
    passed("here.there", Moment.BEFORE)
    passed("elsewhere.there", Moment.AFTER)
    passed("here.there", Moment.AFTER)  # the first of two
    assert armed.fired_at_us() is None
    assert armed.disarm() is False
    passed("here.there", Moment.AFTER)
    passed("here.there", Moment.AFTER)
