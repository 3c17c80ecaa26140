"""Classical shadows on the sampler: expectation values of a Bell state from random local measurements.

Negative control: the state with one sign turned.
"""

from __future__ import annotations

import numpy as np
import pytest
from bounds import SIGMAS, loss
from povm_toolbox.library import ClassicalShadows
from povm_toolbox.post_processor import POVMPostProcessor
from povm_toolbox.sampler import POVMSampler
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp

from qpu_sdk import SamplerV2

CLIENT = "povm-toolbox"
SHOTS = 3000
OBSERVABLES = {"ZZ": 1, "XX": 1, "YY": -1, "ZI": 0, "XY": 0}


@pytest.fixture(scope="module")
def errors(line, compiler):
    """Of each observable, how far it is from its value, and how far it may be."""

    def measured(*, turned):
        circuit = QuantumCircuit(2)
        circuit.h(0)
        circuit.cx(0, 1)
        if turned:
            circuit.z(0)
        sampler = POVMSampler(SamplerV2(line, options={"seed_simulator": 13}))
        shadows = ClassicalShadows(2, seed=3)
        result = sampler.run([circuit], shots=SHOTS, povm=shadows, pass_manager=compiler).result()
        processor = POVMPostProcessor(result[0])
        lost = loss(line, compiler.run(circuit.measure_all(inplace=False)))
        found = {}
        for label, exact in OBSERVABLES.items():
            value, deviation = processor.get_expectation_value(SparsePauliOp(label))
            found[label] = abs(np.real(value) - exact), SIGMAS * deviation + 2 * lost
        return found

    return measured


def test_shadows_have_the_values_of_the_state(errors):
    assert all(error < bound for error, bound in errors(turned=False).values())


def test_a_turned_sign_is_seen(errors):
    found = errors(turned=True)
    assert {label for label, (error, bound) in found.items() if error > bound} == {"XX", "YY"}
