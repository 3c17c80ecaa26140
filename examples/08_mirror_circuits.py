"""Mirror circuits: how deep may a circuit be here? Measured, and predicted for nothing before anything is sent.

A random circuit, then its inverse: an ideal device answers with the string that it started from, so that success is one
number, whatever the width (Proctor et al., Nature Physics 18, 75, 2022). Bits flipped at random before the measurement
make that string a random one. Runs for about 10 s.
"""

from __future__ import annotations

import numpy as np
from qiskit import QuantumCircuit, transpile

from qpu_sdk import QPUProvider, SamplerV2

QUBITS = 5
DEPTHS = (2, 4, 8, 16, 32)
CIRCUITS = 4  # of each depth
SHOTS = 1000


def mirror(depth: int, rng: np.random.Generator) -> tuple[QuantumCircuit, str]:
    """A circuit of so many layers, half of them the mirror image of the other half, and its answer."""
    half = QuantumCircuit(QUBITS)
    for layer in range(depth // 2):
        for qubit in range(QUBITS):
            half.u(*rng.uniform(0, 2 * np.pi, 3), qubit)
        for qubit in range(layer % 2, QUBITS - 1, 2):
            half.cx(qubit, qubit + 1)
    circuit = half.copy()
    circuit.barrier()
    circuit.compose(half.inverse(), inplace=True)
    circuit.barrier()
    flipped = rng.integers(0, 2, QUBITS)
    for qubit in np.flatnonzero(flipped):
        circuit.x(int(qubit))
    circuit.measure_all()
    return circuit, "".join(map(str, flipped[::-1]))


with QPUProvider.embedded() as provider:
    backend = provider.backend(f"eagle127:line-{QUBITS}")
    sampler = SamplerV2(backend, options={"seed_simulator": 1})
    rng = np.random.default_rng(1)
    print("layers  predicted  measured")
    for depth in DEPTHS:
        circuits, answers = zip(*(mirror(depth, rng) for _ in range(CIRCUITS)), strict=True)
        native = transpile(list(circuits), backend, optimization_level=1, seed_transpiler=1)
        predicted = np.mean([prediction.success for prediction in backend.predict_success(native)])
        result = sampler.run(native, shots=SHOTS).result()
        right = [pub.data.meas.get_counts().get(answer, 0) for pub, answer in zip(result, answers, strict=True)]
        print(f"{depth:6}  {predicted:9.2f}  {np.mean(right) / SHOTS:8.2f}")
