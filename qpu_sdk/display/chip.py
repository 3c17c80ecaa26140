"""What a map shows, in numbers: errors of qubits and couplers, where they lie, and what belongs to whom. No colours."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from qpu_sdk.errors import InvalidRequestError
from qpu_sdk.layout import qubit_positions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from qpu_sdk.layout import Position
    from qpu_sdk.wire.models import BackendDocument, QubitCalibration

Edge = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of every qubit.

    Attributes:
        label: with its unit, as a legend says it.
        of: the number in that unit.
        high_is_bad: which end of the scale stands out.
        unit: of numbers in a sentence.
    """

    label: str
    of: Callable[[QubitCalibration], float]
    high_is_bad: bool
    unit: str = ""


QUANTITIES: Final[dict[str, Quantity]] = {
    "readout_error": Quantity("readout error", lambda qubit: qubit.readout_error, high_is_bad=True),
    "t1_us": Quantity("T1 (µs)", lambda qubit: qubit.t1_us, high_is_bad=False, unit=" µs"),
    "t2_us": Quantity("T2 (µs)", lambda qubit: qubit.t2_us, high_is_bad=False, unit=" µs"),
}
"""What the colour of a qubit may say."""
EDGE_LABEL: Final = "two-qubit gate error"
_LEAST_SPAN: Final = 4.0


def quantity(name: str) -> Quantity:
    """The quantity of that name.

    Raises:
        InvalidRequestError: there is none.
    """
    if name not in QUANTITIES:
        raise InvalidRequestError(f"a map has no {name!r} of qubits; it shows {', '.join(QUANTITIES)}", field="qubits")
    return QUANTITIES[name]


def edge_errors(document: BackendDocument) -> dict[Edge, float]:
    """Error of the two-qubit gate on every calibrated edge ``(a, b)``, a < b: the better direction if there are two."""
    errors: dict[Edge, float] = {}
    for gate in document.gates:
        if len(gate.qubits) == 2:
            a, b = sorted(gate.qubits)
            errors[a, b] = min(gate.error, errors.get((a, b), 1.0))
    return errors


def qubit_values(document: BackendDocument, shown: Quantity) -> dict[int, float]:
    """A number of every qubit that works."""
    return {qubit: shown.of(seen) for qubit, seen in enumerate(document.qubits) if seen is not None}


def places_of(document: BackendDocument, more_edges: Iterable[Edge] = ()) -> dict[int, Position]:
    """Column and row of every qubit, those out of order too."""
    return qubit_positions(document.num_qubits, sorted({*edge_errors(document), *more_edges}))


def owners(document: BackendDocument, regions: Mapping[str, Sequence[int]]) -> dict[int, int]:
    """Qubit → number of the region it is in.

    Raises:
        InvalidRequestError: two regions share a qubit, or a region has a qubit the device does not have.
    """
    owner: dict[int, int] = {}
    for number, (label, qubits) in enumerate(regions.items()):
        for qubit in qubits:
            if not 0 <= qubit < document.num_qubits:
                raise InvalidRequestError(f"region {label!r}: {document.name} has no qubit {qubit}", field="regions")
            if owner.setdefault(qubit, number) != number:
                raise InvalidRequestError(f"region {label!r}: qubit {qubit} is in another region too", field="regions")
    return owner


def span(values: Iterable[float], *, below: float = math.inf) -> tuple[float, float]:
    """Limits of a logarithmic scale, which spans a factor of four at least: what is nearly equal looks so.

    Args:
        values: to be shown.
        below: only these stretch the scale; an edge that failed calibration has an error of 1.
    """
    positive = [value for value in values if 0 < value < below]
    low, high = min(positive, default=1e-3), max(positive, default=1e-1)
    if high >= _LEAST_SPAN * low:
        return low, high
    middle = math.sqrt(low * high)
    return middle / math.sqrt(_LEAST_SPAN), middle * math.sqrt(_LEAST_SPAN)


def share(value: float, limits: tuple[float, float]) -> float:
    """How far along a logarithmic scale a value is, from 0 to 1."""
    low, high = limits
    return min(1.0, max(0.0, math.log(max(value, low) / low) / math.log(high / low)))


def median(values: Iterable[float]) -> float | None:
    """The upper one of an even number, so that it is a value somebody has."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else None


def told(value: float, unit: str = "") -> str:
    """A number as people write it: two digits of an error, three of anything else."""
    return f"{value:.1e}" if not unit else f"{value:.3g}{unit}"
