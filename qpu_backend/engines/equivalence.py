"""Whether a gate that an OpenQASM program defines itself is the standard gate of that name.

``stdgates.inc`` lacks ``ecr`` and ``rzz``, so every program for such a device, Qiskit's own exports included, spells
them out. The name alone proves nothing: the unitaries are compared.
"""

# Qiskit ships no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false

from __future__ import annotations

import cmath
from typing import Any, Final

import numpy as np
from qiskit.circuit import Gate
from qiskit.circuit.library import ECRGate, RZZGate, SXGate
from qiskit.quantum_info import Operator

_STANDARD: Final[dict[str, tuple[Any, int, int]]] = {
    "ecr": (ECRGate, 2, 0),
    "rzz": (RZZGate, 2, 1),
    "sx": (SXGate, 1, 0),
}
"""Name → gate, qubits, parameters."""
_TRIAL: Final = 0.7390851332
"""Stands for the free parameters, at a spacing of its own, when a parametric definition is compared."""
_MAX_DEFINITION: Final = 64


def means_standard_gate(operation: Any) -> bool:
    """Whether the definition gives the unitary of the standard gate of that name, up to a global phase."""
    standard = _STANDARD.get(operation.name)
    if standard is None or type(operation) is not Gate:
        return False
    kind, num_qubits, num_parameters = standard
    definition = operation.definition
    if definition is None or operation.num_qubits != num_qubits or len(operation.params) != num_parameters:
        return False
    if len(definition.data) > _MAX_DEFINITION:
        return False
    free = list(definition.parameters)
    trial = {parameter: _TRIAL * (1 + position) for position, parameter in enumerate(free)}
    angles = [_value(angle, trial) for angle in operation.params]
    ours = Operator(definition.assign_parameters(trial) if trial else definition).data
    return _equal_up_to_phase(ours, kind(*angles).to_matrix())


def _value(angle: Any, trial: dict[Any, float]) -> float:
    parameters = getattr(angle, "parameters", ())
    return float(angle.bind_all({parameter: trial[parameter] for parameter in parameters}) if parameters else angle)


def _equal_up_to_phase(left: Any, right: Any) -> bool:
    overlap = complex(np.vdot(right, left)) / len(right)
    return abs(abs(overlap) - 1) < 1e-9 and bool(
        np.allclose(left, right * cmath.exp(1j * cmath.phase(overlap)), atol=1e-9)
    )
