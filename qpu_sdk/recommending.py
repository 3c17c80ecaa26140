# pyright: reportUnknownMemberType=false, reportUnknownParameterType=false
# (Qiskit ships no types: what comes from it is unknown to the checker.)
"""How many shots an estimate needs: the fewest that keep its standard error below a target whatever the state is.

The estimator measures all observables of a pub in bases (:mod:`qpu_sdk.grouping`), each with the same number n of
shots. In basis g they give Σ_{i∈g} c_i P_i at once; its outcomes lie within ±W_g, W_g = Σ_{i∈g} |c_i|, so its variance
is at most W_g², and the bases are independent of each other:

    Var ≤ Σ_g W_g² / n        n = ⌈ max over observables of Σ_g W_g² / precision² ⌉

The bound is reached: by one Pauli term in a state where it is 0 on average. It is of shot noise alone: neither what
noise does to the mean is in it, nor what mitigation adds to the spread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qiskit.exceptions import QiskitError
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qpu_sdk.errors import InvalidRequestError
from qpu_sdk.estimator import EstimatorV2, estimator_pub
from qpu_sdk.grouping import grouped, strings_of
from qpu_sdk.sampler import SamplerV2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qiskit.primitives import EstimatorPubLike

    from qpu_sdk.grouping import PauliString
    from qpu_sdk.wire.models import Pub


@dataclass(frozen=True, slots=True)
class RecommendedShots:
    """What to ask for.

    Attributes:
        shots: of each basis, under each binding.
        precision: what the estimator takes so many shots for: give it to the pub or to ``run``.
        bases: how many there are.
        total_shots: of the whole pub.
    """

    shots: int
    precision: float
    bases: int
    total_shots: int


def recommend_shots(pub: EstimatorPubLike, *, precision: float) -> RecommendedShots:
    """The fewest shots for which every estimate of a pub has at most this standard error, in any state.

    Args:
        pub: as :class:`~qpu_sdk.EstimatorV2` takes it; its own precision is ignored.
        precision: standard error aimed at, in the observable's own unit.

    Raises:
        InvalidRequestError: the precision is not a number above 0, or the pub is none.
    """
    if not (math.isfinite(precision) and precision > 0):
        raise InvalidRequestError(f"a precision of {precision}: it must be a number above 0", field="precision")
    try:
        coerced = EstimatorPub.coerce(pub, precision=1.0)
    except (TypeError, ValueError) as error:
        raise InvalidRequestError(f"this is no pub of an estimator: {error}", field="pub") from error
    wire, _ = estimator_pub(coerced, 0, 1.0, "pub")
    asked = sorted({observable for _, observable in wire.pairs or ()})
    weights = {number: strings_of((wire.observables or [])[number]) for number in asked}
    bases = grouped(string for strings in weights.values() for string in strings)
    worst = max(
        (
            math.fsum(math.fsum(abs(strings.get(one, 0.0)) for one in basis) ** 2 for basis in bases)
            for strings in weights.values()
        ),
        default=0.0,
    )
    shots = max(1, math.ceil(worst / precision**2 * (1 - 1e-12)))  # 1/0.1² is a hair above 100
    return RecommendedShots(shots, _precision_for(shots), max(1, len(bases)), shots * _executions(wire, weights, bases))


def primitive_for(pubs: Sequence[Any]) -> type[SamplerV2 | EstimatorV2]:
    """Which primitive takes these pubs: an estimator's second entry is an observable, a sampler's are numbers."""
    for pub in pubs:
        try:
            SamplerPub.coerce(pub)
        except (TypeError, ValueError, QiskitError):
            return EstimatorV2
    return SamplerV2


def _executions(wire: Pub, weights: dict[int, dict[PauliString, float]], bases: list[list[PauliString]]) -> int:
    """Circuits that are run: for each binding, the bases that its observables need."""
    needs = {
        number: {index for index, basis in enumerate(bases) if any(one in strings for one in basis)}
        for number, strings in weights.items()
    }
    of_binding: dict[int, set[int]] = {}
    for binding, observable in wire.pairs or ():
        of_binding.setdefault(binding, set()).update(needs[observable])
    return sum(max(1, len(needed)) for needed in of_binding.values())


def _precision_for(shots: int) -> float:
    """The finest precision for which the estimator takes not more than these shots."""
    precision = 1 / math.sqrt(shots)
    while math.ceil(1 / precision**2) > shots:
        precision = math.nextafter(precision, math.inf)
    return precision
