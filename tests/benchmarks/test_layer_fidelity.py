"""The prediction of layer fidelities: its formula, and what it says of the devices that were measured."""

from __future__ import annotations

import math
from dataclasses import replace

import layer_fidelity
import numpy as np
import pytest

EDGES = ((0, 1), (1, 2), (2, 3), (3, 4))
SMALL = layer_fidelity.Published(
    name="small",
    edges=EDGES,
    error=np.array([0.01, 0.02, 0.005, np.nan]),
    duration_ns=np.array([300.0, 500.0, 400.0, 900.0]),
    zz_hz=np.array([50e3, -80e3, 20e3, 60e3]),
    sx_ns=30.0,
    chains=(layer_fidelity.Chain((3, 2, 1, 0), 0.9), layer_fidelity.Chain((4, 3, 2), 0.8)),
)


@pytest.fixture(scope="module")
def devices():
    return layer_fidelity.read_devices()


def test_every_edge_of_a_chain_loses_by_its_gate_and_by_its_zz():
    window_s = (500 + 2 * 30) * 1e-9
    by_gates = -sum(math.log(1 - 1.25 * r) for r in (0.01, 0.02, 0.005))
    by_zz = sum(math.sin(math.pi * zz * window_s / 2) ** 2 for zz in (50e3, 80e3, 20e3))
    assert SMALL.isolated()[0] == pytest.approx(by_gates, rel=1e-12)
    assert SMALL.between_gates(SMALL.zz_hz)[0] == pytest.approx(by_zz, rel=1e-12)
    assert SMALL.measured()[0] == pytest.approx(-math.log(0.9))


def test_the_window_is_that_of_the_longest_gate_of_the_chain_not_of_the_device():
    assert SMALL.window_ns.tolist() == [560.0, 960.0]


def test_an_uncalibrated_edge_sets_its_chain_apart():
    assert SMALL.uncalibrated.tolist() == [0, 1]
    found = layer_fidelity.evaluate([SMALL], permutations=9)
    assert (found.clean, found.everything) == (1, 2)
    assert sum("small" in line for line in layer_fidelity.listing([SMALL], clean=False)) == 1


def test_permuting_equal_couplings_tells_nothing():
    alike = replace(SMALL, zz_hz=np.full(4, 40e3))
    assert layer_fidelity.evaluate([alike], permutations=99).permutation_p == 1.0


def test_wrong_places_of_the_same_couplings_are_found_out(devices):
    rng = np.random.default_rng(3)
    shuffled = [replace(device, zz_hz=rng.permutation(device.zz_hz)) for device in devices]
    assert layer_fidelity.evaluate(shuffled, permutations=199).permutation_p > 0.05


def test_measured_layer_fidelities_are_predicted_without_fitting(devices):
    found = layer_fidelity.evaluate(devices, permutations=999)
    assert (found.clean, found.everything) == (49, 61)
    assert found.mape <= 0.12
    assert found.isolated_mape > 0.35
    assert found.permutation_p < 0.05


def test_no_coupler_is_left_without_a_name(devices):
    for device in devices:
        assert len(device.edges) == len(device.zz_hz) == 144
        assert np.isfinite(device.zz_hz).all()
        assert 1e4 < np.median(np.abs(device.zz_hz)) < 1e5
