"""Routing for the device by its couplers: the routed circuit gives the distribution of the one it was made from.

Negative control: the distribution with its bits in the wrong order.
"""

from __future__ import annotations

import pytest
from bounds import distance, loss, of_distance
from mqt.qmap.plugins.qiskit.sc import compile_, import_backend
from mqt.qmap.sc import Method
from qiskit import QuantumCircuit
from qiskit.quantum_info import Statevector
from qiskit.transpiler import generate_preset_pass_manager

CLIENT = "mqt-qmap"
SHOTS = 4000


@pytest.fixture(scope="module")
def circuit():
    whole = QuantumCircuit(4)
    whole.ry(0.6, 0)
    whole.ry(1.1, 1)
    whole.cx(0, 2)
    whole.cx(0, 3)
    whole.ry(0.4, 2)
    whole.cx(0, 1)
    return whole


def test_its_architecture_has_the_calibration(line):
    architecture = import_backend(line)
    assert architecture.num_qubits == 5
    assert architecture.coupling_map == set(line.coupling_map.get_edges())
    for first, second in line.coupling_map.get_edges():
        published = line.target["ecr"][first, second].error
        assert architecture.properties.get_two_qubit_error(first, second, "ecr") == pytest.approx(published)


@pytest.fixture(scope="module", params=[Method.heuristic, Method.exact], ids=["heuristic", "exact"])
def counted(request, line, circuit):
    """Counts of the routed circuit, and how far they may be from the distribution without noise."""
    routed, _ = compile_(circuit.measure_all(inplace=False), line, method=request.param)
    native = generate_preset_pass_manager(
        optimization_level=1, target=line.target, initial_layout=range(5), routing_method="none", seed_transpiler=1
    ).run(routed)
    counts = line.run(native, shots=SHOTS, seed_simulator=3).result(120).get_counts()
    counts = {bits.replace(" ", "")[-4:]: count for bits, count in counts.items()}
    return counts, loss(line, native) + of_distance(SHOTS, 16)


def test_a_routed_circuit_gives_the_distribution_of_its_original(circuit, counted):
    counts, bound = counted
    assert distance(counts, Statevector(circuit).probabilities_dict()) < bound


def test_bits_in_the_wrong_order_are_seen(circuit, counted):
    counts, bound = counted
    ideal = Statevector(circuit).probabilities_dict()
    assert distance(counts, {bits[::-1]: share for bits, share in ideal.items()}) > bound
