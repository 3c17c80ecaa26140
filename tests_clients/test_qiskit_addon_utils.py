"""A Heisenberg chain: its model, its evolution, the bases to measure and the values from their bits.

Negative control: bits of one basis taken for those of another.
"""

from __future__ import annotations

import numpy as np
import pytest
from bounds import loss, of_mean
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp, Statevector
from qiskit.synthesis import SuzukiTrotter
from qiskit.transpiler import CouplingMap
from qiskit_addon_utils.exp_vals import executor_expectation_values, get_measurement_bases
from qiskit_addon_utils.problem_generators import generate_time_evolution_circuit, generate_xyz_hamiltonian

CLIENT = "qiskit-addon-utils"
SHOTS = 4000
OBSERVABLES = [SparsePauliOp("IZZ"), SparsePauliOp("ZIZ"), SparsePauliOp("YII"), SparsePauliOp("IXX")]


@pytest.fixture(scope="module")
def state():
    """A quarter up, evolved under a model with a field."""
    model = generate_xyz_hamiltonian(
        CouplingMap.from_line(3), coupling_constants=(0.3, 0.5, 0.8), ext_magnetic_field=(0.9, 0.2, 0.4)
    )
    circuit = QuantumCircuit(3)
    circuit.x(1)
    evolved = generate_time_evolution_circuit(model, synthesis=SuzukiTrotter(reps=1), time=0.4)
    return circuit.compose(evolved.decompose(reps=2))


@pytest.fixture(scope="module")
def sampled(line, compiler, state):
    """Bits of each basis, the plan, and the loss."""
    bases, plan = get_measurement_bases(OBSERVABLES, bases_in_int_format=False)
    circuits = []
    for basis in bases:
        circuit = state.copy()
        for qubit, pauli in enumerate(reversed(basis)):
            if pauli == "Y":
                circuit.sdg(qubit)
            if pauli in "XY":
                circuit.h(qubit)
        circuit.measure_all()
        circuits.append(compiler.run(circuit))
    result = line.run(circuits, shots=SHOTS, seed_simulator=8, memory=True).result(120)
    bits = [
        [[bit == "1" for bit in reversed(shot)] for shot in result.get_memory(number)] for number in range(len(bases))
    ]
    return np.array(bits), plan, max(loss(line, circuit) for circuit in circuits)


def errors(bits, plan, state):
    found = [value for value, _ in executor_expectation_values(bits, plan, 0)]
    exact = [Statevector(state).expectation_value(observable).real for observable in OBSERVABLES]
    return np.abs(np.array(found) - exact)


def test_values_from_bits_are_those_of_the_state(sampled, state):
    bits, plan, lost = sampled
    assert np.max(errors(bits, plan, state)) < 2 * lost + of_mean(SHOTS)


def test_bits_of_another_basis_are_seen(sampled, state):
    bits, plan, lost = sampled
    assert np.max(errors(np.roll(bits, 1, axis=0), plan, state)) > 2 * lost + of_mean(SHOTS)
