"""The Aer engine: regions as density matrices with the noise inlined, or as statevector trajectories.

The only file of ours that knows Qiskit Aer. Two ways, chosen by :func:`qpu_backend.physics.method.choose_method`:

* density matrix: runs of one-qubit gates, noise and idling are multiplied into one superoperator each, two-qubit gates
  are one superoperator with their noise, and the circuit goes straight to Aer's controller. Without the noise model's
  serialisation this takes 1.5 ms where ``AerSimulator.run`` with the region's ``NoiseModel`` takes 12 (5 qubits,
  1024 shots); same seed, same counts.
* trajectories: Aer's own errors after each gate, run through ``AerSimulator``; any control flow.
"""

# Qiskit and Aer ship no types: this is the file where what they answer is unknown.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import qiskit
import qiskit_aer
from qiskit.circuit import ClassicalRegister, Clbit, IfElseOp, QuantumCircuit
from qiskit_aer import AerSimulator
from qiskit_aer.backends.backend_utils import LIBRARY_DIR
from qiskit_aer.backends.controller_wrappers import AerCircuit, AerConfig, aer_controller_execute
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error, thermal_relaxation_error

from qpu_backend.engines.protocol import RegionTask, SliceOutcome
from qpu_backend.physics.channels import (
    ComplexMatrix,
    error_channel,
    error_parameters,
    gate_channel,
    idle_channel,
    readout_matrix,
    rz_diagonal,
    rzz_diagonal,
)
from qpu_backend.physics.circuit import IsaCircuit, Op
from qpu_backend.physics.method import Method, choose_method
from qpu_backend.physics.program import Step, noisy_program
from qpu_backend.physics.snapshot import GateProperties, QubitProperties
from qpu_backend.physics.timing import has_mid_circuit

if TYPE_CHECKING:
    from numpy.typing import NDArray

ENGINE_VERSION: Final = "aer-1"
"""Changes whenever the same record may give other counts."""

FINGERPRINT: Final[dict[str, str]] = {
    "engine": ENGINE_VERSION,
    "numpy": np.__version__,
    "qiskit": qiskit.__version__,
    "qiskit_aer": qiskit_aer.__version__,
}
"""Counts are a function of the execution record and of these."""

_CONTROLLER: Final = aer_controller_execute()
_TRAJECTORIES: Final = AerSimulator(method="statevector", max_parallel_threads=1)
_IDENTITY: Final[ComplexMatrix] = np.eye(4, dtype=np.complex128)
_LANES: Final = np.ones(16)
"""Multiplied before each run. Complex matrix products leave the processor's wide registers in use, and Aer's loops are
then a quarter slower (measured: 1.75 against 1.38 ms, 5 qubits); numpy's own product of real arrays clears them."""

_QubitRows = tuple[QubitProperties, ...]


class SimulationFailed(RuntimeError):
    """Aer gave up; the message is Aer's."""


class AerEngine:
    """Runs regions on Qiskit Aer, one thread, one run per slice."""

    def run(self, task: RegionTask) -> tuple[SliceOutcome, ...]:
        """One outcome per slice; see :class:`qpu_backend.engines.protocol.Engine`.

        Raises:
            TooLarge: past the bound of every method.
            NotCalibrated: a circuit uses what its region does not offer.
            SimulationFailed: Aer gave up.
        """
        prepared: dict[int, _Prepared] = {}
        outcomes: list[SliceOutcome] = []
        for wanted in task.slices:
            if wanted.circuit not in prepared:
                prepared[wanted.circuit] = _Prepared(task.circuits[wanted.circuit], task)
            circuit = prepared[wanted.circuit]
            angles: list[float] = task.angles[wanted.circuit][wanted.binding].tolist()
            factors: list[float] = wanted.factors.tolist()
            if circuit.method is Method.DENSITY_MATRIX:
                memory = _run_density_matrix(circuit, angles, factors, wanted.shots, wanted.seed)
            else:
                memory = _run_trajectories(circuit, angles, factors, wanted.shots, wanted.seed)
            outcomes.append(SliceOutcome(_bits(memory, circuit.num_clbits), str(circuit.method)))
        return tuple(outcomes)


class _Prepared:
    """What all slices of one circuit share; lives as long as one task."""

    __slots__ = ("circuit", "method", "num_clbits", "program", "qubits")

    def __init__(self, circuit: IsaCircuit, task: RegionTask) -> None:
        self.circuit = circuit
        self.num_clbits = circuit.num_clbits
        self.method = choose_method(circuit.num_qubits, has_mid_circuit(circuit))
        self.program: tuple[Step, ...] = noisy_program(circuit, task.noise)
        self.qubits: _QubitRows = tuple(task.noise.qubit(q) for q in circuit.qubits)


def _memory(outcome: dict[str, Any], shots: int) -> list[str]:
    """Aer's word of each shot; Aer leaves them out when nothing is measured."""
    memory: list[str] = outcome.get("memory", ["0x0"] * shots)
    return memory


def _bits(memory: list[str], num_clbits: int) -> NDArray[np.uint8]:
    """Aer's hexadecimal words → ``(shots, ceil(num_clbits / 8))``, least significant byte first."""
    num_bytes = -(-num_clbits // 8)
    words = {word: int(word, 16).to_bytes(num_bytes, "little") for word in set(memory)}
    return np.frombuffer(b"".join([words[word] for word in memory]), dtype=np.uint8).reshape(len(memory), num_bytes)


# --- density matrix ------------------------------------------------------------------------------------------


def _run_density_matrix(
    prepared: _Prepared, angles: list[float], factors: list[float], shots: int, seed: int
) -> list[str]:
    circuit = _density_matrix_circuit(prepared, angles, factors)
    config = AerConfig()
    config.method = "density_matrix"
    config.n_qubits = prepared.circuit.num_qubits
    config.memory_slots = prepared.num_clbits
    config.shots = shots
    config.seed_simulator = seed
    config.memory = True
    config.max_parallel_threads = 1
    config.library_dir = LIBRARY_DIR
    np.multiply(_LANES, 1.0, out=_LANES)
    output: dict[str, Any] = _CONTROLLER.execute([circuit], {}, config)
    if not output["success"]:
        raise SimulationFailed(f"{output['status']} {output['results'][0].get('status', '')}".strip())
    return _memory(output["results"][0]["data"], shots)


def _density_matrix_circuit(prepared: _Prepared, angles: list[float], factors: list[float]) -> Any:
    """An Aer circuit of superoperators and, at its end, measurements and their readout errors."""
    qubits = prepared.qubits
    circuit = AerCircuit()
    circuit.circ_id = 0
    circuit.num_qubits = prepared.circuit.num_qubits
    circuit.num_memory = prepared.num_clbits
    pending: list[ComplexMatrix] = [_IDENTITY] * len(qubits)
    measurements: list[Step] = []
    for step in prepared.program:
        if step.op is Op.MEASURE:
            measurements.append(step)
        elif len(step.qubits) == 1:
            q = step.qubits[0]
            pending[q] = _after(pending[q], step, qubits[q], angles)
        else:
            for q in step.qubits:
                if pending[q] is not _IDENTITY:
                    _superop(circuit, (q,), pending[q])
                    pending[q] = _IDENTITY
            _superop(circuit, step.qubits, _two_qubit_channel(step, qubits, angles, factors))
    for q, channel in enumerate(pending):
        if channel is not _IDENTITY:
            _superop(circuit, (q,), channel)
    for step in measurements:
        circuit.measure([step.qubits[0]], [step.clbit], [])
        qubit = qubits[step.qubits[0]]
        if qubit.prob_meas1_prep0 or qubit.prob_meas0_prep1:
            circuit.roerror([step.clbit], readout_matrix(qubit))
    return circuit


def _superop(circuit: Any, qubits: tuple[int, ...], channel: ComplexMatrix) -> None:
    # Aer 0.18 reads arrays that are not writable in the wrong order, without a word: hence the copy.
    circuit.superop(list(qubits), channel.copy(), -1, None)


def _after(before: ComplexMatrix, step: Step, qubit: QubitProperties, angles: list[float]) -> ComplexMatrix:
    """One more thing happens to a qubit."""
    if step.op is Op.DELAY:
        return idle_channel(qubit.t1_us, qubit.t2_us, step.value) @ before
    if step.op is Op.RZ:
        rotated = rz_diagonal(_angle(step, angles))[:, None] * before
        if step.gate.error or step.gate.duration_ns:
            return error_channel(step.gate.error, step.gate.duration_ns, (qubit,)) @ rotated
        return rotated
    return gate_channel(step.op, step.gate.error, step.gate.duration_ns, (qubit,)) @ before


def _two_qubit_channel(step: Step, qubits: _QubitRows, angles: list[float], factors: list[float]) -> ComplexMatrix:
    operands = tuple(qubits[q] for q in step.qubits)
    factor = factors[step.order] if factors else 1.0
    error, duration_ns = step.gate.error, step.gate.duration_ns
    if step.op is Op.RZZ:
        return error_channel(error, duration_ns, operands, factor) * rzz_diagonal(_angle(step, angles))
    return gate_channel(step.op, error, duration_ns, operands, factor)


def _angle(step: Step, angles: list[float]) -> float:
    return angles[step.slot] if step.slot >= 0 else step.value


# --- trajectories --------------------------------------------------------------------------------------------


def _run_trajectories(
    prepared: _Prepared, angles: list[float], factors: list[float], shots: int, seed: int
) -> list[str]:
    circuit = QuantumCircuit(prepared.circuit.num_qubits, prepared.num_clbits)
    _write_trajectories(circuit, prepared.program, prepared, angles, factors)
    anchored = not any(step.op is Op.MEASURE for step in prepared.program)
    if anchored:  # Aer 0.18 loses its way where all measurements are inside branches: give it one more, and drop it
        circuit.add_bits([Clbit()])
        circuit.measure(0, prepared.num_clbits)
    noise_model = NoiseModel()
    for q, qubit in enumerate(prepared.qubits):
        if qubit.prob_meas1_prep0 or qubit.prob_meas0_prep1:
            noise_model.add_readout_error(ReadoutError(readout_matrix(qubit)), [q])
    options = {"shots": shots, "memory": True, "seed_simulator": _scattered(seed)}
    result = _TRAJECTORIES.run(circuit, noise_model=noise_model, **options).result()
    if not result.success:
        raise SimulationFailed(f"{result.status} {result.results[0].status}".strip())
    memory = _memory(result.data(0), shots)
    return [hex(int(word, 16) & ((1 << prepared.num_clbits) - 1)) for word in memory] if anchored else memory


def _scattered(seed: int) -> int:
    """A far-away seed: Aer runs shot i of trajectories with seed + i, so seeds 1 and 2 would share nearly all shots."""
    return int.from_bytes(hashlib.sha256(b"trajectories-1" + seed.to_bytes(8, "little")).digest()[:8], "little") >> 1


def _write_trajectories(
    circuit: QuantumCircuit, program: tuple[Step, ...], prepared: _Prepared, angles: list[float], factors: list[float]
) -> None:
    """Append steps to a circuit, each followed by its error."""
    for step in program:
        operands = tuple(prepared.qubits[q] for q in step.qubits)
        match step.op:
            case Op.IF:
                _write_conditional(circuit, step, prepared, angles, factors)
            case Op.MEASURE:
                circuit.measure(step.qubits[0], step.clbit)
            case Op.DELAY:
                circuit.append(_relaxation(operands, step.value), step.qubits)
            case _:
                _write_gate(circuit, step, angles)
                factor = factors[step.order] if factors and step.order >= 0 else 1.0
                error = _error(step.gate, operands, factor)
                if error is not None:
                    circuit.append(error, step.qubits)


def _write_gate(circuit: QuantumCircuit, step: Step, angles: list[float]) -> None:
    method = getattr(circuit, step.op.name.lower())
    if step.op in {Op.RZ, Op.RZZ}:
        method(_angle(step, angles), *step.qubits)
    else:
        method(*step.qubits)


def _write_conditional(
    circuit: QuantumCircuit, step: Step, prepared: _Prepared, angles: list[float], factors: list[float]
) -> None:
    conditional = prepared.circuit.conditionals[step.conditional]
    register = ClassicalRegister(bits=[circuit.clbits[bit] for bit in conditional.clbits])
    circuit.add_register(register)
    bodies: list[QuantumCircuit] = []
    for branch in step.branches or ():
        body = QuantumCircuit(circuit.qubits, circuit.clbits, *circuit.cregs)
        _write_trajectories(body, branch, prepared, angles, factors)
        bodies.append(body)
    condition = (register, conditional.value)
    circuit.append(IfElseOp(condition, bodies[0], bodies[1]), circuit.qubits, circuit.clbits)


@lru_cache(maxsize=4096)
def _error(gate: GateProperties, qubits: _QubitRows, factor: float) -> Any | None:
    """What goes wrong in a gate, as an Aer instruction; ``None`` when nothing does."""
    strength, time_ns = error_parameters(gate.error, gate.duration_ns, qubits, factor)
    errors = [depolarizing_error(strength, len(qubits))] if strength > 0 else []
    if time_ns > 0:
        errors.append(_thermal(qubits, time_ns))
    if not errors:
        return None
    return (errors[0] if len(errors) == 1 else errors[0].compose(errors[1])).to_instruction()


@lru_cache(maxsize=65_536)
def _relaxation(qubits: _QubitRows, time_ns: float) -> Any:
    return _thermal(qubits, time_ns).to_instruction()


def _thermal(qubits: _QubitRows, time_ns: float) -> Any:
    first, *others = (thermal_relaxation_error(1e3 * q.t1_us, 1e3 * q.t2_us, time_ns) for q in qubits)
    return first.expand(others[0]) if others else first
