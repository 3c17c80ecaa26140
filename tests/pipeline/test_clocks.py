"""The wall clock of a process: it follows the machine's, and never goes back with it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.pipeline.clocks import SystemClock
from qpu_backend.telemetry.logs import configure_logs

HOUR_NS = 3_600_000_000_000
START_NS = 1_800_000_000_000_000_000


class Machine:
    """A machine whose clock somebody sets."""

    def __init__(self) -> None:
        configure_logs("critical")
        self.wall_ns = START_NS
        self.steady_ns = 0
        self.steps = 0
        self.clock = SystemClock(wall_ns=lambda: self.wall_ns, steady_ns=lambda: self.steady_ns, stepped_back=self.step)

    def step(self) -> None:
        self.steps += 1

    def passes(self, ns: int) -> None:
        self.wall_ns += ns
        self.steady_ns += ns


@given(st.lists(st.tuples(st.integers(0, HOUR_NS), st.integers(-HOUR_NS, HOUR_NS)), max_size=30))
def test_time_never_goes_back_whatever_is_done_to_the_machines_clock(course):
    machine = Machine()
    told = [machine.clock.now_us()]
    for ns, set_by in course:
        machine.passes(ns)
        machine.wall_ns += set_by
        told.append(machine.clock.now_us())
        assert told[-1] >= machine.wall_ns // 1000
    assert told == sorted(told)


@given(st.integers(HOUR_NS // 1000, HOUR_NS), st.integers(1, 1000))
def test_after_a_step_back_time_goes_on_and_the_machines_clock_catches_up(back_ns, looks):
    machine = Machine()
    before_us = machine.clock.now_us()
    machine.wall_ns -= back_ns
    assert machine.clock.now_us() == before_us
    for _ in range(looks):
        machine.passes(back_ns // looks)
    gone_us = machine.clock.now_us() - before_us
    assert back_ns // 2000 - looks <= gone_us <= back_ns // 2000 + looks  # however often it is asked
    machine.passes(back_ns + 1_000_000)
    machine.clock.now_us()
    machine.passes(back_ns)
    assert machine.clock.now_us() == machine.wall_ns // 1000


def test_time_goes_on_after_a_step_back_also_for_who_asks_all_the_time():
    machine = Machine()
    before_us = machine.clock.now_us()
    machine.wall_ns -= HOUR_NS
    for _ in range(1000):
        machine.passes(1_000)  # one µs: half of it is none
        machine.clock.now_us()
    assert machine.clock.now_us() == before_us + 500


def test_a_step_back_is_told_once_and_a_correction_of_some_ms_is_not():
    machine = Machine()
    machine.clock.now_us()
    machine.wall_ns -= 50_000_000
    machine.clock.now_us()
    assert machine.steps == 0
    machine.wall_ns -= HOUR_NS
    for _ in range(3):
        machine.clock.now_us()
    assert machine.steps == 1
