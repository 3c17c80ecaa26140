"""Which simulation method a circuit gets: a stated rule with bounds that admission knows.

| circuit | method | bound |
|---|---|---|
| measured once, at the end, and no ZZ acts | density matrix, by Aer: exact, 4ⁿ numbers | 10 qubits: 16 MB a state |
| the same with ZZ, inside or with m ghosts | region: exact, 4ⁿ·2ᵐ real numbers | 2n + m ≤ 20: 8 MB a state |
| larger, or with something after a measurement | trajectories, by Aer: 2ⁿ⁺ᵐ, a run per shot | n + m ≤ 24, m ≤ 2 |

m counts ghosts that keep their memory. Past the bound those that matter least lose it (:func:`max_exact_ghosts`), and
then cost nothing. A trajectory of 24 qubits is 268 MB. The first two methods compute the same, and are proved equal; a
density matrix of Aer's takes twice as long as a region with ZZ at 5 qubits and seven times as long at 8.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, assert_never

from qpu_backend.physics.errors import TooLarge

MAX_DENSITY_MATRIX_QUBITS: Final = 10
MAX_TRAJECTORY_QUBITS: Final = 24
MAX_TRAJECTORY_GHOSTS: Final = 2


class Method(StrEnum):
    """How the noise is simulated."""

    DENSITY_MATRIX = "density_matrix"
    """The exact mixed state, then shots drawn from it."""
    REGION = "region"
    """The exact mixed state as Pauli expectation values, with ghosts summed over, then shots drawn from it."""
    TRAJECTORIES = "trajectories"
    """A pure state per shot, with sampled noise."""


def choose_method(num_qubits: int, has_mid_circuit: bool, *, zz: bool = False) -> Method:
    """The rule of the module docstring.

    Args:
        num_qubits: qubits the circuit uses.
        has_mid_circuit: whether something happens after a measurement: :attr:`CircuitSummary.has_mid_circuit`.
        zz: whether phases build up, between its own qubits or with ghosts that keep their memory.

    Raises:
        TooLarge: past the bound.
    """
    if num_qubits <= MAX_DENSITY_MATRIX_QUBITS and not has_mid_circuit:
        return Method.REGION if zz else Method.DENSITY_MATRIX
    if num_qubits <= MAX_TRAJECTORY_QUBITS:
        return Method.TRAJECTORIES
    raise TooLarge(num_qubits, MAX_TRAJECTORY_QUBITS, str(Method.TRAJECTORIES))


def max_exact_ghosts(method: Method, num_qubits: int) -> int:
    """How many ghosts keep their memory; the others become independent windows, those that matter least first.

    Exact: 4ⁿ·2ᵐ numbers within those of ten qubits, 2n + m ≤ 20. Trajectories: each ghost doubles the state.
    """
    if method is Method.TRAJECTORIES:
        return min(MAX_TRAJECTORY_GHOSTS, MAX_TRAJECTORY_QUBITS - num_qubits)
    return 2 * (MAX_DENSITY_MATRIX_QUBITS - num_qubits)


def cost_estimate_us(method: Method, num_qubits: int, num_gates: int, shots: int, num_ghosts: int = 0) -> float:
    """Processor time of a simulation in µs; it bounds what admission accepts.

    Within a factor of 1.3 for GHZ circuits of 11 to 18 qubits by trajectories (two cores of a 2026 server, Aer 0.18),
    and of three for the rest.

    Args:
        method: from :func:`choose_method`.
        num_qubits: qubits the circuit uses.
        num_gates: operations other than rz and barriers.
        shots: to be drawn.
        num_ghosts: those that keep their memory.
    """
    match method:
        case Method.DENSITY_MATRIX | Method.REGION:
            return 300.0 + num_gates * (15.0 + 0.005 * 4.0**num_qubits * 2.0**num_ghosts) + 1.1 * shots
        case Method.TRAJECTORIES:
            return 3_000.0 + shots * num_gates * (12.0 + 0.02 * 2.0 ** (num_qubits + num_ghosts))
        case _:  # pragma: no cover - exhaustive
            assert_never(method)
