"""Pauli twirling of gates and readout: one template, many randomisations as bindings of the sampler.

Negative control: flips of the readout that are not undone.
"""

from __future__ import annotations

import numpy as np
import pytest
from bounds import loss, of_mean
from qiskit.circuit import QuantumCircuit
from samplomatic import Twirl, build

from qpu_sdk import SamplerV2

CLIENT = "samplomatic"
RANDOMISATIONS, SHOTS = 20, 100


@pytest.fixture(scope="module")
def twirled(line, compiler):
    """Bits of a Bell state by randomisation, shot and qubit; the flips before readout; the loss of the template."""
    circuit = QuantumCircuit(2)
    with circuit.box([Twirl(dressing="left", decomposition="rzsx")]):
        circuit.h(0)
        circuit.cx(0, 1)
    with circuit.box([Twirl(dressing="left", decomposition="rzsx")]):
        circuit.measure_all()
    template, samplex = build(circuit)
    samples = samplex.sample(num_randomizations=RANDOMISATIONS, rng=5)
    compiled = compiler.run(template)
    sampler = SamplerV2(line, options={"seed_simulator": 3})
    (pub,) = sampler.run([(compiled, samples["parameter_values"])], shots=SHOTS).result(120)
    bits = pub.data.meas.to_bool_array(order="little")
    return bits, samples["measurement_flips.meas"], loss(line, compiled)


def correlation(bits):
    """⟨ZZ⟩."""
    return 1 - 2 * np.mean(bits[..., 0] ^ bits[..., 1])


def test_a_twirled_state_has_its_correlation(twirled):
    bits, flips, lost = twirled
    assert abs(correlation(bits ^ flips) - 1) < 2 * lost + of_mean(RANDOMISATIONS * SHOTS)


def test_flips_that_are_not_undone_are_seen(twirled):
    bits, _, lost = twirled
    assert abs(correlation(bits) - 1) > 2 * lost + of_mean(RANDOMISATIONS * SHOTS)


def test_randomisations_differ(twirled):
    _, flips, _ = twirled
    assert len({tuple(np.ravel(one)) for one in flips}) > 1
