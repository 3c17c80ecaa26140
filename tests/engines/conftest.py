"""Circuits both as Qiskit sees them and as values, on the qubits of a region."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from qiskit import QuantumCircuit

from qpu_backend.engines.catalogue import read_device
from qpu_backend.physics.circuit import ClassicalRegister, IsaCircuit, Op, operations

if TYPE_CHECKING:
    import numpy as np

    from qpu_backend.physics.device import DeviceModel
    from qpu_backend.physics.snapshot import Snapshot

Translate = Callable[[QuantumCircuit, tuple[int, ...]], IsaCircuit]


def translate(circuit: QuantumCircuit, qubits: tuple[int, ...]) -> IsaCircuit:
    """Gates, delays in ns, barriers and measurements; what the test needs of the server's decoder, and no more."""
    rows, groups = [], []
    for instruction in circuit.data:
        q = [circuit.find_bit(bit).index for bit in instruction.qubits]
        name, aux, value, clbit = instruction.operation.name, -1, 0.0, -1
        if name == "barrier":
            groups.append(tuple(q))
            aux, q = len(groups) - 1, [-1]
        elif name == "delay":
            value = float(instruction.operation.duration)
        elif name == "measure":
            clbit = circuit.find_bit(instruction.clbits[0]).index
        elif instruction.operation.params:
            value = float(instruction.operation.params[0])
        rows.append((int(Op[name.upper()]), q[0], q[1] if len(q) > 1 else -1, clbit, -1, value, aux))
    register = ClassicalRegister("c", tuple(range(circuit.num_clbits)))
    return IsaCircuit(qubits, circuit.num_clbits, (register,), operations(rows), tuple(groups))


def random_isa(
    rng: np.random.Generator, num_qubits: int, pairs: list[tuple[int, int]], depth: int, *, measured: int | None = None
) -> QuantumCircuit:
    """A random circuit of native gates, delays and barriers; ``pairs`` are the directed couplings."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    for _ in range(depth):
        kind = rng.integers(0, 9)
        q = int(rng.integers(num_qubits))
        if kind <= 1:
            circuit.rz(float(rng.uniform(-3, 3)), q)
        elif kind <= 3:
            circuit.sx(q)
        elif kind == 4:
            circuit.x(q)
        elif kind == 5:
            circuit.delay(8 * int(rng.integers(1, 80)), q, "ns")
        elif kind == 6 and rng.integers(3) == 0:
            circuit.barrier()
        elif pairs:
            circuit.ecr(*pairs[int(rng.integers(len(pairs)))])
    for q in range(num_qubits if measured is None else measured):
        circuit.measure(q, q)
    return circuit


@pytest.fixture(scope="session")
def eagle() -> tuple[DeviceModel, Snapshot]:
    return read_device("eagle127")


@pytest.fixture(name="translate", scope="session")
def translate_fixture() -> Translate:
    return translate


@pytest.fixture(name="random_isa", scope="session")
def random_isa_fixture() -> Callable[..., QuantumCircuit]:
    return random_isa
