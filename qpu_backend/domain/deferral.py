"""Deferred layouts: what a job keeps of its abstract circuits, so that they can be compiled again where they run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from qpu_backend.domain.observables import MeasurementBasis

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Deferral:
    """Abstract circuits as the client sent them.

    Attributes:
        codec: of ``data``.
        data: the client's bytes, untrusted: only a limited child reads them.
        seed: of the compiler.
        circuit_of: for each pub the index of its circuit.
        bindings: for each pub its parameter values, float64 ``(num_bindings, num_parameters)``, or ``None``.
        planned_ns: how long each of the program's circuits lasts as it was planned and priced.
    """

    codec: Literal["qpy+zlib", "qasm3"]
    data: bytes
    seed: int
    circuit_of: tuple[int, ...]
    bindings: tuple[NDArray[np.float64] | None, ...]
    planned_ns: tuple[int, ...]

    @property
    def num_values(self) -> int:
        """Parameter values of all pubs."""
        return sum(0 if values is None else values.size for values in self.bindings)

    def to_document(self) -> dict[str, Any]:
        """A plain structure of numbers, strings, bytes, lists and arrays."""
        return {
            "codec": self.codec,
            "data": self.data,
            "seed": self.seed,
            "circuit_of": list(self.circuit_of),
            "bindings": list(self.bindings),
            "planned_ns": list(self.planned_ns),
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Deferral:
        """Inverse of :meth:`to_document`."""
        return cls(
            codec=document["codec"],
            data=document["data"],
            seed=document["seed"],
            circuit_of=tuple(document["circuit_of"]),
            bindings=tuple(document["bindings"]),
            planned_ns=tuple(document["planned_ns"]),
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """Which of its two compilations an abstract circuit runs with.

    Attributes:
        on: ``region``: compiled for the qubits where it runs; ``shape``: as it was planned, relabelled.
        shape_success: predicted for the latter; ``None`` where it was not worked out.
        region_success: predicted for the former; ``None`` where there is none.
    """

    on: Literal["shape", "region"]
    shape_success: float | None
    region_success: float | None


def laid_out(basis: MeasurementBasis, layout: Sequence[int]) -> MeasurementBasis:
    """A basis of a circuit's own qubits as one of the backend's: ``layout[q]`` is where qubit ``q`` ends.

    The order stays, and with it the classical bit that each is read into.
    """
    return MeasurementBasis(basis.paulis, tuple(layout[qubit] for qubit in basis.qubits))
