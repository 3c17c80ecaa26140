"""Abstract circuits through the pool of limited children that compile: what comes out does what went in."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import numpy as np
import pytest
from orders.compiling import fourier, ghz, order, qiskit_of, scrambled, words_of
from orders.decoding import LIMITS
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Parameter
from qiskit.quantum_info import Pauli, Statevector

from qpu_backend.domain.virtual import shape_of
from qpu_backend.engines.catalogue import read_device
from qpu_backend.engines.compiling_pool import CompilingPool
from qpu_backend.engines.decoded import Compilation, DecodingRequest, PubBinding, read_answer
from qpu_backend.engines.invalid_circuit import (
    DecodingFailed,
    DecodingUnavailable,
    InvalidAngle,
    InvalidBindings,
    InvalidCircuit,
    MalformedCircuit,
    TooMuchDeclared,
)
from qpu_backend.physics.circuit import SYMMETRIC_GATES, TWO_QUBIT_GATES, ClassicalRegister, Op
from qpu_backend.physics.fidelity import LogErrors
from qpu_sdk.wire.codec import pack

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def pool() -> Iterator[CompilingPool]:
    pool = CompilingPool(1, LIMITS)
    yield pool
    pool.close()


@pytest.fixture(
    scope="module", params=["eagle127:line-5", "eagle127:tee-2-2-1", "heron156:tee-2-2-1", "grid20:grid-2-3"]
)
def place(request):
    """A shape, and the gate that connects its qubits."""
    device, _, name = request.param.partition(":")
    model, snapshot = read_device(device)
    return shape_of(name, model, snapshot, LogErrors.of(snapshot)), model.two_qubit_gate


@pytest.fixture(scope="module")
def line():
    model, snapshot = read_device("eagle127")
    return shape_of("line-5", model, snapshot, LogErrors.of(snapshot)), model.two_qubit_gate


CIRCUITS = {"ghz": ghz(), "fourier": fourier()} | {f"random {seed}": scrambled(5, seed) for seed in range(4)}


@pytest.mark.parametrize("name", CIRCUITS)
def test_outcomes_are_those_of_the_abstract_circuit(pool, place, name):
    shape, gate = place
    decoded = pool.compile(order(shape, gate, CIRCUITS[name]))
    (compiled,) = decoded.circuits
    n = shape.snapshot.num_qubits
    np.testing.assert_allclose(words_of(qiskit_of(compiled, n)), words_of(CIRCUITS[name]), atol=1e-7)
    assert compiled.registers == tuple_of_registers(CIRCUITS[name])
    for row in compiled.operations:
        if int(row["code"]) in TWO_QUBIT_GATES:
            pair = (compiled.qubits[row["q0"]], compiled.qubits[row["q1"]])
            assert Op(int(row["code"])) is gate
            assert (gate, pair) in shape.snapshot.gates or (
                gate in SYMMETRIC_GATES and (gate, pair[::-1]) in shape.snapshot.gates
            )


def tuple_of_registers(circuit):
    return tuple(
        ClassicalRegister(register.name, tuple(circuit.find_bit(bit).index for bit in register))
        for register in circuit.cregs
    )


def test_parameters_stay_and_their_angles_follow_the_bindings(pool, line):
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(4, 4)
    circuit.ry(a, 0)
    circuit.crx(2 * b - 0.3, 0, 3)
    circuit.rzz(a * b, 1, 3)
    circuit.u(a, b, a + b, 2)
    circuit.cp(b, 2, 0)
    circuit.h(range(4))
    circuit.measure(range(4), [2, 0, 3, 1])
    values = np.array([[0.4, 1.1], [-2.0, 0.7], [3.0, -0.2]])
    decoded = pool.compile(order(*line, circuit, values=values))
    assert decoded.circuits[0].num_slots > 0
    for row, angles in zip(values, decoded.angles[0], strict=True):
        expected = words_of(circuit.assign_parameters(dict(zip((a, b), row.tolist(), strict=True))))
        np.testing.assert_allclose(words_of(qiskit_of(decoded.circuits[0], 5, angles)), expected, atol=1e-7)


def test_an_angle_without_a_value_is_refused_by_the_bindings(pool, line):
    a = Parameter("a")
    circuit = QuantumCircuit(2, 2)
    circuit.rx(1 / a, 0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    with pytest.raises(InvalidAngle) as refused:
        pool.compile(order(*line, circuit, values=np.zeros((1, 1))))
    assert refused.value.field == "pubs.0.bindings"
    with pytest.raises(InvalidBindings, match="unbound: a"):
        pool.compile(order(*line, circuit))


@pytest.mark.parametrize("seed", range(4))
def test_a_layout_says_where_each_qubit_ends_idle_ones_included(pool, place, seed):
    shape, gate = place
    circuit = scrambled(4, seed).remove_final_measurements(inplace=False)
    abstract = QuantumCircuit(5)
    abstract.compose(circuit, [4, 0, 3, 1], inplace=True)  # qubit 2 idles
    decoded = pool.compile(order(shape, gate, abstract))
    n, (layout,) = shape.snapshot.num_qubits, decoded.layouts
    ours, theirs = Statevector(abstract), Statevector(qiskit_of(decoded.circuits[0], n))
    for label, qubits in (("XZ", (0, 3)), ("YY", (4, 1)), ("ZX", (2, 4)), ("XYZ", (1, 3, 0))):
        there = [layout[qubit] for qubit in qubits]
        value = theirs.expectation_value(Pauli(label[::-1]), there).real
        assert value == pytest.approx(ours.expectation_value(Pauli(label[::-1]), list(qubits)).real, abs=1e-7)


def test_branches_loops_and_delays_come_through(pool, line):
    circuit = QuantumCircuit(3, 3)
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)) as otherwise:
        circuit.ccx(0, 1, 2)
    with otherwise:
        circuit.ry(0.3, 2)
    with circuit.for_loop(range(3)):
        circuit.cx(0, 2)
    circuit.delay(100, 1, unit="dt")
    circuit.reset(1)
    circuit.measure([1, 2], [1, 2])
    (compiled,) = pool.compile(order(*line, circuit)).circuits
    assert len(compiled.conditionals) == 1
    assert {Op.DELAY, Op.RESET, Op.IF} <= {Op(int(code)) for code in compiled.operations["code"]}
    assert sum(compiled.operations["value"][compiled.operations["code"] == Op.DELAY]) == 50.0  # ns


def test_programs_in_openqasm_are_compiled(pool, line):
    gates = "h q[0]; cx q[0], q[2]; cx q[0], q[1];"
    program = f'OPENQASM 3.0; include "stdgates.inc"; qubit[3] q; bit[3] c; {gates} c = measure q;'
    shape, gate = line
    data = json.dumps([program]).encode()
    decoded = pool.compile(DecodingRequest("qasm3", data, (PubBinding(0),), 0.5, Compilation(shape.snapshot, gate, 1)))
    np.testing.assert_allclose(words_of(qiskit_of(decoded.circuits[0], 5))[[0, 7]], [0.5, 0.5], atol=1e-7)


def test_the_same_seed_gives_the_same_circuits(pool, line):
    once, again = (pool.compile(order(*line, fourier(), seed=3)) for _ in range(2))
    assert once.circuits[0].digest() == again.circuits[0].digest()
    assert once.layouts == again.layouts
    others = {pool.compile(order(*line, fourier(), seed=seed)).circuits[0].digest() for seed in range(6)}
    assert len(others) > 1


# --- refusals ---------------------------------------------------------------------------------------------------------


def test_a_circuit_wider_than_the_shape_is_named(pool, line):
    with pytest.raises(TooMuchDeclared, match="circuit 1 has 6 qubits; the backend has 5") as refused:
        pool.compile(order(*line, ghz(5), ghz(6)))
    assert (refused.value.field, refused.value.circuit) == ("circuits.data", 1)


def opaque():
    circuit = QuantumCircuit(2, 2)
    circuit.append(Gate("mystery", 2, []), [0, 1])
    return circuit


def endless():
    circuit = QuantumCircuit(1, 1)
    with circuit.while_loop((circuit.clbits[0], 0)):
        circuit.measure(0, 0)
    return circuit


@pytest.mark.parametrize(
    ("circuit", "reason"), [(opaque(), "mystery"), (endless(), "while_loop"), (QuantumCircuit(), "0 qubits")]
)
def test_what_cannot_be_compiled_is_refused_with_a_reason(pool, line, circuit, reason):
    with pytest.raises(InvalidCircuit, match=reason) as refused:
        pool.compile(order(*line, ghz(2), circuit))
    assert (refused.value.field, refused.value.circuit) == ("circuits.data", 1)
    assert not isinstance(refused.value, DecodingFailed)


def test_too_many_operations_once_compiled_are_refused(pool, line):
    with pytest.raises(TooMuchDeclared, match="more than 5000 operations"):
        pool.compile(order(*line, scrambled(5, 1, depth=150)))


def test_damaged_bytes_are_refused(pool, line):
    shape, gate = line
    request = DecodingRequest("qpy+zlib", b"nonsense", (), 0.5, Compilation(shape.snapshot, gate, 1))
    with pytest.raises(MalformedCircuit):
        pool.compile(request)


@pytest.mark.parametrize("layout", [[0, 1], [0, 0, 1], [0, 1, 5], [0, 1, -1], [0, 1, 2.0], None])
def test_an_answer_with_a_layout_that_cannot_be_is_nonsense(pool, line, layout):
    request = order(*line, ghz(3))
    decoded = pool.compile(request)
    document = {
        "circuits": [decoded.circuits[0].to_document()],
        "widths": [3],
        "angles": list(decoded.angles),
        "layouts": [list(decoded.layouts[0])],
    }
    read_answer(pack(document), request, LIMITS)
    with pytest.raises(DecodingFailed):
        read_answer(pack(document | {"layouts": [layout] if layout else []}), request, LIMITS)


# --- bounds -----------------------------------------------------------------------------------------------------------


def test_a_compiler_that_hangs_is_cut_off_and_replaced(pool, line):
    pool.compile(order(*line, ghz()))
    decoding = pool._pool
    child = decoding._idle.get()
    os.kill(child.pid, signal.SIGSTOP)
    decoding._idle.put(child)
    started = time.monotonic()
    with pytest.raises(DecodingFailed, match=r"longer than 0\.3 s"):
        pool.submit(order(*line, ghz()), within_s=0.3).result()
    assert time.monotonic() - started < 3.0
    assert pool.compile(order(*line, ghz())).circuits


def test_a_closed_pool_says_so(line):
    pool = CompilingPool(1, LIMITS)
    pool.close()
    with pytest.raises(DecodingUnavailable):
        pool.submit(order(*line, ghz()), within_s=1.0).result()
    with pytest.raises(DecodingUnavailable):
        pool.compile(order(*line, ghz()))
