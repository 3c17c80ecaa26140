"""Options, checked the moment they are set: of ``backend.run``, of the sampler and of the estimator.

Each is a ``Mapping`` too, so ``dict(options)`` and ``**options`` work. Names are Qiskit's where Qiskit has one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, Self, cast

from qpu_sdk.errors import InvalidRequestError
from qpu_sdk.mitigation import (
    DynamicalDecouplingOptions,
    EstimatorResilienceOptions,
    OptionGroup,
    SamplerResilienceOptions,
    TwirlingOptions,
    mitigation,
)
from qpu_sdk.wire.models import Isolation, JobOptions

DriftPolicy = Literal["warn", "pin", "refuse"]


class SessionLike(Protocol):
    """What knows which session it is."""

    @property
    def session_id(self) -> str:
        """The id of a session."""
        ...


class QuoteLike(Protocol):
    """What was promised for a job, or for each part of one."""

    @property
    def tokens(self) -> tuple[str, ...]:
        """What proves it."""
        ...


@dataclass(slots=True, kw_only=True)
class ExecutionOptions(Mapping[str, Any]):
    """What every way to run has in common.

    Attributes:
        seed_simulator: equal seeds give equal results on an equal device; ``None`` lets the service draw one.
        rep_delay: idle time before each shot in s; ``None`` is the backend's default.
        init_qubits: reset the qubits before each shot.
        layout: ``isa`` for circuits transpiled for the backend; ``deferred``, on a virtual QPU, for circuits that the
            service compiles: when they are submitted, and again for the qubits where they run.
        isolation: how far others are kept away: ``shared`` as the device's policy says; ``buffered`` with an idle qubit
            all around; ``confidential`` also without a readout group in common; ``exclusive`` alone on the chip.
        lane: class of service, e.g. ``interactive`` or ``batch``.
        max_loss: predicted success probability that the job gives up, against its best place on the empty chip, to run
            sooner; ``None`` leaves it to the device.
        session: an open session of this backend, or its id: the job is part of it.
        drift_policy: if calibrated again since transpiling: ``warn``; ``pin``, be checked and reported against the old
            calibration as long as all gates are still there; or ``refuse``.
        max_cost_micro: refuse the job if it costs more, in micro-credits.
        job_tags: up to 16 words to find the job by.
        quote: of :meth:`~qpu_sdk.QPUProvider.quote`, or its token: the job costs that. It must be for the same job.
        idempotency_key: name of the submission; two with the same name are one job. ``None`` draws one.
        split: submit what is beyond the published limits as several jobs behind one handle, a
            :class:`~qpu_sdk.composite.CompositeJob`. Each costs the overhead of a job, and ``max_cost_micro`` caps all
            of them together. What fits in one job is one.
        on_failure: of a split job: ``continue`` keeps the other parts; ``cancel_rest`` cancels them when one fails.
    """

    seed_simulator: int | None = None
    rep_delay: float | None = None
    init_qubits: bool = True
    layout: str = "isa"
    isolation: Isolation | str = Isolation.SHARED
    lane: str = "standard"
    max_loss: float | None = None
    session: SessionLike | str | None = None
    drift_policy: DriftPolicy = "warn"
    max_cost_micro: int | None = None
    job_tags: list[str] | None = None
    quote: QuoteLike | str | None = None
    idempotency_key: str | None = None
    split: bool = False
    on_failure: str = "continue"

    def __setattr__(self, name: str, value: object) -> None:
        if (group := _GROUPS.get((type(self), name))) is not None:
            object.__setattr__(self, name, group.coerce(value))
            return
        check = _CHECKS.get(name)
        if check is None or name not in self.__dataclass_fields__:
            raise InvalidRequestError(
                f"{type(self).__name__} has no option {name!r}; it has {', '.join(sorted(self.names()))}", field=name
            )
        if not check(value):
            raise InvalidRequestError(f"option {name} cannot be {value!r}: {_MEANING[name]}", field=name)
        object.__setattr__(self, name, value)

    @classmethod
    def names(cls) -> frozenset[str]:
        """All options there are."""
        return frozenset(cls.__dataclass_fields__)

    @classmethod
    def coerce(cls, options: Mapping[str, Any] | None) -> Self:
        """Options, a dict or ``None`` → options of this kind (a copy)."""
        coerced = cls()
        coerced.update(**dict(options or {}))
        return coerced

    def update(self, **options: object) -> None:
        """Set several."""
        for name, value in options.items():
            setattr(self, name, value)

    def wire(self, *, memory: bool = False) -> JobOptions:
        """What of it the service is told per job."""
        return JobOptions(
            seed=self.seed_simulator,
            memory=memory,
            rep_delay_us=None if self.rep_delay is None else self.rep_delay * 1e6,
            init_qubits=self.init_qubits,
            layout="deferred" if self.layout == "deferred" else "isa",
            isolation=Isolation(self.isolation),
            lane=self.lane,
            max_loss=self.max_loss,
            session=None if self.session is None else _id_of(self.session),
        )

    def __getitem__(self, name: str) -> Any:
        if name not in self.__dataclass_fields__:
            raise KeyError(name)
        return getattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dataclass_fields__)

    def __len__(self) -> int:
        return len(self.__dataclass_fields__)


@dataclass(slots=True, kw_only=True)
class RunOptions(ExecutionOptions):
    """Options of ``backend.run``.

    Attributes:
        shots: repetitions of each circuit.
        memory: also give every single shot.
        meas_level: 2 (classified bits) or 1 (IQ points, which a discriminator makes bits of).
        meas_return: at level 1, the points of every shot (``single``) or their mean (``avg``, Qiskit's default).
    """

    shots: int = 1024
    memory: bool = False
    meas_level: int = 2
    meas_return: str = "avg"

    def wire(self, *, memory: bool = False) -> JobOptions:
        """What of it the service is told per job."""
        shared = ExecutionOptions.wire(self, memory=memory)
        if self.meas_level == 2:
            return shared
        meas_return = "avg" if self.meas_return == "avg" else "single"  # of Qiskit's enumeration, too
        return shared.model_copy(update={"meas_level": 1, "meas_return": meas_return})


@dataclass(slots=True, kw_only=True)
class SamplerOptions(ExecutionOptions):
    """Options of :class:`~qpu_sdk.SamplerV2`.

    Attributes:
        default_shots: shots of a pub that does not say.
        twirling: random circuits that all do the same.
        dynamical_decoupling: pulses in idle windows.
        resilience: mitigation of what is answered.
    """

    default_shots: int = 1024
    twirling: TwirlingOptions = field(default_factory=TwirlingOptions)
    dynamical_decoupling: DynamicalDecouplingOptions = field(default_factory=DynamicalDecouplingOptions)
    resilience: SamplerResilienceOptions = field(default_factory=SamplerResilienceOptions)

    def wire(self, *, memory: bool = False) -> JobOptions:
        """What of it the service is told per job."""
        asked = mitigation(self.twirling, self.dynamical_decoupling, self.resilience)
        return ExecutionOptions.wire(self, memory=memory).model_copy(update={"mitigation": asked})


@dataclass(slots=True, kw_only=True)
class EstimatorOptions(ExecutionOptions):
    """Options of :class:`~qpu_sdk.EstimatorV2`.

    Attributes:
        default_precision: standard error aimed at by a pub that does not say: 1/√4096.
        twirling: random circuits that all do the same.
        dynamical_decoupling: pulses in idle windows.
        resilience: mitigation of what is answered.
    """

    default_precision: float = 0.015625
    twirling: TwirlingOptions = field(default_factory=TwirlingOptions)
    dynamical_decoupling: DynamicalDecouplingOptions = field(default_factory=DynamicalDecouplingOptions)
    resilience: EstimatorResilienceOptions = field(default_factory=EstimatorResilienceOptions)

    def wire(self, *, memory: bool = False) -> JobOptions:
        """What of it the service is told per job."""
        asked = mitigation(self.twirling, self.dynamical_decoupling, self.resilience)
        return ExecutionOptions.wire(self, memory=memory).model_copy(update={"mitigation": asked})


_GROUPS: Final[dict[tuple[type, str], type[OptionGroup]]] = {
    (options, name): group
    for options, resilience in (
        (SamplerOptions, SamplerResilienceOptions),
        (EstimatorOptions, EstimatorResilienceOptions),
    )
    for name, group in (
        ("twirling", TwirlingOptions),
        ("dynamical_decoupling", DynamicalDecouplingOptions),
        ("resilience", resilience),
    )
}


def _id_of(session: Any) -> Any:
    return getattr(session, "session_id", session)


def _is_integer(value: object, lowest: int) -> bool:
    integral = hasattr(value, "__index__") and not isinstance(value, bool)
    return integral and int(value) >= lowest  # pyright: ignore[reportArgumentType]  # numpy integers count


def _is_number(value: object) -> bool:
    number = hasattr(value, "__float__") and not isinstance(value, bool)
    return number and math.isfinite(float(value))  # pyright: ignore[reportArgumentType]  # numpy floats count


def _are_tags(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(cast("list[object]", value)) <= 16
        and all(isinstance(tag, str) and 0 < len(tag) <= 128 for tag in cast("list[object]", value))
    )


_CHECKS: Final[dict[str, Callable[[Any], bool]]] = {
    "seed_simulator": lambda v: v is None or (_is_integer(v, 0) and int(v) < 2**63),
    "rep_delay": lambda v: v is None or (_is_number(v) and v >= 0),
    "init_qubits": lambda v: isinstance(v, bool),
    "layout": lambda v: v in {"isa", "deferred"},
    "isolation": lambda v: v in set(Isolation),
    "lane": lambda v: isinstance(v, str) and 0 < len(v) <= 128 and v.isprintable(),
    "max_loss": lambda v: v is None or (_is_number(v) and 0 <= v <= 1),
    "session": lambda v: v is None or (isinstance(_id_of(v), str) and 0 < len(_id_of(v)) <= 128),
    "drift_policy": lambda v: v in {"warn", "pin", "refuse"},
    "max_cost_micro": lambda v: v is None or _is_integer(v, 0),
    "job_tags": lambda v: v is None or _are_tags(v),
    "idempotency_key": lambda v: (
        v is None or (isinstance(v, str) and 0 < len(v) <= 128 and v.isascii() and v.isprintable())
    ),
    "quote": lambda v: v is None or (isinstance(v, str) and 0 < len(v) <= 2048) or hasattr(v, "tokens"),
    "split": lambda v: isinstance(v, bool),
    "on_failure": lambda v: v in {"continue", "cancel_rest"},
    "shots": lambda v: _is_integer(v, 1),
    "memory": lambda v: isinstance(v, bool),
    "meas_level": lambda v: _is_integer(v, 1) and int(v) <= 2,
    "meas_return": lambda v: v in {"single", "avg"},
    "default_shots": lambda v: _is_integer(v, 1),
    "default_precision": lambda v: _is_number(v) and v > 0,
}
_MEANING: Final = {
    "seed_simulator": "an integer from 0 to 2^63 - 1, or None",
    "rep_delay": "seconds, 0 or more, or None",
    "init_qubits": "True or False",
    "layout": "'isa' or 'deferred'",
    "isolation": "'shared', 'buffered', 'confidential' or 'exclusive'",
    "lane": "the name of a lane",
    "max_loss": "a probability, or None",
    "session": "an open session, its id, or None",
    "drift_policy": "'warn', 'pin' or 'refuse'",
    "max_cost_micro": "micro-credits, an integer, or None",
    "job_tags": "a list of at most 16 texts of 1 to 128 characters",
    "idempotency_key": "printable ASCII, 1 to 128 characters, or None",
    "quote": "a quote, its token, or None",
    "split": "True or False",
    "on_failure": "'continue' or 'cancel_rest'",
    "shots": "an integer, 1 or more",
    "memory": "True or False",
    "meas_level": "2 (classified bits) or 1 (kerneled IQ points); raw signals (0) do not exist here",
    "meas_return": "'single' or 'avg'",
    "default_shots": "an integer, 1 or more",
    "default_precision": "a number above 0",
}
