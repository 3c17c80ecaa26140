"""V0: with crosstalk off, counts equal those of plain Aer on the region, shot by shot.

The reference is built without the service: ``NoiseModel.from_backend`` of Qiskit's FakeBrisbane cut to the region, the
ALAP schedule and its delays by Qiskit, relaxation in delays by Aer's ``RelaxationNoisePass`` (part of that model).
"""

from __future__ import annotations

from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, Final

import numpy as np
from crosstalk_pairs import FAMILIES, circuit_of
from joint_mps import append
from qiskit import QuantumCircuit
from qiskit.transpiler import InstructionProperties, PassManager
from qiskit.transpiler.passes import ALAPScheduleAnalysis, PadDelay
from reference import Region

from qpu_backend.engines.catalogue import read_device
from qpu_backend.engines.protocol import RegionTask, SliceSpec
from qpu_backend.engines.region import ChoosingEngine
from qpu_backend.physics.circuit import OP_OF_CODE, Op
from qpu_backend.physics.snapshot import RegionNoise

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.physics.snapshot import Snapshot

PATHS: Final = ((62, 72), (10, 11, 12), (98, 99, 100, 101, 102), (34, 43, 44, 45, 46), (117, 118, 119, 120, 121, 122))
"""With 102 and 119, whose T2 exceeds 2·T1."""
SHOTS: Final = 1024


class Readout(InstructionProperties):
    """A measurement with different errors of 0 and 1, as Aer reads them."""

    prob_meas1_prep0: float
    prob_meas0_prep1: float


class MeasuredRegion(Region):
    """The region with both readout errors of each qubit."""

    def __init__(self, whole: BackendV2, qubits: tuple[int, ...]) -> None:
        """Cut ``qubits`` out of a fake backend."""
        super().__init__(whole, qubits)
        published = whole.properties()
        for local, q in enumerate(qubits):
            p10, p01 = (published.qubit_property(q, name)[0] for name in ("prob_meas1_prep0", "prob_meas0_prep1"))
            readout = Readout(whole.target["measure"][q,].duration, (p10 + p01) / 2)
            readout.prob_meas1_prep0, readout.prob_meas0_prep1 = p10, p01
            self.target.update_instruction_properties("measure", (local,), readout)


def counts_identical() -> bool:
    """Compare every family of circuits on every region, one seed each."""
    from qiskit_ibm_runtime.fake_provider import FakeBrisbane  # noqa: PLC0415 - slow

    brisbane = FakeBrisbane()
    _, snapshot = read_device("eagle127")
    different = 0
    for seed, (path, family) in enumerate(product(PATHS, FAMILIES)):
        circuit = circuit_of(family, path, snapshot, (seed,))
        here, there = ours(circuit, snapshot, seed), theirs(circuit, brisbane, seed)
        if here != there:
            different += 1
            print(f"  {family} on {path}: counts differ")
    print(f"  {len(PATHS) * len(FAMILIES) - different} of {len(PATHS) * len(FAMILIES)} circuits, {SHOTS} shots each")
    return different == 0


def ours(circuit: IsaCircuit, snapshot: Snapshot, seed: int) -> dict[str, int]:
    """Counts as a worker answers them."""
    noise = RegionNoise.of(snapshot, circuit.qubits)
    task = RegionTask((circuit,), (np.zeros((1, 0)),), noise, (SliceSpec(0, 0, SHOTS, seed),))
    words = Counter(ChoosingEngine().run(task)[0].bits[:, 0].tolist())
    return {format(word, f"0{circuit.num_clbits}b"): count for word, count in words.items()}


def theirs(circuit: IsaCircuit, whole: BackendV2, seed: int) -> dict[str, int]:
    """Counts of plain Aer."""
    from qiskit_aer import AerSimulator  # noqa: PLC0415 - slow
    from qiskit_aer.noise import NoiseModel  # noqa: PLC0415 - slow

    region = MeasuredRegion(whole, circuit.qubits)
    passes = PassManager([ALAPScheduleAnalysis(target=region.target), PadDelay(target=region.target)])
    simulator = AerSimulator(method="density_matrix", noise_model=NoiseModel.from_backend(region))
    result = simulator.run(passes.run(in_qiskit(circuit)), shots=SHOTS, seed_simulator=seed).result()
    counts: dict[str, int] = result.get_counts()
    return counts


def in_qiskit(circuit: IsaCircuit) -> QuantumCircuit:
    """The same operations as a Qiskit circuit on the local qubits."""
    answer = QuantumCircuit(circuit.num_qubits, circuit.num_clbits)
    for code, q0, q1, clbit, _, value, _ in circuit.operations.tolist():
        match OP_OF_CODE[code]:
            case Op.DELAY:
                answer.delay(value, q0, "ns")
            case Op.MEASURE:
                answer.measure(q0, clbit)
            case gate:
                append(answer, gate, [q for q in (q0, q1) if q >= 0], value)
    return answer
