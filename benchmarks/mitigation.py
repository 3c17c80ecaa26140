"""What each kind of mitigation wins and costs: error of estimates on a virtual five-qubit line, and the price.

    python benchmarks/mitigation.py [SEEDS] [BACKEND]

The error is the root mean square, over seeds, of the distance to the ideal value; the cost is the price by that of the
same job without mitigation. The course of the device follows from a fixed seed, so that a run can be repeated.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from qiskit import QuantumCircuit, transpile
from qiskit.circuit.library import QFTGate
from qiskit.quantum_info import SparsePauliOp, Statevector

from qpu_sdk import EstimatorV2, QPUProvider

QUBITS = 5
PRECISION = 0.01
LEARNED = {"measure_mitigation": True}
PULSES = {"enable": True}
TWIRLS = {"enable_gates": True, "enable_measure": True}
CHOICES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "readout, by executions": {"resilience": LEARNED},
    "readout, by the snapshot": {"resilience": LEARNED | {"measure_noise_learning": {"source": "snapshot"}}},
    "readout, twirled": {"twirling": {"enable_measure": True}, "resilience": LEARNED},
    "decoupling XX": {"dynamical_decoupling": PULSES},
    "decoupling XY4": {"dynamical_decoupling": PULSES | {"sequence_type": "XY4"}},
    "twirled gates": {"twirling": {"enable_gates": True}},
    "ZNE, linear": {"resilience": {"zne_mitigation": True}},
    "ZNE, exponential": {"resilience": {"zne_mitigation": True, "zne": {"extrapolator": "exponential"}}},
    "readout + decoupling": {"dynamical_decoupling": PULSES, "resilience": LEARNED},
    "all, exponential": {
        "twirling": TWIRLS,
        "dynamical_decoupling": PULSES,
        "resilience": LEARNED | {"zne_mitigation": True, "zne": {"extrapolator": "exponential"}},
    },
}


def readout() -> tuple[QuantumCircuit, SparsePauliOp]:
    """All qubits in 1: next to nothing but readout can go wrong."""
    circuit = QuantumCircuit(QUBITS)
    circuit.x(range(QUBITS))
    return circuit, SparsePauliOp.from_sparse_list([("Z", [q], 1.0) for q in range(QUBITS)], QUBITS)


def waiting() -> tuple[QuantumCircuit, SparsePauliOp]:
    """Three neighbours in superposition that wait for 4 µs."""
    circuit = QuantumCircuit(QUBITS)
    circuit.h([0, 1, 2])
    circuit.barrier()
    for qubit in range(3):
        circuit.delay(4, qubit, unit="us")
    circuit.barrier()
    return circuit, SparsePauliOp.from_sparse_list([("X", [q], 1.0) for q in range(3)], QUBITS)


def ghz() -> tuple[QuantumCircuit, SparsePauliOp]:
    """Stabilisers of a GHZ state."""
    circuit = QuantumCircuit(QUBITS)
    circuit.h(0)
    for qubit in range(QUBITS - 1):
        circuit.cx(qubit, qubit + 1)
    return circuit, SparsePauliOp.from_list([("ZZIII", 1), ("IIIZZ", 1), ("ZIIIZ", 1), ("XXXXX", 1)])


def ising() -> tuple[QuantumCircuit, SparsePauliOp]:
    """Four Trotter steps of a transverse-field Ising chain, and its energy."""
    circuit = QuantumCircuit(QUBITS)
    for _ in range(4):
        for first in (0, 1):
            for qubit in range(first, QUBITS - 1, 2):
                circuit.rzz(0.4, qubit, qubit + 1)
        circuit.rx(0.3, range(QUBITS))
    terms = [("ZZ", [q, q + 1], 1.0) for q in range(QUBITS - 1)] + [("Z", [q], 0.5) for q in range(QUBITS)]
    return circuit, SparsePauliOp.from_sparse_list(terms, QUBITS)


def qft() -> tuple[QuantumCircuit, SparsePauliOp]:
    """The quantum Fourier transform of a product state."""
    circuit = QuantumCircuit(QUBITS)
    for qubit in range(QUBITS):
        circuit.ry(0.3 + 0.3 * qubit, qubit)
    circuit.append(QFTGate(QUBITS), range(QUBITS))
    terms = [("X", [q], 1.0) for q in range(QUBITS)] + [("ZZ", [0, 1], 1.0)]
    return circuit, SparsePauliOp.from_sparse_list(terms, QUBITS)


def main(seeds: int, name: str) -> None:
    """Print a table a circuit."""
    with QPUProvider.embedded(drift_seed="mitigation") as provider:
        backend = provider.backend(name)
        for make in (readout, waiting, ghz, ising, qft):
            circuit, observable = make()
            ideal = Statevector(circuit).expectation_value(observable).real
            native = transpile(circuit, backend, initial_layout=range(QUBITS), seed_transpiler=1)
            pub = (native, observable.apply_layout(native.layout))
            print(
                f"\n{make.__name__}: {make.__doc__} Ideal {ideal:.3f}; {native.num_nonlocal_gates()} two-qubit gates."
            )
            print(f"{'':26s}{'error':>8s}{'std':>8s}{'cost':>8s}")
            plain_micro = 0
            for label, options in CHOICES.items():
                found: list[tuple[float, float]] = []
                price_micro = 0
                for seed in range(1, seeds + 1):
                    asked = {"seed_simulator": seed, "default_precision": PRECISION, **options}
                    job = EstimatorV2(backend, options=asked).run([pub])
                    data = job.result()[0].data
                    found.append((float(data.evs) - ideal, float(data.stds)))
                    price_micro = job.metering().price_micro
                plain_micro = plain_micro or price_micro
                error = np.sqrt(np.mean([distance**2 for distance, _ in found]))
                std = np.mean([std for _, std in found])
                print(f"{label:26s}{error:8.3f}{std:8.3f}{price_micro / plain_micro:8.2f}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3, sys.argv[2] if len(sys.argv) > 2 else "eagle127:line-5")
