"""Noise as matrices: superoperators of gates, relaxation, depolarisation and readout, as Aer builds them.

A superoperator acts on column-stacked density matrices, ``vec(ρ)[i + d·j] = ρ_ij`` (Qiskit's ``SuperOp``), and qubit 0
is the least significant. A gate's channel is ``relaxation ∘ depolarising ∘ unitary``, the depolarising strength such
that the whole has the calibrated average infidelity (``NoiseModel.from_backend`` of Qiskit Aer), at temperature 0.
"""

from __future__ import annotations

import cmath
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from qpu_backend.physics.circuit import Op

if TYPE_CHECKING:
    from qpu_backend.physics.snapshot import QubitProperties

ComplexMatrix = NDArray[np.complex128]

MAX_CONDITIONAL_ERROR: Final = 0.75
"""Where crosstalk stops making a two-qubit gate worse."""

_SQRT2: Final = math.sqrt(2.0)

UNITARIES: Final[dict[Op, ComplexMatrix]] = {
    Op.ID: np.eye(2, dtype=np.complex128),
    Op.SX: np.array([[1 + 1j, 1 - 1j], [1 - 1j, 1 + 1j]], dtype=np.complex128) / 2,
    Op.X: np.array([[0, 1], [1, 0]], dtype=np.complex128),
    Op.ECR: np.array([[0, 1, 0, 1j], [1, 0, -1j, 0], [0, 1j, 0, 1], [-1j, 0, 1, 0]], dtype=np.complex128) / _SQRT2,
    Op.CX: np.array([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]], dtype=np.complex128),
    Op.CZ: np.diag([1, 1, 1, -1]).astype(np.complex128),
}
"""Gates without angle, first operand least significant."""

RESET: Final[ComplexMatrix] = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], dtype=np.complex128)
"""|0⟩⟨0| whatever came in."""


def rz_diagonal(angle_rad: float) -> ComplexMatrix:
    """Diagonal of the superoperator of ``rz``, shape ``(4,)``."""
    phase = cmath.exp(1j * angle_rad)
    return np.array([1.0, phase, phase.conjugate(), 1.0], dtype=np.complex128)


def rzz_diagonal(angle_rad: float) -> ComplexMatrix:
    """Diagonal of the superoperator of ``rzz`` = exp(−i θ/2 Z⊗Z), shape ``(16,)``."""
    phase = cmath.exp(0.5j * angle_rad)
    unitary = np.array([phase.conjugate(), phase, phase, phase.conjugate()], dtype=np.complex128)
    return np.kron(unitary.conj(), unitary).astype(np.complex128, copy=False)


def phase_diagonal(angle_rad: float) -> ComplexMatrix:
    """Diagonal of the superoperator of ``diag(1, 1, 1, e^{iφ})``, shape ``(16,)``."""
    unitary = np.array([1.0, 1.0, 1.0, cmath.exp(1j * angle_rad)], dtype=np.complex128)
    return np.kron(unitary.conj(), unitary).astype(np.complex128, copy=False)


def smear_diagonal(excited: float, angle_rad: float) -> ComplexMatrix:
    """Diagonal of the superoperator of ``(1 − p) ρ + p D ρ D†``, ``D = diag(1, e^{iφ})``, shape ``(4,)``."""
    coherence = 1.0 - excited + excited * cmath.exp(1j * angle_rad)
    return np.array([1.0, coherence, coherence.conjugate(), 1.0], dtype=np.complex128)


def flip_channel(probability: float) -> ComplexMatrix:
    """X with a probability."""
    flipped = unitary_channel(UNITARIES[Op.X])
    return (1.0 - probability) * np.eye(4, dtype=np.complex128) + probability * flipped


def jump_channel(stays: float, rises: float) -> ComplexMatrix:
    """A classical bit kept in a qubit changes: P(1 | 1) = ``stays``, P(1 | 0) = ``rises``. Nothing coherent is left."""
    channel = np.zeros((4, 4), dtype=np.complex128)
    channel[0, 0], channel[3, 0] = 1.0 - rises, rises
    channel[0, 3], channel[3, 3] = 1.0 - stays, stays
    return channel


def unitary_channel(unitary: ComplexMatrix) -> ComplexMatrix:
    """Unitary ``(d, d)`` → superoperator ``(d², d²)``."""
    return np.kron(unitary.conj(), unitary).astype(np.complex128, copy=False)


def relaxation_channel(t1_us: float, t2_us: float, time_ns: float) -> ComplexMatrix:
    """Amplitude and phase damping for a time, towards |0⟩. T2 above 2·T1 counts as 2·T1."""
    stay = math.exp(-time_ns / (1e3 * t1_us))
    coherence = math.exp(-time_ns / (1e3 * min(t2_us, 2 * t1_us)))
    channel = np.zeros((4, 4), dtype=np.complex128)
    channel[0, 0] = 1.0
    channel[0, 3] = 1.0 - stay
    channel[1, 1] = channel[2, 2] = coherence
    channel[3, 3] = stay
    return channel


def tensor_channels(second: ComplexMatrix, first: ComplexMatrix) -> ComplexMatrix:
    """Two one-qubit superoperators → the superoperator of both; ``first`` acts on the less significant qubit."""
    product = np.einsum("abcd,efgh->aebfcgdh", second.reshape(2, 2, 2, 2), first.reshape(2, 2, 2, 2))
    return np.ascontiguousarray(product.reshape(16, 16))


def average_fidelity(channel: ComplexMatrix) -> float:
    """Average gate fidelity of a superoperator with the identity: ``(Tr S / d + 1) / (d + 1)``."""
    dim = math.isqrt(channel.shape[0])
    return (float(np.trace(channel).real) / dim + 1.0) / (dim + 1.0)


def depolarizing_strength(error: float, relaxation_fidelity: float, num_qubits: int) -> float:
    """λ such that depolarising (λ) and relaxation together have the average infidelity ``error``.

    0 when relaxation alone already costs as much; bounded where the channel stops being physical.
    """
    relaxation_error = 1.0 - relaxation_fidelity
    if error <= relaxation_error:
        return 0.0
    dim = 2**num_qubits
    error = min(error, dim / (dim + 1))
    strength = dim * (error - relaxation_error) / (dim * relaxation_fidelity - 1)
    return min(strength, 4**num_qubits / (4**num_qubits - 1))


def depolarizing_channel(strength: float, num_qubits: int) -> ComplexMatrix:
    """``(1 − λ) ρ + λ Tr(ρ) 1/2ⁿ``."""
    dim = 2**num_qubits
    mixed = np.eye(dim).reshape(-1)
    return (1.0 - strength) * np.eye(dim * dim, dtype=np.complex128) + strength / dim * np.outer(mixed, mixed)


def conditional_error(error: float, factor: float) -> float:
    """C1: the calibrated infidelity beside neighbours, ``min(0.75, r·factor)``; never below the calibrated one."""
    return error if factor <= 1.0 else max(error, min(MAX_CONDITIONAL_ERROR, error * factor))


def _relaxation_of(qubits: tuple[QubitProperties, ...], time_ns: float) -> ComplexMatrix:
    """Independent relaxation of one or two qubits."""
    first = relaxation_channel(qubits[0].t1_us, qubits[0].t2_us, time_ns)
    if len(qubits) == 1:
        return first
    return tensor_channels(relaxation_channel(qubits[1].t1_us, qubits[1].t2_us, time_ns), first)


@lru_cache(maxsize=16_384)
def error_parameters(
    error: float, duration_ns: float, qubits: tuple[QubitProperties, ...], factor: float = 1.0
) -> tuple[float, float]:
    """``(λ, time_ns)``: the depolarising strength, and the relaxation time, of a gate on one or two qubits."""
    fidelity = average_fidelity(_relaxation_of(qubits, duration_ns)) if duration_ns > 0 else 1.0
    return depolarizing_strength(conditional_error(error, factor), fidelity, len(qubits)), duration_ns


@lru_cache(maxsize=16_384)
def error_channel(
    error: float, duration_ns: float, qubits: tuple[QubitProperties, ...], factor: float = 1.0
) -> ComplexMatrix:
    """What goes wrong in a gate: ``relaxation ∘ depolarising``, read-only.

    Args:
        error: calibrated average infidelity.
        duration_ns: of the gate.
        qubits: its operands, in order.
        factor: of :func:`qpu_backend.physics.crosstalk.conditional_factors`.
    """
    strength, time_ns = error_parameters(error, duration_ns, qubits, factor)
    channel = depolarizing_channel(strength, len(qubits))
    if time_ns > 0:
        channel = _relaxation_of(qubits, time_ns) @ channel
    channel.flags.writeable = False
    return channel


@lru_cache(maxsize=16_384)
def gate_channel(
    op: Op, error: float, duration_ns: float, qubits: tuple[QubitProperties, ...], factor: float = 1.0
) -> ComplexMatrix:
    """A noisy gate without angle, or a noisy reset: ``error ∘ ideal``, read-only. See :func:`error_channel`."""
    ideal = RESET if op is Op.RESET else unitary_channel(UNITARIES[op])
    channel = error_channel(error, duration_ns, qubits, factor) @ ideal
    channel.flags.writeable = False
    return channel


@lru_cache(maxsize=65_536)
def idle_channel(t1_us: float, t2_us: float, time_ns: float) -> ComplexMatrix:
    """Relaxation of an idle qubit, read-only."""
    channel = relaxation_channel(t1_us, t2_us, time_ns)
    channel.flags.writeable = False
    return channel


def readout_matrix(qubit: QubitProperties, extra: tuple[float, float] = (0.0, 0.0)) -> NDArray[np.float64]:
    """``matrix[prepared, read]``, rows sum to one.

    Args:
        qubit: its own errors.
        extra: what neighbours add to P(1|0) and P(0|1); the sums stay within [0, 1].
    """
    p10 = min(1.0, max(0.0, qubit.prob_meas1_prep0 + extra[0]))
    p01 = min(1.0, max(0.0, qubit.prob_meas0_prep1 + extra[1]))
    return np.array([[1.0 - p10, p10], [p01, 1.0 - p01]])
