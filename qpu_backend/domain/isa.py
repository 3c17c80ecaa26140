"""Whether a circuit is in a backend's own instructions: every refusal names the circuit, the operation and the qubits.

The errors belong to the family of :class:`~qpu_backend.domain.errors.CircuitRefused`; sizes are
:class:`~qpu_backend.domain.errors.TooLarge`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

import numpy as np

from qpu_backend.domain.errors import CircuitRefused, TooLarge
from qpu_backend.domain.quarantine import IN_SERVICE
from qpu_backend.physics.circuit import SYMMETRIC_GATES, TWO_QUBIT_GATES, Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from qpu_backend.domain.quarantine import Quarantine
    from qpu_backend.physics.circuit import IsaCircuit, Operations

RZZ_BOUNDS: Final = (0.0, math.pi / 2)
"""Angles of a native rzz, in rad; others are brought there by the transpiler."""
_ANGLE_TOLERANCE: Final = 1e-9
_MAX_DELAY_NS: Final = 1e9


class NotIsa(CircuitRefused):
    """The circuit is not in the backend's instructions.

    Attributes:
        operation: name of the operation at fault, ``None`` when the circuit as a whole is.
        qubits: the backend's qubits it acts on.
    """

    code = "not_isa"

    def __init__(
        self, message: str, *, circuit: int, operation: str | None = None, qubits: tuple[int, ...] = ()
    ) -> None:
        super().__init__(message, circuit=circuit)
        self.operation = operation
        self.qubits = qubits


@dataclass(frozen=True, slots=True)
class IsaTarget:
    """What a backend can do.

    Attributes:
        num_qubits: qubits of the backend, faulty ones included.
        basis: operations it knows (barrier and control flow included where supported).
        edges: per two-qubit operation the directed pairs of backend qubits that are calibrated.
        usable_qubits: qubits that work.
        max_clbits, max_operations: published limits per circuit, bodies of ``if_else`` included.
        elsewhere: qubits that work, and are not this backend's.
        why_elsewhere: what to say of them, after the qubit's name.
        quarantine: what works, and has been taken out of service.
    """

    num_qubits: int
    basis: frozenset[Op]
    edges: Mapping[Op, frozenset[tuple[int, int]]]
    usable_qubits: frozenset[int]
    max_clbits: int = 4_096
    max_operations: int = 100_000
    elsewhere: frozenset[int] = frozenset()
    why_elsewhere: str = "is not this backend's"
    quarantine: Quarantine = IN_SERVICE


def check(
    circuits: Sequence[IsaCircuit],
    target: IsaTarget,
    *,
    widths: Sequence[int] = (),
    angles: Sequence[tuple[int, NDArray[np.float64]]] = (),
) -> None:
    """Refuse the first thing that the target cannot do.

    Args:
        circuits: what was decoded.
        target: the backend.
        widths: declared qubits of each circuit, where known.
        angles: per pub its circuit and the angle table ``(num_bindings, num_slots)``.

    Raises:
        NotIsa: an operation, direction, qubit, bit, delay or angle that the backend does not have.
        TooLarge: more operations or classical bits than the published limits.
    """
    for index, circuit in enumerate(circuits):
        width = widths[index] if index < len(widths) else 0
        if width > target.num_qubits:
            raise NotIsa(f"circuit {index} has {width} qubits, the backend {target.num_qubits}", circuit=index)
        _check_sizes(index, circuit, target)
        for body in _bodies(circuit):
            _check_body(index, circuit, body, target)
        for conditional in circuit.conditionals:
            if any(not 0 <= clbit < circuit.num_clbits for clbit in conditional.clbits):
                raise NotIsa(f"an if_else of circuit {index} asks for an unknown classical bit", circuit=index)
    for pub, (index, table) in enumerate(angles):
        _check_bound_angles(pub, index, circuits[index], table)


def _bodies(circuit: IsaCircuit) -> Iterator[Operations]:
    yield circuit.operations
    for conditional in circuit.conditionals:
        yield conditional.then_body
        yield conditional.else_body


def _check_sizes(index: int, circuit: IsaCircuit, target: IsaTarget) -> None:
    field = f"circuits[{index}]"
    if circuit.num_clbits > target.max_clbits:
        asked = circuit.num_clbits
        raise TooLarge(f"classical bits of circuit {index}", limit=target.max_clbits, asked=asked, field=field)
    count = sum(len(body) for body in _bodies(circuit))
    if count > target.max_operations:
        raise TooLarge(f"operations of circuit {index}", limit=target.max_operations, asked=count, field=field)


def _check_body(index: int, circuit: IsaCircuit, body: Operations, target: IsaTarget) -> None:
    # Distinct (operation, qubits) are few, however long the circuit is; most circuits are short.
    code, q0, q1 = (cast("list[int]", body[name].tolist()) for name in ("code", "q0", "q1"))
    for number, *local in sorted(set(zip(code, q0, q1, strict=True))):
        op = Op(number)
        qubits = tuple(circuit.qubits[position] for position in local if position >= 0)
        if op not in target.basis and op is not Op.BARRIER:
            known = ", ".join(sorted(name_of(known) for known in target.basis))
            raise NotIsa(
                f"circuit {index} uses {name_of(op)} on {_named(qubits)}, which this backend does not have "
                f"(it has {known}); transpile the circuit against it",
                circuit=index,
                operation=name_of(op),
                qubits=qubits,
            )
        for qubit in qubits:
            _check_qubit(index, op, qubits, qubit, target)
        if op in TWO_QUBIT_GATES:
            _check_edge(index, op, (qubits[0], qubits[1]), target)
    _check_values(index, circuit, body)


def _check_qubit(index: int, op: Op, qubits: tuple[int, ...], qubit: int, target: IsaTarget) -> None:
    if not 0 <= qubit < target.num_qubits:
        reason = f"but the backend has qubits 0 to {target.num_qubits - 1}"
    elif qubit in target.elsewhere:
        reason = f"but qubit {qubit} {target.why_elsewhere}; transpile against this backend's target"
    elif qubit in target.quarantine.qubits:
        reason = f"but qubit {qubit} {_QUARANTINED}"
    elif qubit not in target.usable_qubits:
        reason = f"but qubit {qubit} is out of order now; transpile against the current target"
    else:
        return
    raise NotIsa(
        f"circuit {index} uses {name_of(op)} on {_named(qubits)}, {reason}",
        circuit=index,
        operation=name_of(op),
        qubits=qubits,
    )


def _check_edge(index: int, op: Op, pair: tuple[int, int], target: IsaTarget) -> None:
    edges = target.edges.get(op, frozenset())
    reverse = (pair[1], pair[0])
    if pair in edges or (op in SYMMETRIC_GATES and reverse in edges):
        return
    if (min(pair), max(pair)) in target.quarantine.couplers:
        reason = f"but the coupler of qubits {pair[0]} and {pair[1]} {_QUARANTINED}"
    elif reverse in edges:
        reason = f"but the backend has it in the other direction only: {name_of(op)} on {reverse}"
    else:
        reason = f"but the backend has no {name_of(op)} there"
    raise NotIsa(
        f"circuit {index} uses {name_of(op)} on {pair}, {reason}", circuit=index, operation=name_of(op), qubits=pair
    )


def _check_values(index: int, circuit: IsaCircuit, body: Operations) -> None:
    code, value, clbit = body["code"], body["value"], body["clbit"]
    delay = code == Op.DELAY
    faults = (
        (~np.isfinite(value), "an angle or delay that is not a finite number"),
        (delay & (value < 0), "a negative delay"),
        (delay & (value > _MAX_DELAY_NS), f"a delay of more than {_MAX_DELAY_NS:.0e} ns"),
        ((code == Op.MEASURE) & ((clbit < 0) | (clbit >= circuit.num_clbits)), "a measurement into an unknown bit"),
        ((code == Op.RZZ) & (body["slot"] < 0) & _outside_bounds(value), _RZZ_FAULT),
    )
    for fault, what in faults:
        if fault.any():
            row = body[int(np.argmax(fault))]
            op = Op(int(row["code"]))
            qubits = tuple(circuit.qubits[int(local)] for local in (row["q0"], row["q1"]) if local >= 0)
            raise NotIsa(
                f"circuit {index} holds {what}: {name_of(op)} on {_named(qubits)}, {float(row['value']):g}",
                circuit=index,
                operation=name_of(op),
                qubits=qubits,
            )


def _check_bound_angles(pub: int, index: int, circuit: IsaCircuit, table: NDArray[np.float64]) -> None:
    for body in _bodies(circuit):
        rows = body[(body["code"] == Op.RZZ) & (body["slot"] >= 0)]
        slots: list[int] = rows["slot"].tolist()
        for position, slot in enumerate(slots):
            outside = _outside_bounds(table[:, slot])
            if outside.any():
                binding = int(np.argmax(outside))
                qubits = (circuit.qubits[int(rows["q0"][position])], circuit.qubits[int(rows["q1"][position])])
                raise NotIsa(
                    f"binding {binding} of pub {pub} gives circuit {index} {_RZZ_FAULT}: rzz on {qubits}, "
                    f"{table[binding, slot]:g}",
                    circuit=index,
                    operation="rzz",
                    qubits=qubits,
                )


_QUARANTINED: Final = "is in quarantine: its operator has taken it out of service; transpile against the current target"
_RZZ_FAULT: Final = "an rzz angle outside 0 to π/2"


def _outside_bounds(angle: NDArray[np.float64]) -> NDArray[np.bool_]:
    return (angle < RZZ_BOUNDS[0] - _ANGLE_TOLERANCE) | (angle > RZZ_BOUNDS[1] + _ANGLE_TOLERANCE)


def _named(qubits: tuple[int, ...]) -> str:
    return f"qubit {qubits[0]}" if len(qubits) == 1 else str(qubits) if qubits else "no qubit"


def name_of(op: Op) -> str:
    """The operation's name as Qiskit and OpenQASM write it."""
    return "if_else" if op is Op.IF else op.name.lower()
