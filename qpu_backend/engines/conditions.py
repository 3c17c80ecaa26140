"""What an ``if_else`` asks, in every form Qiskit writes it, as "these bits equal this number"."""

# Qiskit ships no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from qiskit.circuit import Clbit
from qiskit.circuit.classical import expr, types

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_BITS: Final = 62
"""A wider number does not fit the stored form."""


@dataclass(frozen=True, slots=True)
class Condition:
    """``Σ clbits[k]·2^k == value``, or, where ``negated``, the opposite."""

    clbits: tuple[int, ...]
    value: int
    negated: bool = False

    @property
    def impossible(self) -> bool:
        """Whether the bits can never equal the number."""
        return not 0 <= self.value < 2 ** len(self.clbits)


def read_condition(condition: Any, clbit_of: Mapping[Clbit, int]) -> Condition | None:
    """Qiskit's condition → ours; ``None`` for what cannot be said that way.

    Args:
        condition: ``(bit or register, value)`` or an expression: a bit, its negation, or (un)equality with a constant.
        clbit_of: the circuit's index of each classical bit in scope.
    """
    if isinstance(condition, tuple):
        target, value = condition
        return _equality(target, value, clbit_of)
    if isinstance(condition, expr.Unary):
        truth = condition.op in {expr.Unary.Op.LOGIC_NOT, expr.Unary.Op.BIT_NOT} and condition.type == types.Bool()
        inner = read_condition(condition.operand, clbit_of) if truth else None
        return None if inner is None else replace(inner, negated=not inner.negated)
    if isinstance(condition, expr.Binary):
        return _comparison(condition, clbit_of)
    return _equality(_bit(condition), 1, clbit_of)


def _comparison(condition: expr.Binary, clbit_of: Mapping[Clbit, int]) -> Condition | None:
    if condition.op not in {expr.Binary.Op.EQUAL, expr.Binary.Op.NOT_EQUAL}:
        return None
    target, value = condition.left, condition.right
    if isinstance(target, expr.Value):
        target, value = value, target
    if not isinstance(value, expr.Value):
        return None
    bits = target.var if isinstance(target, expr.Var) else _bit(target)
    equality = _equality(bits, value.value, clbit_of)
    negated = condition.op == expr.Binary.Op.NOT_EQUAL
    return None if equality is None else replace(equality, negated=negated)


def _bit(expression: Any) -> Any:
    """The single bit that a Boolean expression names, if it does no more than that."""
    if isinstance(expression, expr.Var) and isinstance(expression.var, Clbit):
        return expression.var
    if (
        isinstance(expression, expr.Index)
        and isinstance(expression.target, expr.Var)
        and isinstance(expression.index, expr.Value)
    ):
        register, position = expression.target.var, expression.index.value
        return register[position] if 0 <= position < len(register) else None
    return None


def _equality(target: Any, value: Any, clbit_of: Mapping[Clbit, int]) -> Condition | None:
    if target is None or not isinstance(value, (int, bool)):
        return None
    try:
        bits = (target,) if isinstance(target, Clbit) else tuple(target)
        clbits = tuple(clbit_of[bit] for bit in bits)
    except (KeyError, TypeError):
        return None
    return Condition(clbits, int(value)) if 0 < len(clbits) <= _MAX_BITS else None
