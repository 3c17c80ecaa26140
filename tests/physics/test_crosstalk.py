"""C1: conditional errors are exact overlaps, quantised, monotone (V6), and off when switched off."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.physics.circuit import IsaCircuit, Op, operations
from qpu_backend.physics.crosstalk import FACTOR_BIN, conditional_factors, draw_outliers, physical_windows
from qpu_backend.physics.device import NO_CROSSTALK, ConditionalErrors, Crosstalk
from qpu_backend.physics.method import Method, TooLarge, choose_method, cost_estimate_us
from qpu_backend.physics.timing import Durations, summarise
from qpu_backend.physics.topology import Topology

LINE = Topology.of(12, [(q, q + 1) for q in range(11)])
RATIOS = {((0, 1), (2, 3)): 3.0, ((2, 3), (4, 5)): 9.0, ((4, 5), (6, 7)): 2.5}
CROSSTALK = Crosstalk(ConditionalErrors(RATIOS, ordinary_ratio=1.2))


def quantised(factor):
    return np.exp(np.round(np.log(factor) / FACTOR_BIN) * FACTOR_BIN)


@st.composite
def windows(draw, edges):
    rows = []
    for _ in range(draw(st.integers(0, 4))):
        a, b = draw(st.sampled_from(edges))
        closes = draw(st.floats(0, 2000))
        rows.append((*draw(st.sampled_from([(a, b), (b, a)])), closes + draw(st.floats(10, 800)), closes))
    return np.array(rows, dtype=float).reshape(-1, 4)


own_windows = windows([(2, 3), (4, 5), (3, 4)])
left = windows([(0, 1)])
right = windows([(6, 7), (7, 8), (8, 9)])


@given(own_windows, left, right)
def test_another_neighbour_never_lowers_a_factor(own, one, other):
    none = conditional_factors(CROSSTALK, LINE, own, [])
    first = conditional_factors(CROSSTALK, LINE, own, [one])
    both = conditional_factors(CROSSTALK, LINE, own, [one, other])
    assert (none == 1.0).all()
    assert (first >= none).all()
    assert (both >= first).all()


@given(own_windows, left, right)
def test_the_order_of_neighbours_does_not_matter(own, one, other):
    forward = conditional_factors(CROSSTALK, LINE, own, [one, other])
    assert np.allclose(forward, conditional_factors(CROSSTALK, LINE, own, [other, one]), rtol=0.051)


@given(own_windows, left, right)
def test_switched_off_or_scaled_to_zero_it_is_exactly_one(own, one, other):
    off = replace(CROSSTALK, conditional=replace(CROSSTALK.conditional, scale=0.0))
    for crosstalk in (NO_CROSSTALK, off):
        assert (conditional_factors(crosstalk, LINE, own, [one, other]) == 1.0).all()


def test_the_factor_is_the_overlap_times_the_excess():
    own = np.array([[2, 3, 1000.0, 500.0], [3, 2, 400.0, 0.0]])
    beside = np.array([[0, 1, 750.0, 250.0]])
    factors = conditional_factors(CROSSTALK, LINE, own, [beside])
    assert factors == pytest.approx([quantised(1 + 0.5 * 2.0), quantised(1 + 150 / 400 * 2.0)])
    both = conditional_factors(CROSSTALK, LINE, own[:1], [beside, np.array([[4, 5, 1000.0, 500.0]])])
    assert both == pytest.approx([quantised(1 + 0.5 * 2.0 + 1.0 * 8.0)])
    assert both[0] == pytest.approx(10.0, rel=0.026)


def test_gates_further_away_and_gates_at_other_times_do_nothing():
    own = np.array([[2, 3, 1000.0, 500.0]])
    assert conditional_factors(CROSSTALK, LINE, own, [np.array([[6, 7, 1000.0, 500.0]])]) == [1.0]
    assert conditional_factors(CROSSTALK, LINE, own, [np.array([[0, 1, 500.0, 0.0]])]) == [1.0]
    assert conditional_factors(CROSSTALK, LINE, own[:0], [own]).shape == (0,)


def test_the_scale_scales_the_excess():
    own, beside = np.array([[2, 3, 1000.0, 500.0]]), np.array([[0, 1, 1000.0, 500.0]])
    doubled = replace(CROSSTALK, conditional=replace(CROSSTALK.conditional, scale=2.0))
    assert conditional_factors(doubled, LINE, own, [beside]) == pytest.approx([quantised(5.0)])


def test_outliers_of_the_eagle_are_those_of_its_seed_and_rare(eagle):
    model, _ = eagle
    ratios = model.crosstalk.conditional.ratios
    pairs = model.topology.distance_one_pairs()
    assert ratios == draw_outliers(model.topology, 127)
    assert ratios != draw_outliers(model.topology, 128)
    assert set(ratios) <= set(pairs)
    assert 0.02 <= sum(2 <= ratio <= 4 for ratio in ratios.values()) / len(pairs) <= 0.05
    assert sum(5 <= ratio <= 11 for ratio in ratios.values()) == 1


def test_placed_windows_name_physical_qubits(eagle):
    _, snapshot = eagle
    rows = [(int(Op.ECR), 0, 1, -1, -1, 0.0, -1), (int(Op.MEASURE), 0, -1, 0, -1, 0.0, -1)]
    summary = summarise(IsaCircuit((1, 3), 1, (), operations(rows)), Durations.of(snapshot, (5, 62, 6, 72)))
    assert physical_windows(summary, (5, 62, 6, 72)).tolist() == [[62.0, 72.0, 1960.0, 1300.0]]
    assert physical_windows(summary, (5, 62, 6, 72), acting=True).shape == (1, 4)


def test_the_method_follows_the_stated_rule():
    assert choose_method(10, has_mid_circuit=False) is Method.DENSITY_MATRIX
    assert choose_method(11, has_mid_circuit=False) is Method.TRAJECTORIES
    assert choose_method(2, has_mid_circuit=True) is Method.TRAJECTORIES
    with pytest.raises(TooLarge) as refused:
        choose_method(25, has_mid_circuit=False)
    assert (refused.value.limit, refused.value.code) == (24, "too_large")
    for method in Method:
        assert cost_estimate_us(method, 5, 20, 1024) < cost_estimate_us(method, 9, 20, 4096)
