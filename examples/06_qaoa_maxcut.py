"""QAOA for the largest cut of a graph: all angles of a grid in one job, then many shots at the best of them.

A parametric circuit goes up once, with its bindings beside it: 144 energies are one job, transpiled once. One layer of
QAOA (Farhi, Goldstone and Gutmann, arXiv:1411.4028) on the graph K(2,3): two vertices, each joined to three others, so
that one cut has all six edges. Runs for about 10 s.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp

from qpu_sdk import EstimatorV2, QPUProvider, SamplerV2

EDGES = [(0, 2), (0, 3), (0, 4), (1, 2), (1, 3), (1, 4)]
VERTICES = 5
GRID = 12
SHOTS = 10_000


def cut(bits: str) -> int:
    """Edges with one end on each side; the last bit is vertex 0."""
    side = bits[::-1]
    return sum(side[a] != side[b] for a, b in EDGES)


def one_layer() -> QuantumCircuit:
    """Phases by the cost, for gamma; turns of every vertex, for beta."""
    beta, gamma = Parameter("beta"), Parameter("gamma")  # parameters are in alphabetical order
    circuit = QuantumCircuit(VERTICES)
    circuit.h(range(VERTICES))
    for a, b in EDGES:
        circuit.rzz(gamma, a, b)
    circuit.rx(2 * beta, range(VERTICES))
    return circuit


CUTS = {bits: cut(bits) for bits in map("".join, product("01", repeat=VERTICES))}
LARGEST = max(CUTS.values())
EXPECTED_CUT = SparsePauliOp.from_sparse_list(
    [("", [], len(EDGES) / 2), *(("ZZ", [a, b], -0.5) for a, b in EDGES)], num_qubits=VERTICES
)

with QPUProvider.embedded() as provider:
    backend = provider.backend(f"eagle127:line-{VERTICES}")
    circuit = transpile(one_layer(), backend, optimization_level=3, seed_transpiler=1)
    print(f"{circuit.num_nonlocal_gates()} two-qubit gates, depth {circuit.depth()}")

    betas, gammas = np.linspace(0, np.pi / 2, GRID), np.linspace(0, np.pi, GRID)
    grid = np.stack(np.meshgrid(betas, gammas, indexing="ij"), axis=-1)  # shape (GRID, GRID, 2)
    estimator = EstimatorV2(backend, options={"seed_simulator": 1})
    job = estimator.run([(circuit, EXPECTED_CUT.apply_layout(circuit.layout), grid)], precision=0.1)
    cuts = job.result()[0].data.evs
    beta, gamma = grid[np.unravel_index(cuts.argmax(), cuts.shape)]
    price = job.metering().price_micro / 1e6
    print(f"{cuts.size} energies for {price:.2f} credits: best mean cut {cuts.max():.2f} at {beta:.2f}, {gamma:.2f}")

    measured = one_layer()
    measured.measure_all()  # before it is transpiled: the compiler moves qubits, and measurements go with them
    measured = transpile(measured, backend, optimization_level=3, seed_transpiler=1)
    sampler = SamplerV2(backend, options={"seed_simulator": 1})
    job = sampler.run([(measured, [beta, gamma])], shots=SHOTS)
    counts = job.result()[0].data.meas.get_counts()
    found = max(counts, key=counts.__getitem__)
    hits = sum(times for bits, times in counts.items() if CUTS[bits] == LARGEST) / SHOTS
    by_chance = sum(size == LARGEST for size in CUTS.values()) / len(CUTS)
    print(f"most often {found}, which cuts {CUTS[found]} of at most {LARGEST}")
    print(f"a largest cut in {hits:.0%} of the shots, by chance in {by_chance:.0%}")
