"""V5b's experiment: sequences keep their stabiliser when nothing goes wrong, and losses come out as they went in."""

from __future__ import annotations

import layer_circuits
import numpy as np
import pytest
import simulate
from crosstalk_pairs import line, without_errors
from layer_fidelity import Chain

from qpu_backend.physics.device import NO_CROSSTALK
from qpu_backend.physics.snapshot import RegionNoise
from qpu_backend.physics.timing import Durations, schedule

LINE = line(6)


@pytest.mark.parametrize("region", [(1, 2), (3,)])
def test_a_perfect_device_keeps_every_stabiliser(region):
    rng = np.random.default_rng(1)
    noise = without_errors(RegionNoise.of(LINE, region))
    for length in (0, 1, 5):
        circuit, weights = layer_circuits.sequence(region, length, 700.0, LINE, rng)
        assert weights @ simulate.distribution(circuit, noise) == pytest.approx(1.0, abs=1e-9)


def test_all_regions_of_a_layer_are_in_step():
    rng = np.random.default_rng(2)
    lengths = {
        schedule(
            layer_circuits.sequence(region, 4, 700.0, LINE, rng)[0], Durations.of(RegionNoise.of(LINE, region))
        ).duration_ns
        for region in ((0, 1), (2, 3), (4,))
    }
    assert max(lengths) - min(lengths) < 1e-6


def test_a_chain_has_two_layers_and_lone_qubits():
    first, second = layer_circuits.layers_of(Chain((4, 3, 2, 1), 0.9), LINE)
    assert first == ((3, 4), (1, 2))
    assert second == ((2, 3), (1,), (4,))


def test_decays_are_read_from_the_longest_length_that_has_not_faded():
    lengths = np.array(layer_circuits.LENGTHS)[:, None]
    p = np.array([0.999, 0.97, 0.85, 0.4])
    kept = p**lengths
    np.testing.assert_allclose(layer_circuits.decays(kept), p, rtol=1e-9)
    kept[2, 2], kept[1:, 3] = -0.1, (0.04, -0.02)  # noise where nothing is left
    np.testing.assert_allclose(layer_circuits.decays(kept), p, rtol=1e-9)


def test_a_quieter_first_layer_does_not_matter():
    kept = 1.01 * np.array([[0.98**length] for length in layer_circuits.LENGTHS])
    assert layer_circuits.decays(kept)[0] == pytest.approx(0.98)


def test_without_crosstalk_a_layer_loses_what_its_gates_lose(monkeypatch):
    monkeypatch.setattr(layer_circuits, "SEQUENCES", 60)
    chain = Chain((1, 2, 3, 4), 0.9)
    gates = [LINE.gates[key].error for key in LINE.gates if len(key[1]) == 2 and set(key[1]) <= {1, 2, 3, 4}]
    found = layer_circuits.simulated(chain, LINE, NO_CROSSTALK)
    by_gates = -sum(np.log(1 - 1.25 * error) for error in gates)
    assert by_gates < found < by_gates + 0.03  # one-qubit gates, and two lone qubits that wait
