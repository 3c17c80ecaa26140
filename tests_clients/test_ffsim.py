"""A fermionic state (a Slater determinant) prepared on the device: occupations and sectors as ffsim computes them.

Negative control: the determinant of another rotation.
"""

from __future__ import annotations

import ffsim
import numpy as np
import pytest
from bounds import distance, loss, of_distance
from qiskit.circuit import QuantumCircuit, QuantumRegister
from qiskit.transpiler import generate_preset_pass_manager

CLIENT = "ffsim"
ORBITALS, ELECTRONS, SHOTS = 2, (1, 1), 4000


def rotated(seed):
    """A circuit that occupies the lowest rotated orbitals, and ffsim's own probabilities of its bit strings."""
    rotation = ffsim.random.random_unitary(ORBITALS, seed=seed)
    circuit = QuantumCircuit(QuantumRegister(2 * ORBITALS))
    circuit.append(
        ffsim.qiskit.PrepareSlaterDeterminantJW(ORBITALS, [[0], [0]], orbital_rotation=rotation), circuit.qubits
    )
    state = ffsim.slater_determinant(ORBITALS, [[0], [0]], orbital_rotation=rotation)
    strings = ffsim.addresses_to_strings(
        range(len(state)), ORBITALS, ELECTRONS, bitstring_type=ffsim.BitstringType.STRING
    )
    circuit.measure_all()
    return circuit, dict(zip(strings, np.abs(state) ** 2, strict=True))


@pytest.fixture(scope="module")
def occupied(line):
    circuit, expected = rotated(3)
    compiler = generate_preset_pass_manager(optimization_level=1, backend=line, seed_transpiler=7)
    compiler.pre_init = ffsim.qiskit.PRE_INIT
    compiled = compiler.run(circuit)
    counts = line.run(compiled, shots=SHOTS, seed_simulator=3).result(120).get_counts()
    return counts, expected, loss(line, compiled) + of_distance(SHOTS, 16)


def test_the_state_is_the_one_that_ffsim_computes(occupied):
    counts, expected, bound = occupied
    assert distance(counts, expected) < bound


def test_another_rotation_is_seen(occupied):
    counts, expected, bound = occupied
    _, other = max((rotated(seed) for seed in range(4, 12)), key=lambda pair: distance(expected, pair[1]))
    assert distance(counts, other) > bound
