"""Parameters of a circuit → slots, and bindings → the table of angles that the slots stand for. Runs in the child."""

# Qiskit ships no types.
# pyright: reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from qpu_backend.engines.invalid_circuit import InvalidAngle, InvalidBindings

if TYPE_CHECKING:
    from numpy.typing import NDArray

_WORTH_A_CLOSER_LOOK: Final = 16
"""From so many bindings on it pays to find out that an expression is affine, and to evaluate it as arrays."""
_PROBES: Final = (1.371, -0.617)
"""Where a supposedly affine expression is compared with the true one, besides zero."""


class AngleSlots:
    """The distinct parametric angles of one circuit, numbered by first use: one slot a parameter or expression."""

    def __init__(self, circuit: int) -> None:
        self._circuit = circuit
        self._slots: dict[Any, int] = {}

    def __len__(self) -> int:
        return len(self._slots)

    def value_and_slot(self, angle: Any, operation: str) -> tuple[float, int]:
        """An angle as Qiskit holds it → ``(radians, −1)`` or ``(0.0, slot)``.

        Raises:
            InvalidAngle: neither a finite number nor an expression of parameters.
        """
        if isinstance(angle, (int, float)):
            value = float(angle)
        elif getattr(angle, "parameters", None):
            return 0.0, self._slots.setdefault(angle, len(self._slots))
        else:
            try:
                value = float(angle)
            except (TypeError, ValueError, OverflowError):
                raise InvalidAngle(f"circuit {self._circuit}: an angle of {operation} is not a real number") from None
        if not math.isfinite(value):
            raise InvalidAngle(f"circuit {self._circuit}: an angle of {operation} is {value}", circuit=self._circuit)
        return value, -1

    def table(self, parameters: list[Any], values: NDArray[np.float64] | None, pub: int) -> NDArray[np.float64]:
        """Bindings → angles.

        Args:
            parameters: the circuit's parameters, in order.
            values: float64 ``(num_bindings, num_parameters)``, or ``None``.
            pub: index of the pub, for messages.

        Returns:
            float64 ``(num_bindings, len(self))``; one row where ``values`` is ``None``.

        Raises:
            InvalidBindings: unbound parameters, or columns that do not fit them.
            InvalidAngle: a value or an angle is not a finite real number.
        """
        field = f"pubs.{pub}.bindings"
        if values is None:
            if parameters:
                names = ", ".join(str(parameter)[:40] for parameter in parameters[:5])
                raise InvalidBindings(
                    f"pub {pub} leaves {len(parameters)} parameters of circuit {self._circuit} unbound: {names}",
                    field=field,
                )
            return np.empty((1, 0))
        if values.ndim != 2 or values.shape[0] < 1 or values.shape[1] != len(parameters):
            shape = "×".join(map(str, values.shape))
            raise InvalidBindings(
                f"pub {pub} binds {shape} values; circuit {self._circuit} has {len(parameters)} parameters, "
                "and the bindings need one column for each",
                field=field,
            )
        if not np.isfinite(values).all():
            raise InvalidAngle(f"pub {pub} binds a parameter to NaN or infinity", field=field)
        columns = {parameter: column for column, parameter in enumerate(parameters)}
        table = np.empty((values.shape[0], len(self)))
        for expression, slot in self._slots.items():
            column = columns.get(expression)
            table[:, slot] = (
                values[:, column] if column is not None else self._evaluate(expression, columns, values, field)
            )
        if not np.isfinite(table).all():
            raise InvalidAngle(f"pub {pub} binds parameters so that an angle is NaN or infinite", field=field)
        return table

    def _evaluate(
        self, expression: Any, columns: dict[Any, int], values: NDArray[np.float64], field: str
    ) -> NDArray[np.float64]:
        try:
            parameters = list(expression.parameters)
            own = values[:, [columns[parameter] for parameter in parameters]]
            if len(own) >= _WORTH_A_CLOSER_LOOK:
                affine = _as_affine(expression, parameters)
                if affine is not None:
                    offset, slopes = affine
                    return offset + own @ slopes
            return np.array([_value_at(expression, parameters, row) for row in own.tolist()])
        except InvalidAngle:
            raise
        except Exception:  # noqa: BLE001 - division by zero, a domain error, a parameter that is nowhere: all are refusals
            raise InvalidAngle(f"{str(expression)[:80]} has no real value under these bindings", field=field) from None


def _value_at(expression: Any, parameters: list[Any], row: list[float]) -> float:
    value = expression.bind_all(dict(zip(parameters, row, strict=True)))
    if isinstance(value, complex):
        if value.imag != 0.0:
            raise InvalidAngle(f"{str(expression)[:80]} is complex under these bindings")
        return value.real
    return float(value)


def _as_affine(expression: Any, parameters: list[Any]) -> tuple[float, NDArray[np.float64]] | None:
    """``(offset, slopes)`` when the expression is ``offset + Σ slope·parameter``, else ``None``.

    A transpiled circuit's angles nearly always are. Symbolic gradients of kinked functions may claim to be constant, so
    the form is compared with the expression at further points.
    """
    slopes: list[float] = []
    for parameter in parameters:
        try:
            slope = expression.gradient(parameter)
        except Exception:  # noqa: BLE001 - no derivative of sign, of powers of parameters, …
            return None
        if not isinstance(slope, (int, float)):
            return None
        slopes.append(float(slope))
    vector = np.array(slopes)
    offset = _value_at(expression, parameters, [0.0] * len(parameters))
    for probe in _PROBES:
        point = [probe * (1 + 0.1 * position) for position in range(len(parameters))]
        if not math.isclose(
            _value_at(expression, parameters, point), offset + float(vector @ point), rel_tol=1e-12, abs_tol=1e-12
        ):
            return None
    return offset, vector
