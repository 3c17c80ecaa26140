"""Circuits, bindings and observables → wire documents. This file needs Qiskit: it is loaded only where needed.

What goes up is only what the device must know: no circuit metadata, no annotations, no transpiler layout.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)

from __future__ import annotations

import base64
import io
import json
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from qiskit import qpy
from qiskit.circuit import Delay

from qpu_sdk.wire.errors import MalformedPayload, UnsupportedCircuit
from qpu_sdk.wire.models import MIN_QPY_VERSION, BindingsArray, CircuitPayload, Observable, PauliTerm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from qiskit import QuantumCircuit
    from qiskit.primitives.containers.bindings_array import BindingsArray as QiskitBindings
    from qiskit.quantum_info import SparseObservable

MAX_TERMS: Final = 10_000
"""Pauli terms that one observable may have on the wire."""

_SECONDS: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9, "ps": 1e-12}

_FASTEST: Final = 1  # circuits repeat themselves: level 1 gives most of what level 9 gives, at a tenth of the time


class _WithoutMetadata(json.JSONEncoder):
    """Writes every metadata as empty: nested blocks have their own, which not every Qiskit forgets on copy."""

    def encode(self, o: object) -> str:
        del o
        return "{}"


def encode_circuits(
    circuits: Sequence[QuantumCircuit], server_qpy_version: int, dt_s: float | None = None
) -> CircuitPayload:
    """Circuits → zlib over QPY at the newest version that both sides know. The circuits are not changed.

    Args:
        circuits: what to send.
        server_qpy_version: the newest version that the service reads.
        dt_s: the device's sample time. QPY does not keep the unit of a delay (Qiskit/qiskit#8293), so every delay
            travels in whole samples.

    Raises:
        UnsupportedCircuit: the two sides share no QPY version, or QPY cannot express a circuit.
    """
    version = min(server_qpy_version, qpy.QPY_VERSION)
    if version < max(MIN_QPY_VERSION, qpy.QPY_COMPATIBILITY_VERSION):
        raise UnsupportedCircuit(
            f"the service reads QPY up to version {server_qpy_version}, but this Qiskit writes "
            f"{qpy.QPY_COMPATIBILITY_VERSION} to {qpy.QPY_VERSION}"
        )
    buffer = io.BytesIO()
    try:
        bare = [_in_samples(_bare(circuit), dt_s) for circuit in circuits]
        qpy.dump(bare, buffer, metadata_serializer=_WithoutMetadata, version=version)
    except UnsupportedCircuit:
        raise
    except Exception as error:
        raise UnsupportedCircuit(f"QPY version {version} cannot express the circuits: {error}") from error
    return CircuitPayload(data=base64.b64encode(zlib.compress(buffer.getvalue(), _FASTEST)))


def distinct_circuits(circuits: list[Any]) -> tuple[list[Any], dict[int, int]]:
    """Circuit objects without repetition, and the place of each by ``id``: a circuit in many pubs goes up once."""
    index_of: dict[int, int] = {}
    kept: list[Any] = []
    for circuit in circuits:
        if id(circuit) not in index_of:
            index_of[id(circuit)] = len(kept)
            kept.append(circuit)
    return kept, index_of


def decode_circuits(payload: CircuitPayload) -> list[QuantumCircuit]:
    """Inverse of :func:`encode_circuits`, for bytes you trust: reading QPY from strangers needs a limited process.

    Raises:
        MalformedPayload: the bytes are not zlib over QPY.
    """
    try:
        return list(qpy.load(io.BytesIO(zlib.decompress(payload.data))))
    except Exception as error:
        raise MalformedPayload(f"not circuits: {error}") from error


def _bare(circuit: QuantumCircuit) -> QuantumCircuit:
    """A shallow copy without metadata and without layout (which alone is as large as the circuit)."""
    copy = circuit.copy()
    copy.metadata = {}
    copy._layout = None  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]  # there is no public way to forget it
    return copy


def _in_samples(circuit: QuantumCircuit, dt_s: float | None) -> QuantumCircuit:
    """The same circuit with every delay in whole samples, nested blocks too; itself where nothing changes."""
    if not _other_units(circuit):
        return circuit
    fresh = circuit.copy_empty_like()
    for instruction in circuit.data:
        operation = instruction.operation
        if instruction.name == "delay" and operation.unit != "dt":
            operation = Delay(_samples(operation.duration, operation.unit, dt_s), unit="dt")
        elif instruction.is_control_flow():
            operation = operation.replace_blocks([_in_samples(block, dt_s) for block in operation.blocks])
        fresh.append(operation, instruction.qubits, instruction.clbits)
    return fresh


def _other_units(circuit: QuantumCircuit) -> bool:
    """Whether a delay, at any depth, is not in samples."""
    for instruction in circuit.data:
        if instruction.name == "delay" and instruction.operation.unit != "dt":
            return True
        if instruction.is_control_flow() and any(_other_units(block) for block in instruction.operation.blocks):
            return True
    return False


def _samples(length: object, unit: str, dt_s: float | None) -> int:
    if dt_s is None or unit not in _SECONDS or not isinstance(length, int | float | np.number):
        raise UnsupportedCircuit(f"a delay of {length} {unit} has no length in samples; give it in dt")
    return round(float(length) * _SECONDS[unit] / dt_s)


def encode_bindings(values: NDArray[np.float64]) -> BindingsArray:
    """Parameter values, shape ``(num_bindings, num_parameters)``, columns in the order of ``circuit.parameters``."""
    table = np.ascontiguousarray(values, dtype="<f8")
    num_bindings, num_parameters = table.shape
    data = base64.b64encode(table.tobytes())
    return BindingsArray(num_bindings=num_bindings, num_parameters=num_parameters, data=data)


def decode_bindings(bindings: BindingsArray) -> NDArray[np.float64]:
    """Inverse of :func:`encode_bindings`.

    Raises:
        MalformedPayload: the bytes do not fill the declared shape.
    """
    shape = (bindings.num_bindings, bindings.num_parameters)
    if len(bindings.data) != 8 * shape[0] * shape[1]:
        raise MalformedPayload(f"{len(bindings.data)} bytes are not a float64 array of shape {shape}")
    return np.frombuffer(bindings.data, dtype="<f8").reshape(shape)


def binding_table(circuit: QuantumCircuit, bindings: QiskitBindings) -> NDArray[np.float64]:
    """All bindings of a pub, shape ``(size, num_parameters)``, columns in the order of ``circuit.parameters``."""
    columns: dict[str, NDArray[np.float64]] = {}
    for names, values in bindings.data.items():
        flat = np.reshape(values, (bindings.size, len(names)))
        columns.update((name, flat[:, index]) for index, name in enumerate(names))
    return np.stack([columns[parameter.name] for parameter in circuit.parameters], axis=1)


def encode_observable(observable: SparseObservable) -> Observable:
    """A Hermitian observable → its Pauli terms; projectors (``0 1 + - r l``) become ``(1 ± P) / 2``.

    Raises:
        UnsupportedCircuit: more than :data:`MAX_TERMS` Pauli terms.
    """
    if (count := _num_pauli_terms(observable)) > MAX_TERMS:
        raise UnsupportedCircuit(
            f"an observable has {count} Pauli terms (projectors expanded); the limit is {MAX_TERMS}"
        )
    paulis: Any = observable.as_paulis().simplify()
    terms = sorted(
        (sorted(zip(indices, letters, strict=True)), float(np.real(coefficient)))
        for letters, indices, coefficient in paulis.to_sparse_list()
    )
    return Observable(
        terms=[
            PauliTerm(
                paulis="".join(letter for _, letter in factors),
                qubits=[int(qubit) for qubit, _ in factors],
                coefficient=coefficient,
            )
            for factors, coefficient in terms
        ]
    )


def _num_pauli_terms(observable: SparseObservable) -> int:
    """Pauli terms after expanding projectors, before merging equal ones: each projector doubles its term."""
    paulis = {"X", "Y", "Z"}
    return sum(2 ** sum(letter not in paulis for letter in term[0]) for term in observable.to_sparse_list())
