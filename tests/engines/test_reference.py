"""V0: with crosstalk off, counts equal those of a reference that shares no code with us."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from qiskit.circuit import Delay, Measure, Parameter, QuantumCircuit, Reset
from qiskit.circuit.library import ECRGate, IGate, RZGate, SXGate, XGate
from qiskit.providers import BackendV2, Options
from qiskit.transpiler import InstructionProperties, PassManager, QubitProperties, Target
from qiskit.transpiler.passes import ALAPScheduleAnalysis, PadDelay
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.fake_provider import FakeBrisbane

from qpu_backend.engines.aer import AerEngine
from qpu_backend.engines.protocol import RegionTask, SliceSpec
from qpu_backend.physics.snapshot import RegionNoise

BRISBANE = FakeBrisbane()
REGIONS = [(17,), (62, 72), (10, 11, 12), (98, 99, 100, 101, 102), (24, 34, 43, 44, 45), (117, 118, 119, 120, 121, 122)]
"""With 102 and 119, whose T2 exceeds 2·T1."""


class Readout(InstructionProperties):
    """Measurement with different errors of 0 and 1, as Aer reads them."""

    prob_meas1_prep0: float
    prob_meas0_prep1: float


class Cut(BackendV2):
    """The region of FakeBrisbane and nothing else, relabelled 0 … n−1."""

    def __init__(self, region) -> None:
        super().__init__(name="cut")
        self.region, whole, props = region, BRISBANE.target, BRISBANE.properties()
        local = {q: i for i, q in enumerate(region)}
        self._target = Target(
            num_qubits=len(region),
            dt=whole.dt,
            qubit_properties=[
                QubitProperties(*(getattr(whole.qubit_properties[q], name) for name in ("t1", "t2", "frequency")))
                for q in region
            ],
        )
        for gate in (RZGate(Parameter("t")), SXGate(), XGate(), IGate(), Reset(), ECRGate()):
            inside = {
                tuple(local[q] for q in qubits): properties
                for qubits, properties in whole[gate.name].items()
                if all(q in local for q in qubits) and properties.error != 1.0
            }
            if inside:
                self._target.add_instruction(gate, inside)
        readout = {}
        for q in region:
            p10, p01 = (props.qubit_property(q, name)[0] for name in ("prob_meas1_prep0", "prob_meas0_prep1"))
            readout[local[q],] = Readout(whole["measure"][q,].duration, (p10 + p01) / 2)
            readout[local[q],].prob_meas1_prep0, readout[local[q],].prob_meas0_prep1 = p10, p01
        self._target.add_instruction(Measure(), readout)
        self._target.add_instruction(Delay(Parameter("t")), {(local[q],): None for q in region})

    @property
    def target(self):
        return self._target

    @property
    def max_circuits(self):
        return None

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def run(self, run_input, **options):
        raise NotImplementedError

    def pairs(self):
        return list(self._target["ecr"]) if "ecr" in self._target.operation_names else []

    def counts(self, circuit, shots, seed, method="density_matrix"):
        """Plain Aer: the backend's own noise model, ALAP, delays."""
        scheduled = PassManager([ALAPScheduleAnalysis(target=self._target), PadDelay(target=self._target)]).run(circuit)
        simulator = AerSimulator(method=method, noise_model=NoiseModel.from_backend(self))
        return simulator.run(scheduled, shots=shots, seed_simulator=seed).result().get_counts()


def ours(snapshot, circuit, region, shots, seed):
    task = RegionTask(
        (circuit,), (np.zeros((1, 0)),), RegionNoise.of(snapshot, region), (SliceSpec(0, 0, shots, seed),)
    )
    return AerEngine().run(task)[0]


def counts_of(outcome, num_clbits):
    words = np.zeros(len(outcome.bits), dtype=np.int64)
    for byte in range(outcome.bits.shape[1]):
        words |= outcome.bits[:, byte].astype(np.int64) << (8 * byte)
    return {format(word, f"0{num_clbits}b"): count for word, count in Counter(words.tolist()).items()}


def ones_per_clbit(counts, num_clbits):
    shots = sum(counts.values())
    return (
        np.array([sum(n for word, n in counts.items() if word[-1 - bit] == "1") for bit in range(num_clbits)]) / shots
    )


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("seed", range(4))
def test_counts_equal_plain_aer_on_the_cut_backend(eagle, translate, random_isa, region, seed):
    _, snapshot = eagle
    reference = Cut(region)
    circuit = random_isa(np.random.default_rng(seed), len(region), reference.pairs(), 12 * len(region))
    outcome = ours(snapshot, translate(circuit, region), region, 1024, 1000 + seed)
    assert outcome.method == "density_matrix"
    assert counts_of(outcome, len(region)) == reference.counts(circuit, 1024, 1000 + seed)


def test_counts_equal_plain_aer_when_some_qubits_are_not_measured(eagle, translate, random_isa):
    _, snapshot = eagle
    region = (24, 34, 43, 44, 45)
    reference = Cut(region)
    for seed in range(5):
        circuit = random_isa(np.random.default_rng(seed), 5, reference.pairs(), 40, measured=3)
        outcome = ours(snapshot, translate(circuit, region), region, 500, seed)
        assert counts_of(outcome, 5) == reference.counts(circuit, 500, seed)


def test_counts_equal_plain_aer_with_reset_and_the_largest_seed(eagle, translate):
    _, snapshot = eagle
    reference = Cut((62, 72))
    circuit = QuantumCircuit(2, 2)
    circuit.sx(0)
    circuit.ecr(0, 1)
    circuit.reset(0)
    circuit.sx(0)
    circuit.measure([1, 0], [0, 1])
    outcome = ours(snapshot, translate(circuit, (62, 72)), (62, 72), 2000, 2**63 - 1)
    assert counts_of(outcome, 2) == reference.counts(circuit, 2000, 2**63 - 1)


def test_trajectories_of_a_large_region_agree_with_plain_aer(eagle, translate, random_isa):
    """Not shot by shot: Aer samples an error per delay, and we merge delays. The error rate of every qubit agrees."""
    _, snapshot = eagle
    region = tuple(range(18, 29))
    reference = Cut(region)
    circuit = random_isa(np.random.default_rng(5), len(region), reference.pairs(), 60)
    outcome = ours(snapshot, translate(circuit, region), region, 200, 11)
    assert outcome.method == "trajectories"
    here = ones_per_clbit(counts_of(outcome, 11), 11)
    there = ones_per_clbit(reference.counts(circuit, 200, 12, method="statevector"), 11)
    assert np.abs(here - there).max() < 4 * np.sqrt(2 * 0.25 / 200)


def test_the_comparison_notices_a_change_of_one_percent(eagle, translate, random_isa):
    _, snapshot = eagle
    region = (24, 34, 43, 44, 45)
    reference = Cut(region)
    circuit = random_isa(np.random.default_rng(1), 5, reference.pairs(), 40)
    gates = {
        key: replace(gate, error=gate.error * (1.01 if len(key[1]) == 2 else 1.0))
        for key, gate in snapshot.gates.items()
    }
    outcome = ours(replace(snapshot, gates=gates), translate(circuit, region), region, 100_000, 1)
    assert counts_of(outcome, 5) != reference.counts(circuit, 100_000, 1)
