"""tket compiles for the device: its circuit by itself, and TketPass within Qiskit's compiler; both give their strings.

Negative controls: bits of other qubits, and in the wrong order.
"""

from __future__ import annotations

import pytest
from bounds import distance, loss, of_distance
from pytket import Circuit, OpType
from pytket.architecture import Architecture
from pytket.extensions.qiskit import tk_to_qiskit
from pytket.extensions.qiskit.tket_pass import TketPass
from pytket.passes import AutoRebase, DefaultMappingPass, FullPeepholeOptimise, SequencePass
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector
from qiskit.transpiler import PassManager, generate_preset_pass_manager

CLIENT = "pytket-qiskit"
SHOTS = 4000


@pytest.fixture(scope="module")
def native(line):
    """Directions and what else is left, by Qiskit, with every qubit where it is."""
    return generate_preset_pass_manager(
        optimization_level=1, target=line.target, initial_layout=range(5), routing_method="none", seed_transpiler=1
    )


def compiled(line, native, measured):
    """A circuit with far interactions that prepares a string; each qubit goes into the bit that ``measured`` says."""
    circuit = Circuit(5, 5)
    circuit.X(0).CX(0, 3).CX(3, 1).CX(0, 4).CX(3, 4).H(2).H(2)
    for qubit in range(5):
        circuit.Measure(qubit, measured[qubit])
    passes = [
        DefaultMappingPass(Architecture([tuple(edge) for edge in line.coupling_map])),
        AutoRebase({OpType.CX, OpType.Rz, OpType.SX, OpType.X}),
    ]
    SequencePass(passes).apply(circuit)
    return native.run(tk_to_qiskit(circuit))


@pytest.fixture(scope="module", params=[(0, 1, 2, 3, 4), (1, 2, 0, 3, 4)], ids=["in-order", "permuted"])
def prepared(request, line, native):
    """Into which bit each qubit goes, the counts, and how far they may be from one string."""
    circuit = compiled(line, native, request.param)
    counts = line.run(circuit, shots=SHOTS, seed_simulator=3).result(120).get_counts()
    return request.param, counts, loss(line, circuit) + of_distance(SHOTS, 2)


def string(measured):
    """With qubits 0, 1 and 3 in 1; bit 4 first."""
    return "".join("1" if measured.index(bit) in (0, 1, 3) else "0" for bit in reversed(range(5)))


def test_a_circuit_compiled_by_tket_gives_its_string(prepared):
    measured, counts, bound = prepared
    assert distance(counts, {string(measured): 1.0}) < bound


def test_bits_of_other_qubits_are_seen(prepared):
    measured, counts, bound = prepared
    assert distance(counts, {string((*measured[1:], measured[0])): 1.0}) > bound


@pytest.fixture(scope="module")
def optimised(line, native):
    """A distribution without noise, the counts of its circuit by tket within Qiskit, and how far they may be."""
    circuit = QuantumCircuit(5)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.ry(0.7, 1)
    circuit.cx(1, 2)
    circuit.rz(0.3, 2)
    circuit.cx(1, 2)
    ideal = Statevector(circuit).probabilities_dict()
    circuit.measure_all()
    found = native.run(PassManager([TketPass(FullPeepholeOptimise(allow_swaps=False))]).run(circuit))
    counts = line.run(found, shots=SHOTS, seed_simulator=3).result(120).get_counts()
    return ideal, counts, loss(line, found) + of_distance(SHOTS, 8)


def test_tket_within_qiskits_compiler_keeps_the_distribution(optimised):
    ideal, counts, bound = optimised
    assert distance(counts, ideal) < bound


def test_bits_in_the_wrong_order_are_seen(optimised):
    ideal, counts, bound = optimised
    assert distance(counts, {bits[::-1]: share for bits, share in ideal.items()}) > bound
