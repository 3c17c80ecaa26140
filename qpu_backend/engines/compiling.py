"""Clients' circuits → a target's own instructions, with where each qubit ends. Runs only in a limited child.

For jobs with a deferred layout: the same circuit is compiled for the shape when it is admitted, and for the region
where it is placed when it runs.
"""

# Qiskit ships no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ForLoopOp, Gate, Parameter
from qiskit.circuit.library import PauliEvolutionGate, QFTGate, StatePreparation, UnitaryGate
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager

from qpu_backend.engines.invalid_circuit import InvalidCircuit, TooMuchDeclared
from qpu_backend.engines.transpiling import target_of
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.snapshot import GateProperties, QubitProperties, Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

LEVEL: Final = 2
"""Of Qiskit's optimisation. On five qubits it takes as long as level 3 and finds the same gates; level 1 leaves two
thirds more two-qubit gates in a Fourier transform."""
_LONGEST_REASON: Final = 200


class Compiler:
    """Compiles the circuits of one request."""

    def __init__(self, document: Mapping[str, Any], dt_ns: float | None) -> None:
        """Prepare.

        Args:
            document: of a :class:`~qpu_backend.engines.decoded.Compilation`.
            dt_ns: what a delay in ``dt`` is.
        """
        target = target_of(Snapshot.from_document(document["calibration"]), Op(document["two_qubit_gate"]))
        target.add_instruction(ForLoopOp, name="for_loop")
        if dt_ns is not None:
            target.dt = 1e-9 * dt_ns
        self._num_qubits = int(target.num_qubits)
        self._passes: Any = generate_preset_pass_manager(LEVEL, target=target, seed_transpiler=document["seed"])

    def compile(self, circuit: QuantumCircuit, index: int) -> tuple[QuantumCircuit, list[int]]:
        """The circuit in the target's instructions, and where each of its qubits is at its end.

        Raises:
            InvalidCircuit: it does not fit, or holds what no device here can do.
        """
        if not 0 < circuit.num_qubits <= self._num_qubits:
            message = f"circuit {index} has {circuit.num_qubits} qubits; the backend has {self._num_qubits}"
            raise TooMuchDeclared(message, circuit=index)
        try:
            compiled: Any = self._passes.run(circuit)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a pass trips over
            text = str(error.message) if isinstance(error, QiskitError) else str(error)
            reason = (text.splitlines() or [type(error).__name__])[0].strip("'\"")[:_LONGEST_REASON]
            raise InvalidCircuit(f"circuit {index} cannot be compiled: {reason}", circuit=index) from None
        layout = compiled.layout
        final = range(circuit.num_qubits) if layout is None else layout.final_index_layout(filter_ancillas=True)
        return compiled, [int(qubit) for qubit in final]


def warm_up() -> None:
    """Compile something of every kind: a child can open no file, so whatever a pass loads must be loaded before."""
    for gate in (Op.ECR, Op.CX, Op.CZ):
        document = {"calibration": _line(5, gate).to_document(), "two_qubit_gate": int(gate), "seed": 1}
        for circuit in _of_every_kind() if gate is Op.ECR else _of_every_kind()[:1]:
            with suppress(InvalidCircuit):
                Compiler(document, 1.0).compile(circuit, 0)


def _line(num_qubits: int, gate: Op) -> Snapshot:
    qubit = QubitProperties(100.0, 100.0, None, None, 0.01, 0.01, 1000.0)
    gates = {(op, (q,)): GateProperties(1e-4, 50.0) for op in (Op.RZ, Op.SX, Op.X, Op.RESET) for q in range(num_qubits)}
    gates |= {(gate, (q, q + 1)): GateProperties(1e-2, 500.0) for q in range(num_qubits - 1)}
    return Snapshot("warm", 1, 0, 0, (qubit,) * num_qubits, gates, {})


def _of_every_kind() -> list[QuantumCircuit]:
    ghz = QuantumCircuit(5, 5)
    ghz.h(0)
    for target in range(1, 5):
        ghz.cx(0, target)
    ghz.measure(range(5), range(5))

    angles = [Parameter(f"a{index}") for index in range(3)]
    bound = QuantumCircuit(4, 4)
    bound.u(angles[0], angles[1], angles[2], 0)
    bound.crx(2 * angles[0] + 1, 0, 2)
    bound.rzz(angles[1], 1, 3)
    bound.swap(0, 3)
    bound.barrier()
    bound.delay(100, 1, unit="dt")
    bound.delay(1e-7, 1, unit="s")
    bound.reset(2)
    bound.measure([0, 1, 2, 3], [0, 1, 2, 3])
    with bound.if_test((bound.clbits[0], 1)) as otherwise:
        bound.cx(0, 3)
    with otherwise:
        bound.ry(angles[2], 1)
    with bound.for_loop(range(2)):
        bound.ccx(0, 1, 2)

    library = QuantumCircuit(5)
    library.append(QFTGate(4), range(4))
    library.append(PauliEvolutionGate(SparsePauliOp(["XXI", "IZZ"]), time=0.3), range(3))
    library.append(StatePreparation([0.6, 0.0, 0.0, 0.8]), [0, 1])
    library.append(UnitaryGate(np.eye(4)[::-1]), [3, 4])
    library.mcx([0, 1, 2], 4)
    library.mcp(0.3, [0, 1, 2], 3)
    library.cswap(0, 1, 2)

    opaque = QuantumCircuit(1)
    opaque.append(Gate("opaque", 1, []), [0])
    return [ghz, bound, library, opaque]
