# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""What a circuit would give without noise, to draw beside what was measured. Qiskit is loaded with the first one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from qpu_sdk.errors import InvalidRequestError

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

_MOST_QUBITS: Final = 16
_NOTHING: Final = 1e-12


def probabilities_of(ideal: QuantumCircuit | Mapping[str, float]) -> dict[str, float]:
    """Bit string → probability.

    Args:
        ideal: counts or probabilities by bit string, or the circuit: computed on the qubits that it acts on.

    Raises:
        InvalidRequestError: the circuit has more than 16 such qubits, or does something after it measured.
    """
    if isinstance(ideal, Mapping):
        counts = {key.replace(" ", ""): float(value) for key, value in ideal.items()}
        total = sum(counts.values())
        if total <= 0 or min(counts.values()) < 0:
            raise InvalidRequestError("ideal counts are not negative, and not all 0", field="ideal")
        return {key: value / total for key, value in counts.items()}
    return _simulated(ideal)


def _simulated(circuit: Any) -> dict[str, float]:
    from qiskit.circuit import QuantumCircuit  # noqa: PLC0415 - heavy, and only for this
    from qiskit.quantum_info import Statevector  # noqa: PLC0415

    active: dict[Any, int] = {}
    read: dict[int, Any] = {}
    steps: list[tuple[Any, list[Any]]] = []
    for one in circuit.data:
        if one.operation.name in {"barrier", "delay"}:
            continue
        if any(qubit in read.values() for qubit in one.qubits):
            raise InvalidRequestError(
                "the ideal of a circuit that goes on after a measurement is not drawn", field="ideal"
            )
        if one.operation.name == "measure":
            active.setdefault(one.qubits[0], len(active))
            read[circuit.find_bit(one.clbits[0]).index] = one.qubits[0]
            continue
        for qubit in one.qubits:
            active.setdefault(qubit, len(active))
        steps.append((one.operation, list(one.qubits)))
    if len(active) > _MOST_QUBITS:
        raise InvalidRequestError(f"the ideal of {len(active)} qubits is not computed here: give counts", field="ideal")
    small: Any = QuantumCircuit(max(1, len(active)))
    for operation, qubits in steps:
        small.append(operation, [active[qubit] for qubit in qubits])
    slots = sorted(read)
    found = Statevector(small).probabilities_dict([active[read[slot]] for slot in slots])
    ideal: dict[str, float] = {}
    for key, probability in found.items():
        bits = dict(zip(slots, reversed(key), strict=True))
        name = "".join(bits.get(slot, "0") for slot in reversed(range(circuit.num_clbits)))
        if probability > _NOTHING:
            ideal[name] = float(probability)
    return ideal
