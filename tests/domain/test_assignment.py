"""Readout is inverted exactly where every string was observed, and as the restricted dense matrix does elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_backend.domain import assignment
from qpu_backend.domain.assignment import Inverse, ReadoutErrors, gmres


def errors_of(rng, n, most=0.2):
    return rng.uniform(0.0, most, (n, 2))


def known(errors, *, variance=0.0, symmetric=False):
    return ReadoutErrors(errors, np.full_like(errors, variance), symmetric)


def strings(n):
    """All of them; bit ``k`` of a number is column ``k``."""
    return (np.arange(2**n)[:, None] >> np.arange(n) & 1).astype(np.uint8)


def dense(outcomes, readout):
    matrix = np.ones((len(outcomes), len(outcomes)))
    for k, block in enumerate(readout.matrices):
        matrix *= block[outcomes[:, k][:, None], outcomes[:, k][None]]
    return matrix


def restricted(outcomes, readout):
    matrix = dense(outcomes, readout)
    return matrix / matrix.sum(axis=0)


def observed(rng, n, m):
    outcomes = strings(n)[np.sort(rng.permutation(2**n)[:m])]
    frequencies = rng.dirichlet(np.ones(m))
    return outcomes, frequencies


@given(st.integers(1, 6), st.integers(0, 2**32))
@settings(deadline=None, max_examples=40)
def test_a_known_assignment_is_undone_exactly_on_all_strings(n, seed):
    rng = np.random.default_rng(seed)
    readout, truth = known(errors_of(rng, n)), rng.dirichlet(np.ones(2**n))
    read = dense(strings(n), readout) @ truth
    inverse = Inverse(strings(n), readout)
    values = rng.normal(size=2**n)
    assert inverse.quasi(read) == pytest.approx(truth, abs=1e-9)
    assert float(read @ inverse.pulled_back(values)) == pytest.approx(float(truth @ values), abs=1e-9)


@pytest.mark.parametrize("m", [1, 7, 40, 300])
@pytest.mark.parametrize("symmetric", [False, True])
def test_on_some_strings_it_is_the_inverse_of_the_restricted_matrix(m, symmetric):
    rng = np.random.default_rng(m)
    outcomes, frequencies = observed(rng, 9, m)
    readout = known(errors_of(rng, 9, 0.1), symmetric=symmetric)
    inverse, matrix = Inverse(outcomes, readout), np.linalg.inv(restricted(outcomes, readout))
    values = rng.normal(size=m)
    assert inverse.quasi(frequencies) == pytest.approx(matrix @ frequencies, abs=1e-7)
    assert inverse.pulled_back(values) == pytest.approx(values @ matrix, abs=1e-6)
    assert inverse.quasi(frequencies).sum() == pytest.approx(1.0, abs=1e-7)
    exact = np.abs(matrix).sum(axis=0).max() ** 2
    assert 0.7 * exact <= inverse.overhead() <= exact * (1 + 1e-6)


def test_the_matrix_is_not_formed_for_many_strings(monkeypatch):
    rng = np.random.default_rng(4)
    outcomes, frequencies = observed(rng, 8, 200)
    readout = known(errors_of(rng, 8))
    small = Inverse(outcomes, readout)
    monkeypatch.setattr(assignment, "LARGEST_MATRIX", 0)
    monkeypatch.setattr(np.linalg, "inv", None)
    large = Inverse(outcomes, readout)
    assert large.quasi(frequencies) == pytest.approx(small.quasi(frequencies), abs=1e-7)


@given(st.integers(1, 30), st.integers(0, 2**32))
@settings(deadline=None, max_examples=30)
def test_gmres_solves(m, seed):
    rng = np.random.default_rng(seed)
    matrix = np.eye(m) + 0.3 * rng.uniform(-1, 1, (m, m)) / m
    wanted = rng.normal(size=m)
    assert matrix @ gmres(lambda x: matrix @ x, wanted, np.diagonal(matrix)) == pytest.approx(wanted, abs=1e-6)
    assert not gmres(lambda x: matrix @ x, np.zeros(m), np.ones(m)).any()


def test_errors_of_one_half_do_not_break_it():
    inverse = Inverse(strings(2), known(np.array([[0.5, 0.5], [1.0, 1.0]])))
    assert np.isfinite(inverse.quasi(np.full(4, 0.25))).all()


def test_without_errors_nothing_changes():
    rng = np.random.default_rng(2)
    outcomes, frequencies = observed(rng, 9, 290)
    inverse = Inverse(outcomes, known(np.zeros((9, 2))))
    assert inverse.quasi(frequencies) == pytest.approx(frequencies, abs=1e-12)
    assert inverse.overhead() == pytest.approx(1.0)


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("m", [5, 30])
def test_the_uncertainty_of_the_errors_is_that_of_finite_differences(m, symmetric):
    rng = np.random.default_rng(m)
    outcomes, frequencies = observed(rng, 5, m)
    errors, values, step = errors_of(rng, 5), rng.normal(size=m), 1e-6

    def mean(changed):
        return float(frequencies @ Inverse(outcomes, known(changed, symmetric=symmetric)).pulled_back(values))

    expected = np.zeros(5)
    for k in range(5):
        for side in range(2):
            up, down = errors.copy(), errors.copy()
            up[k, side] += step
            down[k, side] -= step
            expected[k] += 1e-4 * ((mean(up) - mean(down)) / (2 * step)) ** 2
    inverse = Inverse(outcomes, known(errors, variance=1e-4, symmetric=symmetric))
    found = inverse.variance_of_errors(inverse.slopes(frequencies), values, inverse.pulled_back(values))
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_overhead_bounds_how_much_the_variance_grows():
    rng = np.random.default_rng(8)
    readout = known(errors_of(rng, 4))
    frequencies = dense(strings(4), readout) @ rng.dirichlet(np.ones(16))
    inverse = Inverse(strings(4), readout)
    values = rng.choice([-1.0, 1.0], 16)
    counted = inverse.pulled_back(values)
    variance = float(frequencies @ counted**2) - float(frequencies @ counted) ** 2
    assert variance <= inverse.overhead()
