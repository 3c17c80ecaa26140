"""What the layout `qpu_crosstalk` gains on a shared chip over Qiskit's own, for the same circuits.

Mirror circuits (random layers, their inverse, and flips of random qubits: without noise every shot reads the same) are
laid out on the whole chip by both and run on a full chip, beside the jobs of a busy neighbour and with no idle qubits
kept between tenants. Gains are means over the circuits of the difference in success, of the same circuit under the same
seed; with their standard errors.

python benchmarks/layout.py --json
"""

from __future__ import annotations

import argparse
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
from qiskit import QuantumCircuit, transpile
from report import report

from qpu_sdk import QPUProvider

if TYPE_CHECKING:
    from qpu_sdk.backend import QPUBackend
    from qpu_sdk.embedding import EmbeddedService
    from qpu_sdk.job import QPUJob

_DEVICE = "eagle127"
_WIDTHS = (4, 6, 8)
_LAYERS = 3
_NEIGHBOURS = 16
_SHAPE = "line-5"
_METHODS = (None, "qpu_crosstalk")


def mirror(num_qubits: int, layers: int, seed: int) -> tuple[QuantumCircuit, str]:
    """Random layers on a line, their inverse, and random flips; and what every shot reads without noise."""
    generator = np.random.default_rng(seed)
    there = QuantumCircuit(num_qubits)
    for layer in range(layers):
        for qubit in range(num_qubits):
            there.u(*generator.uniform(0, 2 * np.pi, 3), qubit)
        for qubit in range(layer % 2, num_qubits - 1, 2):
            there.cx(qubit, qubit + 1)
    whole = there.copy()
    whole.barrier()
    whole.compose(there.inverse(), inplace=True)
    flipped = generator.integers(0, 2, num_qubits)
    for qubit in np.flatnonzero(flipped).tolist():
        whole.x(qubit)
    whole.measure_all()
    return whole, "".join(map(str, flipped[::-1]))


def submit_beside_neighbours(
    service: EmbeddedService, own: QPUBackend, circuit: QuantumCircuit, line: QPUBackend, seed: int, shots: int
) -> QPUJob:
    """The job and its neighbours' are there before any of them starts, so they share batches."""
    busy = transpile(mirror(line.num_qubits, _LAYERS + 1, seed)[0], line, seed_transpiler=1)
    service.pause(_DEVICE)
    job = own.run(circuit, shots=shots, seed_simulator=seed)
    for neighbour in range(_NEIGHBOURS):
        line.run(busy, shots=shots, seed_simulator=seed + neighbour)
    service.resume(_DEVICE)
    return job


def main() -> None:
    """Lay out, predict, run and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--circuits", type=int, default=8, help="of each width")
    parser.add_argument("--shots", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of the first circuit; each has the next")
    arguments = parser.parse_args()
    predicted: dict[str | None, list[float]] = {method: [] for method in _METHODS}
    simulated: dict[str | None, list[float]] = {method: [] for method in _METHODS}
    shared: list[bool] = []
    with QPUProvider.embedded(devices={_DEVICE: {"buffer": 0}}) as provider:
        service = provider.service
        assert service is not None
        backend = provider.backend(_DEVICE)
        with QPUProvider.connect(service.url, service.create_tenant("neighbour"), journal=False) as other:
            line = other.backend(f"{_DEVICE}:{_SHAPE}")
            seeds = count(arguments.seed)
            for width in _WIDTHS:
                for _ in range(arguments.circuits):
                    seed = next(seeds)
                    circuit, right = mirror(width, _LAYERS, seed)
                    for method in _METHODS:
                        laid = transpile(
                            circuit, backend, optimization_level=3, layout_method=method, seed_transpiler=seed
                        )
                        job = submit_beside_neighbours(service, backend, laid, line, seed, arguments.shots)
                        predicted[method].append(backend.predict_success(laid)[0].success)
                        counts = job.result(600).get_counts()
                        simulated[method].append(counts.get(right, 0) / arguments.shots)
                        shared.append(job.metering().co_tenants not in {None, "0"})
    figures: dict[str, float | int] = {"circuits": len(predicted[None]), "shared": float(np.mean(shared))}
    for name, success in (("predicted", predicted), ("simulated", simulated)):
        default, ours = (np.array(success[method]) for method in _METHODS)
        gain = ours - default
        figures[f"default_{name}"] = float(np.mean(default))
        figures[f"gain_{name}"] = float(np.mean(gain))
        figures[f"gain_{name}_se"] = float(np.std(gain, ddof=1) / np.sqrt(len(gain)))
        better = f"better {int((gain > 0).sum())}, worse {int((gain < 0).sum())} of {len(gain)}"
        print(f"{name:<10} {np.mean(default):.4f} → {np.mean(ours):.4f}   {better}")
    report(figures, as_json=arguments.json)


if __name__ == "__main__":
    main()
