"""Extrapolators recover the curves that they are named after, with the errors of the fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_backend.domain.extrapolation import DEGREES, extrapolate

FACTORS = (1, 3, 5, 7, 9)
FINITE = st.floats(-2, 2)


def column(values):
    return np.asarray(values, dtype=float)[:, None]


@given(st.sampled_from(sorted(DEGREES)), st.lists(FINITE, min_size=4, max_size=4), st.floats(1e-3, 0.1))
@settings(deadline=None)
def test_polynomials_are_recovered(curve, coefficients, std):
    levels = np.array(FACTORS, dtype=float)
    wanted = coefficients[: DEGREES[curve] + 1]
    values = sum(c * levels**power for power, c in enumerate(wanted))
    found = extrapolate(FACTORS, column(values), np.full((5, 1), std), curve)
    assert found.values[0] == pytest.approx(wanted[0], abs=1e-6)
    assert found.curves == (curve,)


@given(st.floats(0.3, 2), st.sampled_from([-1, 1]), st.floats(0.0, 0.4), st.booleans())
@settings(deadline=None)
def test_exponentials_are_recovered(size, sign, rate, certain):
    values = sign * size * np.exp(-rate * np.array(FACTORS))
    stds = np.zeros((5, 1)) if certain else np.full((5, 1), 1e-3)
    found = extrapolate(FACTORS, column(values), stds, "exponential")
    assert found.values[0] == pytest.approx(sign * size, rel=1e-5)
    assert (found.stds[0] == 0) == certain


@pytest.mark.parametrize("curve", ["linear", "quadratic", "exponential"])
def test_the_error_is_how_far_noisy_answers_scatter(curve):
    rng = np.random.default_rng(3)
    truth = {"linear": 0.9 - 0.05 * np.array(FACTORS), "quadratic": 0.9 - 0.01 * np.array(FACTORS) ** 2 / 3}
    clean = truth.get(curve, 0.9 * np.exp(-0.1 * np.array(FACTORS)))
    stds = np.array([0.01, 0.01, 0.02, 0.02, 0.02])
    many = clean[:, None] + stds[:, None] * rng.normal(size=(5, 2000))
    found = extrapolate(FACTORS, many, np.repeat(stds[:, None], 2000, axis=1), curve)
    assert found.values.std() == pytest.approx(found.stds.mean(), rel=0.1)
    assert found.values.mean() == pytest.approx(0.9, abs=0.005)


@pytest.mark.parametrize("values", [[0.4, -0.1, 0.2], [0.2, 0.3, 0.4], [0.001, 0.002, 0.001]])
def test_what_is_no_decay_is_left_to_the_line_and_that_is_told(values):
    stds = np.full((3, 1), 0.01)
    found = extrapolate((1, 3, 5), column(values), stds, "exponential")
    line = extrapolate((1, 3, 5), column(values), stds, "linear")
    assert found.curves == ("linear",)
    assert (found.values[0], found.stds[0]) == (line.values[0], line.stds[0])


def test_shots_that_all_agree_are_no_certainty():
    stds = column([0.0, 0.02, 0.02])
    found = extrapolate((1, 3, 5), column([1.0, 0.5, 0.45]), stds, "linear")
    assert found.stds[0] > 0
    assert found.values[0] < 1.24  # the line through the first two would end at 1.25


def test_what_does_not_change_with_noise_stays():
    found = extrapolate((1, 3, 5), np.full((3, 2), 0.5), np.full((3, 2), 0.01), "quadratic")
    assert found.values == pytest.approx([0.5, 0.5])
