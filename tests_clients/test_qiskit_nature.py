"""The hydrogen molecule, from its geometry to its energy, by VQE with unitary coupled cluster on the estimator.

Negative control: the energy of the first excited state.
"""

from __future__ import annotations

import numpy as np
import pytest
from bounds import loss, of_mean
from qiskit_algorithms import VQE
from qiskit_algorithms.optimizers import COBYLA
from qiskit_nature.second_q.algorithms import GroundStateEigensolver
from qiskit_nature.second_q.circuit.library import UCCSD, HartreeFock
from qiskit_nature.second_q.drivers import PySCFDriver
from qiskit_nature.second_q.mappers import ParityMapper

from qpu_sdk import EstimatorV2

CLIENT = "qiskit-nature"


@pytest.fixture(scope="module")
def molecule():
    return PySCFDriver(atom="H 0 0 0; H 0 0 0.735", basis="sto3g").run()


@pytest.fixture(scope="module")
def levels(molecule):
    """Energies of the molecule, its nuclei included, lowest first, in hartree."""
    operator = ParityMapper(molecule.num_particles).map(molecule.hamiltonian.second_q_op())
    return np.linalg.eigvalsh(operator.to_matrix()) + molecule.nuclear_repulsion_energy


@pytest.fixture(scope="module")
def energy(line, compiler, molecule):
    """Of VQE, and how far it may be from the exact one: by weight, of terms that are not constant."""
    mapper = ParityMapper(molecule.num_particles)
    start = HartreeFock(molecule.num_spatial_orbitals, molecule.num_particles, mapper)
    ansatz = UCCSD(molecule.num_spatial_orbitals, molecule.num_particles, mapper, initial_state=start)
    estimator = EstimatorV2(line, options={"seed_simulator": 11, "default_precision": 0.02})
    solver = VQE(estimator, ansatz, COBYLA(maxiter=20, rhobeg=0.2), initial_point=[0.0] * 3, transpiler=compiler)
    found = GroundStateEigensolver(mapper, solver).solve(molecule).total_energies[0]
    terms = mapper.map(molecule.hamiltonian.second_q_op()).to_list()
    weight = sum(abs(coefficient) for label, coefficient in terms if set(label) != {"I"})
    return found, weight * (2 * loss(line, compiler.run(ansatz.decompose(reps=3))) + of_mean(2500))


def test_the_energy_is_that_of_the_ground_state(levels, energy):
    found, bound = energy
    assert levels[0] == pytest.approx(-1.137, abs=1e-3)
    assert abs(found - levels[0]) < bound


def test_the_energy_of_the_excited_state_is_seen(levels, energy):
    found, bound = energy
    assert abs(found - levels[1]) > bound
