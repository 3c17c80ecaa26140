"""What is done against errors in a job: twirling, dynamical decoupling, readout mitigation, zero-noise extrapolation.

Names are those of Qiskit Runtime where it has one.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from qpu_sdk.wire.documents import RequestDocument

SequenceType = Literal["XX", "XY4"]
"""Pulses that fill an idle window."""
MeasureSource = Literal["executions", "snapshot"]
"""Where the errors of readout are taken from: executions in the same job, or the published calibration."""
Extrapolator = Literal["linear", "quadratic", "polynomial_degree_3", "exponential"]
"""The curve whose value at no noise is the answer."""

MAX_RANDOMIZATIONS = 10_000
MAX_NOISE_FACTOR = 31
MAX_NOISE_FACTORS = 10


class Twirling(RequestDocument):
    """Random Paulis about two-qubit gates (ecr, cz and cx) that undo each other, and random flips before readout.

    The shots of an execution are dealt out to its randomisations, which are circuits of their own.
    """

    enable_gates: bool = False
    enable_measure: bool = False
    num_randomizations: int | None = Field(default=None, ge=1, le=MAX_RANDOMIZATIONS)
    """Of each execution; by default 32, or as many as ``shots_per_randomization`` makes, or one for each shot."""
    shots_per_randomization: int | None = Field(default=None, ge=1)


class DynamicalDecoupling(RequestDocument):
    """Pulses in the idle windows of the schedule, which keeps its length."""

    sequence_type: SequenceType = "XX"


class MeasureMitigation(RequestDocument):
    """Inversion of the errors of readout, over the bit strings that were observed."""

    source: MeasureSource = "executions"
    shots: int = Field(default=4096, ge=1)
    """Of each of the executions that measure the errors."""


class ZeroNoiseExtrapolation(RequestDocument):
    """Estimates at several levels of noise, made by folding two-qubit gates, and a curve through them."""

    noise_factors: list[float] = Field(default=[1, 3, 5], min_length=2, max_length=MAX_NOISE_FACTORS)
    """Odd, from 1 to 31: a gate becomes itself and so many times itself undone and done again."""
    extrapolator: Extrapolator = "linear"


class Mitigation(RequestDocument):
    """What a job has done against errors; what is ``None`` is not."""

    twirling: Twirling | None = None
    dynamical_decoupling: DynamicalDecoupling | None = None
    measure: MeasureMitigation | None = None
    zne: ZeroNoiseExtrapolation | None = None
