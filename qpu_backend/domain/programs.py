"""A job as the list of things to run: pubs expanded to executions of circuit variants, with the plan to read the answer from shots."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set as AbstractSet

    import numpy as np
    from numpy.typing import NDArray

    from qpu_backend.domain.observables import EstimationPlan, Observable
    from qpu_backend.physics.circuit import IsaCircuit

Kind = Literal["circuits", "sampler", "estimator"]


@dataclass(frozen=True, slots=True, eq=False)
class PubSpec:
    """A pub as plain values: the wire's, with the angle table that decoding made of its bindings.

    Attributes:
        circuit: index of the circuit.
        angles: float64, shape ``(num_bindings, num_slots)``, at least one row (``Decoded.angles[pub]``).
        shots, precision: what the client asked for; ``None`` takes the program's default.
        observables, pairs: estimator only; pair ``(binding, observable)``.
    """

    circuit: int
    angles: NDArray[np.float64]
    shots: int | None = None
    precision: float | None = None
    observables: tuple[Observable, ...] = ()
    pairs: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Execution:
    """One circuit variant under one binding, ``shots`` times.

    Attributes:
        pub: index of the pub.
        circuit: index into :attr:`Program.circuits`.
        binding: row of ``Program.angles[pub]``.
        basis: measurement basis of the pub's estimation plan; 0 for the other programs.
        shots: repetitions.
    """

    pub: int
    circuit: int
    binding: int
    basis: int
    shots: int


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Everything a job runs.

    Attributes:
        kind: ``circuits``, ``sampler`` or ``estimator``.
        circuits: the variants; for the estimator one per (circuit, measurement basis).
        angles: per pub, float64, shape ``(num_bindings, num_slots)``.
        executions: ordered by (pub, binding, basis).
        plans: estimator: one per pub; otherwise empty.
    """

    kind: Kind
    circuits: tuple[IsaCircuit, ...]
    angles: tuple[NDArray[np.float64], ...]
    executions: tuple[Execution, ...]
    plans: tuple[EstimationPlan, ...] = ()

    @property
    def shots(self) -> int:
        return sum(execution.shots for execution in self.executions)

    def to_document(self) -> dict[str, Any]:
        """A plain structure for :func:`qpu_sdk.wire.codec.pack`."""
        raise NotImplementedError

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Program:
        """Inverse of :meth:`to_document`."""
        raise NotImplementedError


def expand(
    kind: Kind,
    circuits: Sequence[IsaCircuit],
    pubs: Sequence[PubSpec],
    *,
    usable_qubits: AbstractSet[int],
    default_shots: int,
    default_precision: float,
    max_shots: int,
    max_executions: int,
) -> Program:
    """Pubs → program. Raises :class:`InvalidProgram` (code, field, message)."""
    raise NotImplementedError


def canonical_digest(kind: Kind, circuits: Sequence[IsaCircuit], pubs: Sequence[PubSpec], options: Mapping[str, Any]) -> str:
    """SHA-256 of what the job asks for: equal when the same circuits are built twice (names and metadata do not count)."""
    raise NotImplementedError
