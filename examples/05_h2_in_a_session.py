"""The energy of the hydrogen molecule, from textbook integrals: a variational loop that keeps its qubits in a session.

The six integrals are those of the minimal basis STO-3G at 1.4 bohr, in the orbitals that symmetry fixes, bonding (1)
and antibonding (2), in hartree: A. Szabo and N. Ostlund, Modern Quantum Chemistry (Dover 1996), chapter 3.

One qubit is the electron with spin up, one that with spin down; 0 is bonding. The four configurations with one electron
each are then all that two qubits have, and no state without meaning can be reached. The optimiser is Rotosolve: in one
angle the energy is a sine, which three points fix (Ostaszewski et al., Quantum 5, 391, 2021). Runs for about 10 s.
"""

from __future__ import annotations

import numpy as np
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import ParameterVector
from qiskit.quantum_info import SparsePauliOp

from qpu_sdk import EstimatorV2, QPUProvider

H11, H22 = -1.2528, -0.4756  # kinetic energy and attraction to the nuclei
J11, J12, J22, K12 = 0.6746, 0.6636, 0.6975, 0.1813  # Coulomb and exchange
NUCLEI = 1 / 1.4
TURN = np.pi / 2


def hamiltonian() -> SparsePauliOp:
    """Of both electrons and the nuclei: diagonal in the configurations but for K12, which moves both electrons."""
    both_bonding, both_antibonding, one_each = 2 * H11 + J11, 2 * H22 + J22, H11 + H22 + J12
    constant = (both_bonding + both_antibonding + 2 * one_each) / 4 + NUCLEI
    single = (both_bonding - both_antibonding) / 4
    pair = (both_bonding + both_antibonding - 2 * one_each) / 4
    return SparsePauliOp(["II", "IZ", "ZI", "ZZ", "XX"], [constant, single, single, pair, K12])


def ansatz() -> QuantumCircuit:
    """Any real state of the two electrons, with one CX."""
    angles = ParameterVector("a", 4)
    circuit = QuantumCircuit(2)
    circuit.ry(angles[0], 0)
    circuit.ry(angles[1], 1)
    circuit.cx(0, 1)
    circuit.ry(angles[2], 0)
    circuit.ry(angles[3], 1)
    return circuit


with QPUProvider.embedded() as provider:
    backend = provider.backend("eagle127:line-2")
    circuit = transpile(ansatz(), backend, optimization_level=1, seed_transpiler=1)
    molecule = hamiltonian()
    observable = molecule.apply_layout(circuit.layout)
    angles = np.zeros(circuit.num_parameters)
    with backend.session() as session:
        estimator = EstimatorV2(session, options={"seed_simulator": 1, "default_precision": 0.01})
        estimator.options.resilience.measure_mitigation = True
        for sweep in range(2):
            for index in range(len(angles)):
                three = np.tile(angles, (3, 1))
                three[:, index] += [0, TURN, -TURN]
                here, up, down = estimator.run([(circuit, observable, three)]).result()[0].data.evs
                middle, slope, rise = (up + down) / 2, (up - down) / 2, here - (up + down) / 2
                angles[index] -= TURN + np.arctan2(rise, slope)
            lowest = middle - np.hypot(rise, slope)
            print(f"sweep {sweep}: {lowest:.3f} hartree, on qubits {session.region}")
        (result,) = estimator.run([(circuit, observable, angles)], precision=0.004).result()
    exact = np.linalg.eigvalsh(molecule.to_matrix())[0]
    print(f"measured {result.data.evs:.4f} ± {result.data.stds:.4f} hartree, exact {exact:.4f}")
    print(f"both electrons in the bonding orbital: {2 * H11 + J11 + NUCLEI:.4f}")
    print(f"the session cost {session.cost():.2f} credits")
