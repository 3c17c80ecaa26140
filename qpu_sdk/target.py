# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""A backend's document (topology and calibration) → Qiskit's ``Target``: what the compiler may use now.

Every calibrated direction of a gate is there and no other; an unusable qubit or edge is simply absent. Durations are
in s.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from qiskit.circuit import ForLoopOp, IfElseOp, SwitchCaseOp, WhileLoopOp
from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping
from qiskit.transpiler import InstructionProperties, QubitProperties, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qpu_sdk.wire.models import BackendDocument, GateCalibration

SYMMETRIC_GATES: Final = frozenset({"cz", "rzz"})
"""Gates that are the same in both directions, whichever one was calibrated."""

Properties = dict[tuple[int, ...], "InstructionProperties | None"]

_CONTROL_FLOW: Final = {
    "if_else": IfElseOp,
    "for_loop": ForLoopOp,
    "while_loop": WhileLoopOp,
    "switch_case": SwitchCaseOp,
}


def build_target(document: BackendDocument) -> Target:
    """Everything the document says, as Qiskit's compiler wants it."""
    target = Target(
        description=document.description or document.name,
        num_qubits=document.num_qubits,
        dt=document.dt_ns * 1e-9,
        granularity=document.granularity,
        min_length=document.granularity,
        pulse_alignment=document.pulse_alignment,
        acquire_alignment=document.acquire_alignment,
        qubit_properties=[_qubit_properties(document, qubit) for qubit in range(document.num_qubits)],
    )
    standard = get_standard_gate_name_mapping()
    properties = instruction_properties(document)
    for name in document.basis_gates:
        if name in standard and properties[name]:
            target.add_instruction(standard[name], properties[name], name=name)
    for name in document.control_flow:
        if name in _CONTROL_FLOW:
            target.add_instruction(_CONTROL_FLOW[name], name=name)
    return target


def instruction_properties(document: BackendDocument) -> Mapping[str, Properties]:
    """For every basis gate, where it may be used (qubits in order) and how well it works there."""
    usable = [qubit for qubit, calibration in enumerate(document.qubits) if calibration is not None]
    properties: dict[str, Properties] = {name: {} for name in document.basis_gates}
    for gate in document.gates:
        if gate.name in properties and all(document.qubits[qubit] is not None for qubit in gate.qubits):
            _add_gate(properties[gate.name], gate)
    for qubit in usable:
        calibration = document.qubits[qubit]
        if calibration is not None and "measure" in properties:
            properties["measure"][(qubit,)] = InstructionProperties(
                duration=calibration.readout_duration_ns * 1e-9, error=calibration.readout_error
            )
    for name in ("delay", "reset"):
        if name in properties and not properties[name]:
            properties[name] = {(qubit,): None for qubit in usable}
    return properties


def _add_gate(places: Properties, gate: GateCalibration) -> None:
    measured = InstructionProperties(duration=gate.duration_ns * 1e-9, error=gate.error)
    places[tuple(gate.qubits)] = measured
    if gate.name in SYMMETRIC_GATES:
        places.setdefault(tuple(reversed(gate.qubits)), measured)


def _qubit_properties(document: BackendDocument, qubit: int) -> Any:
    calibration = document.qubits[qubit]
    if calibration is None:
        return QubitProperties()
    return QubitProperties(t1=calibration.t1_us * 1e-6, t2=calibration.t2_us * 1e-6, frequency=calibration.frequency_hz)
