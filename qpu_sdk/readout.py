"""What makes bits of IQ points: the discriminator of a qubit as its calibration publishes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from qpu_sdk.wire.models import ReadoutClouds


@dataclass(frozen=True, slots=True)
class Discriminator:
    """A line in a qubit's IQ plane, and the clouds on either side of it. Units are arbitrary.

    The points of a qubit prepared in 0 (1) are normally distributed about ``centre_0`` (``centre_1``) with standard
    deviation ``sigma`` in every direction; what spills over the line is the qubit's readout error.

    A discriminator of qiskit-experiments, too: a ``DiscriminatorNode`` takes a list of them, one per memory slot.

    Attributes:
        axis: unit vector across the line, towards the side that reads 1.
        threshold: a point reads 1 where its component along the axis, ``Re(axis*·point)``, is above this.
    """

    axis: complex
    threshold: float
    centre_0: complex
    centre_1: complex
    sigma: float

    @classmethod
    def of(cls, published: ReadoutClouds) -> Self:
        """From a backend's document."""
        return cls(
            axis=complex(*published.axis),
            threshold=published.threshold,
            centre_0=complex(*published.centre_0),
            centre_1=complex(*published.centre_1),
            sigma=published.sigma,
        )

    def bits(self, points: ArrayLike) -> NDArray[np.uint8]:
        """0 or 1 for each point.

        Args:
            points: complex, any shape; or real with ``[I, Q]`` on the last axis, as in the memory of a ``Result``.
        """
        return (self._along(points) > self.threshold).astype(np.uint8)

    def excitation(self, points: ArrayLike) -> NDArray[np.float64]:
        """How far along the way from ``centre_0`` (0) to ``centre_1`` (1) points are; not cut off at the ends.

        Of a mean over shots (``meas_return="avg"``) it estimates the probability of 1, free of readout error as far as
        the calibration still holds. NaN where the two centres are one.

        Args:
            points: as in :meth:`bits`.
        """
        way = self.centre_1 - self.centre_0
        length = self.axis.real * way.real + self.axis.imag * way.imag
        start = self.axis.real * self.centre_0.real + self.axis.imag * self.centre_0.imag
        return (self._along(points) - start) / (length or np.nan)

    def predict(self, data: ArrayLike) -> NDArray[np.str_]:
        """:meth:`bits` as the labels ``"0"`` and ``"1"``, which is what qiskit-experiments asks for."""
        return self.bits(data).astype(np.str_)

    def is_trained(self) -> bool:
        """Whether it can predict: always, the service calibrated it."""
        return True

    def config(self) -> dict[str, Any]:
        """Everything it takes to make an equal one."""
        return {
            "axis": self.axis,
            "threshold": self.threshold,
            "centre_0": self.centre_0,
            "centre_1": self.centre_1,
            "sigma": self.sigma,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Inverse of :meth:`config`."""
        return cls(**config)

    def _along(self, points: ArrayLike) -> NDArray[np.float64]:
        """Components along the axis."""
        array = np.asarray(points)
        pairs = np.stack([np.real(array), np.imag(array)], axis=-1) if np.iscomplexobj(array) else array
        i, q = np.moveaxis(pairs.astype(np.float64), -1, 0)
        return self.axis.real * i + self.axis.imag * q
