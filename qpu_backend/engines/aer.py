"""The Aer engine: regions as density matrices with the noise inlined, or as statevector trajectories.

The only file of ours that knows Qiskit Aer. Two ways, see :mod:`qpu_backend.physics.method`:

* density matrix: runs of one-qubit gates, noise and idling are multiplied into one superoperator each, two-qubit gates
  are one superoperator with their noise, and the circuit goes straight to Aer's controller. Without the noise model's
  serialisation this takes 1.5 ms where ``AerSimulator.run`` with the region's ``NoiseModel`` takes 12 (5 qubits,
  1024 shots); same seed, same counts.
* trajectories: Aer's own errors after each gate, run through ``AerSimulator``; any control flow.

A ghost is one more qubit here, never in superposition, after those of the circuit. That is exact, plain and slow: for
circuits of the first kind it is the reference of :mod:`qpu_backend.engines.region`.
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
from qiskit.circuit import ClassicalRegister, Clbit, IfElseOp, QuantumCircuit, Reset
from qiskit.circuit.library import IGate, XGate
from qiskit_aer import AerSimulator
from qiskit_aer.backends.backend_utils import LIBRARY_DIR
from qiskit_aer.backends.controller_wrappers import AerCircuit, AerConfig, aer_controller_execute
from qiskit_aer.noise import (
    NoiseModel,
    QuantumError,
    ReadoutError,
    depolarizing_error,
    mixed_unitary_error,
    pauli_error,
    thermal_relaxation_error,
)

from qpu_backend.engines.prepared import Prepared, Reading, run_slices
from qpu_backend.engines.protocol import ENGINE_VERSION
from qpu_backend.engines.superoperators import angle_of, superoperators
from qpu_backend.physics.channels import error_parameters, readout_matrix
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.method import Method
from qpu_backend.physics.phases import GhostPhase, Jump, Phase, Smear, Turn
from qpu_backend.physics.program import Flip, Happening, Step
from qpu_backend.physics.snapshot import GateProperties, QubitProperties

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from qpu_backend.engines.protocol import RegionTask, SliceOutcome, SliceSpec

FINGERPRINT: Final[dict[str, str]] = {
    "engine": ENGINE_VERSION,
    "numpy": np.__version__,
    "qiskit": qiskit.__version__,
    "qiskit_aer": qiskit_aer.__version__,
}
"""Counts are a function of the execution record and of these."""

_CONTROLLER: Final = aer_controller_execute()
_TRAJECTORIES: Final = AerSimulator(method="statevector", max_parallel_threads=1)
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
            SimulationFailed: Aer gave up.
            Exception: see :func:`qpu_backend.engines.prepared.run_slices`.
        """
        return run_slices(task, AerPiece)


class AerPiece:
    """A circuit in a context, by Aer."""

    __slots__ = ("_prepared", "method")

    def __init__(self, prepared: Prepared) -> None:
        self._prepared = prepared
        sampled = prepared.method is Method.TRAJECTORIES
        self.method = Method.TRAJECTORIES if sampled else Method.DENSITY_MATRIX

    def __call__(self, angles: list[float], wanted: SliceSpec) -> NDArray[np.uint8]:
        """See :class:`qpu_backend.engines.prepared.Piece`.

        Raises:
            SimulationFailed: Aer gave up.
        """
        run = _run_trajectories if self.method is Method.TRAJECTORIES else _run_density_matrix
        return _bits(run(self._prepared, angles, wanted), self._prepared.circuit.num_clbits)


def _memory(outcome: dict[str, Any], shots: int) -> list[str]:
    """Aer's word of each shot; Aer leaves them out when nothing is measured."""
    memory: list[str] = outcome.get("memory", ["0x0"] * shots)
    return memory


def _bits(memory: list[str], num_clbits: int) -> NDArray[np.uint8]:
    """Aer's hexadecimal words → ``(shots, ceil(num_clbits / 8))``, least significant byte first."""
    num_bytes = -(-num_clbits // 8)
    words = {word: int(word, 16).to_bytes(num_bytes, "little") for word in set(memory)}
    return np.frombuffer(b"".join([words[word] for word in memory]), dtype=np.uint8).reshape(len(memory), num_bytes)


# --- Aer's controller ----------------------------------------------------------------------------------------


def draw(
    probabilities: NDArray[np.float64], readings: Sequence[Reading], num_clbits: int, shots: int, seed: int
) -> NDArray[np.uint8]:
    """Shots of a known distribution, with the random numbers that a density matrix of Aer's would have drawn them with.

    Args:
        probabilities: of the outcomes of all qubits, ``(2ⁿ,)``, qubit 0 least significant; rounding may have left
            negative ones.
        readings: which of them are read, and how well.
        num_clbits: of the circuit.
        shots: how many.
        seed: of Aer.

    Returns:
        As :attr:`SliceOutcome.bits`.

    Raises:
        SimulationFailed: Aer gave up.
    """
    if not readings:
        return np.zeros((shots, -(-num_clbits // 8)), dtype=np.uint8)
    num_qubits = len(probabilities).bit_length() - 1
    circuit = _blank(num_qubits, num_clbits)
    chances = np.clip(probabilities, 0.0, None)
    circuit.set_statevector(list(range(num_qubits)), [np.sqrt(chances / chances.sum()).astype(np.complex128)])
    _read(circuit, readings)
    return _bits(_execute(circuit, "statevector", num_qubits, num_clbits, shots, seed), num_clbits)


def _blank(num_qubits: int, num_clbits: int) -> Any:
    circuit = AerCircuit()
    circuit.circ_id = 0
    circuit.num_qubits = num_qubits
    circuit.num_memory = num_clbits
    return circuit


def _read(circuit: Any, readings: Iterable[Reading]) -> None:
    for q, clbit, matrix in readings:
        circuit.measure([q], [clbit], [])
        if matrix is not None:
            circuit.roerror([clbit], matrix)


def _execute(circuit: Any, method: str, num_qubits: int, num_clbits: int, shots: int, seed: int) -> list[str]:
    config = AerConfig()
    config.method = method
    config.n_qubits = num_qubits
    config.memory_slots = num_clbits
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


# --- density matrix ------------------------------------------------------------------------------------------


def _run_density_matrix(prepared: Prepared, angles: list[float], wanted: SliceSpec) -> list[str]:
    num_clbits = prepared.circuit.num_clbits
    circuit = _blank(prepared.width, num_clbits)
    for qubits, what in superoperators(prepared, angles):
        if isinstance(what, np.ndarray):
            # Aer 0.18 reads arrays that are not writable in the wrong order, without a word: hence the copy.
            circuit.superop(list(qubits), what.copy(), -1, None)
        else:
            circuit.gate("cp", list(qubits), [what], [], -1, None, "")
    _read(circuit, prepared.readings(errors=wanted.level == 2))
    return _execute(circuit, "density_matrix", prepared.width, num_clbits, wanted.shots, wanted.seed)


# --- trajectories --------------------------------------------------------------------------------------------


def _run_trajectories(prepared: Prepared, angles: list[float], wanted: SliceSpec) -> list[str]:
    num_clbits = prepared.circuit.num_clbits
    circuit = QuantumCircuit(prepared.width, num_clbits)
    for q, start in prepared.starts():
        if start > 0:
            circuit.append(_flip(start), [q])
    _write_trajectories(circuit, prepared.program, prepared, angles)
    anchored = not any(isinstance(step, Step) and step.op is Op.MEASURE for step in prepared.program)
    if anchored:  # Aer 0.18 loses its way where all measurements are inside branches: give it one more, and drop it
        circuit.add_bits([Clbit()])
        circuit.measure(0, num_clbits)
    noise_model = NoiseModel()
    if wanted.level == 2:
        for q, qubit in enumerate(prepared.qubits):
            matrix = readout_matrix(qubit, prepared.context.extra_readout(q))
            if matrix[0, 1] or matrix[1, 0]:
                noise_model.add_readout_error(ReadoutError(matrix), [q])
    options = {"shots": wanted.shots, "memory": True, "seed_simulator": _scattered(wanted.seed)}
    result = _TRAJECTORIES.run(circuit, noise_model=noise_model, **options).result()
    if not result.success:
        raise SimulationFailed(f"{result.status} {result.results[0].status}".strip())
    memory = _memory(result.data(0), wanted.shots)
    return [hex(int(word, 16) & ((1 << num_clbits) - 1)) for word in memory] if anchored else memory


def _scattered(seed: int) -> int:
    """A far-away seed: Aer runs shot i of trajectories with seed + i, so seeds 1 and 2 would share nearly all shots."""
    return int.from_bytes(hashlib.sha256(b"trajectories-1" + seed.to_bytes(8, "little")).digest()[:8], "little") >> 1


def _write_trajectories(  # noqa: C901 - a table
    circuit: QuantumCircuit, program: Sequence[Happening], prepared: Prepared, angles: list[float]
) -> None:
    """Append what happens to a circuit, each gate followed by its error."""
    for news in program:
        match news:
            case Step(op=Op.IF):
                _write_conditional(circuit, news, prepared, angles)
            case Step(op=Op.MEASURE):
                circuit.measure(news.qubits[0], news.clbit)
            case Step(op=Op.DELAY):
                circuit.append(_relaxation((prepared.qubits[news.qubits[0]],), news.value), news.qubits)
            case Step():
                _write_gate(circuit, news, angles)
                error = _error(news.gate, tuple(prepared.qubits[q] for q in news.qubits), prepared.factor(news))
                if error is not None:
                    circuit.append(error, news.qubits)
            case Phase(pair, angle):
                circuit.cp(angle, *pair)
            case GhostPhase(q, ghost, angle):
                circuit.cp(angle, q, prepared.ghosts[ghost])
            case Turn(q, angle):
                circuit.rz(angle, q)
            case Smear(q, excited, angle):
                circuit.append(_smear(excited, angle), [q])
            case Flip(q, probability):
                circuit.append(_flip(probability), [q])
            case Jump(ghost, stays, rises):
                circuit.append(_jump(stays, rises), [prepared.ghosts[ghost]])


def _write_gate(circuit: QuantumCircuit, step: Step, angles: list[float]) -> None:
    method = getattr(circuit, step.op.name.lower())
    if step.op in {Op.RZ, Op.RZZ}:
        method(angle_of(step, angles), *step.qubits)
    else:
        method(*step.qubits)


def _write_conditional(circuit: QuantumCircuit, step: Step, prepared: Prepared, angles: list[float]) -> None:
    conditional = prepared.circuit.conditionals[step.conditional]
    register = ClassicalRegister(bits=[circuit.clbits[bit] for bit in conditional.clbits])
    circuit.add_register(register)
    bodies: list[QuantumCircuit] = []
    for branch in step.branches or ():
        body = QuantumCircuit(circuit.qubits, circuit.clbits, *circuit.cregs)
        _write_trajectories(body, branch, prepared, angles)
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


@lru_cache(maxsize=4096)
def _flip(probability: float) -> Any:
    return pauli_error([("X", probability), ("I", 1.0 - probability)]).to_instruction()


@lru_cache(maxsize=4096)
def _smear(excited: float, angle_rad: float) -> Any:
    turned = np.diag([1.0, np.exp(1j * angle_rad)])
    return mixed_unitary_error([(turned, excited), (np.eye(2), 1.0 - excited)]).to_instruction()


@lru_cache(maxsize=4096)
def _jump(stays: float, rises: float) -> Any:
    """As a mixture that does not ask for the state: keep or flip the bit, or set it to 0 or to 1."""
    set_1, set_0 = min(stays, rises), 1.0 - max(stays, rises)
    mixture = [([(IGate(), [0])], stays - set_1), ([(XGate(), [0])], rises - set_1)]
    mixture += [([(Reset(), [0])], set_0), ([(Reset(), [0]), (XGate(), [0])], set_1)]
    return QuantumError([(operations, chance) for operations, chance in mixture if chance > 0]).to_instruction()
