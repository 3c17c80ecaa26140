"""Groups of options against errors, checked the moment they are set; names are Qiskit Runtime's where it has one.

Each is a ``Mapping`` too, and takes a dict wherever it is set.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Final, Literal, Self, cast

from qpu_sdk.errors import InvalidRequestError
from qpu_sdk.wire.mitigation import (
    MAX_NOISE_FACTOR,
    MAX_NOISE_FACTORS,
    MAX_RANDOMIZATIONS,
    DynamicalDecoupling,
    Extrapolator,
    MeasureMitigation,
    MeasureSource,
    Mitigation,
    SequenceType,
    Twirling,
    ZeroNoiseExtrapolation,
)

Check = tuple[Callable[[Any], bool], str]


@dataclass(slots=True, kw_only=True)
class OptionGroup(Mapping[str, Any]):
    """Some options that belong together."""

    PATH: ClassVar[str] = ""
    CHECKS: ClassVar[Mapping[str, Check]] = {}
    """What each option may be, and how to say it."""
    ELSEWHERE: ClassVar[Mapping[str, str]] = {}
    """Options that are asked for here and have their place elsewhere: what to say of them."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in self.names():
            why = self.ELSEWHERE.get(name, f"it has {', '.join(sorted(self.names()))}")
            raise InvalidRequestError(f"{self.PATH} has no option {name!r}: {why}", field=f"{self.PATH}.{name}")
        if name in _GROUPS_OF.get(type(self), {}):
            value = _GROUPS_OF[type(self)][name].coerce(value)
        else:
            check, meaning = self.CHECKS[name]
            if not check(value):
                message = f"option {self.PATH}.{name} cannot be {value!r}: {meaning}"
                raise InvalidRequestError(message, field=f"{self.PATH}.{name}")
        object.__setattr__(self, name, value)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """All options there are."""
        return tuple(option.name for option in fields(cls))

    @classmethod
    def coerce(cls, given: object) -> Self:
        """A group of this kind or a dict → a group (a copy).

        Raises:
            InvalidRequestError: it is neither, or an option of it is wrong.
        """
        if not isinstance(given, Mapping):
            raise InvalidRequestError(f"option {cls.PATH} cannot be {given!r}: a dict of its options", field=cls.PATH)
        group = cls()
        for name, value in cast("Mapping[str, object]", given).items():
            setattr(group, name, value)
        return group

    def __getitem__(self, name: str) -> Any:
        if name not in self.names():
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_count(value: Any, most: int) -> bool:
    return hasattr(value, "__index__") and not isinstance(value, bool) and 1 <= int(value) <= most


def _are_factors(value: Any) -> bool:
    if not hasattr(value, "__iter__") or isinstance(value, str | Mapping):
        return False
    factors: list[Any] = list(value)
    return (
        2 <= len(factors) <= MAX_NOISE_FACTORS
        and all(hasattr(factor, "__float__") and not isinstance(factor, bool) for factor in factors)
        and all(math.isfinite(factor) and factor % 2 == 1 and 1 <= factor <= MAX_NOISE_FACTOR for factor in factors)
        and len({float(factor) for factor in factors}) == len(factors)
    )


_FLAG: Final[Check] = (_is_flag, "True or False")
_MANY: Final = 10**9


@dataclass(slots=True, kw_only=True)
class TwirlingOptions(OptionGroup):
    """Random circuits that all do the same.

    Attributes:
        enable_gates: random Paulis about ecr, cz and cx.
        enable_measure: random flips before readout, undone in what is answered.
        num_randomizations: of each execution; ``auto`` is 32, or what ``shots_per_randomization`` makes.
        shots_per_randomization: ``auto`` deals the shots out evenly.
    """

    PATH: ClassVar[str] = "twirling"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "enable_gates": _FLAG,
        "enable_measure": _FLAG,
        "num_randomizations": (
            lambda v: v == "auto" or _is_count(v, MAX_RANDOMIZATIONS),
            f"an integer from 1 to {MAX_RANDOMIZATIONS}, or 'auto'",
        ),
        "shots_per_randomization": (lambda v: v == "auto" or _is_count(v, _MANY), "an integer, 1 or more, or 'auto'"),
    }

    enable_gates: bool = False
    enable_measure: bool = False
    num_randomizations: int | Literal["auto"] = "auto"
    shots_per_randomization: int | Literal["auto"] = "auto"

    def wire(self) -> Twirling | None:
        """What the service is told, if anything."""
        if not self.enable_gates and not self.enable_measure:
            return None
        number, shots = self.num_randomizations, self.shots_per_randomization
        return Twirling(
            enable_gates=self.enable_gates,
            enable_measure=self.enable_measure,
            num_randomizations=None if number == "auto" else int(number),
            shots_per_randomization=None if shots == "auto" else int(shots),
        )


@dataclass(slots=True, kw_only=True)
class DynamicalDecouplingOptions(OptionGroup):
    """Pulses in idle windows.

    Attributes:
        enable: whether there are any.
        sequence_type: ``XX`` or ``XY4``.
    """

    PATH: ClassVar[str] = "dynamical_decoupling"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "enable": _FLAG,
        "sequence_type": (lambda v: v in {"XX", "XY4"}, "'XX' or 'XY4'"),
    }

    enable: bool = False
    sequence_type: SequenceType = "XX"

    def wire(self) -> DynamicalDecoupling | None:
        """What the service is told, if anything."""
        return DynamicalDecoupling(sequence_type=self.sequence_type) if self.enable else None


@dataclass(slots=True, kw_only=True)
class MeasureNoiseLearningOptions(OptionGroup):
    """Where the errors of readout are taken from.

    Attributes:
        source: ``executions``: two more in the same job, with its drift and its neighbours; ``snapshot``: the published
            calibration, for nothing.
        shots: of each of these executions.
    """

    PATH: ClassVar[str] = "resilience.measure_noise_learning"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "source": (lambda v: v in {"executions", "snapshot"}, "'executions' or 'snapshot'"),
        "shots": (lambda v: _is_count(v, _MANY), "an integer, 1 or more"),
    }

    source: MeasureSource = "executions"
    shots: int = 4096


@dataclass(slots=True, kw_only=True)
class ZneOptions(OptionGroup):
    """Zero-noise extrapolation.

    Attributes:
        noise_factors: odd: how often each two-qubit gate is there.
        extrapolator: the curve through the estimates.
    """

    PATH: ClassVar[str] = "resilience.zne"
    CHECKS: ClassVar[Mapping[str, Check]] = {
        "noise_factors": (
            _are_factors,
            f"2 to {MAX_NOISE_FACTORS} odd numbers from 1 to {MAX_NOISE_FACTOR}, each once: gates are undone, redone",
        ),
        "extrapolator": (
            lambda v: v in {"linear", "quadratic", "polynomial_degree_3", "exponential"},
            "'linear', 'quadratic', 'polynomial_degree_3' or 'exponential'",
        ),
    }

    noise_factors: tuple[float, ...] = (1, 3, 5)
    extrapolator: Extrapolator = "linear"


_OF_ESTIMATORS: Final = "a sampler answers in bits, and zero-noise extrapolation is of expectation values: EstimatorV2"


@dataclass(slots=True, kw_only=True)
class SamplerResilienceOptions(OptionGroup):
    """Mitigation of what a sampler answers.

    Attributes:
        measure_mitigation: invert the errors of readout; quasi-distributions come with the result's metadata.
        measure_noise_learning: where these errors are taken from.
    """

    PATH: ClassVar[str] = "resilience"
    CHECKS: ClassVar[Mapping[str, Check]] = {"measure_mitigation": _FLAG}
    ELSEWHERE: ClassVar[Mapping[str, str]] = {"zne_mitigation": _OF_ESTIMATORS, "zne": _OF_ESTIMATORS}

    measure_mitigation: bool = False
    measure_noise_learning: MeasureNoiseLearningOptions = field(default_factory=MeasureNoiseLearningOptions)

    def measure(self) -> MeasureMitigation | None:
        """What the service is told of readout, if anything."""
        learning = self.measure_noise_learning
        if not self.measure_mitigation:
            return None
        return MeasureMitigation(source=learning.source, shots=int(learning.shots))

    def zero_noise(self) -> ZeroNoiseExtrapolation | None:
        """What the service is told of extrapolation: nothing."""
        return None


@dataclass(slots=True, kw_only=True)
class EstimatorResilienceOptions(OptionGroup):
    """Mitigation of what an estimator answers.

    Attributes:
        measure_mitigation: invert the errors of readout.
        measure_noise_learning: where these errors are taken from.
        zne_mitigation: extrapolate to no noise.
        zne: how.
    """

    PATH: ClassVar[str] = "resilience"
    CHECKS: ClassVar[Mapping[str, Check]] = {"measure_mitigation": _FLAG, "zne_mitigation": _FLAG}

    measure_mitigation: bool = False
    measure_noise_learning: MeasureNoiseLearningOptions = field(default_factory=MeasureNoiseLearningOptions)
    zne_mitigation: bool = False
    zne: ZneOptions = field(default_factory=ZneOptions)

    def measure(self) -> MeasureMitigation | None:
        """What the service is told of readout, if anything."""
        learning = self.measure_noise_learning
        if not self.measure_mitigation:
            return None
        return MeasureMitigation(source=learning.source, shots=int(learning.shots))

    def zero_noise(self) -> ZeroNoiseExtrapolation | None:
        """What the service is told of extrapolation, if anything."""
        if not self.zne_mitigation:
            return None
        factors = [float(factor) for factor in self.zne.noise_factors]
        return ZeroNoiseExtrapolation(noise_factors=factors, extrapolator=self.zne.extrapolator)


_GROUPS_OF: Final[dict[type, dict[str, type[OptionGroup]]]] = {
    SamplerResilienceOptions: {"measure_noise_learning": MeasureNoiseLearningOptions},
    EstimatorResilienceOptions: {"measure_noise_learning": MeasureNoiseLearningOptions, "zne": ZneOptions},
}


def mitigation(
    twirling: TwirlingOptions,
    decoupling: DynamicalDecouplingOptions,
    resilience: SamplerResilienceOptions | EstimatorResilienceOptions,
) -> Mitigation | None:
    """All of it as the service is told; ``None`` where nothing is asked for."""
    asked = Mitigation(
        twirling=twirling.wire(),
        dynamical_decoupling=decoupling.wire(),
        measure=resilience.measure(),
        zne=resilience.zero_noise(),
    )
    return None if asked == Mitigation() else asked
