"""Sample-based diagonalisation: the ground state of a Heisenberg chain, in the space of the bit strings that were read.

Negative control: the same number of strings drawn at random.
"""

from __future__ import annotations

import numpy as np
import pytest
from bounds import of_share
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit_addon_sqd.counts import bit_array_to_arrays
from qiskit_addon_sqd.qubit import solve_qubit
from qiskit_addon_sqd.subsampling import subsample

from qpu_sdk import SamplerV2

CLIENT = "qiskit-addon-sqd"
QUBITS = 5
LEFT_OUT = 0.05
"""Energy that the one string of ten with little weight may cost, relative."""
CHAIN = SparsePauliOp.from_sparse_list(
    [
        *((pair, [qubit, qubit + 1], 1.0) for qubit in range(QUBITS - 1) for pair in ("XX", "YY", "ZZ")),
        ("Z", [0], 0.1),
    ],
    QUBITS,
)


@pytest.fixture(scope="module")
def exact():
    return np.linalg.eigvalsh(CHAIN.to_matrix())[0]


@pytest.fixture(scope="module")
def samples(line, compiler):
    """Strings read of a Néel state whose neighbours were exchanged in part, and how often."""
    circuit = QuantumCircuit(QUBITS)
    circuit.x([0, 2, 4])
    for first in (0, 2, 1, 3, 0, 2):
        circuit.rxx(0.5, first, first + 1)
        circuit.ryy(0.5, first, first + 1)
    circuit.measure_all()
    sampler = SamplerV2(line, options={"seed_simulator": 11})
    return bit_array_to_arrays(sampler.run([compiler.run(circuit)], shots=2000).result(120)[0].data.meas)


@pytest.fixture(scope="module")
def batch(samples):
    """The most of what was read that has three up, as the ground state has; errors break that."""
    strings, shares = samples
    right = strings.sum(axis=1) == 3
    kept, weights = strings[right], shares[right] / shares[right].sum()
    return subsample(kept, weights, min(len(kept), 9), 1, rand_seed=1)[0]


def excess(strings, exact):
    """Of the lowest energy in the space of some strings, above the exact one, relative."""
    return (solve_qubit(strings, CHAIN, k=1, which="SA")[0][0] - exact) / abs(exact)


def test_most_of_what_was_read_has_the_right_number(samples):
    strings, shares = samples
    assert shares[strings.sum(axis=1) == 3].sum() > 10 / 2**QUBITS + of_share(2000)


def test_the_energy_is_found_in_the_space_of_what_was_read(batch, exact):
    assert -1e-9 < excess(batch, exact) < LEFT_OUT


def test_strings_at_random_are_seen(batch, exact):
    chance = np.random.default_rng(1).integers(0, 2, (4 * len(batch), QUBITS)).astype(bool)
    assert excess(np.unique(chance, axis=0)[: len(batch)], exact) > LEFT_OUT
