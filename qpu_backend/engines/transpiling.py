"""OpenQASM text and a calibration → a circuit in a device's own instructions. For files of the operator's own.

Clients' circuits are compiled by clients, and read by :mod:`qpu_backend.engines.decoding`.
"""

# Qiskit ships no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qiskit import qasm2, qasm3, transpile
from qiskit.circuit import IfElseOp
from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Statevector
from qiskit.transpiler import InstructionProperties, Target

from qpu_backend.engines.invalid_circuit import InvalidCircuit, MalformedCircuit
from qpu_backend.engines.lowering import Lowering, OperationBudget
from qpu_backend.physics.circuit import ONE_QUBIT_GATES, SYMMETRIC_GATES, Op

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qiskit.circuit import QuantumCircuit

    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.physics.snapshot import Snapshot

MAX_OPERATIONS: Final = 200_000
MAX_IDEAL_QUBITS: Final = 12
"""For which the noiseless distribution is worked out."""

_SHOWN: Final = 160


class AbstractCircuit:
    """A circuit as its author wrote it, not yet in any device's instructions."""

    def __init__(self, text: str) -> None:
        """Read a program in OpenQASM 2 or 3.

        Raises:
            MalformedCircuit: it is neither, or has no qubits; the message is one line.
        """
        try:
            if text.lstrip().startswith("OPENQASM 3"):
                self._program: QuantumCircuit = qasm3.loads(text)
            else:
                self._program = qasm2.loads(text, custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS)
        except Exception as error:  # noqa: BLE001 - whatever the readers trip over
            reason = (str(error).splitlines() or [type(error).__name__])[0][:_SHOWN]
            raise MalformedCircuit(f"it cannot be read as OpenQASM: {reason}") from None
        if not self._program.num_qubits:
            raise MalformedCircuit("it has no qubits")

    @property
    def num_qubits(self) -> int:
        return int(self._program.num_qubits)

    def compile(self, target: Target, seed: int) -> IsaCircuit:
        """Compile with everything Qiskit can do (level 3).

        Args:
            target: of :func:`target_of`.
            seed: of layout and routing; the same seed always gives the same circuit.

        Raises:
            InvalidCircuit: it does not fit on the target, or holds what no device here can do; the message is one line.
        """
        try:
            compiled: Any = transpile(self._program, target=target, optimization_level=3, seed_transpiler=seed)
        except QiskitError as error:
            reason = (str(error.message).splitlines() or [type(error).__name__])[0][:_SHOWN]
            raise InvalidCircuit(f"it cannot be compiled: {reason}") from None
        budget = OperationBudget(MAX_OPERATIONS)
        return Lowering(compiled, 0, dt_ns=None, budget=budget, own_gates=True).lower()

    def ideal_distribution(self) -> NDArray[np.float64] | None:
        """Probabilities of the classical words without any noise; bit 0 of an index is classical bit 0.

        Returns:
            float64, ``(2**num_clbits,)``; ``None`` where it is not known: too many qubits, or something happens after
            a measurement.
        """
        program = self._program
        if program.num_qubits > MAX_IDEAL_QUBITS or not 0 < program.num_clbits <= MAX_IDEAL_QUBITS:
            return None
        clbit_of: dict[int, int] = {}
        unitary = program.copy_empty_like()
        for instruction in program.data:
            qubits = [program.find_bit(qubit).index for qubit in instruction.qubits]
            if instruction.operation.name == "measure":
                clbit_of[qubits[0]] = program.find_bit(instruction.clbits[0]).index
            elif instruction.operation.name != "barrier":
                if (
                    instruction.clbits
                    or instruction.operation.name == "reset"
                    or not clbit_of.keys().isdisjoint(qubits)
                ):
                    return None
                unitary.append(instruction)
        if len(set(clbit_of.values())) != len(clbit_of):
            return None
        chances: NDArray[np.float64] = Statevector(unitary).probabilities()
        states = np.arange(len(chances))
        words = np.zeros_like(states)
        for qubit, clbit in clbit_of.items():
            words |= (states >> qubit & 1) << clbit
        return np.bincount(words, weights=chances, minlength=1 << program.num_clbits).astype(np.float64)


def target_of(snapshot: Snapshot, two_qubit_gate: Op) -> Target:
    """What the compiler may use: a calibration with one kind of two-qubit gate.

    Args:
        snapshot: of a device, a shape, or a part of a device whose qubits are numbered from 0.
        two_qubit_gate: the one to use.
    """
    target = Target(num_qubits=snapshot.num_qubits)
    known = get_standard_gate_name_mapping()
    places: dict[Op, dict[tuple[int, ...], InstructionProperties]] = {}
    for (op, qubits), gate in snapshot.gates.items():
        if op in ONE_QUBIT_GATES or op in {two_qubit_gate, Op.RESET}:
            properties = InstructionProperties(duration=gate.duration_ns * 1e-9, error=gate.error)
            places.setdefault(op, {})[qubits] = properties
            if op in SYMMETRIC_GATES:
                places[op].setdefault(qubits[::-1], properties)
    for op, where in sorted(places.items()):
        target.add_instruction(known[op.name.lower()], where)
    usable = snapshot.usable_qubits
    target.add_instruction(known["measure"], {(q,): _readout(snapshot, q) for q in usable})
    target.add_instruction(known["delay"], {(q,): None for q in usable})
    target.add_instruction(IfElseOp, name="if_else")
    return target


def _readout(snapshot: Snapshot, qubit: int) -> InstructionProperties:
    properties = snapshot.qubit(qubit)
    return InstructionProperties(duration=properties.readout_duration_ns * 1e-9, error=properties.readout_error)
