"""Abstract circuits for the compiling pool, and what its answers do without noise."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit.library import QFTGate
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import Statevector

from orders.decoding import written
from qpu_backend.engines.decoded import Compilation, DecodingRequest, PubBinding
from qpu_backend.physics.circuit import Op

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qpu_backend.domain.virtual import Shape
    from qpu_backend.physics.circuit import IsaCircuit


def ghz(num_qubits: int = 5) -> QuantumCircuit:
    """A star of controlled gates, which no lattice has."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    circuit.h(0)
    for target in range(1, num_qubits):
        circuit.cx(0, target)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


def fourier(num_qubits: int = 5) -> QuantumCircuit:
    """Of a product state, so that no two outcomes are equally likely; measured the other way round."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    for qubit in range(num_qubits):
        circuit.ry(0.3 + 0.4 * qubit, qubit)
    circuit.append(QFTGate(num_qubits), range(num_qubits))
    for qubit in range(num_qubits):
        circuit.rx(0.2 + 0.1 * qubit, qubit)
    circuit.measure(range(num_qubits), reversed(range(num_qubits)))
    return circuit


def scrambled(num_qubits: int, seed: int, depth: int = 5) -> QuantumCircuit:
    """Gates of Qiskit's library at random, swaps included."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    circuit.compose(random_circuit(num_qubits, depth, max_operands=3, seed=seed), inplace=True)
    circuit.measure(range(num_qubits), np.random.default_rng(seed).permutation(num_qubits).tolist())
    return circuit


def order(shape: Shape, gate: Op, *circuits: QuantumCircuit, values: Any = None, seed: int = 7) -> DecodingRequest:
    """A request to compile circuits for a shape."""
    pubs = tuple(PubBinding(index, values) for index in range(len(circuits)))
    compilation = Compilation(shape.snapshot, gate, seed)
    return DecodingRequest("qpy+zlib", zlib.compress(written(*circuits)), pubs, 0.5, compilation)


def words_of(circuit: QuantumCircuit) -> NDArray[np.float64]:
    """Probabilities of the classical words of a circuit that ends in its measurements."""
    clbit_of = {
        circuit.find_bit(entry.qubits[0]).index: circuit.find_bit(entry.clbits[0]).index
        for entry in circuit.data
        if entry.operation.name == "measure"
    }
    states = Statevector(circuit.remove_final_measurements(inplace=False)).probabilities()
    words = np.zeros(1 << circuit.num_clbits)
    for state, chance in enumerate(states):
        words[sum((state >> qubit & 1) << clbit for qubit, clbit in clbit_of.items())] += chance
    return words


def qiskit_of(circuit: IsaCircuit, num_qubits: int, angles: NDArray[np.float64] | None = None) -> QuantumCircuit:
    """A circuit without branches, delays and resets, on its backend's qubits."""
    result = QuantumCircuit(num_qubits, circuit.num_clbits)
    for row in circuit.operations:
        op = Op(int(row["code"]))
        qubits = [circuit.qubits[int(q)] for q in (row["q0"], row["q1"]) if q >= 0]
        angle = float(row["value"] if row["slot"] < 0 or angles is None else angles[int(row["slot"])])
        match op:
            case Op.BARRIER:
                result.barrier()
            case Op.MEASURE:
                result.measure(qubits[0], int(row["clbit"]))
            case Op.RZ:
                result.rz(angle, qubits[0])
            case _:
                getattr(result, op.name.lower())(*qubits)
    return result
