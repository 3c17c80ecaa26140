"""Zero-noise extrapolation: a curve through estimates at several levels of noise, and what it says of none.

Curves are fitted by least squares weighted with the standard errors; the error at zero is that of the fit's covariance.
An exponential ``a·e^(−bλ)`` is one only of values that shrink and keep their sign; of others the answer is the line's,
and that is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

DEGREES: Final = {"linear": 1, "quadratic": 2, "polynomial_degree_3": 3}
EXPONENTIAL: Final = "exponential"
_STEPS: Final = 50
_CONVERGED: Final = 1e-10
_SIGNIFICANT: Final = 2.0
"""A value that is not so many standard errors away from 0 has no sign that an exponential could keep."""


@dataclass(frozen=True, slots=True, eq=False)
class Extrapolated:
    """Values at no noise.

    Attributes:
        values, stds: float64, ``(num_values,)``.
        curves: name of the curve of each.
    """

    values: Floats
    stds: Floats
    curves: tuple[str, ...]


def extrapolate(factors: Sequence[float], values: Floats, stds: Floats, curve: str) -> Extrapolated:
    """What the curve says at no noise.

    Args:
        factors: levels of noise, at least as many as the curve has parameters.
        values: at each of them, ``(num_factors, num_values)``; an exponential goes to 0.
        stds: their standard errors, same shape.
        curve: a name of :data:`DEGREES`, or ``exponential``.
    """
    levels = np.asarray(factors, dtype=np.float64)
    found = [_at_zero(levels, values[:, k], stds[:, k], curve) for k in range(values.shape[1])]
    return Extrapolated(
        np.array([value for value, _, _ in found]),
        np.array([std for _, std, _ in found]),
        tuple(name for _, _, name in found),
    )


def _at_zero(levels: Floats, values: Floats, stds: Floats, curve: str) -> tuple[float, float, str]:
    errors = _usable(stds)
    if curve != EXPONENTIAL:
        return *_polynomial(levels, values, errors, DEGREES[curve]), curve
    answer = _exponential(levels, values, errors)
    return (*_polynomial(levels, values, errors, 1), "linear") if answer is None else (*answer, curve)


def _usable(stds: Floats) -> Floats:
    """Standard errors to weigh with: one that happens to be 0, of shots that all agree, is no certainty."""
    known = stds[stds > 0]
    return np.zeros_like(stds) if not len(known) else np.maximum(stds, 0.1 * float(np.median(known)))


def _polynomial(levels: Floats, values: Floats, errors: Floats, degree: int) -> tuple[float, float]:
    powers = np.vander(levels, degree + 1, increasing=True)
    weights = np.ones_like(levels) if not errors.any() else 1.0 / errors
    solver = np.linalg.pinv(powers * weights[:, None])  # its rows are uncorrelated with unit variance
    coefficients = solver @ (values * weights)
    std = float(np.linalg.norm(solver[0])) if errors.any() else 0.0
    return float(coefficients[0]), std


def _exponential(levels: Floats, values: Floats, errors: Floats) -> tuple[float, float] | None:
    """``a`` of ``a·e^(−bλ)`` with ``b ≥ 0`` by Gauss and Newton, or nothing."""
    if abs(np.sign(values).sum()) < len(values) or bool((np.abs(values) < _SIGNIFICANT * errors).any()):
        return None
    weights = np.ones_like(levels) if not errors.any() else 1.0 / errors
    relative = weights * np.abs(values)  # of a logarithm
    start = np.linalg.pinv(np.stack([np.ones_like(levels), -levels], axis=1) * relative[:, None])
    log_a, b = (start @ (np.log(np.abs(values)) * relative)).tolist()
    a = float(np.sign(values[0])) * float(np.exp(log_a))
    for _ in range(_STEPS):
        decay = np.exp(-b * levels)
        slopes = np.stack([decay, -a * levels * decay], axis=1) * weights[:, None]
        solver = np.linalg.pinv(slopes)
        change = solver @ ((values - a * decay) * weights)
        a, b = a + float(change[0]), b + float(change[1])
        if not np.isfinite(a) or abs(b) * float(levels.max()) > 700:
            return None
        if float(np.abs(change).max()) <= _CONVERGED * max(1.0, abs(a)):
            return (a, float(np.linalg.norm(solver[0])) if errors.any() else 0.0) if b >= 0 else None
    return None
