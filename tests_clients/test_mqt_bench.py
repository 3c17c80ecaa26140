"""Benchmarks mapped and native for the device: each gives the distribution of its circuit without noise.

Negative control: the distribution of another benchmark.
"""

from __future__ import annotations

import pytest
from bounds import distance, loss, of_distance
from mqt.bench import BenchmarkLevel, get_benchmark
from qiskit.quantum_info import Statevector

CLIENT = "mqt-bench"
QUBITS, SHOTS = 4, 4000
NAMES = ("ghz", "wstate", "bv", "qpeexact", "dj")
OTHER = dict(zip(NAMES, (*NAMES[1:], NAMES[0]), strict=True))


def ideal(name):
    """Probability of each bit string, without noise."""
    circuit = get_benchmark(name, BenchmarkLevel.ALG, QUBITS)
    circuit = circuit.decompose(reps=4)
    measured = {}
    for instruction in circuit.data:
        if instruction.operation.name == "measure":
            measured[circuit.find_bit(instruction.clbits[0]).index] = circuit.find_bit(instruction.qubits[0]).index
    circuit.remove_final_measurements()
    return Statevector(circuit).probabilities_dict([measured[bit] for bit in sorted(measured)])


def counted(job):
    return {bits.replace(" ", ""): count for bits, count in job.result(120).get_counts().items()}


@pytest.fixture(scope="module", params=NAMES)
def mapped(request, line):
    """Name of a benchmark, its counts, and how far they may be from its distribution."""
    circuit = get_benchmark(request.param, BenchmarkLevel.MAPPED, QUBITS, target=line.target, opt_level=2)
    counts = counted(line.run(circuit, shots=SHOTS, seed_simulator=5))
    return request.param, counts, loss(line, circuit) + of_distance(SHOTS, 2**QUBITS)


def test_a_mapped_benchmark_gives_its_distribution(mapped):
    name, counts, bound = mapped
    assert distance(counts, ideal(name)) < bound


def test_the_distribution_of_another_benchmark_is_seen(mapped):
    name, counts, bound = mapped
    assert distance(counts, ideal(OTHER[name])) > bound


def test_a_mirrored_benchmark_gives_zeros_as_often_as_predicted(line):
    circuit = get_benchmark(
        "qft", BenchmarkLevel.MAPPED, QUBITS, target=line.target, opt_level=2, generate_mirror_circuit=True
    )
    found = distance(counted(line.run(circuit, shots=SHOTS, seed_simulator=5)), {"0" * QUBITS: 1.0})
    lost = loss(line, circuit)
    assert lost / 3 < found < lost + of_distance(SHOTS, 2)


@pytest.fixture(scope="module")
def deferred(line):
    """Counts of native gates that the service has placed, and how far they may be from their distribution."""
    circuit = get_benchmark("ghz", BenchmarkLevel.NATIVEGATES, QUBITS, target=line.target, opt_level=2)
    counts = counted(line.run(circuit, shots=SHOTS, seed_simulator=5, layout="deferred"))
    mapped = get_benchmark("ghz", BenchmarkLevel.MAPPED, QUBITS, target=line.target, opt_level=0)
    return counts, loss(line, mapped) + of_distance(SHOTS, 2**QUBITS)


def test_native_gates_without_a_layout_are_placed_by_the_service(deferred):
    counts, bound = deferred
    assert distance(counts, ideal("ghz")) < bound


def test_another_distribution_of_native_gates_is_seen(deferred):
    counts, bound = deferred
    assert distance(counts, ideal("wstate")) > bound
