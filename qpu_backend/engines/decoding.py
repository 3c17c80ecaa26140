"""Clients' bytes → circuits as values. Runs only in a limited child (:mod:`qpu_backend.engines.zygote`).

The only readers are ``qiskit.qpy.load`` and ``qiskit.qasm3.loads``: the other OpenQASM loaders open files that
``include`` names.
"""

# Qiskit ships no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from qiskit import qasm3, qpy
from qiskit.qpy.common import QPY_VERSION

from qpu_backend.engines.compiling import Compiler
from qpu_backend.engines.invalid_circuit import (
    DecodingFailed,
    InvalidBindings,
    InvalidCircuit,
    MalformedCircuit,
    TooMuchDeclared,
)
from qpu_backend.engines.lowering import Lowering, OperationBudget

if TYPE_CHECKING:
    from qiskit.circuit import QuantumCircuit

    from qpu_backend.physics.circuit import IsaCircuit

MAX_QPY_VERSION: int = QPY_VERSION
"""The newest QPY that this Qiskit reads."""


def answer(request: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """One request document → ``(answer document, whether this process is still fit for the next one)``.

    Nothing escapes: a mutated QPY may raise a Rust panic, which is a ``BaseException``.
    """
    try:
        return decode(request), True
    except InvalidCircuit as refusal:
        return _refused(refusal), True
    except (MemoryError, RecursionError):
        return _refused(DecodingFailed("the circuits need more memory to decode than a job may use")), False
    except BaseException:  # noqa: BLE001 - see above
        return _refused(DecodingFailed("the circuits cannot be decoded")), False


def decode(request: dict[str, Any]) -> dict[str, Any]:
    """One request document → answer document with ``circuits``, ``widths``, ``angles`` and ``layouts``.

    Raises:
        InvalidCircuit: the circuits or the bindings are refused.
    """
    limits: dict[str, int] = request["limits"]
    own_gates = request["codec"] == "qasm3"
    loaded = _load_qasm3(request["programs"]) if own_gates else _load_qpy(request["qpy"])
    _check_declared(loaded, limits)
    budget = OperationBudget(limits["max_operations"])
    runnable = loaded
    layouts: list[list[int]] = []
    if request.get("compilation") is not None:
        compiler = Compiler(request["compilation"], request["dt_ns"])
        compiled = [compiler.compile(circuit, index) for index, circuit in enumerate(loaded)]
        runnable, layouts = [circuit for circuit, _ in compiled], [layout for _, layout in compiled]
    circuits: list[IsaCircuit] = []
    lowerings: list[Lowering] = []
    for index, circuit in enumerate(runnable):
        lowering = Lowering(circuit, index, dt_ns=request["dt_ns"], budget=budget, own_gates=own_gates)
        circuits.append(lowering.lower())
        lowerings.append(lowering)
    parameters = [list(circuit.parameters) for circuit in loaded]
    angles: list[Any] = []
    entries = 0
    for pub, (circuit, values) in enumerate(request["pubs"]):
        if not 0 <= circuit < len(loaded):
            message = f"pub {pub} names circuit {circuit}, but there are {len(loaded)}"
            raise InvalidBindings(message, field=f"pubs.{pub}.circuit")
        slots = lowerings[circuit].slots
        entries += len(slots) * (1 if values is None else len(values))
        if entries > limits["max_angles"]:
            message = f"circuits and bindings make more than {limits['max_angles']} angles"
            raise TooMuchDeclared(message, field=f"pubs.{pub}.bindings")
        angles.append(slots.table(parameters[circuit], values, pub))
    return {
        "circuits": [circuit.to_document() for circuit in circuits],
        "widths": [circuit.num_qubits for circuit in loaded],
        "angles": angles,
        "layouts": layouts,
    }


def _load_qpy(data: bytes) -> list[QuantumCircuit]:
    try:
        return list(qpy.load(io.BytesIO(data)))
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - whatever the reader trips over; its text may hold a stack trace
        raise MalformedCircuit("the circuits cannot be read as QPY: the document is damaged") from None


def _load_qasm3(programs: list[str]) -> list[QuantumCircuit]:
    circuits: list[QuantumCircuit] = []
    for index, program in enumerate(programs):
        try:
            circuits.append(qasm3.loads(program))
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - as above; its first line says what the language lacks
            reason = (str(error).splitlines() or [""])[0][:200]
            message = f"circuit {index} cannot be read as OpenQASM 3: {reason}"
            raise MalformedCircuit(message, circuit=index) from None
    return circuits


def _check_declared(circuits: list[QuantumCircuit], limits: dict[str, int]) -> None:
    for index, circuit in enumerate(circuits):
        for count, limit, what in (
            (circuit.num_qubits, limits["max_qubits"], "qubits"),
            (circuit.num_clbits, limits["max_clbits"], "classical bits"),
        ):
            if count > limit:
                raise TooMuchDeclared(f"circuit {index} declares {count} {what}; the limit is {limit}", circuit=index)


def _refused(refusal: InvalidCircuit) -> dict[str, Any]:
    return {"refused": [type(refusal).__name__, refusal.message[:500], refusal.field, refusal.circuit]}
