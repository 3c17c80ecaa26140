"""VQE on the estimator, QAOA and Grover on the sampler: an energy, a cut and a marked string.

Negative controls: another energy; cuts drawn at random; another string.
"""

from __future__ import annotations

import numpy as np
import pytest
from bounds import loss, of_mean, of_share
from qiskit.circuit import QuantumCircuit
from qiskit.circuit.library import efficient_su2
from qiskit.quantum_info import SparsePauliOp
from qiskit_algorithms import QAOA, VQE, AmplificationProblem, Grover
from qiskit_algorithms.optimizers import COBYLA

from qpu_sdk import EstimatorV2, SamplerV2

CLIENT = "qiskit-algorithms"
HYDROGEN = SparsePauliOp.from_list([("II", -1.0523), ("IZ", 0.3979), ("ZI", -0.3979), ("ZZ", -0.0113), ("XX", 0.1809)])
"""H₂ at 0.735 Å, parity mapping, without the nuclei, in hartree."""
RING = [(0, 1), (1, 2), (2, 3), (3, 0)]


@pytest.fixture(scope="module")
def levels():
    """Energies of H₂, lowest first."""
    return np.linalg.eigvalsh(HYDROGEN.to_matrix())


@pytest.fixture(scope="module")
def energy(line, compiler):
    """Of VQE, and how far it may be from the exact one."""
    estimator = EstimatorV2(line, options={"seed_simulator": 11, "default_precision": 0.02})
    ansatz = efficient_su2(2, reps=1)
    start = np.array([0.1, np.pi, 0, 0, 0, 0, 0, 0]) + 0.05
    solver = VQE(estimator, ansatz, COBYLA(maxiter=45, rhobeg=0.4), initial_point=start, transpiler=compiler)
    result = solver.compute_minimum_eigenvalue(HYDROGEN)
    size = float(np.sum(np.abs(HYDROGEN.coeffs[1:])))
    return result.eigenvalue, size * (2 * loss(line, compiler.run(ansatz)) + of_mean(2500))


def test_vqe_finds_the_ground_state_of_hydrogen(levels, energy):
    found, bound = energy
    assert abs(found - levels[0]) < bound


def test_the_energy_of_the_excited_state_is_seen(levels, energy):
    found, bound = energy
    assert abs(found - levels[1]) > bound


@pytest.fixture(scope="module")
def cut():
    """Minus the number of edges of a ring of four that are cut, but for a constant."""
    return SparsePauliOp.from_sparse_list([("ZZ", list(edge), 0.5) for edge in RING], 4) - 2 * SparsePauliOp("IIII")


def edges_cut(bits):
    return sum(bits[3 - first] != bits[3 - second] for first, second in RING)


def test_qaoa_cuts_the_ring(line, cut):
    sampler = SamplerV2(line, options={"seed_simulator": 11, "default_shots": 2000, "layout": "deferred"})
    solver = QAOA(sampler, COBYLA(maxiter=12, rhobeg=0.2), reps=1, initial_point=[1.1, 0.7])
    result = solver.compute_minimum_eigenvalue(cut)
    assert edges_cut(result.best_measurement["bitstring"]) == 4
    shots, at_random = 2000, 2  # edges cut on average by chance; QAOA of one layer cuts 3 of 4 without noise
    # the number cut is 0, 2 or 4: its deviation is at most 2, twice that of a ±1
    assert -result.eigenvalue > at_random + 2 * of_mean(shots)


@pytest.mark.xfail(
    raises=ValueError, reason="it forgets the layout of what its transpiler made wider (its pull request 262)"
)
def test_qaoa_with_a_transpiler_on_a_wider_device(compiler, sampler, cut):
    solver = QAOA(sampler, COBYLA(maxiter=5), reps=1, initial_point=[1.1, 0.7], transpiler=compiler)
    assert solver.compute_minimum_eigenvalue(cut).eigenvalue < 0


def test_cuts_at_random_are_seen(line, compiler):
    circuit = QuantumCircuit(4)
    circuit.h(range(4))
    circuit.measure_all()
    counts = line.run(compiler.run(circuit), shots=2000, seed_simulator=4).result(120).get_counts()
    mean = sum(edges_cut(bits) * count for bits, count in counts.items()) / 2000
    assert not mean > 2 + 2 * of_mean(2000)


@pytest.fixture(scope="module", params=["11", "01", "10"])
def searched(request, line, compiler):
    """The marked string, the result of the search, and the share of wrong strings that there may be."""
    marked = request.param
    sampler = SamplerV2(line, options={"seed_simulator": 11, "default_shots": 2000})
    oracle = QuantumCircuit(2)
    zeros = [qubit for qubit in range(2) if marked[1 - qubit] == "0"]
    for around in range(2):
        if zeros:
            oracle.x(zeros)
        if not around:
            oracle.cz(0, 1)
    problem = AmplificationProblem(oracle, is_good_state=[marked])
    grover = Grover(iterations=1, sampler=sampler, transpiler=compiler)
    result = grover.amplify(problem)
    circuit = compiler.run(grover.construct_circuit(problem, 1, measurement=True))
    return marked, result, loss(line, circuit) + of_share(2000, 0.1)


def test_grover_finds_the_marked_string(searched):
    marked, result, bound = searched
    assert result.top_measurement == marked
    assert 1 - result.circuit_results[0][marked] < bound


def test_strings_that_are_not_marked_are_seen(searched):
    marked, result, bound = searched
    assert all(1 - share > bound for bits, share in result.circuit_results[0].items() if bits != marked)
