"""Which simulation method a circuit gets: a stated rule with bounds that admission knows.

| circuit | method | bound |
|---|---|---|
| measured once, at the end | density matrix: exact, 4ⁿ numbers | 10 qubits: 16 MB a state |
| larger, or with something after a measurement | trajectories: 2ⁿ numbers, a run per shot | 24 qubits: 268 MB a state |
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, assert_never

from qpu_backend.physics.errors import TooLarge

MAX_DENSITY_MATRIX_QUBITS: Final = 10
MAX_TRAJECTORY_QUBITS: Final = 24


class Method(StrEnum):
    """How the noise is simulated."""

    DENSITY_MATRIX = "density_matrix"
    """The exact mixed state, then shots drawn from it."""
    TRAJECTORIES = "trajectories"
    """A pure state per shot, with sampled noise."""


def choose_method(num_qubits: int, has_mid_circuit: bool) -> Method:
    """The rule of the module docstring.

    Args:
        num_qubits: qubits the circuit uses.
        has_mid_circuit: whether something happens after a measurement: :attr:`CircuitSummary.has_mid_circuit`.

    Raises:
        TooLarge: past the bound.
    """
    if num_qubits <= MAX_DENSITY_MATRIX_QUBITS and not has_mid_circuit:
        return Method.DENSITY_MATRIX
    if num_qubits <= MAX_TRAJECTORY_QUBITS:
        return Method.TRAJECTORIES
    raise TooLarge(num_qubits, MAX_TRAJECTORY_QUBITS, str(Method.TRAJECTORIES))


def cost_estimate_us(method: Method, num_qubits: int, num_gates: int, shots: int) -> float:
    """Processor time of a simulation in µs; it bounds what admission accepts.

    Within a factor of 1.3 for GHZ circuits of 11 to 18 qubits by trajectories (two cores of a 2026 server, Aer 0.18),
    and of three for the rest.

    Args:
        method: from :func:`choose_method`.
        num_qubits: qubits the circuit uses.
        num_gates: operations other than rz and barriers.
        shots: to be drawn.
    """
    match method:
        case Method.DENSITY_MATRIX:
            return 300.0 + num_gates * (15.0 + 0.005 * 4.0**num_qubits) + 1.1 * shots
        case Method.TRAJECTORIES:
            return 3_000.0 + shots * num_gates * (12.0 + 0.02 * 2.0**num_qubits)
        case _:  # pragma: no cover - exhaustive
            assert_never(method)
