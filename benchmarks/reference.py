"""What the service is measured against: plain Aer on a region, built from Qiskit's fake backend alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Delay, Measure, Parameter
from qiskit.circuit.library import ECRGate, RZGate, SXGate, XGate
from qiskit.providers import BackendV2, Options
from qiskit.transpiler import InstructionProperties, QubitProperties, Target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qiskit_aer.noise import NoiseModel


def ghz(num_qubits: int) -> QuantumCircuit:
    """The circuit every figure is about."""
    circuit = QuantumCircuit(num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


SHOTS = 1024

_ready: dict[tuple[int, ...], tuple[Any, QuantumCircuit]] = {}


def plain_run(qubits: list[int], seed: int) -> int:
    """In a worker: one job as plain Aer runs it, with the simulator kept. Returns the shots that came back."""
    key = tuple(qubits)
    if key not in _ready:
        from qiskit_aer import AerSimulator  # noqa: PLC0415 - only workers load Aer
        from qiskit_ibm_runtime.fake_provider import FakeBrisbane  # noqa: PLC0415

        brisbane = FakeBrisbane()
        noise = region_noise(brisbane, qubits)
        simulator = AerSimulator(method="density_matrix", noise_model=noise, max_parallel_threads=1)
        _ready[key] = simulator, region_circuit(brisbane, qubits)
    simulator, circuit = _ready[key]
    return sum(simulator.run(circuit, shots=SHOTS, seed_simulator=seed).result().get_counts().values())


class Region(BackendV2):
    """Some qubits of a backend as a backend of their own: its target, cut and renumbered."""

    def __init__(self, whole: BackendV2, qubits: Sequence[int]) -> None:
        """Cut ``qubits``, in their order, out of the whole."""
        super().__init__(name=f"{whole.name}-region")
        at = {qubit: index for index, qubit in enumerate(qubits)}
        gates = {"rz": RZGate(Parameter("θ")), "sx": SXGate(), "x": XGate(), "ecr": ECRGate()}
        gates |= {"measure": Measure(), "delay": Delay(Parameter("t"))}
        properties = [whole.target.qubit_properties[qubit] for qubit in qubits]
        self._target = Target(
            num_qubits=len(qubits),
            dt=whole.target.dt,
            qubit_properties=[QubitProperties(t1=q.t1, t2=q.t2, frequency=q.frequency) for q in properties],
        )
        for name, gate in gates.items():
            kept = {
                tuple(at[q] for q in where): facts
                if facts is None
                else InstructionProperties(duration=facts.duration, error=facts.error)
                for where, facts in whole.target[name].items()
                if all(q in at for q in where)
            }
            if kept:
                self._target.add_instruction(gate, kept)

    @property
    def target(self) -> Target:
        """The cut target."""
        return self._target

    @property
    def max_circuits(self) -> None:
        """No limit."""

    @classmethod
    def _default_options(cls) -> Options:
        return Options()

    def run(self, run_input: object, **options: object) -> None:
        """Not a backend to run on: only its target is used."""
        raise NotImplementedError


def region_noise(whole: BackendV2, qubits: Sequence[int]) -> NoiseModel:
    """Aer's own noise model of the region."""
    from qiskit_aer.noise import NoiseModel as AerNoiseModel  # noqa: PLC0415 - slow, and only some benchmarks need it

    return AerNoiseModel.from_backend(Region(whole, qubits))


def region_circuit(whole: BackendV2, qubits: Sequence[int]) -> QuantumCircuit:
    """GHZ on the region, in its instructions."""
    itself = list(range(len(qubits)))
    return transpile(
        ghz(len(qubits)), Region(whole, qubits), initial_layout=itself, seed_transpiler=1, optimization_level=3
    )
