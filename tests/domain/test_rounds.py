"""Rounds: every execution gets exactly its shots, nobody runs two circuits at once, and time adds up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.domain.rounds import (
    Member,
    Need,
    Round,
    Track,
    batch_us,
    merged,
    profile_of,
    rounds_of,
    stand_alone_us,
    unrolled,
)

if TYPE_CHECKING:
    from random import Random

SHOTS = st.one_of(st.integers(1, 40), st.sampled_from([12, 24, 36]))
NEEDS = st.lists(st.builds(Need, st.integers(1, 6), SHOTS, st.integers(0, 50_000)), min_size=1, max_size=5)
TRACKS = st.lists(st.builds(Track, NEEDS.map(tuple), st.sampled_from([0, 1, 250_000, 250_001])), min_size=1, max_size=5)


def executions(track: Track) -> list[tuple[int, int]]:
    return [(need.shots, need.duration_ns) for need in track.needs for _ in range(need.repeat)]


@given(TRACKS)
def test_every_execution_gets_exactly_its_shots_in_order(tracks: list[Track]):
    """P14."""
    given_shots: Counter[tuple[int, int]] = Counter()
    reached = dict.fromkeys(range(len(tracks)), 0)
    for one in unrolled(rounds_of(tracks)):
        assert one.shots >= 1
        assert [m.placement for m in one.members] == sorted({m.placement for m in one.members})
        for member in one.members:
            assert member.execution in (reached[member.placement], reached[member.placement] + 1)
            reached[member.placement] = member.execution
            given_shots[member.placement, member.execution] += one.shots
    wanted = {(p, e): shots for p, track in enumerate(tracks) for e, (shots, _) in enumerate(executions(track))}
    assert given_shots == wanted


@given(TRACKS)
def test_a_round_lasts_as_long_as_its_longest_circuit(tracks: list[Track]):
    for one in unrolled(rounds_of(tracks)):
        lengths = [executions(tracks[m.placement])[m.execution][1] for m in one.members]
        assert one.duration_ns == max(lengths)
        delays = [tracks[m.placement].rep_delay_ns for m in one.members]
        assert one.period_ns == max(a + b for a, b in zip(lengths, delays, strict=True))


@given(TRACKS)
def test_encoding_runs_of_rounds_changes_no_time(tracks: list[Track]):
    profile = profile_of(tracks[0])
    for track in tracks[1:]:
        profile = merged(profile, profile_of(track))
    rounds = list(rounds_of(tracks))
    total_ns = sum(one.time_ns for one in rounds)
    assert total_ns == sum(one.time_ns for one in unrolled(rounds)) == sum(n * period for n, period in profile)
    assert batch_us(7, profile) == 7 + -(-total_ns // 1000)


@given(TRACKS)
def test_a_batch_lasts_at_least_as_long_as_each_job_alone_and_at_most_as_all_in_turn(tracks: list[Track]):
    profile = ()
    for track in tracks:
        profile = merged(profile, profile_of(track))
    alone = [stand_alone_us(0, track.rep_delay_ns, track.needs) for track in tracks]
    assert max(alone) <= batch_us(0, profile) <= sum(alone)


@given(TRACKS, st.randoms(use_true_random=False))
def test_the_time_of_a_batch_does_not_depend_on_the_order_of_its_placements(tracks: list[Track], random: Random):
    other = list(tracks)
    random.shuffle(other)
    assert sum(one.time_ns for one in rounds_of(tracks)) == sum(one.time_ns for one in rounds_of(other))


def test_a_lone_job_of_equal_executions_is_one_entry():
    assert list(rounds_of([Track((Need(5000, 1024, 900),), 250_000)])) == [
        Round(5000, 1024, 900, 250_900, (Member(0, 0, 1),))
    ]


def test_a_long_execution_goes_on_beside_many_short_ones():
    rounds = list(rounds_of([Track((Need(1, 1000, 10),), 0), Track((Need(20, 100, 30),), 0)]))
    assert rounds == [
        Round(10, 100, 30, 30, (Member(0, 0, 0), Member(1, 0, 1))),
        Round(10, 100, 30, 30, (Member(1, 10, 1),)),
    ]


def test_the_time_model_is_overhead_plus_shots_times_delay_and_circuit():
    assert stand_alone_us(2_000_000, 250_000, (Need(1, 4000, 10_000),)) == 2_000_000 + 4000 * 260
    assert stand_alone_us(0, 0, (Need(1, 3, 500),)) == 2  # rounded up once, at the end
