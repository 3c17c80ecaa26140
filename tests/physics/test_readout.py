"""IQ clouds: the readout errors are what spills over the discriminator's line, and nothing else."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.physics.readout import (
    SMALLEST_ERROR,
    Discriminator,
    clouds_of,
    discriminator_of,
    discriminators_of,
)

errors = st.floats(min_value=0.0, max_value=1.0)
qubits = st.integers(min_value=0, max_value=200)


def component(line: Discriminator, point: complex) -> float:
    """Along the axis."""
    return (line.axis.conjugate() * point).real


@given(qubits, errors, errors)
def test_what_spills_over_the_line_is_the_assignment_error(qubit, meas1_prep0, meas0_prep1):
    line = discriminator_of("eagle127", qubit)
    clouds = clouds_of(line, meas1_prep0, meas0_prep1)
    spread = NormalDist(0.0, line.sigma)
    over = spread.cdf(component(line, clouds.centre_0) - line.threshold)
    under = spread.cdf(line.threshold - component(line, clouds.centre_1))
    low, high = SMALLEST_ERROR, 1 - SMALLEST_ERROR
    assert over == pytest.approx(min(max(meas1_prep0, low), high), rel=1e-6)
    assert under == pytest.approx(min(max(meas0_prep1, low), high), rel=1e-6)


@given(qubits, errors, errors)
def test_the_axis_goes_through_both_centres_and_the_boundary(qubit, meas1_prep0, meas0_prep1):
    line = discriminator_of("eagle127", qubit)
    clouds = clouds_of(line, meas1_prep0, meas0_prep1)
    for point in (clouds.centre_0, clouds.centre_1):
        across = (line.axis.conjugate() * (point - line.boundary)).imag
        assert abs(across) < 1e-6 * line.sigma
    assert abs(line.axis) == pytest.approx(1.0)
    assert component(line, line.boundary) == pytest.approx(line.threshold)


def test_the_distance_of_the_centres_is_the_sum_of_both_quantiles():
    clouds = clouds_of(discriminator_of("eagle127", 3), 0.02, 0.05)
    quantile = NormalDist().inv_cdf
    expected = quantile(0.98) + quantile(0.95)
    distance = abs(clouds.centre_1 - clouds.centre_0) / clouds.discriminator.sigma
    assert distance == pytest.approx(expected)


@pytest.mark.parametrize(("meas1_prep0", "meas0_prep1"), [(0.02, 0.05), (0.001, 0.3), (0.5, 0.5), (0.6, 0.1)])
def test_a_million_points_are_misread_as_often_as_the_errors_say(meas1_prep0, meas0_prep1):
    number = 1_000_000
    clouds = clouds_of(discriminator_of("eagle127", 5), meas1_prep0, meas0_prep1)
    rng = np.random.Generator(np.random.Philox(key=7))
    for excited, error in ((False, meas1_prep0), (True, meas0_prep1)):
        points = clouds.points(rng, np.full(number, excited))
        assert points.dtype == np.complex64
        misread = np.mean(clouds.discriminator.discriminate(points) != excited)
        assert abs(misread - error) < 5 * math.sqrt(error * (1 - error) / number)


def test_points_scatter_alike_in_every_direction():
    clouds = clouds_of(discriminator_of("eagle127", 5), 0.02, 0.05)
    number = 200_000
    points = clouds.points(np.random.Generator(np.random.Philox(key=1)), np.ones(number, dtype=bool))
    around = (points - clouds.centre_1) / clouds.discriminator.sigma
    covariance = np.cov(around.real, around.imag)
    assert np.allclose(covariance, np.eye(2), atol=5 * math.sqrt(2 / number))
    assert abs(around.mean()) < 5 * math.sqrt(2 / number)


def test_the_published_line_has_the_true_errors_after_drift():
    """The truth moves the clouds, never the line."""
    line = discriminator_of("eagle127", 9)
    published, truth = clouds_of(line, 0.01, 0.02), clouds_of(line, 0.04, 0.02)
    assert published.discriminator == truth.discriminator
    assert published.centre_1 == truth.centre_1
    excited = np.zeros(200_000, dtype=bool)
    points = truth.points(np.random.Generator(np.random.Philox(key=3)), excited)
    misread = published.discriminator.discriminate(points).mean()
    assert abs(misread - 0.04) < 5 * math.sqrt(0.04 * 0.96 / len(excited))


def test_qubits_and_devices_have_readers_of_their_own():
    lines = [discriminator_of(device, qubit) for device in ("eagle127", "heron156") for qubit in range(100)]
    assert len({line.boundary for line in lines}) == len({line.axis for line in lines}) == len(lines)
    assert all(0.5e6 <= line.sigma <= 1.5e6 for line in lines)
    quadrants = {(line.axis.real > 0, line.axis.imag > 0) for line in lines}
    assert len(quadrants) == 4


def test_a_placed_job_is_read_in_the_frame_its_client_knows():
    placed = discriminators_of("eagle127", [112, 126, 125], {112, 125})
    assert placed == {112: discriminator_of("eagle127", 0), 125: discriminator_of("eagle127", 2)}
    device = discriminators_of("eagle127", range(127), {112, 125})
    assert device == {112: discriminator_of("eagle127", 112), 125: discriminator_of("eagle127", 125)}
