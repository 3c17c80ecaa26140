"""What a job has done against errors, and what of it makes no sense: every refusal names the field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from qpu_backend.domain.errors import InvalidRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

PulseSequence = Literal["XX", "XY4"]
FIELD: Final = "options.mitigation"
DEFAULT_RANDOMIZATIONS: Final = 32
MAX_FACTOR: Final = 31
_PARAMETERS: Final = {"linear": 2, "quadratic": 3, "polynomial_degree_3": 4, "exponential": 2}
"""Of each extrapolator's curve."""


@dataclass(frozen=True, slots=True)
class Twirling:
    """Random circuits that all do the same.

    Attributes:
        gates: Paulis about two-qubit gates.
        measure: flips before readout.
        num_randomizations, shots_per_randomization: as asked for; ``None`` leaves it to the other one.
    """

    gates: bool
    measure: bool
    num_randomizations: int | None = None
    shots_per_randomization: int | None = None

    def deal(self, shots: int, field: str) -> tuple[int, ...]:
        """The shots of each randomisation of an execution.

        Args:
            shots: of the execution.
            field: its pub, for messages.

        Raises:
            InvalidRequest: the three numbers do not go together.
        """
        number, each = self.num_randomizations, self.shots_per_randomization
        where = f"{FIELD}.twirling"
        if each is not None and each > shots:
            raise InvalidRequest(
                f"{each} shots per randomization are more than the {shots} shots of {field}",
                field=f"{where}.shots_per_randomization",
            )
        if number is not None and each is not None and number * each != shots:
            raise InvalidRequest(
                f"{number} randomizations of {each} shots are {number * each}, and {field} has {shots} shots: "
                "leave one of the two numbers to the service",
                field=f"{where}.num_randomizations",
            )
        if number is not None and number > shots:
            raise InvalidRequest(
                f"{number} randomizations are more than the {shots} shots of {field}",
                field=f"{where}.num_randomizations",
            )
        if number is None and each is not None:
            whole, rest = divmod(shots, each)
            return (*(each for _ in range(whole)), *((rest,) if rest else ()))
        number = min(DEFAULT_RANDOMIZATIONS, shots) if number is None else number
        least, more = divmod(shots, number)
        return tuple(least + (place < more) for place in range(number))


@dataclass(frozen=True, slots=True)
class Readout:
    """Inversion of the errors of readout.

    Attributes:
        source: ``executions`` of the job that measure them, or the published ``snapshot``.
        shots: of each of these executions.
    """

    source: Literal["executions", "snapshot"]
    shots: int


@dataclass(frozen=True, slots=True)
class Extrapolation:
    """Estimates at several levels of noise, and the curve that leads from them to none.

    Attributes:
        factors: odd, ascending, each once.
        extrapolator: name of the curve.
    """

    factors: tuple[int, ...]
    extrapolator: str

    @classmethod
    def of(cls, factors: Sequence[float], extrapolator: str) -> Extrapolation:
        """From what was asked for.

        Raises:
            InvalidRequest: factors that cannot be folded, or too few of them.
        """
        field = f"{FIELD}.zne.noise_factors"
        for factor in factors:
            if not 1 <= factor <= MAX_FACTOR:
                raise InvalidRequest(f"a noise factor is 1 to {MAX_FACTOR}, not {factor:g}", field=field)
            if factor != round(factor) or round(factor) % 2 == 0:
                raise InvalidRequest(
                    f"a noise factor of {factor:g} cannot be folded: a gate, undone and done again so many times, is "
                    "there an odd number of times (1, 3, 5, …)",
                    field=field,
                )
        whole = tuple(sorted(round(factor) for factor in factors))
        if len(set(whole)) < len(whole):
            raise InvalidRequest("a noise factor is there twice", field=field)
        if extrapolator not in _PARAMETERS:
            known = ", ".join(_PARAMETERS)
            raise InvalidRequest(
                f"no extrapolator is called that; there are {known}", field=f"{FIELD}.zne.extrapolator"
            )
        if len(whole) < _PARAMETERS[extrapolator]:
            raise InvalidRequest(
                f"the extrapolator {extrapolator} needs at least {_PARAMETERS[extrapolator]} noise factors, "
                f"and there are {len(whole)}",
                field=field,
            )
        return cls(whole, extrapolator)


@dataclass(frozen=True, slots=True)
class Mitigation:
    """Everything that is done against errors; what is ``None`` is not.

    Attributes:
        twirling: of gates and readout.
        decoupling: the pulses in idle windows.
        readout: inversion of its errors.
        extrapolation: to no noise.
        seed: of the twirls.
    """

    twirling: Twirling | None = None
    decoupling: PulseSequence | None = None
    readout: Readout | None = None
    extrapolation: Extrapolation | None = None
    seed: int = 0

    @property
    def twirls_readout(self) -> bool:
        return self.twirling is not None and self.twirling.measure

    @property
    def factors(self) -> tuple[int, ...]:
        return (1,) if self.extrapolation is None else self.extrapolation.factors

    def to_document(self) -> dict[str, Any]:
        """Numbers, strings and lists only."""
        twirling, readout, zne = self.twirling, self.readout, self.extrapolation
        return {
            "twirling": twirling
            and [twirling.gates, twirling.measure, twirling.num_randomizations, twirling.shots_per_randomization],
            "decoupling": self.decoupling,
            "readout": readout and [readout.source, readout.shots],
            "extrapolation": zne and [list(zne.factors), zne.extrapolator],
            "seed": self.seed,
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Mitigation:
        """Inverse of :meth:`to_document`."""
        zne = document["extrapolation"]
        return cls(
            twirling=document["twirling"] and Twirling(*document["twirling"]),
            decoupling=document["decoupling"],
            readout=document["readout"] and Readout(*document["readout"]),
            extrapolation=zne and Extrapolation(tuple(zne[0]), zne[1]),
            seed=document["seed"],
        )


def require_possible(mitigation: Mitigation, kind: str, layout: str) -> None:
    """Refuse what a program of this kind, or with this layout, cannot have.

    Raises:
        InvalidRequest: names the option.
    """
    if kind == "circuits":
        raise InvalidRequest(
            "circuits are run as they are: mitigation is for samplers and estimators; use SamplerV2 or EstimatorV2",
            field=FIELD,
        )
    if layout == "deferred":
        raise InvalidRequest(
            "mitigation needs circuits in the backend's own instructions: transpile them, and leave out "
            "layout='deferred'",
            field=FIELD,
        )
    if kind == "sampler" and mitigation.extrapolation is not None:
        raise InvalidRequest(
            "a sampler answers in bits, and zero-noise extrapolation is of expectation values: use EstimatorV2",
            field=f"{FIELD}.zne",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Treatment:
    """What became of a program's executions because of mitigation, and what it takes to read them.

    Attributes:
        mitigation: what is done.
        factor_of: int32, one for each execution: index of its noise factor; −1 for those that measure readout.
        flips: uint8, ``(num_circuits, num_bytes)``: classical bits that each circuit flips before they are read, bit
            ``i % 8`` of byte ``i // 8``.
        sets: backend qubits whose readout is measured together.
        set_of: int32, one for each circuit: the first of those sets whose errors its bits have; −1 where none are
            measured.
    """

    mitigation: Mitigation
    factor_of: NDArray[np.int32]
    flips: NDArray[np.uint8]
    sets: tuple[tuple[int, ...], ...]
    set_of: NDArray[np.int32]

    def to_document(self) -> dict[str, Any]:
        """A plain structure of numbers, strings, lists and arrays."""
        return {
            "mitigation": self.mitigation.to_document(),
            "factor_of": self.factor_of,
            "flips": self.flips,
            "sets": [list(qubits) for qubits in self.sets],
            "set_of": self.set_of,
        }

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> Treatment:
        """Inverse of :meth:`to_document`."""
        return cls(
            mitigation=Mitigation.from_document(document["mitigation"]),
            factor_of=document["factor_of"],
            flips=document["flips"],
            sets=tuple(tuple(qubits) for qubits in document["sets"]),
            set_of=document["set_of"],
        )
