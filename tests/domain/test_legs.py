"""Legs: every shot is in exactly one of them, each fits into the quantum, and the cuts follow from the job alone."""

from __future__ import annotations

import json
import time
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.legs import Leg, Legs, cut, whole
from qpu_backend.domain.rounds import Need, stand_alone_us
from qpu_backend.domain.seeds import derive_seed

NEEDS = st.lists(st.builds(Need, st.integers(1, 6), st.integers(1, 60), st.integers(0, 50_000)), min_size=1, max_size=6)
DELAYS = st.sampled_from([0, 1, 250_000, 250_001])
QUANTA = st.integers(1, 20_000)
OVERHEAD_US = 2_000


def footprint(needs: list[Need] | tuple[Need, ...], simulation_us: int = 0) -> Footprint:
    return Footprint("line-5", (), (), (), (), (), tuple(needs), simulation_us=simulation_us)


def cut_at(needs: list[Need], delay_ns: int, quantum_us: int, simulation_us: int = 0) -> Legs | None:
    return cut(
        footprint(needs, simulation_us),
        rep_delay_ns=delay_ns,
        overhead_us=OVERHEAD_US,
        quantum_us=quantum_us,
        fairness_qubits=7,
        weight=100,
    )


def all_legs(needs: list[Need], legs: Legs | None) -> list[Leg]:
    return [whole(footprint(needs))] if legs is None else [legs.leg(index) for index in range(legs.number)]


def executions(needs: list[Need] | tuple[Need, ...]) -> list[tuple[int, int]]:
    return [(need.shots, need.duration_ns) for need in needs for _ in range(need.repeat)]


def pieces(leg: Leg) -> list[tuple[int, int, int, int]]:
    """Execution, first shot, shots, duration."""
    return [
        (leg.first_execution + number, leg.first_shot_of(leg.first_execution + number), shots, duration_ns)
        for number, (shots, duration_ns) in enumerate(executions(leg.needs))
    ]


def time_ns(leg: Leg, delay_ns: int) -> int:
    return sum(shots * (duration_ns + delay_ns) for shots, duration_ns in executions(leg.needs))


@given(NEEDS, DELAYS, QUANTA)
def test_every_shot_is_in_exactly_one_leg_in_order(needs: list[Need], delay_ns: int, quantum_us: int):
    """P14: the legs one after the other are the job."""
    reached = [0] * len(executions(needs))
    last = 0
    for leg in all_legs(needs, cut_at(needs, delay_ns, quantum_us)):
        for execution, first_shot, shots, duration_ns in pieces(leg):
            assert execution >= last
            last = execution
            assert first_shot == reached[execution]
            assert duration_ns == executions(needs)[execution][1]
            reached[execution] += shots
    assert reached == [shots for shots, _ in executions(needs)]


@given(NEEDS, DELAYS, QUANTA)
@example([Need(1, 1, 1001), Need(1, 1, 0)], 0, 1)
def test_no_leg_takes_longer_than_the_quantum_unless_it_is_one_shot(needs: list[Need], delay_ns: int, quantum_us: int):
    for leg in all_legs(needs, cut_at(needs, delay_ns, quantum_us)):
        assert leg.shots >= 1
        assert leg.shots == 1 or time_ns(leg, delay_ns) <= 1000 * quantum_us


@given(NEEDS, DELAYS, QUANTA)
def test_a_leg_ends_only_where_nothing_more_fits(needs: list[Need], delay_ns: int, quantum_us: int):
    """And an execution that fits into a leg of its own is never cut."""
    legs = all_legs(needs, cut_at(needs, delay_ns, quantum_us))
    for leg, following in pairwise(legs):
        shots, duration_ns = executions(needs)[following.first_execution]
        period_ns = duration_ns + delay_ns
        is_long = shots * period_ns > 1000 * quantum_us
        together = 1 if is_long else shots
        assert is_long or following.first_shot == 0
        assert time_ns(leg, delay_ns) + together * period_ns > 1000 * quantum_us


@given(NEEDS, DELAYS, QUANTA)
def test_a_job_that_fits_is_not_cut(needs: list[Need], delay_ns: int, quantum_us: int):
    everything_ns = sum(shots * (duration_ns + delay_ns) for shots, duration_ns in executions(needs))
    one_shot = sum(shots for shots, _ in executions(needs)) == 1
    legs = cut_at(needs, delay_ns, quantum_us)
    assert (legs is None) == (everything_ns <= 1000 * quantum_us or one_shot)


@given(NEEDS, DELAYS, QUANTA)
def test_all_legs_together_take_what_the_job_takes_in_one_piece(needs: list[Need], delay_ns: int, quantum_us: int):
    legs = cut_at(needs, delay_ns, quantum_us)
    if legs is None:
        return
    used = [legs.used(number) for number in range(1, legs.number + 1)]
    assert used[-1].device_us == stand_alone_us(OVERHEAD_US, delay_ns, tuple(needs))
    assert used[-1].shots == sum(shots for shots, _ in executions(needs))
    assert all(a.shots < b.shots and a.device_us <= b.device_us for a, b in pairwise(used))
    assert sum(legs.leg(index).shots for index in range(legs.number)) == used[-1].shots


@given(NEEDS, DELAYS, QUANTA)
def test_a_leg_costs_what_it_occupies(needs: list[Need], delay_ns: int, quantum_us: int):
    legs = cut_at(needs, delay_ns, quantum_us)
    for index in range(0 if legs is None else legs.number):
        assert legs is not None
        expected_us = OVERHEAD_US + -(-time_ns(legs.leg(index), delay_ns) // 1000)
        assert legs.cost(index) == 7 * expected_us


@given(NEEDS, DELAYS, QUANTA)
def test_the_runs_of_a_leg_are_as_few_as_they_can_be(needs: list[Need], delay_ns: int, quantum_us: int):
    for leg in all_legs(needs, cut_at(needs, delay_ns, quantum_us)):
        assert leg.needs == whole(footprint(leg.needs)).needs
        if len({need[1:] for need in needs}) == len(needs):  # as admission stores them: no equal neighbours
            assert all(a[1:] != b[1:] for a, b in pairwise(leg.needs))


@given(NEEDS, DELAYS, QUANTA)
def test_legs_survive_json(needs: list[Need], delay_ns: int, quantum_us: int):
    legs = cut_at(needs, delay_ns, quantum_us, simulation_us=10_000)
    if legs is not None:
        assert Legs.from_document(json.loads(json.dumps(legs.to_document()))) == legs


@given(NEEDS, DELAYS, QUANTA, st.data())
def test_no_two_slices_of_a_job_share_a_seed(needs: list[Need], delay_ns: int, quantum_us: int, data: st.DataObject):
    """A slice's place is the first shot of its part plus its number there, however many contexts each part meets."""
    seeds: list[int] = []
    for leg in all_legs(needs, cut_at(needs, delay_ns, quantum_us)):
        for execution, first_shot, shots, _ in pieces(leg):
            contexts = data.draw(st.integers(1, min(shots, 3)))
            seeds += [derive_seed(7, execution, 0, 0, first_shot + part) for part in range(contexts)]
    assert len(set(seeds)) == len(seeds)


def test_the_part_of_a_job_that_simulates_long_stays_long():
    """One circuit of many shots, cut in three: each part may take as long to simulate as the whole."""
    legs = cut_at([Need(1, 300, 0)], 250_000, 25_000, simulation_us=9_000_000)
    assert legs is not None
    assert legs.number == 3
    assert {legs.footprint(footprint(legs.needs), index).simulation_us for index in range(3)} == {9_000_000}
    legs = cut_at([Need(300, 1, 0)], 250_000, 25_000, simulation_us=9_000_000)
    assert legs is not None
    assert legs.footprint(footprint(legs.needs), 1).simulation_us == 3_000_000


def test_a_leg_that_is_not_there_is_refused():
    legs = cut_at([Need(1, 300, 0)], 250_000, 25_000)
    assert legs is not None
    for index in (-1, 3):
        with pytest.raises(IndexError, match="3 legs"):
            legs.leg(index)
    with pytest.raises(ValueError, match="quantum"):
        cut_at([Need(1, 300, 0)], 250_000, 0)
    with pytest.raises(ValueError, match="version"):
        Legs.from_document({"legs_version": 99})


def test_the_largest_job_is_cut_at_once():
    """300 circuits of 100,000 shots, and 20,000 bindings: milliseconds, and few numbers to store."""
    started = time.perf_counter()
    legs = cut_at([Need(300, 100_000, 3_000)], 250_000, 30_000_000)
    assert legs is not None
    assert legs.number == 300
    assert len(legs.shots) == 1
    legs = cut_at([Need(20_000, 100_000, 3_000)], 250_000, 30_000_000)
    assert legs is not None
    assert len(legs.shots) == 1
    assert time.perf_counter() - started < 1.0
