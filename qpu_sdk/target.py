# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""A backend's document (topology and calibration) → Qiskit's ``Target``: what the compiler may use now.

Every calibrated direction of a gate is there and no other; an unusable qubit or edge is simply absent. Durations are
in s. A native ``rzz`` has bounds; the compiler folds constant angles, and the service refuses bound ones outside them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from qiskit.circuit import ForLoopOp, IfElseOp, QuantumCircuit, SwitchCaseOp, WhileLoopOp
from qiskit.circuit.library.standard_gates import get_standard_gate_name_mapping
from qiskit.converters import circuit_to_dag
from qiskit.transpiler import InstructionProperties, QubitProperties, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from qiskit.dagcircuit import DAGCircuit

    from qpu_sdk.wire.crosstalk import CrosstalkDocument
    from qpu_sdk.wire.models import BackendDocument, GateCalibration

SYMMETRIC_GATES: Final = frozenset({"cz", "rzz"})
"""Gates that are the same in both directions, whichever one was calibrated."""

RZZ_BOUNDS: Final = (0.0, math.pi / 2)
"""Angles of a native ``rzz``, in rad, both inclusive."""

Properties = dict[tuple[int, ...], "InstructionProperties | None"]

_CONTROL_FLOW: Final = {
    "if_else": IfElseOp,
    "for_loop": ForLoopOp,
    "while_loop": WhileLoopOp,
    "switch_case": SwitchCaseOp,
}


class PublishedTarget(Target):  # pyright: ignore[reportUntypedBaseClass]
    """A ``Target`` that can say what it was made of. A copy of it, or one from another process, is a plain one.

    Attributes:
        published: gives calibration and crosstalk as they are published; for stages of the compiler.
    """

    published: Callable[[], tuple[BackendDocument, CrosstalkDocument | None]] | None = None


def build_target(
    document: BackendDocument,
    published: Callable[[], tuple[BackendDocument, CrosstalkDocument | None]] | None = None,
) -> Target:
    """Everything the document says, as Qiskit's compiler wants it.

    Args:
        document: topology and calibration.
        published: what stages of the compiler may ask for more.
    """
    target = PublishedTarget(
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
            bounds = [RZZ_BOUNDS] if name == "rzz" else None
            target.add_instruction(standard[name], properties[name], name=name, angle_bounds=bounds)
    target.published = published or (lambda: (document, None))
    if target.has_angle_bounds():
        _teach_folding()
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


def fold_rzz(angle: float) -> tuple[float, bool, bool, float]:
    """``rzz`` of any angle by one within the bounds, in rad.

    With k the multiple of π nearest to the angle, what is left of it is folded by ``rzz(−θ) = X₁·rzz(θ)·X₁``, and
    ``rzz(kπ)`` is, up to a global phase, nothing or a Z on both qubits.

    Returns:
        The angle within bounds; whether an X goes before and after, on one qubit; whether a Z goes on both, as
        ``rz(π)``; the global phase.
    """
    turns = round(angle / math.pi)
    rest = angle - turns * math.pi
    odd = turns % 2 == 1
    phase = -turns * math.pi / 2 + (math.pi if odd else 0.0)  # rzz(kπ) = (−iZZ)ᵏ, and rz(π)rz(π) = −ZZ
    return min(abs(rest), RZZ_BOUNDS[1]), rest < 0, odd, phase


def _teach_folding() -> None:
    """Let Qiskit's compiler bring constant angles of ``rzz`` within the bounds of a target."""
    from qiskit.transpiler.passes import WrapAngles  # noqa: PLC0415  # heavy, and only for devices with rzz

    WrapAngles.DEFAULT_REGISTRY.add_wrapper("rzz", _folded_rzz)


def _folded_rzz(angles: list[float], _qubits: list[int]) -> DAGCircuit:
    angle, flipped, turned, phase = fold_rzz(angles[0])
    circuit = QuantumCircuit(2, global_phase=phase)
    if flipped:
        circuit.x(0)
    if angle:
        circuit.rzz(angle, 0, 1)
    if flipped:
        circuit.x(0)
    if turned:
        circuit.rz(math.pi, 0)
        circuit.rz(math.pi, 1)
    return circuit_to_dag(circuit)


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
