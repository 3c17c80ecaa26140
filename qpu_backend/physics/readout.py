"""Where in the IQ plane a measurement lands, and the line that makes a bit of it.

A qubit's reader answers with a point. Points scatter about a centre, one for 0 and one for 1, with the same σ along
every direction; the discriminator is a straight line across the way from one to the other::

    Q │             ╲ 1 is read on this side      |c0 − line| = z₁₀·σ,  z₁₀ = Φ⁻¹(1 − P(1|0))
      │    · ·       ╲      · ·                   |c1 − line| = z₀₁·σ,  z₀₁ = Φ⁻¹(1 − P(0|1))
      │  · c0 ·───────╲───· c1 · ──► axis
      │    · ·         ╲    · ·                   so P(1|0) and P(0|1) are what spills over the line, exactly
      └──────────────────────────── I

The line and σ belong to the reader: direction, place and scale are seeded by the device's name and the qubit. The
centres belong to whoever gives the two errors. Those of a snapshot are published; those of the truth, with what
neighbours add to it, are where points are drawn. So the published line has the true errors, whatever has drifted.

Two isotropic Gaussians and a linear discriminant are the usual model of dispersive readout without decay during it:
Gambetta et al., Phys. Rev. A 76, 012325 (2007). That decay is part of the calibrated P(0|1).
"""

from __future__ import annotations

import cmath
import hashlib
import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from numpy.typing import NDArray

SMALLEST_ERROR: Final = 1e-6
"""Errors are taken to be within this of 0 and of 1: a cloud without any overlap would be infinitely far away."""

_SIGMA: Final = (0.5e6, 1.5e6)
"""Range of σ. Units are arbitrary, like those of real readers; the order of magnitude is theirs, too."""
_FARTHEST: Final = 4e6
"""How far from the origin the line may cross the axis."""

_STANDARD: Final = NormalDist()


@dataclass(frozen=True, slots=True)
class Discriminator:
    """The line in a qubit's IQ plane, and the scale of its noise. Arbitrary units.

    Attributes:
        axis: unit vector across the line, towards the side that reads 1.
        boundary: the point where the axis through the centres crosses the line.
        sigma: standard deviation of a cloud, along any direction.
    """

    axis: complex
    boundary: complex
    sigma: float

    @property
    def threshold(self) -> float:
        """A point reads 1 where its component along the axis, ``Re(axis*·point)``, is above this."""
        return self.axis.real * self.boundary.real + self.axis.imag * self.boundary.imag

    def discriminate(self, points: NDArray[np.complexfloating]) -> NDArray[np.bool_]:
        """Which of the points read 1; same shape."""
        along = self.axis.real * points.real.astype(np.float64) + self.axis.imag * points.imag.astype(np.float64)
        return along > self.threshold


@dataclass(frozen=True, slots=True)
class Clouds:
    """Where the points of a qubit are, by the line they are told apart with.

    Attributes:
        discriminator: the line, and σ.
        centre_0: mean point of a qubit in 0.
        centre_1: mean point of a qubit in 1.
    """

    discriminator: Discriminator
    centre_0: complex
    centre_1: complex

    def points(self, rng: np.random.Generator, excited: NDArray[np.bool_]) -> NDArray[np.complex64]:
        """One point per shot.

        Args:
            rng: drawn from.
            excited: whether the qubit truly is in 1, ``(shots,)``.
        """
        noise = rng.standard_normal((len(excited), 2)).view(np.complex128)[:, 0]
        return (np.where(excited, self.centre_1, self.centre_0) + self.discriminator.sigma * noise).astype(np.complex64)


@lru_cache(maxsize=4096)
def discriminator_of(device: str, qubit: int) -> Discriminator:
    """The discriminator of a qubit of a device model; the same for every snapshot of it.

    Args:
        device: catalogue name.
        qubit: as the client numbers it: physical on a device, of the shape on a virtual QPU.
    """
    drawn = hashlib.sha256(f"iq-1:{device}:{qubit}".encode()).digest()
    turn, place, radius, scale = (int.from_bytes(drawn[8 * k : 8 * k + 8], "big") / 2**64 for k in range(4))
    return Discriminator(
        axis=cmath.rect(1.0, 2 * math.pi * turn),
        boundary=cmath.rect(_FARTHEST * math.sqrt(radius), 2 * math.pi * place),
        sigma=_SIGMA[0] * (_SIGMA[1] / _SIGMA[0]) ** scale,
    )


def discriminators_of(device: str, where: Iterable[int], region: Container[int]) -> dict[int, Discriminator]:
    """Discriminators by physical qubit, as the client of a placed job knows them.

    Args:
        device: catalogue name.
        where: physical qubit of each of the backend's qubits, in the client's order.
        region: physical qubits that are wanted.
    """
    return {q: discriminator_of(device, number) for number, q in enumerate(where) if q in region}


def clouds_of(discriminator: Discriminator, prob_meas1_prep0: float, prob_meas0_prep1: float) -> Clouds:
    """The clouds that a discriminator tells apart with just these errors.

    Args:
        discriminator: the line.
        prob_meas1_prep0: P(1|0).
        prob_meas0_prep1: P(0|1).
    """
    step = discriminator.sigma * discriminator.axis
    return Clouds(
        discriminator,
        centre_0=discriminator.boundary - _sigmas(prob_meas1_prep0) * step,
        centre_1=discriminator.boundary + _sigmas(prob_meas0_prep1) * step,
    )


def _sigmas(error: float) -> float:
    """``Φ⁻¹(1 − error)``: how many σ from the line a centre is."""
    return -_STANDARD.inv_cdf(min(max(error, SMALLEST_ERROR), 1.0 - SMALLEST_ERROR))
