# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""What can be checked before a byte is sent: the circuit against the backend's instructions, and the published limits.

The service checks all of it again; here the answer comes sooner and names the instruction. What is looked up per
circuit is prepared once per calibration in :class:`CircuitRules`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import numpy as np
from qiskit.circuit import ParameterExpression, QuantumCircuit
from qiskit.exceptions import QiskitError

from qpu_sdk.errors import (
    CircuitTooLargeError,
    InvalidCircuitError,
    InvalidRequestError,
    LimitExceededError,
    NotISAError,
    UnsupportedInstructionError,
)
from qpu_sdk.target import instruction_properties
from qpu_sdk.wire.answers import DATABIN_RESERVED
from qpu_sdk.wire.models import BackendKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from qiskit.circuit import ControlFlowOp

    from qpu_sdk.wire.models import BackendDocument, Limits

PubT = TypeVar("PubT")

_LONGEST_REASON: Final = 200
_UNLIMITED: Final = 2**62
_ARRAY: Final = re.compile(r"\[[\[\]\s\d.,+\-einfaj]{20,}\]")
_FREE: Final = frozenset({"barrier"})
"""Directives: they cost nothing and are allowed anywhere."""


@dataclass(frozen=True, slots=True)
class CircuitRules:
    """What a backend accepts, ready to be looked up.

    Attributes:
        places: for every instruction the qubits, in order, it exists on.
        control_flow: names of the control-flow instructions it has.
        limits: what the service publishes.
        virtual: whether its qubits have no fixed place on the device.
    """

    backend: str
    num_qubits: int
    places: Mapping[str, frozenset[tuple[int, ...]]]
    control_flow: frozenset[str]
    max_circuits: int
    max_shots: int
    max_simulated_qubits: int
    limits: Limits
    virtual: bool = False

    @classmethod
    def of(cls, document: BackendDocument, limits: Limits) -> CircuitRules:
        """Prepare the rules of a backend's current calibration."""
        return cls(
            backend=document.name,
            num_qubits=document.num_qubits,
            places={name: frozenset(places) for name, places in instruction_properties(document).items()},
            control_flow=frozenset(document.control_flow),
            max_circuits=min(document.max_circuits, limits.max_circuits),
            max_shots=min(document.max_shots, limits.max_shots),
            max_simulated_qubits=min(document.max_simulated_qubits, limits.max_simulated_qubits),
            limits=limits,
            virtual=document.kind is BackendKind.VIRTUAL,
        )

    def without_limits_of_a_job(self) -> CircuitRules:
        """The same for what is split into several jobs: only a circuit alone can be too large."""
        limits = self.limits.model_copy(update={"max_executions": _UNLIMITED, "max_result_bytes": _UNLIMITED})
        return replace(self, max_circuits=_UNLIMITED, max_shots=_UNLIMITED, limits=limits)

    def check_circuits(self, circuits: Sequence[object], *, parametric: bool, layout: str = "isa") -> None:
        """Check every circuit of a job.

        Args:
            circuits: what the caller gave us.
            parametric: whether free parameters are fine, because bindings come with them.
            layout: ``deferred`` for abstract circuits, of which only sizes are checked: the service compiles them.

        Raises:
            InvalidRequestError: or the subclass that says what is wrong; ``field`` is ``circuits[i]``.
        """
        if layout == "deferred" and not self.virtual:
            raise InvalidRequestError(
                f"the qubits of {self.backend} are fixed: layout='deferred' needs a virtual QPU, "
                f"e.g. {self.backend}:line-5",
                field="layout",
            )
        if not circuits:
            raise InvalidRequestError("there is no circuit to run", field="circuits")
        if len(circuits) > self.max_circuits:
            raise LimitExceededError(
                f"{len(circuits)} circuits; {self.backend} takes {self.max_circuits} per job", field="circuits"
            )
        for index, circuit in enumerate(circuits):
            if not isinstance(circuit, QuantumCircuit):
                raise InvalidRequestError(
                    f"circuit {index} is a {type(circuit).__name__}, not a QuantumCircuit", field=f"circuits[{index}]"
                )
            self._check_circuit(circuit, f"circuits[{index}]", parametric=parametric, abstract=layout == "deferred")

    def check_shots(self, shots: int, field: str) -> None:
        """Shots are positive and within the limit."""
        if not 1 <= shots <= self.max_shots:
            raise LimitExceededError(f"{shots} shots; {self.backend} takes 1 to {self.max_shots}", field=field)

    def check_size(self, executions: int, result_bytes: int, *, of: str = "the result") -> None:
        """Executions (circuits times bindings) and the size of what they measure are within the limits."""
        if executions > self.limits.max_executions:
            raise LimitExceededError(
                f"{executions} executions (circuits times bindings); the limit is {self.limits.max_executions}",
                field="pubs",
            )
        if result_bytes > self.limits.max_result_bytes:
            raise LimitExceededError(
                f"{of} would have {result_bytes} bytes; the limit is {self.limits.max_result_bytes}", field="pubs"
            )

    def _check_circuit(self, circuit: QuantumCircuit, field: str, *, parametric: bool, abstract: bool) -> None:
        if circuit.num_parameters and not parametric:
            names = ", ".join(sorted(parameter.name for parameter in circuit.parameters))
            raise InvalidCircuitError(f"{field} has unbound parameters: {names}", field=field)
        if circuit.num_qubits > self.num_qubits:
            raise NotISAError(
                f"{field} has {circuit.num_qubits} qubits, {self.backend} has {self.num_qubits}", field=field
            )
        for count, limit, what in (
            (circuit.num_clbits, self.limits.max_clbits, "classical bits"),
            (len(circuit.data), self.limits.max_operations, "operations"),
        ):
            if count > limit:
                raise LimitExceededError(f"{field} has {count} {what}; the limit is {limit}", field=field)
        if circuit.num_identifiers:
            raise UnsupportedInstructionError(
                f"{field} uses classical variables or stretches, which {self.backend} does not have", field=field
            )
        if abstract:
            return
        used: set[int] = set()
        self._check_body(circuit, {bit: index for index, bit in enumerate(circuit.qubits)}, used, field)
        if len(used) > self.max_simulated_qubits:
            raise CircuitTooLargeError(
                f"{field} uses {len(used)} qubits; {self.backend} runs up to {self.max_simulated_qubits}", field=field
            )

    def _check_body(self, circuit: QuantumCircuit, index_of: Mapping[Any, int], used: set[int], field: str) -> None:
        places = self.places
        for instruction in circuit.data:
            name = instruction.name
            if name in _FREE:
                continue
            qubits = tuple(index_of[bit] for bit in instruction.qubits)
            used.update(qubits)
            if instruction.is_control_flow():
                if name not in self.control_flow:
                    raise UnsupportedInstructionError(f"{field}: {self.backend} has no {name}", field=field)
                for block in cast("ControlFlowOp", instruction.operation).blocks:
                    inner = dict(zip(block.qubits, qubits, strict=True))
                    self._check_body(block, inner, used, field)
                continue
            allowed = places.get(name)
            if allowed is None:
                raise UnsupportedInstructionError(
                    f"{field}: {self.backend} has no {name}; transpile the circuit for it", field=field
                )
            if qubits not in allowed:
                raise NotISAError(f"{field}: {_not_there(name, qubits, allowed, self.backend)}", field=field)
            for parameter in instruction.params:
                if not isinstance(parameter, float) or not math.isfinite(parameter):
                    _check_parameter(name, parameter, field)


def as_list(given: object, what: str, field: str) -> list[Any]:
    """What a caller passed as one circuit or several → a list.

    Raises:
        InvalidRequestError: it is neither.
    """
    if isinstance(given, QuantumCircuit):
        return [given]
    if not isinstance(given, Iterable):
        raise InvalidRequestError(f"a {what} or several are needed; got a {type(given).__name__}", field=field)
    return list(cast("Iterable[Any]", given))


def coerce_pubs(coerce: Callable[[Any], PubT], pubs: object) -> list[PubT]:
    """Whatever Qiskit takes for pubs → pubs.

    Raises:
        InvalidRequestError: Qiskit does not take one of them; ``field`` is ``pubs[i]``.
    """
    coerced: list[PubT] = []
    for number, pub in enumerate(as_list(pubs, "pub", "pubs")):
        try:
            coerced.append(coerce(pub))
        except (ValueError, TypeError, QiskitError) as error:
            reason = _ARRAY.sub("[…]", " ".join(str(error).split()))  # Qiskit puts whole arrays into some
            short = reason if len(reason) <= _LONGEST_REASON else reason[: _LONGEST_REASON - 1] + "…"
            raise InvalidRequestError(f"pubs[{number}]: {short}", field=f"pubs[{number}]") from error
    return coerced


def check_measured(circuits: Sequence[QuantumCircuit]) -> None:
    """Every circuit measures something: without, there are no counts."""
    for index, circuit in enumerate(circuits):
        if not _measures(circuit):
            raise InvalidCircuitError(
                f"circuits[{index}] measures nothing, so it has no counts: add measurements, e.g. measure_all()",
                field=f"circuits[{index}]",
            )


def check_no_branches(circuits: Sequence[QuantumCircuit]) -> None:
    """IQ points are all there is at measurement level 1: nothing can depend on a bit."""
    for index, circuit in enumerate(circuits):
        if circuit.has_control_flow_op():
            raise InvalidRequestError(
                f"circuits[{index}] branches on bits, and at meas_level=1 there are none: run it at meas_level=2",
                field="meas_level",
            )


def check_registers(circuits: Sequence[QuantumCircuit]) -> None:
    """A sampler gives one field per register: every classical bit is in one, and their names can be fields."""
    check_register_names(circuits)
    for index, circuit in enumerate(circuits):
        loose = len(set(circuit.clbits).difference(*circuit.cregs))
        if loose:
            raise InvalidCircuitError(
                f"circuits[{index}]: {loose} of its classical bits are in no register, so a sampler's result has no "
                "place for them: use QuantumCircuit(n, m) or add a ClassicalRegister",
                field=f"circuits[{index}]",
            )


def check_register_names(circuits: Sequence[QuantumCircuit]) -> None:
    """Primitives give one field per register; some names cannot be fields."""
    for index, circuit in enumerate(circuits):
        taken = sorted(DATABIN_RESERVED.intersection(register.name for register in circuit.cregs))
        if taken:
            raise InvalidCircuitError(
                f"circuits[{index}]: a classical register cannot be called {' or '.join(taken)} in a primitive: "
                "its result has an attribute of that name",
                field=f"circuits[{index}]",
            )


def check_bindings(values: NDArray[np.float64], field: str) -> None:
    """Parameter values are finite, and there is at least one set of them."""
    if values.shape[0] == 0:
        raise InvalidRequestError(f"{field} has no bindings: its shape has a zero", field=field)
    if not np.isfinite(values).all():
        raise InvalidRequestError(f"{field} has a parameter value that is not finite", field=field)


def _measures(circuit: QuantumCircuit) -> bool:
    return any(
        any(map(_measures, cast("ControlFlowOp", instruction.operation).blocks))
        if instruction.is_control_flow()
        else instruction.name == "measure"
        for instruction in circuit.data
    )


def _check_parameter(name: str, parameter: object, field: str) -> None:
    if isinstance(parameter, ParameterExpression):
        if name == "delay":
            raise UnsupportedInstructionError(f"{field}: a delay cannot depend on a parameter here", field=field)
        return
    if not isinstance(parameter, int | float | np.integer | np.floating):
        raise UnsupportedInstructionError(
            f"{field}: {name} with a {type(parameter).__name__} as parameter", field=field
        )
    if not math.isfinite(parameter):
        raise InvalidCircuitError(f"{field}: {name} has the angle {parameter}", field=field)


def _not_there(name: str, qubits: tuple[int, ...], allowed: frozenset[tuple[int, ...]], backend: str) -> str:
    if tuple(reversed(qubits)) in allowed:
        return f"{backend} has {name} on {tuple(reversed(qubits))} but not in the direction {qubits}; transpile for it"
    where = qubits[0] if len(qubits) == 1 else qubits
    return f"{backend} has no {name} on {where}; transpile the circuit for it"
