"""A job as the list of things to run: pubs become executions of circuit variants, with the plan to read their shots."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from qpu_backend.domain.deferral import Deferral, laid_out
from qpu_backend.domain.errors import CircuitRefused, InvalidRequest, TooLarge
from qpu_backend.domain.mitigation import Treatment
from qpu_backend.domain.observables import EstimationPlan, MeasurementBasis, Observable, plan_estimation
from qpu_backend.physics.circuit import Conditional, IsaCircuit, Op, Operations, operations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

Kind = Literal["circuits", "sampler", "estimator"]


@dataclass(frozen=True, slots=True, eq=False)
class PubSpec:
    """A pub as plain values: the wire's, with the angle table that decoding made of its bindings.

    Attributes:
        circuit: index of the circuit.
        angles: float64, shape ``(num_bindings, num_slots)``, at least one row (``Decoded.angles[pub]``).
        shots, precision: what the client asked for; ``None`` takes the program's default. Shots win over precision.
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
        turn: which of several with all of this in common: a noise factor or a randomisation of its own.
    """

    pub: int
    circuit: int
    binding: int
    basis: int
    shots: int
    turn: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """Everything a job runs.

    Attributes:
        kind: ``circuits``, ``sampler`` or ``estimator``.
        circuits: the variants that are run; for the estimator one per (circuit, measurement basis).
        angles: per pub, float64, shape ``(num_bindings, num_slots)``.
        executions: ordered by (pub, binding, basis, turn); every pub has at least one.
        plans: estimator: one per pub; otherwise empty.
        deferral: of a deferred layout: what it takes to compile the circuits again where they run.
        treatment: what has been done to the executions against errors. Those that measure readout stand in for one pub
            more, the last.
    """

    kind: Kind
    circuits: tuple[IsaCircuit, ...]
    angles: tuple[NDArray[np.float64], ...]
    executions: tuple[Execution, ...]
    plans: tuple[EstimationPlan, ...] = ()
    deferral: Deferral | None = None
    treatment: Treatment | None = None

    @property
    def num_pubs(self) -> int:
        """Of the client."""
        return len(self.angles) - (self.treatment is not None and bool(self.treatment.sets))

    @property
    def shots(self) -> int:
        return sum(execution.shots for execution in self.executions)

    def to_document(self) -> dict[str, Any]:
        """A plain structure for :func:`qpu_sdk.wire.codec.pack`."""
        width = 5 if self.treatment is None else 6
        columns = [(e.pub, e.circuit, e.binding, e.basis, e.shots, e.turn)[:width] for e in self.executions]
        document: dict[str, Any] = {
            "kind": self.kind,
            "circuits": [circuit.to_document() for circuit in self.circuits],
            "angles": list(self.angles),
            "executions": np.array(columns, dtype=np.int64).reshape(-1, width),
            "plans": [plan.to_document() for plan in self.plans],
            "deferral": None if self.deferral is None else self.deferral.to_document(),
        }
        if self.treatment is not None:
            document["treatment"] = self.treatment.to_document()
        return document

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Program:
        """Inverse of :meth:`to_document`."""
        deferral, treatment = document.get("deferral"), document.get("treatment")
        return cls(
            kind=document["kind"],
            circuits=tuple(IsaCircuit.from_document(entry) for entry in document["circuits"]),
            angles=tuple(document["angles"]),
            executions=tuple(Execution(*row) for row in document["executions"].tolist()),
            plans=tuple(EstimationPlan.from_document(entry) for entry in document["plans"]),
            deferral=None if deferral is None else Deferral.from_document(deferral),
            treatment=None if treatment is None else Treatment.from_document(treatment),
        )


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
    layouts: Sequence[tuple[int, ...]] = (),
) -> Program:
    """Pubs → everything that is to run.

    Args:
        kind: what the client asked to have computed.
        circuits: checked ones (:func:`qpu_backend.domain.isa.check`).
        pubs: in the client's order.
        usable_qubits: backend qubits that observables may name.
        default_shots: for pubs that say nothing.
        default_precision: for estimator pubs that say nothing.
        max_shots: per execution.
        max_executions: of the job.
        layouts: of abstract circuits: the backend qubit of each of their qubits, where each ends. Observables then name
            the circuit's qubits, not the backend's.

    Raises:
        InvalidRequest: a pub makes no sense.
        CircuitRefused: a circuit to be sampled measures nothing.
        TooLarge: more shots or executions than the limits.
    """
    if kind == "circuits" and sorted(pub.circuit for pub in pubs) != list(range(len(circuits))):
        raise InvalidRequest("a circuits program has exactly one pub for each circuit", field="pubs")
    variants = _Variants(circuits, layouts)
    executions: list[Execution] = []
    plans: list[EstimationPlan] = []
    for index, pub in enumerate(pubs):
        field = f"pubs.{index}"
        if not 0 <= pub.circuit < len(circuits):
            message = f"pub {index} names circuit {pub.circuit}, but there are {len(circuits)}"
            raise InvalidRequest(message, field=f"{field}.circuit")
        circuit = circuits[pub.circuit]
        left = max_executions - len(executions)
        if len(pub.angles) > left:
            asked = len(executions) + len(pub.angles)
            raise TooLarge("executions", limit=max_executions, asked=asked, field=f"{field}.bindings")
        if kind != "estimator":
            if not measures(circuit):
                message = f"circuit {pub.circuit} measures nothing; add measurements"
                raise CircuitRefused(message, circuit=pub.circuit)
            shots = _shots(default_shots if pub.shots is None else pub.shots, max_shots, field)
            variant = variants.as_it_is(pub.circuit)
            executions += [Execution(index, variant, binding, 0, shots) for binding in range(len(pub.angles))]
            continue
        shots, precision = _shots_for_precision(pub, default_precision, max_shots, field)
        plan = plan_estimation(
            pub.observables,
            pub.pairs,
            num_bindings=len(pub.angles),
            usable_qubits=frozenset(range(len(layouts[pub.circuit]))) if layouts else usable_qubits,
            fallback_qubit=0 if layouts else circuit.qubits[0] if circuit.qubits else min(usable_qubits),
            first_clbit=circuit.num_clbits,
            shots=shots,
            precision=precision,
            max_bases=left,
            field=field,
        )
        plans.append(plan)
        for binding in sorted({binding for binding, _ in plan.pairs}):
            for basis in plan.bases_of(binding):
                variant = variants.measured(pub.circuit, plan.bases[basis])
                executions.append(Execution(index, variant, binding, basis, shots))
        if len(executions) > max_executions:
            raise TooLarge("executions", limit=max_executions, asked=len(executions), field=field)
    return Program(kind, variants.all, tuple(pub.angles for pub in pubs), tuple(executions), tuple(plans))


def measures(circuit: IsaCircuit) -> bool:
    """Whether the circuit measures anything, in any branch."""
    bodies = [circuit.operations, *(body for c in circuit.conditionals for body in (c.then_body, c.else_body))]
    return any(bool((body["code"] == Op.MEASURE).any()) for body in bodies)


def content_digest(kind: Kind, circuits: Sequence[IsaCircuit], pubs: Sequence[PubSpec]) -> str:
    """SHA-256 of the circuits and pubs of a job as values; names and metadata do not count.

    Args:
        kind: what the client asked to have computed.
        circuits: the decoded circuits.
        pubs: as the client gave them, before defaults.
    """
    sha = hashlib.sha256(b"job-1")

    def add(text: str) -> None:
        sha.update(f"{len(text)}:{text};".encode())

    add(kind)
    for circuit in circuits:
        add(circuit.digest())
    for pub in pubs:
        add(repr((pub.circuit, pub.shots, pub.precision, pub.angles.shape, pub.pairs)))
        sha.update(np.ascontiguousarray(pub.angles, dtype="<f8").tobytes())
        for observable in pub.observables:
            add(repr([(term.paulis, term.qubits, term.coefficient) for term in observable]))
    return sha.hexdigest()


def canonical_digest(content: str, options: Mapping[str, Any]) -> str:
    """SHA-256 of what a job asks for: equal when the same circuits are built twice.

    Args:
        content: :func:`content_digest`.
        options: anything else that counts, as JSON values.
    """
    return hashlib.sha256(f"{content};{json.dumps(options, sort_keys=True)}".encode()).hexdigest()


class _Variants:
    """The circuits that are really run, each once."""

    def __init__(self, circuits: Sequence[IsaCircuit], layouts: Sequence[tuple[int, ...]]) -> None:
        self._circuits = circuits
        self._layouts = layouts
        self._index: dict[tuple[int, MeasurementBasis | None], int] = {}
        self._variants: list[IsaCircuit] = []

    @property
    def all(self) -> tuple[IsaCircuit, ...]:
        return tuple(self._variants)

    def as_it_is(self, circuit: int) -> int:
        return self._add((circuit, None))

    def measured(self, circuit: int, basis: MeasurementBasis) -> int:
        return self._add((circuit, basis))

    def _add(self, key: tuple[int, MeasurementBasis | None]) -> int:
        if key not in self._index:
            circuit, basis = self._circuits[key[0]], key[1]
            if basis is not None and self._layouts:
                basis = laid_out(basis, self._layouts[key[0]])
            self._index[key] = len(self._variants)
            self._variants.append(circuit if basis is None else measured_in(circuit, basis))
        return self._index[key]


def measured_in(circuit: IsaCircuit, basis: MeasurementBasis) -> IsaCircuit:
    """The circuit with the basis's qubits measured at its end, into classical bits appended to its own.

    X is turned to Z by rz(π/2) then sx, Y by sx alone. Qubits that the circuit does not touch come in, in |0⟩.
    """
    qubits = tuple(sorted({*circuit.qubits, *basis.qubits}))
    place = {qubit: local for local, qubit in enumerate(qubits)}
    moved = np.array([place[qubit] for qubit in circuit.qubits] + [-1], dtype=np.int16)  # −1 picks the last: stays −1
    rows: list[tuple[int, int, int, int, int, float, int]] = []
    for position, (pauli, qubit) in enumerate(zip(basis.paulis, basis.qubits, strict=True)):
        local = place[qubit]
        if pauli == "X":
            rows.append((Op.RZ, local, -1, -1, -1, math.pi / 2, -1))
        if pauli in "XY":
            rows.append((Op.SX, local, -1, -1, -1, 0.0, -1))
        rows.append((Op.MEASURE, local, -1, circuit.num_clbits + position, -1, 0.0, -1))

    def relabelled(body: Operations) -> Operations:
        copy = body.copy()
        copy["q0"], copy["q1"] = moved[body["q0"]], moved[body["q1"]]
        return copy

    return replace(
        circuit,
        qubits=qubits,
        num_clbits=circuit.num_clbits + len(basis.qubits),
        operations=np.concatenate([relabelled(circuit.operations), operations(rows)]),
        groups=tuple(tuple(int(moved[local]) for local in group) for group in circuit.groups),
        conditionals=tuple(
            Conditional(c.clbits, c.value, relabelled(c.then_body), relabelled(c.else_body))
            for c in circuit.conditionals
        ),
    )


def _shots(shots: int, max_shots: int, field: str) -> int:
    if shots < 1:
        raise InvalidRequest(f"{shots} shots: at least one is needed", field=f"{field}.shots")
    if shots > max_shots:
        raise TooLarge("shots", limit=max_shots, asked=shots, field=f"{field}.shots")
    return shots


def _shots_for_precision(pub: PubSpec, default: float, max_shots: int, field: str) -> tuple[int, float]:
    """A precision is a standard error of a ±1 measurement: ``shots = ⌈1 / precision²⌉``."""
    if pub.shots is not None:
        return _shots(pub.shots, max_shots, field), pub.precision or 1 / math.sqrt(max(pub.shots, 1))
    precision = default if pub.precision is None else pub.precision
    if not (math.isfinite(precision) and precision > 0):
        raise InvalidRequest(f"a precision of {precision}: it must be a positive number", field=f"{field}.precision")
    shots = math.ceil(1 / max(precision, 1e-9) ** 2)
    if shots > max_shots:
        what = f"shots for a precision of {precision:g}"
        raise TooLarge(what, limit=max_shots, asked=shots, field=f"{field}.precision")
    return shots, precision
