"""Qiskit's circuit → :class:`~qpu_backend.physics.circuit.IsaCircuit`: names, metadata and idle qubits fall away.

Supported: ``id rz sx x ecr cx cz rzz delay measure reset barrier``, ``if_else`` on a classical bit or register, and
``for_loop`` over constants, which is unrolled. Whether a backend has the operation on those qubits is not asked here.
"""

# Qiskit ships no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from qiskit.circuit import (
    Barrier,
    Clbit,
    Delay,
    ForLoopOp,
    IfElseOp,
    Measure,
    ParameterExpression,
    QuantumCircuit,
    Reset,
)
from qiskit.circuit.exceptions import CircuitError

from qpu_backend.engines.angles import AngleSlots
from qpu_backend.engines.conditions import read_condition
from qpu_backend.engines.equivalence import means_standard_gate
from qpu_backend.engines.invalid_circuit import InvalidAngle, MalformedCircuit, TooMuchDeclared, UnsupportedInstruction
from qpu_backend.physics.circuit import ClassicalRegister, Conditional, IsaCircuit, Op, Operations, operations

if TYPE_CHECKING:
    from collections.abc import Callable

Row = tuple[int, int, int, int, int, float, int]

_GATES: Final = {
    "id": Op.ID,
    "rz": Op.RZ,
    "sx": Op.SX,
    "x": Op.X,
    "ecr": Op.ECR,
    "cx": Op.CX,
    "cz": Op.CZ,
    "rzz": Op.RZZ,
}
_ANGLED: Final = frozenset({Op.RZ, Op.RZZ})
_NS: Final = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0, "ps": 1e-3}
_MAX_DEPTH: Final = 16
"""Nested control flow."""
_SHOWN: Final = 60


class OperationBudget:
    """Operations left for all circuits of a request together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._left = limit

    def spend(self, count: int) -> None:
        """Take ``count`` of them.

        Raises:
            TooMuchDeclared: there are not so many left.
        """
        self._left -= count
        if self._left < 0:
            raise TooMuchDeclared(f"the circuits hold more than {self._limit} operations, loops unrolled")


class Lowering:
    """One circuit on its way: collects the rows, groups, conditionals and slots."""

    def __init__(
        self, circuit: QuantumCircuit, index: int, *, dt_ns: float | None, budget: OperationBudget, own_gates: bool
    ) -> None:
        """Take the circuit.

        Args:
            circuit: what was decoded.
            index: its place in the request, for messages.
            dt_ns: what a delay in ``dt`` is, in ns.
            budget: operations left for the request.
            own_gates: whether a gate defined in the program may be one of the basis (OpenQASM).
        """
        self.slots = AngleSlots(index)
        self._circuit = circuit
        self._index = index
        self._dt_ns = dt_ns
        self._budget = budget
        self._own_gates = own_gates
        self._proved: set[tuple[str, str]] = set()
        self._groups: dict[tuple[int, ...], int] = {}
        self._conditionals: list[tuple[tuple[int, ...], int, list[Row], list[Row]]] = []
        self._other: tuple[tuple[type[Any], Callable[[Any, list[int], list[int]], Row]], ...] = (
            (Measure, self._measure),
            (Barrier, self._barrier),
            (Delay, self._delay),
            (Reset, lambda _operation, qubits, _clbits: _row(Op.RESET, qubits[0])),
        )

    def lower(self) -> IsaCircuit:
        """The circuit as a value.

        Raises:
            InvalidCircuit: it holds something unsupported, too much, or an angle that is not a number.
        """
        circuit = self._circuit
        rows = self._body(circuit, list(range(circuit.num_qubits)), list(range(circuit.num_clbits)), 0)
        bit_index = {bit: index for index, bit in enumerate(circuit.clbits)}
        registers = tuple(
            ClassicalRegister(register.name, tuple(bit_index[bit] for bit in register)) for register in circuit.cregs
        )
        return self._compact(rows, registers)

    # --- bodies ---

    def _body(self, body: QuantumCircuit, qubits: list[int], clbits: list[int], depth: int) -> list[Row]:
        if depth > _MAX_DEPTH:
            raise TooMuchDeclared(f"control flow nested deeper than {_MAX_DEPTH}", circuit=self._index)
        if len(body.qubits) != len(qubits) or len(body.clbits) != len(clbits):
            raise MalformedCircuit("a control-flow body does not fit its bits", circuit=self._index)
        self._budget.spend(len(body.data))
        qubit_of = dict(zip(body.qubits, qubits, strict=True))
        clbit_of = dict(zip(body.clbits, clbits, strict=True))
        rows: list[Row] = []
        for instruction in body.data:
            own = [qubit_of[bit] for bit in instruction.qubits]
            if instruction.is_standard_gate():
                rows.append(self._gate(instruction.name, instruction.params, own))
                continue
            bits = [clbit_of[bit] for bit in instruction.clbits]
            operation = self._operation(instruction)
            if isinstance(operation, IfElseOp):
                rows.extend(self._if_else(operation, own, bits, clbit_of, depth))
            elif isinstance(operation, ForLoopOp):
                rows.extend(self._for_loop(operation, own, bits, depth))
            else:
                rows.append(self._leaf(operation, own, bits))
        return rows

    def _operation(self, instruction: Any) -> Any:
        try:
            return instruction.operation
        except CircuitError:
            # QPY keeps a delay's number and loses its unit (Qiskit#8293): what is no whole number of dt cannot be read.
            if instruction.name == "delay":
                reason = "QPY carries whole numbers of dt only; convert its length, and bind it, before sending"
                raise self._unsupported("delay", reason) from None
            raise MalformedCircuit("an instruction is damaged", circuit=self._index) from None

    def _leaf(self, operation: Any, qubits: list[int], clbits: list[int]) -> Row:
        for kind, lower in self._other:
            if isinstance(operation, kind):
                return lower(operation, qubits, clbits)
        name = str(operation.name)
        if self._own_gates and self._means_standard_gate(operation):
            return self._gate(name, operation.params, qubits)
        raise self._unsupported(name, "it is not in any device's basis; transpile the circuit against the backend")

    def _means_standard_gate(self, operation: Any) -> bool:
        # A program defines a name once, so what was proved for one use with these angles holds for the next.
        key = (str(operation.name), repr(operation.params))
        if key not in self._proved and means_standard_gate(operation):
            self._proved.add(key)
        return key in self._proved

    def _gate(self, name: str, params: Any, qubits: list[int]) -> Row:
        op = _GATES.get(name)
        if op is None and name in {"u", "U"} and all(angle == 0 for angle in params):
            op, params = Op.ID, ()  # what OpenQASM's ``id`` becomes in Qiskit's importer
        if op is None:
            raise self._unsupported(name, "it is not in any device's basis; transpile the circuit against the backend")
        value, slot = self.slots.value_and_slot(params[0], name) if op in _ANGLED else (0.0, -1)
        return (int(op), qubits[0], qubits[1] if len(qubits) > 1 else -1, -1, slot, value, -1)

    def _measure(self, _operation: Any, qubits: list[int], clbits: list[int]) -> Row:
        return _row(Op.MEASURE, qubits[0], clbit=clbits[0])

    def _barrier(self, _operation: Any, qubits: list[int], _clbits: list[int]) -> Row:
        return _row(Op.BARRIER, aux=self._groups.setdefault(tuple(sorted(qubits)), len(self._groups)))

    def _delay(self, operation: Any, qubits: list[int], _clbits: list[int]) -> Row:
        duration, unit = operation.duration, operation.unit
        if isinstance(duration, ParameterExpression) and duration.parameters:
            raise self._unsupported("delay", "its length is a parameter; bind it before sending")
        scale = self._dt_ns if unit == "dt" else _NS.get(unit)
        if scale is None:
            reason = (
                "this backend has no dt; give it in seconds" if unit == "dt" else "its length is not a constant time"
            )
            raise self._unsupported("delay", reason)
        try:
            duration_ns = float(duration) * scale
        except (TypeError, ValueError, OverflowError):
            raise self._unsupported("delay", "its length is not a constant time") from None
        if not math.isfinite(duration_ns):
            raise InvalidAngle(f"circuit {self._index}: a delay lasts {duration_ns} ns", circuit=self._index)
        return _row(Op.DELAY, qubits[0], value=duration_ns)

    # --- control flow ---

    def _if_else(
        self, operation: IfElseOp, qubits: list[int], clbits: list[int], clbit_of: dict[Clbit, int], depth: int
    ) -> list[Row]:
        condition = read_condition(operation.condition, clbit_of)
        if condition is None:
            raise self._unsupported("if_else", "its condition is not 'a bit or register equals a number'")
        blocks: Any = operation.blocks
        bodies = [self._body(block, qubits, clbits, depth + 1) for block in blocks]
        then_body, else_body = bodies[0], bodies[1] if len(bodies) > 1 else []
        if condition.negated:
            then_body, else_body = else_body, then_body
        if condition.impossible:
            return else_body
        self._conditionals.append((condition.clbits, condition.value, then_body, else_body))
        return [_row(Op.IF, aux=len(self._conditionals) - 1)]

    def _for_loop(self, operation: ForLoopOp, qubits: list[int], clbits: list[int], depth: int) -> list[Row]:
        indexset: Any
        parameter: Any
        body: Any
        indexset, parameter, body = operation.params
        if not isinstance(indexset, (range, tuple, list)) or not isinstance(body, QuantumCircuit):
            raise self._unsupported("for_loop", "it does not run over constants")
        self._budget.spend(len(indexset))
        used = parameter is not None and parameter in body.parameters
        rows: list[Row] = []
        for index in indexset:
            turn = body.assign_parameters({parameter: index}) if used else body
            rows.extend(self._body(turn, qubits, clbits, depth + 1))
        return rows

    def _unsupported(self, name: str, reason: str) -> UnsupportedInstruction:
        shown = name if len(name) <= _SHOWN else name[:_SHOWN] + "…"
        return UnsupportedInstruction(f"circuit {self._index} uses {shown!r}: {reason}", circuit=self._index)

    # --- the end ---

    def _compact(self, rows: list[Row], registers: tuple[ClassicalRegister, ...]) -> IsaCircuit:
        """Keep the qubits that matter, and number them, the barriers and the slots by what is left."""
        active = self._active_qubits(rows)
        local = {qubit: position for position, qubit in enumerate(active)}
        groups: dict[tuple[int, ...], int] = {}
        kept_groups = {index: tuple(local[q] for q in group if q in local) for group, index in self._groups.items()}

        def relabelled(body: list[Row]) -> Operations:
            kept: list[Row] = []
            for code, q0, q1, clbit, slot, value, aux in body:
                if code == Op.BARRIER:
                    group = kept_groups[aux]
                    if len(group) > 1:
                        kept.append(_row(Op.BARRIER, aux=groups.setdefault(group, len(groups))))
                elif q0 < 0 or q0 in local:
                    kept.append((code, local.get(q0, -1), local.get(q1, -1), clbit, slot, value, aux))
            return operations(kept)

        main = relabelled(rows)
        conditionals = tuple(
            Conditional(clbits, value, relabelled(then_body), relabelled(else_body))
            for clbits, value, then_body, else_body in self._conditionals
        )
        return IsaCircuit(
            qubits=tuple(active),
            num_clbits=self._circuit.num_clbits,
            registers=registers,
            operations=main,
            groups=tuple(groups),
            conditionals=conditionals,
            num_slots=len(self.slots),
        )

    def _active_qubits(self, rows: list[Row]) -> list[int]:
        """Every qubit that can be excited, read or waited for, ascending.

        What only idles in |0⟩ (``id delay reset``, as scheduling passes put on every wire) is dropped, unless a barrier
        lets others wait for it: then its delays are part of their timing.
        """
        passive = {int(Op.ID), int(Op.DELAY), int(Op.RESET)}
        active: set[int] = set()
        waiting: set[int] = set()
        for body in (rows, *(body for c in self._conditionals for body in c[2:])):
            for code, q0, q1, _, _, _, _ in body:
                if code in passive and body is rows:
                    waiting.add(q0)
                else:
                    active.update((q0, q1))
        joined = {qubit for group in self._groups if len(group) > 1 for qubit in group}
        active |= waiting & joined
        active.discard(-1)
        return sorted(active)


def _row(op: Op, q0: int = -1, *, clbit: int = -1, value: float = 0.0, aux: int = -1) -> Row:
    return (int(op), q0, -1, clbit, -1, value, aux)
