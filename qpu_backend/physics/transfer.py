"""The same channels as real matrices: how they change the expectation values of the Pauli operators.

A state is its vector of ⟨I⟩, ⟨X⟩, ⟨Y⟩, ⟨Z⟩ per qubit. A channel becomes ``R_ij = Tr(P_i E(P_j)) / 2ⁿ``, which is real,
half as large as the superoperator and, for noise and relaxation, nearly diagonal. The first operand of two is the less
significant, as everywhere.

Everything that is diagonal or relaxes a qubit does two things only: it multiplies ``⟨X⟩ + i⟨Y⟩ = 2ρ₁₀`` by a complex
number, and keeps a share of the excitation. Such channels are a pair ``(coherence, stay)``.
"""

from __future__ import annotations

import cmath
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from qpu_backend.physics.channels import (
    RESET,
    UNITARIES,
    ComplexMatrix,
    error_parameters,
    phase_diagonal,
    rzz_diagonal,
    unitary_channel,
)
from qpu_backend.physics.circuit import Op

if TYPE_CHECKING:
    from qpu_backend.physics.snapshot import QubitProperties

Transfer = NDArray[np.float64]

_PAULIS: Final = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])
_COLUMNS: Final[dict[int, ComplexMatrix]] = {
    4: np.einsum("kij->jik", _PAULIS).reshape(4, 4),
    16: np.einsum("aij,bkl->jlikab", _PAULIS, _PAULIS).reshape(16, 16),
}
"""Column-stacked Pauli operators, by size."""


def pauli_transfer(channel: ComplexMatrix) -> Transfer:
    """Superoperator of one or two qubits → its matrix in the Pauli basis."""
    columns = _COLUMNS[len(channel)]
    return np.ascontiguousarray((columns.conj().T @ channel @ columns).real) / math.isqrt(len(channel))


def _frozen(transfer: Transfer) -> Transfer:
    transfer.flags.writeable = False
    return transfer


_IDEAL: Final[dict[Op, Transfer]] = {
    **{op: _frozen(pauli_transfer(unitary_channel(unitary))) for op, unitary in UNITARIES.items()},
    Op.RESET: _frozen(pauli_transfer(RESET)),
}


class _Harmonic:
    """A matrix that is ``A + B cos φ + C sin φ``."""

    __slots__ = ("_constant", "_cosine", "_sine")

    def __init__(self, at_0: Transfer, at_right_angle: Transfer, at_pi: Transfer) -> None:
        self._constant = 0.5 * (at_0 + at_pi)
        self._cosine = 0.5 * (at_0 - at_pi)
        self._sine = at_right_angle - self._constant

    def at(self, angle_rad: float) -> Transfer:
        """The matrix of an angle."""
        return self._constant + math.cos(angle_rad) * self._cosine + math.sin(angle_rad) * self._sine


_ANGLES: Final = (0.0, 0.5 * math.pi, math.pi)
_PHASE: Final = _Harmonic(*(pauli_transfer(np.diag(phase_diagonal(angle))) for angle in _ANGLES))
_RZZ: Final = _Harmonic(*(pauli_transfer(np.diag(rzz_diagonal(angle))) for angle in _ANGLES))


@lru_cache(maxsize=4096)
def phase_transfer(angle_rad: float) -> Transfer:
    """``diag(1, 1, 1, e^{iφ})``, read-only."""
    return _frozen(_PHASE.at(angle_rad))


def rzz_transfer(angle_rad: float) -> Transfer:
    """``rzz`` = exp(−i θ/2 Z⊗Z)."""
    return _RZZ.at(angle_rad)


def flip_transfer(probability: float) -> Transfer:
    """X with a probability."""
    kept = 1.0 - 2.0 * probability
    return np.diag([1.0, 1.0, kept, kept])


def relaxation(qubit: QubitProperties, time_ns: float) -> tuple[float, float]:
    """``(coherence, stay)`` of idling; T2 above 2·T1 counts as 2·T1."""
    t1_ns, t2_ns = 1e3 * qubit.t1_us, 1e3 * min(qubit.t2_us, 2 * qubit.t1_us)
    return math.exp(-time_ns / t2_ns), math.exp(-time_ns / t1_ns)


def smear(excited: float, angle_rad: float) -> complex:
    """``coherence`` of ``(1 − p) ρ + p D ρ D†``, ``D = diag(1, e^{iφ})``."""
    return 1.0 - excited + excited * cmath.exp(1j * angle_rad)


def diagonal_transfer(coherence: complex, stay: float) -> Transfer:
    """The matrix of a pair ``(coherence, stay)``."""
    real, imaginary = coherence.real, coherence.imag
    return np.array(
        [[1.0, 0.0, 0.0, 0.0], [0.0, real, -imaginary, 0.0], [0.0, imaginary, real, 0.0], [1.0 - stay, 0.0, 0.0, stay]]
    )


@lru_cache(maxsize=16_384)
def error_transfer(
    error: float, duration_ns: float, qubits: tuple[QubitProperties, ...], factor: float = 1.0
) -> Transfer:
    """What goes wrong in a gate, read-only; see :func:`qpu_backend.physics.channels.error_channel`."""
    strength, time_ns = error_parameters(error, duration_ns, qubits, factor)
    depolarising = np.full(4 ** len(qubits), 1.0 - strength)
    depolarising[0] = 1.0
    if time_ns <= 0:
        return _frozen(np.diag(depolarising))
    relaxing = diagonal_transfer(*relaxation(qubits[0], time_ns))
    if len(qubits) == 2:
        second = diagonal_transfer(*relaxation(qubits[1], time_ns))
        relaxing = np.einsum("ab,cd->acbd", second, relaxing).reshape(16, 16)
    return _frozen(relaxing * depolarising)


@lru_cache(maxsize=16_384)
def gate_transfer(
    op: Op, error: float, duration_ns: float, qubits: tuple[QubitProperties, ...], factor: float = 1.0
) -> Transfer:
    """A noisy gate without angle, or a noisy reset, read-only: :func:`qpu_backend.physics.channels.gate_channel`."""
    return _frozen(error_transfer(error, duration_ns, qubits, factor) @ _IDEAL[op])
