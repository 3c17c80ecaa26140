"""The circuits of V2: gates are what they are called, there are 108 pairs, and a pair runs as one circuit."""

from __future__ import annotations

import numpy as np
import pytest
from crosstalk_pairs import FAMILIES, LAYERS, NEIGHBOUR, VICTIM, Writer, circuit_of, joined, line, region_noise, suite
from identity import in_qiskit
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator

from qpu_backend.physics.circuit import Op
from qpu_backend.physics.timing import Durations, schedule
from qpu_backend.physics.validation import validate_snapshot

LINE = line(6)


def written(write, path=(0, 1)):
    writer = Writer(path, LINE)
    write(writer)
    return Operator(in_qiskit(writer.measured()).remove_final_measurements(inplace=False))


def wanted(write, num_qubits=2):
    circuit = QuantumCircuit(num_qubits)
    write(circuit)
    return Operator(circuit)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda w: w.cx(0, 1), lambda c: c.cx(0, 1)),
        (lambda w: w.cx(1, 0), lambda c: c.cx(1, 0)),
        (lambda w: w.cz(0, 1), lambda c: c.cz(0, 1)),
        (lambda w: w.cz(1, 0), lambda c: c.cz(0, 1)),
        (lambda w: w.rzz(0.7, 1, 0), lambda c: c.rzz(0.7, 0, 1)),
        (lambda w: w.ecr(1, 0), lambda c: c.ecr(0, 1)),
        (lambda w: w.h(1), lambda c: c.h(1)),
        (lambda w: w.rx(0.4, 0), lambda c: c.rx(0.4, 0)),
        (lambda w: w.u(0.4, 1.1, -0.3, 1), lambda c: c.u(0.4, 1.1, -0.3, 1)),
    ],
)
def test_a_gate_is_the_one_it_is_named_after(ours, theirs):
    assert written(ours).equiv(wanted(theirs))


def test_the_line_is_a_device():
    validate_snapshot(LINE, edges=[(q, q + 1) for q in range(5)])


def test_there_are_108_different_pairs_and_they_are_the_same_every_time():
    pairs, again = suite(LINE), suite(LINE)
    assert len(pairs) == 108
    digests = [circuit.digest() for pair in pairs for circuit in (pair.victim, pair.neighbour)]
    assert len(set(digests)) == 216
    assert digests == [circuit.digest() for pair in again for circuit in (pair.victim, pair.neighbour)]


@pytest.mark.parametrize("family", FAMILIES)
def test_circuits_of_a_family_have_ten_layers_and_are_measured_at_their_end(family):
    circuit = circuit_of(family, VICTIM, LINE, (1,))
    codes = circuit.operations["code"].tolist()
    columns = {round(start) for start in _starts(circuit, {Op.ECR, Op.CX})}
    assert codes[-3:] == [Op.MEASURE] * 3
    assert codes.count(Op.MEASURE) == 3
    assert len(columns) == {"echo": 4, "qaoa": 8, "ramsey": 0}.get(family, LAYERS)


def test_both_circuits_of_a_pair_end_together_as_they_do_alone():
    pair = suite(LINE)[40]
    whole = pair.together()
    assert whole.qubits == (*VICTIM, *NEIGHBOUR)
    assert [register.clbits for register in whole.registers] == [(0, 1, 2), (3, 4, 5)]
    together = schedule(whole, Durations.of(region_noise(LINE, range(6))))
    before_end = together.duration_ns - together.starts_ns
    alone = []
    for circuit in (pair.victim, pair.neighbour):
        scheduled = schedule(circuit, Durations.of(region_noise(LINE, circuit.qubits)))
        alone.append(scheduled.duration_ns - scheduled.starts_ns)
    np.testing.assert_allclose(before_end, np.concatenate(alone), atol=1e-6)


def test_circuits_that_share_a_qubit_cannot_be_joined():
    circuit = circuit_of("su2", VICTIM, LINE, (1,))
    with pytest.raises(ValueError, match="disjoint"):
        joined([circuit, circuit])


def _starts(circuit, ops):
    scheduled = schedule(circuit, Durations.of(region_noise(LINE, circuit.qubits)))
    return [
        s
        for s, code in zip(scheduled.starts_ns.tolist(), circuit.operations["code"].tolist(), strict=True)
        if code in ops
    ]
