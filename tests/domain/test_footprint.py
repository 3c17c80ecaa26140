"""A footprint survives JSON, and one that makes no sense is not made."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.rounds import Need

BELL = Footprint("line-2", (0, 1), (((0, 1), 1),), (1, 0), (0, 1), (0, 35), (Need(2, 100, 900), Need(1, 7, 0)), 250_000)

NEEDS = st.lists(st.builds(Need, st.integers(1, 9), st.integers(1, 10**6), st.integers(0, 10**9)), min_size=1)


@given(NEEDS.map(tuple), st.none() | st.integers(0, 10**6), st.booleans())
def test_a_footprint_survives_json(needs: tuple[Need, ...], rep_delay_ns: int | None, pinned: bool):
    footprint = replace(BELL, needs=needs, rep_delay_ns=rep_delay_ns, shape=None if pinned else "line-2")
    assert Footprint.from_document(json.loads(json.dumps(footprint.to_document()))) == footprint


def test_shots_and_executions_are_those_of_the_needs():
    assert (BELL.num_executions, BELL.shots, BELL.pinned) == (3, 207, False)


def test_a_document_of_another_version_is_refused():
    with pytest.raises(ValueError, match="version"):
        Footprint.from_document({**BELL.to_document(), "footprint_version": 2})


@pytest.mark.parametrize(
    "wrong",
    [
        {"sx_counts": (1,)},
        {"idle_ns": ()},
        {"qubits": (1, 0)},
        {"qubits": (1, 1)},
        {"measured": (2,)},
        {"needs": ()},
        {"needs": (Need(0, 1, 1),)},
        {"needs": (Need(1, 0, 1),)},
        {"needs": (Need(1, 1, -1),)},
        {"shape": None, "qubits": (), "sx_counts": (), "idle_ns": (), "measured": ()},
    ],
)
def test_a_footprint_that_makes_no_sense_is_not_made(wrong: dict[str, Any]):
    with pytest.raises(ValueError, match=r"qubit|execution"):
        replace(BELL, **wrong)
