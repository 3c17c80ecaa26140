"""Compiled once against a shape, a circuit does the same on every place of it, however its gates are calibrated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.quantum_info import Statevector
from qiskit.transpiler import CouplingMap

from qpu_backend.domain.virtual import Shape, shape_of
from qpu_backend.engines.catalogue import read_device
from qpu_backend.engines.protocol import RegionTask, SliceSpec, decode_report, join_tasks
from qpu_backend.engines.worker import run_tasks
from qpu_backend.physics.circuit import SYMMETRIC_GATES, TWO_QUBIT_GATES, IsaCircuit, Op
from qpu_backend.physics.embeddings import embeddings
from qpu_backend.physics.fidelity import LogErrors
from qpu_backend.physics.relocate import relocate
from qpu_backend.physics.snapshot import RegionNoise, Snapshot
from qpu_backend.physics.topology import Topology

if TYPE_CHECKING:
    from qpu_backend.physics.device import DeviceModel

SHOTS = 20_000
NO_ANGLES = np.zeros((1, 0))


@dataclass(frozen=True)
class Case:
    """A circuit compiled once against a shape, and what it measures without noise, by number of the outcome."""

    model: DeviceModel
    snapshot: Snapshot
    shape: Shape
    circuit: IsaCircuit
    entangler: Op
    ideal: np.ndarray


@pytest.fixture(
    scope="module",
    params=[
        *(("eagle127", "tee-2-2-1"), ("eagle127", "tee-2-2-2"), ("eagle127", "eye-1-1-1-1-1")),
        *(("falcon27", "tee-2-2-1"), ("heron156", "tee-2-2-1"), ("grid20", "grid-2-3"), ("grid20", "eye-2-1-0-1-1")),
    ],
    ids=":".join,
)
def case(request, translate):
    device, name = request.param
    model, snapshot = read_device(device)
    shape = shape_of(name, model, snapshot, LogErrors.of(snapshot))
    abstract = random_circuit(shape.snapshot.num_qubits)
    entangler = min(op for op, _ in shape.snapshot.gates if op in TWO_QUBIT_GATES)
    pairs = list(shape.table.pairs)
    measured = abstract.copy()
    measured.measure_all()
    compiled = transpile(
        measured,
        coupling_map=CouplingMap([*pairs, *((b, a) for a, b in pairs if entangler in SYMMETRIC_GATES)]),
        basis_gates=["rz", "sx", "x", entangler.name.lower()],
        seed_transpiler=1,
    )
    circuit = translate(compiled, tuple(range(compiled.num_qubits)))
    return Case(model, snapshot, shape, circuit, entangler, Statevector(abstract).probabilities())


def random_circuit(num_qubits):
    """No two qubits are alike, and few outcomes are likely."""
    rng = np.random.default_rng(num_qubits)
    circuit = QuantumCircuit(num_qubits)
    for _ in range(2):
        for q in range(num_qubits):
            circuit.ry(float(rng.uniform(0.1, 1.6)), q)
        for _ in range(num_qubits):
            circuit.cx(*rng.permutation(num_qubits)[:2].tolist())
    return circuit


def far(one, other):
    """Total variation distance."""
    return float(np.abs(one - other).sum() / 2)


def outcomes(placed):
    """Exact probabilities of the classical bits, of a circuit in place."""
    spelled, clbit_of = QuantumCircuit(placed.num_qubits), {}
    for code, q0, q1, clbit, _, value, _ in placed.operations.tolist():
        op = Op(code)
        if op is Op.MEASURE:
            clbit_of[clbit] = q0
        elif op is not Op.BARRIER:
            getattr(spelled, op.name.lower())(*([value] if op is Op.RZ else []), *[q for q in (q0, q1) if q >= 0])
    return Statevector(spelled).probabilities([clbit_of[clbit] for clbit in range(placed.num_clbits)])


def test_the_circuit_tells_the_ways_round_apart(case):
    """Otherwise the tests below could not fail."""
    n, pairs = case.shape.snapshot.num_qubits, case.shape.table.pairs
    tensor = case.ideal.reshape([2] * n)
    for image in embeddings(Topology.of(n, pairs), n, pairs).tolist():
        if image != list(range(n)):
            axes = [n - 1 - image[n - 1 - axis] for axis in range(n)]  # position 0 is the last axis
            assert far(tensor.transpose(axes).ravel(), case.ideal) > 0.1


def test_outcomes_on_places_all_over_the_device_are_those_of_the_circuit(case):
    regions = case.shape.table.regions.tolist()
    placed = [relocate(case.circuit, region, case.snapshot) for region in regions[:: 1 + len(regions) // 24]]
    assert len({one.qubits for one in placed}) > 5
    for one in placed:
        assert outcomes(one) == pytest.approx(case.ideal, abs=1e-9)
    if case.entangler is Op.ECR:  # calibrated one way on each coupler: some places turn more gates than others
        assert len({len(one.operations) for one in placed}) > 2


def test_counts_without_noise_are_those_of_the_circuit_wherever_it_lands(case):
    regions = case.shape.table.regions.tolist()
    places = [regions[0], regions[len(regions) // 2], regions[-1]]
    placed = [relocate(case.circuit, place, case.snapshot) for place in places]
    tasks = [
        RegionTask((one,), (NO_ANGLES,), perfect(case, one.qubits), (SliceSpec(0, 0, SHOTS, number),))
        for number, one in enumerate(placed)
    ]
    report = decode_report(run_tasks(join_tasks([task.to_bytes() for task in tasks])))
    assert [task.failure for task in report.tasks] == [None] * 3
    for task in report.tasks:
        (piece,) = task.slices
        counts = np.bincount(piece.bits[:, 0], minlength=len(case.ideal))
        assert far(counts / SHOTS, case.ideal) < 0.04  # 0.8 √(outcomes / shots) / 2 = 0.03 at most, by chance alone


def perfect(case, qubits):
    """The place, if nothing went wrong on it."""
    noise = RegionNoise.of(case.snapshot, qubits, zz=case.model.crosstalk.zz)
    return replace(
        noise,
        qubits={
            q: replace(each, t1_us=1e12, t2_us=1e12, prob_meas1_prep0=0.0, prob_meas0_prep1=0.0)
            for q, each in noise.qubits.items()
        },
        gates={key: replace(gate, error=0.0) for key, gate in noise.gates.items()},
        zz_hz={},
    )
