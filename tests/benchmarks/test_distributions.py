"""Marginals, distances and shot noise, by brute force."""

from __future__ import annotations

import numpy as np
import pytest
from distributions import marginal, sampled, shot_noise, tvd
from hypothesis import given
from hypothesis import strategies as st


@given(st.permutations(range(4)), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_a_marginal_sums_over_the_other_bits(order, kept, seed):
    bits = order[:kept]
    whole = np.random.default_rng(seed).dirichlet(np.ones(16))
    expected = np.zeros(2**kept)
    for word, chance in enumerate(whole):
        expected[sum((word >> bit & 1) << place for place, bit in enumerate(bits))] += chance
    np.testing.assert_allclose(marginal(whole, bits), expected, atol=1e-15)


def test_samples_are_counted_with_their_first_bit_least_significant():
    samples = np.array([[0, 1, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], dtype=np.uint8)
    assert sampled(samples, [0, 1]).tolist() == [0.25, 0.0, 0.5, 0.25]
    assert sampled(samples, [1, 0]).tolist() == [0.25, 0.5, 0.0, 0.25]


def test_distance_is_one_for_disjoint_distributions_and_zero_for_equal_ones():
    one, other = np.array([0.5, 0.5, 0, 0]), np.array([0, 0, 0.1, 0.9])
    assert tvd(one, other) == 1.0
    assert tvd(one, one) == 0.0


def test_shot_noise_is_what_sampling_gives():
    rng = np.random.default_rng(1)
    truth = np.full(8, 1 / 8)
    seen = np.mean([tvd(rng.multinomial(4096, truth) / 4096, truth) for _ in range(400)])
    assert shot_noise(truth, 4096) == pytest.approx(seen, rel=0.05)
