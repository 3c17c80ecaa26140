"""What goes into a decoding child and what comes out of it: values, their frames, and the check of every answer.

A child reads hostile bytes and may be compromised, so its answer is as untrusted as the client: :func:`read_answer`
checks each shape and range before a value of it is used. Nothing here imports Qiskit.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from qpu_backend.engines.invalid_circuit import REFUSALS, DecodingFailed
from qpu_backend.physics.circuit import OPERATION, TWO_QUBIT_GATES, IsaCircuit, Op, Operations
from qpu_sdk.wire.codec import pack, unpack
from qpu_sdk.wire.errors import MalformedPayload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from qpu_backend.physics.snapshot import Snapshot

Codec = Literal["qpy+zlib", "qasm3"]


@dataclass(frozen=True, slots=True)
class DecodingLimits:
    """The published limits on circuits, and what a child may use.

    Attributes:
        max_inflated_bytes: QPY after inflation, or OpenQASM text.
        max_circuits: circuits of one request.
        max_qubits: declared qubits of one circuit.
        max_clbits: declared classical bits of one circuit.
        max_operations: operations of all circuits together, loops unrolled.
        max_angles: entries of all angle tables together.
        wall_s: after this long a child is killed.
        memory_bytes: what a child may use beyond a warm one.
        requests_per_child: after this many a child is replaced by a fresh one.
    """

    max_inflated_bytes: int = 16 << 20
    max_circuits: int = 300
    max_qubits: int = 1_000
    max_clbits: int = 4_096
    max_operations: int = 250_000
    max_angles: int = 4_000_000
    wall_s: float = 2.0
    memory_bytes: int = 512 << 20
    requests_per_child: int = 1_000

    @property
    def max_answer_bytes(self) -> int:
        """More than any honest answer within these limits takes."""
        return (64 << 20) + 64 * self.max_operations + 8 * self.max_angles


@dataclass(frozen=True, slots=True, eq=False)
class PubBinding:
    """The circuit of one pub and the values of its parameters.

    Attributes:
        circuit: index of the circuit.
        values: float64, shape ``(num_bindings, num_parameters)``, columns in the order of ``circuit.parameters``;
            ``None`` for a circuit without parameters.
    """

    circuit: int
    values: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Compilation:
    """What abstract circuits are compiled for.

    Attributes:
        calibration: of the qubits there are, numbered from 0.
        two_qubit_gate: the one to use.
        seed: of layout and routing; the same one gives the same circuits.
    """

    calibration: Snapshot
    two_qubit_gate: Op
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class DecodingRequest:
    """What a client sent.

    Attributes:
        codec: ``qpy+zlib`` (zlib over QPY) or ``qasm3`` (a JSON list of programs, UTF-8).
        data: the bytes, untrusted.
        pubs: one entry a pub, in order.
        dt_ns: what a delay in ``dt`` is on this backend, in ns; ``None`` refuses such delays.
        compilation: what to compile the circuits for; ``None`` where they are the backend's own already.
    """

    codec: Codec
    data: bytes
    pubs: tuple[PubBinding, ...]
    dt_ns: float | None = None
    compilation: Compilation | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """The circuits as values.

    Attributes:
        circuits: in the order of the document; not yet checked against any backend.
        widths: declared qubits of each circuit, idle ones included.
        angles: per pub, float64, shape ``(num_bindings, circuit.num_slots)``, finite; one row without bindings.
        layouts: of circuits that were compiled: where each of its qubits is at the end of each.
    """

    circuits: tuple[IsaCircuit, ...]
    widths: tuple[int, ...]
    angles: tuple[NDArray[np.float64], ...]
    layouts: tuple[tuple[int, ...], ...] = ()


def encode_request(request: DecodingRequest, checked: bytes | list[str], limits: DecodingLimits) -> bytes:
    """The frame for a child.

    Args:
        request: what the client sent.
        checked: its QPY, inflated, or its OpenQASM programs; headers checked.
        limits: the published limits.
    """
    return pack(
        {
            "codec": request.codec,
            "qpy": checked if isinstance(checked, bytes) else None,
            "programs": None if isinstance(checked, bytes) else checked,
            "pubs": [[pub.circuit, pub.values] for pub in request.pubs],
            "dt_ns": request.dt_ns,
            "compilation": None if request.compilation is None else _compilation_document(request.compilation),
            "limits": {
                "max_qubits": limits.max_qubits,
                "max_clbits": limits.max_clbits,
                "max_operations": limits.max_operations,
                "max_angles": limits.max_angles,
            },
        }
    )


def _compilation_document(compilation: Compilation) -> dict[str, Any]:
    return {
        "calibration": compilation.calibration.to_document(),
        "two_qubit_gate": int(compilation.two_qubit_gate),
        "seed": compilation.seed,
    }


def read_answer(frame: bytes, request: DecodingRequest, limits: DecodingLimits) -> Decoded:
    """A child's frame → circuits and tables, every shape and range checked.

    Raises:
        InvalidCircuit: the child refused the circuits, or its answer is not one that an honest child gives.
    """
    try:
        document: Any = unpack(frame)
        refused: Any = document.get("refused")
        if refused is None:
            return _checked(document, request, limits)
        name, message, field, circuit = refused
        refusal = REFUSALS[name](str(message), field=str(field), circuit=None if circuit is None else int(circuit))
    except (MalformedPayload, ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError):
        raise DecodingFailed("the circuits made the decoder answer nonsense") from None
    raise refusal


def _checked(document: dict[str, Any], request: DecodingRequest, limits: DecodingLimits) -> Decoded:
    circuits = tuple(_checked_circuit(entry, limits) for entry in document["circuits"])
    widths = tuple(int(width) for width in document["widths"])
    angles: tuple[NDArray[np.float64], ...] = tuple(document["angles"])
    _require(0 < len(circuits) <= limits.max_circuits and len(widths) == len(circuits))
    _require(all(0 <= width <= limits.max_qubits for width in widths))
    layouts = _checked_layouts(document.get("layouts", []), widths, request.compilation)
    places = widths if request.compilation is None else (request.compilation.calibration.num_qubits,) * len(widths)
    _require(all(not c.qubits or c.qubits[-1] < place for c, place in zip(circuits, places, strict=True)))
    _require(len(angles) == len(request.pubs))
    for pub, table in zip(request.pubs, angles, strict=True):
        rows = 1 if pub.values is None else len(pub.values)
        _require(table.dtype == np.float64 and table.shape == (rows, circuits[pub.circuit].num_slots))
        _require(bool(np.isfinite(table).all()))
    return Decoded(circuits, widths, angles, layouts)


def _checked_layouts(
    document: list[list[int]], widths: tuple[int, ...], compilation: Compilation | None
) -> tuple[tuple[int, ...], ...]:
    layouts = tuple(tuple(layout) for layout in document)
    if compilation is None:
        _require(not layouts)
        return ()
    _require(len(layouts) == len(widths))
    for layout, width in zip(layouts, widths, strict=True):
        _require(_are_integers(layout, compilation.calibration.num_qubits))
        _require(len(layout) == width == len(set(layout)))
    return layouts


def _checked_circuit(document: dict[str, Any], limits: DecodingLimits) -> IsaCircuit:
    circuit = IsaCircuit.from_document(document)
    qubits, clbits = circuit.qubits, circuit.num_clbits
    _require(_are_integers(qubits, limits.max_qubits) and all(a < b for a, b in pairwise(qubits)))
    _require(_are_integers((clbits,), limits.max_clbits + 1))
    _require(_are_integers((circuit.num_slots,), limits.max_operations + 1))
    for register in circuit.registers:
        _require(type(register.name) is str and _are_integers(register.clbits, clbits))
    for group in circuit.groups:
        _require(_are_integers(group, len(qubits)) and len(set(group)) == len(group))
    _require_operations(circuit.operations, circuit, below=len(circuit.conditionals))
    for index, conditional in enumerate(circuit.conditionals):
        _require(_are_integers(conditional.clbits, clbits) and 0 <= conditional.value < 2 ** len(conditional.clbits))
        for body in (conditional.then_body, conditional.else_body):
            _require_operations(body, circuit, below=index)
    _require(circuit.num_operations <= limits.max_operations)
    return circuit


def _require_operations(body: Operations, circuit: IsaCircuit, *, below: int) -> None:
    """Every index in range; ``if_else`` refers to conditionals below its own only, so that no circle can arise."""
    _require(body.dtype == OPERATION and body.ndim == 1)
    code = body["code"]
    _require(bool(_IS_KNOWN[code].all() and np.isfinite(body["value"]).all()))
    qubits = len(circuit.qubits)
    sizes = np.array([qubits, qubits, circuit.num_clbits, circuit.num_slots, len(circuit.groups)])
    highest = np.where(_IS_USED, sizes[:, None] - 1, -1)
    highest[_INDICES.index("aux"), Op.IF] = below - 1
    indices = np.array([body[name] for name in _INDICES])
    _require(bool(((indices >= _LOWEST[:, code]) & (indices <= highest[:, code])).all()))
    _require(not (_IS_PAIR[code] & (body["q0"] == body["q1"])).any())


def _are_codes(ops: Iterable[Op]) -> NDArray[np.bool_]:
    """Per operation code."""
    return np.isin(np.arange(256), [int(op) for op in ops])


_INDICES: Final = ("q0", "q1", "clbit", "slot", "aux")
"""What an operation refers to, −1 where it does not."""
_IS_KNOWN: Final = _are_codes(Op)
_IS_PAIR: Final = _are_codes(TWO_QUBIT_GATES)
_IS_USED: Final = np.array(
    [
        _are_codes(set(Op) - {Op.BARRIER, Op.IF}),
        _IS_PAIR,
        _are_codes({Op.MEASURE}),
        _are_codes({Op.RZ, Op.RZZ}),
        _are_codes({Op.BARRIER, Op.IF}),
    ]
)
"""By index and code."""
_LOWEST: Final = np.where(_IS_USED & np.array([[name != "slot"] for name in _INDICES]), 0, -1)
"""An angle may stand in the operation itself: then it has no slot."""


def _are_integers(values: tuple[Any, ...], below: int) -> bool:
    return all(type(value) is int and 0 <= value < below for value in values)


def _require(truth: bool) -> None:
    if not truth:
        raise DecodingFailed("the circuits made the decoder answer nonsense")
