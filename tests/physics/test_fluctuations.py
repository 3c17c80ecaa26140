"""Random processes of device time: the numbers are those of the table, and come out the same in whatever order."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_backend.physics.fluctuations import (
    DAY_US,
    EVENT_HOURS,
    GATE_BREAK,
    HOUR_US,
    SAMPLING_SD,
    STEP_HZ,
    T1,
    T1_DROP,
    T2,
    TABLE,
    Parameters,
    Steps,
    Telegraph,
    ornstein_uhlenbeck,
    place_of,
)
from qpu_backend.physics.philox import normals, philox, stream, uniforms

SECRET = b"a secret"
TIMES_US = st.integers(0, 3_000 * DAY_US)
MANY = 20_000
SIGMAS = 4.5
"""How far a statistic may be off; the secret is fixed, so a test that passes once passes always."""


# --- numbers by address -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_known_answers_of_its_authors(counter, key, expected):
    given_words = philox(np.array(counter, dtype=np.uint64), np.array(key, dtype=np.uint64))
    assert " ".join(f"{int(word):08x}" for word in given_words) == expected


def test_every_part_of_an_address_counts():
    key = stream(SECRET, "a")
    addresses = [(0, 0, 0), (1, 0, 0), (-1, 0, 0), (2**40, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 2**16)]
    drawn = [tuple(uniforms(key, index, level=level, place=place)) for index, level, place in addresses]
    drawn += [tuple(uniforms(stream(SECRET, *names), 0)) for names in (("b",), ("a", ""), ("", "a"))]
    drawn.append(tuple(uniforms(stream(SECRET + b"a"), 0)))
    assert len(set(drawn)) == len(drawn)


def test_normals_are_normal():
    drawn = normals(stream(SECRET, "n"), np.arange(-MANY, MANY)).ravel()
    n = len(drawn)
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((drawn**power).mean() - moment) < SIGMAS * math.sqrt(variance / n)
    lanes = drawn.reshape(4, -1)
    assert abs(np.corrcoef(lanes)[np.triu_indices(4, 1)]).max() < SIGMAS / math.sqrt(lanes.shape[1])


# --- Ornstein and Uhlenbeck -------------------------------------------------------------------------------------------


def many(kind: str = T1, count: int = MANY) -> Parameters:
    return Parameters.of(SECRET, "device", [(kind, (q,)) for q in range(count)])


def slow(parameters: Parameters, days: float) -> np.ndarray:
    return ornstein_uhlenbeck(parameters.slow, parameters.places, parameters.tau_us, days * DAY_US)


@pytest.mark.parametrize("days", [0.0, 0.1, 0.475, 17.3, 1234.56789])
def test_the_slow_part_is_stationary(days):
    values = slow(many(), days)
    assert abs(values.mean()) < SIGMAS / math.sqrt(MANY)
    assert abs(values.var() - 1) < SIGMAS * math.sqrt(2 / MANY)
    assert abs((values**4).mean() - 3) < SIGMAS * math.sqrt(96 / MANY)


@pytest.mark.parametrize("start_days", [0.0, 3.21])
@pytest.mark.parametrize("taus", [0.002, 0.03, 0.1, 0.25, 0.6, 1.0, 2.5])
def test_the_slow_part_forgets_exponentially(start_days, taus):
    """Within a cell of the grid, across one, and over many."""
    parameters = many()
    before, after = (slow(parameters, start_days + lag * TABLE[T1].slow_days) for lag in (0.0, taus))
    expected = math.exp(-taus)
    sd = math.sqrt((1 + expected**2) / MANY)
    assert abs((before * after).mean() - expected) < SIGMAS * sd
    moved = ((after - before) ** 2).mean() / (2 * (1 - expected))
    assert abs(moved - 1) < SIGMAS * math.sqrt(2 / MANY)


def test_the_slow_part_is_markov_across_the_grid():
    """Given the present the past says nothing more: what a moving average of the wrong kind would break."""
    parameters = many()
    one, two, three = (slow(parameters, 2.0 + lag * TABLE[T1].slow_days) for lag in (0.0, 0.17, 0.31))
    a, b = math.exp(-0.17), math.exp(-0.14)
    rest = (three - b * two) / math.sqrt(1 - b**2)
    before = (one - a * two) / math.sqrt(1 - a**2)
    assert abs((rest * before).mean()) < SIGMAS / math.sqrt(MANY)


def test_the_slow_part_has_no_jumps():
    parameters = many(count=300)
    fine = np.stack([slow(parameters, 1.9 + minute / 1440) for minute in range(-240, 240)])
    assert abs(np.diff(fine, axis=0)).max() < 6.5 * math.sqrt(2 / (1440 * TABLE[T1].slow_days))


# --- the table ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", TABLE)
def test_the_spread_the_shares_and_the_times_are_those_of_the_table(kind):
    """As a calibration sees them: with its sampling error, once a day, on many qubits and days."""
    line = TABLE[kind]
    parameters = many(kind, 2_000)
    days = np.array([parameters.at((day + 0.3) * DAY_US) for day in range(24)])
    days += SAMPLING_SD * normals(stream(SECRET, "sampling"), np.arange(days.size))[0].reshape(days.shape)
    n = days.shape[1]
    rho = math.exp(-1 / line.slow_days)
    samples = n * 24 * (1 - rho) / (1 + rho)  # neighbouring days say nearly the same
    assert abs(days.var() / line.sd**2 - 1) < SIGMAS * math.sqrt(2 / samples)
    for lag in (1, 2, 4):
        covariance = (days[lag:] * days[:-lag]).mean()
        expected = line.sd**2 * line.slow_share * math.exp(-lag / line.slow_days)
        assert abs(covariance - expected) < SIGMAS * line.sd**2 * math.sqrt(2 / samples)
        assert abs(covariance / line.sd**2 - line.slow_share * math.exp(-lag / line.slow_days)) < 0.04


def test_white_noise_lasts_an_hour():
    parameters = many(T2, 4_000)
    line = TABLE[T2]
    early, late, later = (parameters.at(12 * HOUR_US + second * 1e6) for second in (1, 3_599, 3_601))
    slow_variance = 2 * line.slow_sd**2 * (1 - math.exp(-1 / 24 / line.slow_days))
    assert (late - early).var() < 1.2 * slow_variance
    assert (later - late).var() == pytest.approx(2 * line.white_sd**2, rel=SIGMAS * math.sqrt(2 / 4_000))


def test_kinds_and_places_wander_independently():
    count = 5_000
    ones = [many(kind, count).at(5.5 * DAY_US) for kind in TABLE]
    assert abs(np.corrcoef(ones)[np.triu_indices(len(ones), 1)]).max() < SIGMAS / math.sqrt(count)
    assert abs(np.corrcoef(ones[0][:-1], ones[0][1:])[0, 1]) < SIGMAS / math.sqrt(count)


@settings(deadline=None, max_examples=25)
@given(times=st.lists(TIMES_US, min_size=2, max_size=5), data=st.data())
def test_a_value_depends_on_its_time_alone(times, data):
    parameters, steps = many(count=20), Steps.of(SECRET, "device", range(20))
    first = {t: (parameters.at(t), steps.at(t)) for t in times}
    for t in data.draw(st.permutations(times)):
        again = Parameters.of(SECRET, "device", [(T1, (q,)) for q in range(20)]).at(t), steps.at(t)
        assert all(np.array_equal(one, other) for one, other in zip(first[t], again, strict=True))


def test_what_else_is_on_the_device_changes_nothing():
    where = [(T1, (3,)), (T2, (3,)), (T1, (9,))]
    some = Parameters.of(SECRET, "device", where).at(1e11)
    more = Parameters.of(SECRET, "device", [("readout", (3,)), where[2], (T1, (0,)), *where[:2]]).at(1e11)
    assert more[[3, 4, 1]].tolist() == some.tolist()
    assert not np.isclose(Parameters.of(SECRET, "another", where).at(1e11), some).any()
    assert not np.isclose(Parameters.of(b"another", "device", where).at(1e11), some).any()


def test_the_two_directions_of_a_coupler_are_one_place():
    assert place_of((4, 7)) == place_of((7, 4))
    assert len({place_of((4, 7)), place_of((4,)), place_of((7,)), place_of((4, 8))}) == 4


# --- telegraph and steps --------------------------------------------------------------------------------------------


RING = [(q, q + 1) for q in range(199)] + [(0, 199)]


def test_events_are_as_many_as_long_and_as_strong_as_stated():
    telegraph = Telegraph.of(SECRET, "device", range(200), RING)
    events = list(itertools.chain.from_iterable(telegraph.of_day(day) for day in range(200)))
    assert abs(len(events) / 40_000 - 0.04) < SIGMAS * math.sqrt(0.04 / 40_000)
    assert 0.03 < len(events) / 40_000 < 0.05
    drops = [event for event in events if len(event.qubits) == 1]
    breaks = [event for event in events if len(event.qubits) == 2]
    assert abs(len(drops) / len(events) - 0.5) < SIGMAS * 0.5 / math.sqrt(len(events))
    for some, (low, high) in ((drops, T1_DROP), (breaks, GATE_BREAK)):
        factors = [event.factor for event in some]
        assert low <= min(factors) < 1.1 * low
        assert high / 1.1 < max(factors) <= high
    hours = [(event.ends_us - event.starts_us) / HOUR_US for event in events]
    assert EVENT_HOURS[0] <= min(hours)
    assert max(hours) <= EVENT_HOURS[1]
    broken = {event.qubits for event in breaks}
    assert broken <= set(RING)
    assert len(broken) > 0.95 * len(RING)


def test_an_event_is_met_between_its_start_and_its_end_only():
    telegraph = Telegraph.of(SECRET, "device", range(200), RING)
    events = telegraph.of_day(4)
    assert any(event.ends_us > 5 * DAY_US for event in events)  # across midnight
    for event in events:
        assert 4 * DAY_US <= event.starts_us < 5 * DAY_US
        for t_us, under_way in (
            (event.starts_us - 1, False),
            (event.starts_us, True),
            (event.ends_us - 1, True),
            (event.ends_us, False),
        ):
            assert (event in telegraph.during(t_us)) is under_way
    assert telegraph.of_day(-1) == telegraph.during(-5.0) == []


def test_another_coupler_breaks_instead_only_if_it_is_the_new_one():
    qubits = range(200)
    before, after = (Telegraph.of(SECRET, "device", qubits, edges) for edges in (RING, [*RING, (0, 100)]))
    changed = 0
    for day in range(400):
        for one, other in zip(before.of_day(day), after.of_day(day), strict=True):
            changed += one != other
            assert one == other or other.qubits == (0, 100)
    assert changed


def test_a_qubit_without_couplers_breaks_none():
    alone = Telegraph.of(SECRET, "device", range(500), [])
    assert all(len(event.qubits) == 1 for day in range(10) for event in alone.of_day(day))
    assert Telegraph.of(SECRET, "device", [], []).of_day(3) == []


def test_frequencies_step_once_a_day_by_each_qubits_own_spread():
    steps = Steps.of(SECRET, "device", range(400))
    days = np.array([steps.at((day + 0.5) * DAY_US) for day in range(60)])
    sds = steps.level_sd_hz * math.sqrt(1.5)
    low, high = STEP_HZ
    assert low <= sds.min() < 1.02 * low
    assert 0.98 * high < sds.max() <= high
    scaled = np.diff(days, axis=0) / sds
    assert abs(scaled.var() - 1) < SIGMAS * math.sqrt(5 / scaled.size)
    minutes = np.array([steps.at(7 * DAY_US + minute * 6e7) for minute in range(0, 2881, 10)])
    assert set(np.count_nonzero(np.diff(minutes, axis=0), axis=0)) == {2}  # of two days from midnight to midnight
    assert abs(days).max() < 5.5 * high  # it wanders off nowhere
