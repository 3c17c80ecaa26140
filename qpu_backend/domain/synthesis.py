"""A one-qubit unitary as the fewest native gates: rz, x or sx alone, or two sx, up to a global phase."""

from __future__ import annotations

import cmath
import math
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.circuit import Op

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CLOSE: Final = 1e-10
_HALF_TURN: Final = math.pi

PAULIS: Final = tuple(
    np.array(matrix, dtype=np.complex128)
    for matrix in ([[1, 0], [0, 1]], [[1, 0], [0, -1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]])
)
"""I, Z, X and Y: by ``2·x + z``."""

_SX: Final = np.array([[0.5 + 0.5j, 0.5 - 0.5j], [0.5 - 0.5j, 0.5 + 0.5j]], dtype=np.complex128)


def unitary(op: Op, angle: float) -> NDArray[np.complex128]:
    """The matrix of rz, sx or x."""
    if op is Op.RZ:
        return np.array([[cmath.exp(-0.5j * angle), 0.0], [0.0, cmath.exp(0.5j * angle)]], dtype=np.complex128)
    return PAULIS[2] if op is Op.X else _SX


def synthesised(matrix: NDArray[np.complex128]) -> list[tuple[Op, float]]:
    """Gates in the order in which they act, with the angle of each rz.

    Of a matrix V of determinant 1, with |V₁₀| = sin θ/2::

        θ = 0      rz                      θ = π/2    rz · sx · rz
        θ = π      x · rz                  else       rz · sx · rz(θ + π) · sx · rz

    Args:
        matrix: unitary, ``(2, 2)``.
    """
    special = matrix / cmath.sqrt(complex(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0]))
    v00, v10 = complex(special[0, 0]), complex(special[1, 0])
    if abs(v10) < _CLOSE:
        return _turn(-2 * cmath.phase(v00))
    if abs(v00) < _CLOSE:
        return [(Op.X, 0.0), *_turn(2 * cmath.phase(v10) + _HALF_TURN)]
    plus, minus = -2 * cmath.phase(v00), 2 * cmath.phase(v10)  # φ + λ and φ − λ of rz(φ)·ry(θ)·rz(λ)
    phi, lam = 0.5 * (plus + minus), 0.5 * (plus - minus)
    if abs(abs(v00) - abs(v10)) < _CLOSE:  # ry(π/2) = rz(π/2)·sx·rz(−π/2)
        return [*_turn(lam - 0.5 * math.pi), (Op.SX, 0.0), *_turn(phi + 0.5 * math.pi)]
    theta = 2 * math.atan2(abs(v10), abs(v00))
    return [
        *_turn(lam),
        (Op.SX, 0.0),
        *_turn(theta + _HALF_TURN),
        (Op.SX, 0.0),
        *_turn(phi + _HALF_TURN),
    ]


def _turn(angle: float) -> list[tuple[Op, float]]:
    """An rz, brought to −π … π, or nothing."""
    angle = math.remainder(angle, 2 * math.pi)
    return [] if abs(angle) < _CLOSE else [(Op.RZ, angle)]
