"""What a request asks to have done against errors, as the domain knows it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qpu_backend.domain.mitigation import Extrapolation, Mitigation, Readout, Twirling, require_possible

if TYPE_CHECKING:
    from qpu_sdk.wire.models import JobRequest


def mitigation_of(order: JobRequest) -> Mitigation | None:
    """What is asked for; ``None`` where nothing is.

    Raises:
        InvalidRequest: a program of this kind cannot have it, or it makes no sense.
    """
    asked = order.options.mitigation
    if asked is None:
        return None
    twirling, measure, zne = asked.twirling, asked.measure, asked.zne
    wanted = twirling is not None and (twirling.enable_gates or twirling.enable_measure)
    mitigation = Mitigation(
        twirling=Twirling(
            twirling.enable_gates,
            twirling.enable_measure,
            twirling.num_randomizations,
            twirling.shots_per_randomization,
        )
        if twirling is not None and wanted
        else None,
        decoupling=None if asked.dynamical_decoupling is None else asked.dynamical_decoupling.sequence_type,
        readout=None if measure is None else Readout(measure.source, measure.shots),
        extrapolation=None if zne is None else Extrapolation.of(zne.noise_factors, zne.extrapolator),
    )
    if mitigation == Mitigation():
        return None
    require_possible(mitigation, order.program.value, order.options.layout)
    return mitigation


def seeded(mitigation: Mitigation, order: JobRequest, content: str) -> Mitigation:
    """With the seed of its twirls: the job's, or one that the same circuits and pubs always have.

    Args:
        mitigation: of :func:`mitigation_of`.
        order: it is part of.
        content: hexadecimal digest of circuits and pubs as values.
    """
    if mitigation.twirling is None:
        return mitigation
    asked = order.options.seed
    return replace(mitigation, seed=int(content[:8], 16) if asked is None else asked)
