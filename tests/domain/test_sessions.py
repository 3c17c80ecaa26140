"""Sessions: they end between jobs only, hold a bounded share, cost what they held, and get their region again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_backend.domain.errors import InvalidRequest, SessionClosed, SessionShareExceeded
from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.planning import Plan, plan
from qpu_backend.domain.pricing import PriceBook
from qpu_backend.domain.quarantine import Quarantine
from qpu_backend.domain.rounds import Need
from qpu_backend.domain.sessions import (
    SessionPolicy,
    SessionState,
    Term,
    clear_of,
    in_force,
    price_of_hold,
    require_share,
    room,
)
from qpu_backend.domain.views import DeviceView, Hold, QueuedJob, View

Chip = Callable[..., DeviceView]
SECOND = 1_000_000
POLICY = SessionPolicy(ttl_us=300 * SECOND, max_ttl_us=3600 * SECOND, max_length_us=7200 * SECOND)


# --- how long ------------------------------------------------------------------------------------------------------


def test_a_session_takes_the_usual_ttl_unless_it_asks_for_another():
    assert Term.begin(POLICY, 5) == Term(300 * SECOND, 300 * SECOND + 5, 7200 * SECOND + 5)
    assert Term.begin(POLICY, 5, SECOND).expires_at_us == SECOND + 5
    for ttl_us in (0, -1, 3600 * SECOND + 1):
        with pytest.raises(InvalidRequest) as refusal:
            Term.begin(POLICY, 5, ttl_us)
        assert refusal.value.field == "ttl_s"


HAPPENINGS = st.lists(
    st.tuples(st.sampled_from(["touch", "submit", "end", "close", "look"]), st.integers(0, 900)), max_size=40
)


@settings(deadline=None)
@given(HAPPENINGS, st.integers(1, 3600))
def test_a_session_ends_between_jobs_only_and_not_before_it_has_been_idle_for_its_ttl(
    happenings: list[tuple[str, int]], ttl_s: int
):
    now_us, unfinished = 0, 0
    term = Term.begin(POLICY, now_us, ttl_s * SECOND)
    last_us, closed = now_us, False
    for what, later_s in happenings:
        now_us += later_s * SECOND
        over = term.over(now_us, unfinished)
        idle = now_us - last_us >= ttl_s * SECOND or now_us >= term.ends_at_us or closed
        assert over == (unfinished == 0 and idle)
        takes_jobs = not closed and not over and now_us < term.ends_at_us
        if what == "end" and unfinished:
            unfinished, last_us, term = unfinished - 1, now_us, term.prolonged(now_us)
        elif what == "close" and not over:
            closed, term = True, term.closing(now_us)
        elif what in {"touch", "submit"}:
            if not takes_jobs:
                with pytest.raises(SessionClosed) as refusal:
                    term.require_open("ses_1", now_us, unfinished, field="options.session")
                assert refusal.value.field == "options.session"
                continue
            term.require_open("ses_1", now_us, unfinished)
            unfinished, last_us, term = unfinished + (what == "submit"), now_us, term.prolonged(now_us)
        assert term.expires_at_us <= term.ends_at_us
        assert term.state is (SessionState.CLOSING if closed else SessionState.OPEN)


def test_why_a_session_takes_no_jobs_is_told():
    term = Term.begin(POLICY, 0)
    for ended, now_us, reason in (
        (term.closing(1), 1, "it was closed"),
        (replace(term, closed_at_us=9), 9, "it has ended"),
        (term, 300 * SECOND, "nothing happened for 300 s"),
        (term, 7200 * SECOND, "as long as a session may"),
    ):
        with pytest.raises(SessionClosed, match=reason):
            ended.require_open("ses_1", now_us, 0)
    term.require_open("ses_1", 300 * SECOND, 1)  # a job of it still runs


# --- how much ------------------------------------------------------------------------------------------------------


@given(st.floats(0.01, 1.0), st.integers(1, 200), st.lists(st.integers(1, 60), max_size=12))
def test_sessions_of_a_tenant_never_hold_more_than_its_share(share: float, usable: int, asked: list[int]):
    held: list[int] = []
    for qubits in asked:
        fits = sum(held) + qubits <= int(share * usable)
        if fits:
            require_share("chip", share, usable, held, qubits)
            held.append(qubits)
        else:
            with pytest.raises(SessionShareExceeded) as refusal:
                require_share("chip", share, usable, held, qubits)
            assert (refusal.value.held, refusal.value.asked) == (sum(held), qubits)
        assert sum(held) + room(share, usable, held) == int(share * usable)
    with pytest.raises(SessionShareExceeded):  # what is left of nothing is nothing
        require_share("chip", share, usable, [int(share * usable)], room(share, usable, [int(share * usable)]))


# --- what it costs -------------------------------------------------------------------------------------------------


@given(st.integers(0, 10**9), st.lists(st.integers(0, 10**12), max_size=5), st.integers(0, 1000))
def test_a_hold_costs_its_qubit_seconds_in_its_lane_rounded_once(per_qubit_second: int, held: list[int], percent: int):
    book = PriceBook("b", 7, 7, per_qubit_second, 7, {"batch": percent})
    exact = Decimal(sum(held)) * per_qubit_second / 10**6
    for lane, factor in (("standard", Decimal(1)), ("batch", Decimal(percent) / 100)):
        rounded = int((exact * factor).quantize(Decimal(1), rounding=ROUND_HALF_EVEN))
        assert price_of_hold(book, sum(held), lane) == rounded


def test_who_holds_nothing_pays_nothing_not_even_a_minimum():
    assert price_of_hold(PriceBook("b", 7, 7, 7, 7), 0, "standard") == 0


# --- where ---------------------------------------------------------------------------------------------------------


def job(session: str | None, shape: str | None, qubits: tuple[int, ...], **fields: object) -> QueuedJob:
    pairs = tuple(((a, b), 1) for a, b in itertools.pairwise(qubits))
    ones = (1,) * len(qubits)
    footprint = Footprint(shape, qubits, pairs, ones, qubits, (0,) * len(qubits), (Need(1, 1000, 0),))
    return QueuedJob(f"job-{session}", "t", 0, 1, 1, footprint, session=session, **fields)  # pyright: ignore[reportArgumentType]


def line(length: int, session: str | None = "s", **fields: object) -> QueuedJob:
    return job(session, f"line-{length}", tuple(range(length)), **fields)


def test_a_region_that_lost_a_qubit_is_held_no_longer(chip: Chip):
    hold = Hold("s", (0, 1, 2))
    assert in_force(hold, [], chip(small=True))
    assert not in_force(hold, [], chip(small=True, broken=(1,)))


def test_a_region_that_lost_a_coupler_to_a_quarantine_is_held_no_longer(chip: Chip):
    hold, device = Hold("s", (0, 1, 2)), chip(small=True)
    assert not in_force(hold, [], replace(device, quarantine=Quarantine.of([], [(2, 1)])))
    assert not in_force(hold, [], replace(device, quarantine=Quarantine.of([2], [])))
    assert in_force(hold, [], replace(device, quarantine=Quarantine.of([], [(2, 3)])))


def test_a_region_that_lost_a_coupler_is_held_no_longer_once_a_job_wants_to_run_there(chip: Chip):
    device = chip(small=True)
    table = device.embeddings["line-3"]
    apart = [row for row in range(len(table.regions)) if set(table.regions[row].tolist()) != {0, 1, 2}]
    without = replace(table, region_words=table.region_words[:, apart])
    assert in_force(Hold("s", (0, 1, 2)), [line(3)], device)
    device = replace(device, embeddings={**device.embeddings, "line-3": without})
    assert not in_force(Hold("s", (0, 1, 2)), [line(3)], device)
    assert in_force(Hold("s", (0, 1, 2)), [line(3, "another")], device)


def test_a_hold_on_pinned_qubits_moves_with_the_job(chip: Chip):
    hold, device = Hold("s", (0, 1, 2)), chip(small=True)
    assert in_force(hold, [job("s", None, (0, 1))], device)
    assert not in_force(hold, [job("s", None, (2, 3))], device)
    assert in_force(hold, [job(None, None, (2, 3))], device)


def test_a_region_that_became_somebodys_slice_is_held_no_longer(chip: Chip):
    device = chip(small=True, slices={"acme": 0b111})
    assert not in_force(Hold("s", (0, 1, 2)), [line(3)], device)
    assert in_force(Hold("s", (0, 1, 2)), [line(3, slice="acme")], device)


@pytest.mark.parametrize(("buffer", "clear"), [(1, False), (0, True)])
def test_a_region_beside_what_others_hold_is_kept_only_without_a_buffer(chip: Chip, buffer: int, clear: bool):
    device = chip(small=True, buffer=buffer)
    assert clear_of((3, 4), [Hold("other", (0, 1, 2))], device) is clear
    assert clear_of((4, 5), [Hold("other", (0, 1, 2))], device)
    assert not clear_of((2, 3), [Hold("other", (0, 1, 2))], device)


STEPS = st.lists(
    st.tuples(st.integers(0, 4), st.integers(2, 5), st.booleans(), st.integers(0, 9)), min_size=1, max_size=14
)


@settings(deadline=None)
@given(STEPS, st.sampled_from([0, 1]), st.sampled_from([(), (4,), (7, 9)]))
def test_a_job_of_a_session_that_holds_a_region_is_placed_on_it_when_its_turn_comes(
    chip: Chip, steps: list[tuple[int, int, bool, int]], buffer: int, broken: tuple[int, ...]
):
    """Sessions come, run jobs beside others' and past others' holds: nobody is ever locked out of its own region."""
    device = chip(small=True, buffer=buffer, broken=broken, hold_patience_us=5)
    held: dict[str, Hold] = {}
    shape: dict[str, int] = {}
    for number, length, company, waited_us in steps:
        session = f"s{number}"
        mine = line(shape.setdefault(session, length), session, waited_us=waited_us)
        others = (replace(line(3, None), id="x", start_tag=1),) if company else ()
        now = replace(device, holds=tuple(h for _, h in sorted(held.items()) if in_force(h, (mine,), device)))
        decision = plan(View((mine, *others), 0), now, 0)
        if session in held:
            assert isinstance(decision, Plan)
            assert set(decision.placements[0].region) == set(held[session].region)
        elif isinstance(decision, Plan) and decision.placements[0].job_id == mine.id:
            region = decision.placements[0].region
            if clear_of(region, now.holds, now):
                held[session] = Hold(session, region)
