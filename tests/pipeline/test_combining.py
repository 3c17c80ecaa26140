"""Threads that ask at the same time are served together, and each gets its own answer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from togetherness import at_once

from qpu_backend.pipeline.combining import Combiner, _Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PATIENT_S = 60.0


class Doubler:
    """Answers twice the number, and notes which groups it was given by which thread; the first group can be held up."""

    def __init__(self, refuse: Callable[[Sequence[int]], None] = lambda _: None) -> None:
        self.groups: list[tuple[list[int], int]] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.refuse = refuse

    def work(self, group: Sequence[int]) -> list[int | Exception]:
        first = not self.groups
        self.groups.append((list(group), threading.get_ident()))
        if first:
            self.begun.set()
            assert self.go_on.wait(PATIENT_S)
        self.refuse(group)
        return [ValueError(number) if number < 0 else 2 * number for number in group]


def crowd(doubler: Doubler, combiner: Combiner[int, int], numbers: Sequence[int]) -> list[int | Exception]:
    """What each is answered where 0 is held up until all of these wait, in this order."""

    def ask(number: int) -> int | Exception:
        try:
            return combiner.ask(number)
        except Exception as error:  # noqa: BLE001 - the test looks at it
            return error

    with ThreadPoolExecutor(len(numbers) + 1) as pool:
        held_up = pool.submit(ask, 0)
        assert doubler.begun.wait(PATIENT_S)
        asking = []
        for waiting, number in enumerate(numbers, 1):
            asking.append(pool.submit(ask, number))
            while len(combiner._waiting) < waiting:
                pass
        doubler.go_on.set()
        assert held_up.result() == 0
        return [one.result() for one in asking]


def test_who_comes_alone_is_served_at_once_in_its_own_thread() -> None:
    doubler = Doubler()
    doubler.go_on.set()
    combiner = Combiner(doubler.work, 8)
    assert [combiner.ask(number) for number in (1, 2)] == [2, 4]
    assert doubler.groups == [([1], threading.get_ident()), ([2], threading.get_ident())]


def test_those_who_wait_are_served_together_in_their_order_each_with_its_own_answer() -> None:
    doubler = Doubler()
    combiner = Combiner(doubler.work, 8, patience_s=PATIENT_S)
    assert crowd(doubler, combiner, [5, 3, 9, 1]) == [10, 6, 18, 2]
    assert [group for group, _ in doubler.groups] == [[0], [5, 3, 9, 1]]


def test_a_group_has_its_bound_and_the_others_come_next() -> None:
    doubler = Doubler()
    combiner = Combiner(doubler.work, 3, patience_s=PATIENT_S)
    assert crowd(doubler, combiner, [1, 2, 3, 4, 5, 6, 7]) == [2, 4, 6, 8, 10, 12, 14]
    assert [group for group, _ in doubler.groups] == [[0], [1, 2, 3], [4, 5, 6], [7]]
    assert combiner.ask(8) == 16  # nobody is left over


def test_who_is_refused_is_refused_alone() -> None:
    doubler = Doubler()
    one, refused, other = crowd(doubler, Combiner(doubler.work, 8, patience_s=PATIENT_S), [1, -2, 3])
    assert (one, other) == (2, 6)
    assert isinstance(refused, ValueError)
    assert refused.args == (-2,)


def test_where_a_group_goes_wrong_each_is_served_by_itself() -> None:
    def refuse(group: Sequence[int]) -> None:
        if 13 in group:
            raise RuntimeError("a bad one")

    doubler = Doubler(refuse)
    combiner = Combiner(doubler.work, 8, patience_s=PATIENT_S)
    one, bad, other = crowd(doubler, combiner, [1, 13, 3])
    assert (one, other) == (2, 6)
    assert isinstance(bad, RuntimeError)
    assert doubler.groups[1][0] == [1, 13, 3]
    assert sorted(group for group, _ in doubler.groups[2:]) == [[1], [3], [13]]
    with pytest.raises(RuntimeError):
        combiner.ask(13)
    assert combiner.ask(4) == 8


def test_what_holds_one_up_holds_up_nobody_else_for_long() -> None:
    doubler = Doubler()
    combiner = Combiner(doubler.work, 8, patience_s=0.001)
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(combiner.ask, 0)
        assert doubler.begun.wait(PATIENT_S)
        assert combiner.ask(2) == 4
        assert not stuck.done()
        doubler.go_on.set()
        assert stuck.result() == 0
    assert combiner.ask(3) == 6


def test_who_runs_out_of_patience_works_for_itself_first_however_many_came_before() -> None:
    doubler = Doubler()
    combiner = Combiner(doubler.work, 1, patience_s=0.01)
    with ThreadPoolExecutor(2) as pool:
        held_up = pool.submit(combiner.ask, 0)
        assert doubler.begun.wait(PATIENT_S)
        before = _Ticket[int, int](1)
        combiner._waiting.append(before)
        assert pool.submit(combiner.ask, 2).result(PATIENT_S) == 4
        assert [group for group, _ in doubler.groups] == [[0], [2]]
        assert list(combiner._waiting) == [before]
        doubler.go_on.set()
        assert held_up.result(PATIENT_S) == 0


class Impatient(Combiner[int, int]):
    """Whoever has to wait is interrupted."""

    def _wait(self, ticket: _Ticket[int, int]) -> list[_Ticket[int, int]]:  # noqa: ARG002
        raise KeyboardInterrupt


def test_who_is_interrupted_leaves_nothing_that_others_would_wait_for() -> None:
    doubler = Doubler()
    combiner = Impatient(doubler.work, 2)
    with ThreadPoolExecutor(1) as pool:
        held_up = pool.submit(combiner.ask, 0)
        assert doubler.begun.wait(PATIENT_S)
        with pytest.raises(KeyboardInterrupt):
            combiner.ask(1)
        assert not combiner._waiting
        doubler.go_on.set()
        assert held_up.result(PATIENT_S) == 0
    assert not combiner._working
    assert combiner.ask(2) == 4


@pytest.mark.parametrize("patience_s", [PATIENT_S, 0.0])
def test_in_a_throng_everybody_gets_the_own_answer(patience_s: float) -> None:
    sizes: list[int] = []

    def work(group: Sequence[int]) -> list[int | Exception]:
        sizes.append(len(group))
        return [2 * number for number in group]

    combiner = Combiner(work, 4, patience_s=patience_s)

    def ask(first: int) -> list[int]:
        return [combiner.ask(number) for number in range(first, first + 200)]

    answers = at_once([lambda first=first: ask(first) for first in range(0, 2400, 200)])
    assert [number for some in answers for number in some] == list(range(0, 4800, 2))
    assert sum(sizes) == 2400
    assert max(sizes) <= 4


def test_who_works_waits_for_those_on_their_way_and_not_for_those_who_turn_back() -> None:
    doubler = Doubler()
    doubler.go_on.set()
    combiner = Combiner(doubler.work, 8, patience_s=PATIENT_S, gather_s=PATIENT_S)
    checked = threading.Event()

    def ask(number: int) -> int:
        with combiner.expected():
            assert checked.wait(PATIENT_S)
            return combiner.ask(number)

    def come(number: int) -> int:
        with combiner.expected():
            return combiner.ask(number)

    def turn_back() -> None:
        with combiner.expected():
            assert checked.wait(PATIENT_S)
            raise ValueError

    with ThreadPoolExecutor(5) as pool:
        coming = [pool.submit(ask, number) for number in (2, 3, 4)]
        refused = pool.submit(turn_back)
        while combiner._expected < 4:
            pass
        first = pool.submit(come, 1)
        while combiner._gatherer is None:
            pass
        checked.set()
        assert [one.result() for one in (first, *coming)] == [2, 4, 6, 8]
        assert isinstance(refused.exception(), ValueError)
    assert [sorted(group) for group, _ in doubler.groups] == [[1, 2, 3, 4]]
    assert combiner.ask(5) == 10  # nobody is expected any more


def test_nobody_waits_for_long_for_one_who_is_slow_on_its_way() -> None:
    doubler = Doubler()
    doubler.go_on.set()
    combiner = Combiner(doubler.work, 8, gather_s=0.001)
    with combiner.expected():
        assert combiner.ask(1) == 2
