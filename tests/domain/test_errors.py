"""The tree of refusals: every code is its own, and the drawing in the docstring is the tree."""

from __future__ import annotations

import re
from collections import Counter

from qpu_backend.domain import errors
from qpu_backend.domain.errors import DomainError, every_error


def test_every_refusal_has_a_code_of_its_own():
    counted = Counter(error.code for error in every_error())
    assert [code for code, times in counted.items() if times > 1] == []
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*", code) for code in counted)


def test_the_drawing_shows_every_class_of_the_file_under_its_parent():
    drawn: dict[str, str] = {}
    path: list[str] = []
    for prefix, name in re.findall(r"^    ([│├└─ ]*)([A-Z]\w+)", errors.__doc__ or "", flags=re.MULTILINE):
        depth = len(prefix) // 4
        path[depth:] = [name]
        if depth:
            drawn[name] = path[depth - 1]
    actual = {e.__name__: e.__bases__[0].__name__ for e in every_error() if e.__module__ == errors.__name__}
    actual.pop(DomainError.__name__)
    assert drawn == actual


def test_refusals_carry_their_facts_and_a_sentence():
    refusal = errors.TooLarge("shots of one circuit", limit=100, asked=101, field="pubs[0].shots")
    assert str(refusal) == "shots of one circuit: 101 is above the limit of 100"
    assert (refusal.code, refusal.limit, refusal.asked, refusal.field) == ("limit_exceeded", 100, 101, "pubs[0].shots")
    assert errors.CircuitRefused("no", circuit=3).field == "circuits[3]"
    assert str(errors.UnknownBackend("x", "why")) == "there is no backend 'x': why"
    assert errors.QueueFull(limit=2, queued=2).limit == 2
    assert "5" in str(errors.CostCapExceeded(price_micro=9, cap_micro=5))
