"""V1 and V3: the channel that one window of ZZ leaves on a qubit, as simulated, against its formula.

All gates are instantaneous and perfect here, so that a wait is the whole window::

    victim      |0⟩ ─[prepare]───── τ ─────[basis]─[measure]
    neighbour   |0⟩ ─[prepare]───── τ ─────────────[measure]
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
import simulate
from crosstalk_pairs import Writer, line, region_noise, without_errors
from neighbourhood import Neighbourhood, only_zz

from qpu_backend.physics.context import Context, Ghost

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qpu_backend.physics.snapshot import RegionNoise, Snapshot

ECHO: Final = 0.6
WAIT_NS: Final = 800.0
TWIRLS: Final = 200
DEVIATIONS: Final = 3.0
SEED: Final = 31

_HALF: Final = np.pi / 2
_PREPARATIONS: Final = ((0.0, 0.0), (np.pi, 0.0), (_HALF, 0.0), (_HALF, _HALF))
"""θ, φ of |0⟩, |1⟩, |+⟩, |+i⟩."""
_BASES: Final = ((_HALF, 0.0, np.pi), (_HALF, -_HALF, _HALF), (0.0, 0.0, 0.0))
"""Angles of what turns X, Y and Z into Z."""
_PAULI_ANGLES: Final = ((0.0, 0.0, 0.0), (np.pi, -_HALF, _HALF), (np.pi, 0.0, 0.0), (0.0, np.pi, 0.0))
"""I, X, Y, Z."""
_SIGMA: Final = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


def instantaneous(zz_hz: float = 0.0) -> Snapshot:
    """Two coupled qubits whose gates take no time."""
    snapshot = line(2, zz_hz)
    gates = {key: replace(gate, duration_ns=0.0) for key, gate in snapshot.gates.items()}
    return replace(snapshot, gates=gates)


def window_error() -> float:
    """V1: largest element by which a simulated superoperator differs from ``(1 − p) ρ + p D ρ D†``."""
    snapshot = instantaneous()
    noise = without_errors(region_noise(snapshot, (0,), ECHO))
    noise = replace(noise, zz_echo=ECHO)
    worst = 0.0
    for excited in (0.0, 0.2, 0.5, 0.9, 1.0):
        for angle in (-1.3, 0.01, 0.3, 2.5):
            for echoed in (False, True):
                for independent in (False, True):
                    zz_hz = angle / (2e-9 * np.pi * WAIT_NS * (ECHO if echoed else 1.0))
                    ghost = Ghost(
                        opens_ns=np.array([1e6]),
                        start=excited,
                        stays=np.ones(1),
                        rises=np.zeros(1),
                        echoed=np.array([echoed]),
                        couplings=((0, zz_hz),),
                        independent=independent,
                    )
                    found = _superoperator(snapshot, noise, Context(ghosts=(ghost,)))
                    phase = np.diag([1.0, np.exp(1j * angle)])
                    wanted = (1.0 - excited) * np.eye(4) + excited * np.kron(phase.conj(), phase)
                    worst = max(worst, float(np.abs(found - wanted).max()))
    return worst


def twirled_within_error() -> bool:
    """V3: both sides Pauli-twirled over one window is a Z error with ``p_Z = ½ sin²(φ/2)``, within Monte-Carlo error.

    The neighbour's state is random in every sample. Twirled or not, ⟨X⟩ of a victim in |+⟩ shrinks by 1 − 2 p_Z.
    """
    rng = np.random.default_rng(SEED)
    holds = True
    for angle in (0.2, 0.6, 1.5):
        snapshot = instantaneous(angle / (2e-9 * np.pi * WAIT_NS))
        values = np.array([_twirled_x(snapshot, rng) for _ in range(TWIRLS)])
        formula = 1.0 - 2.0 * 0.5 * np.sin(angle / 2.0) ** 2
        deviation = float(values.std(ddof=1)) / np.sqrt(TWIRLS)
        print(f"  φ = {angle:g}: ⟨X⟩ {values.mean():.4f} ± {deviation:.4f}, formula {formula:.4f}")
        holds = holds and abs(values.mean() - formula) <= DEVIATIONS * deviation
    return bool(holds)


def _superoperator(snapshot: Snapshot, noise: RegionNoise, context: Context) -> NDArray[np.complex128]:
    """The window between preparation and measurement, by tomography: complex, ``(4, 4)``, on column-stacked ρ."""
    bloch = np.ones((4, 4))  # rows: I X Y Z; columns: prepared states
    for column, (theta, phi) in enumerate(_PREPARATIONS):
        for row, basis in enumerate(_BASES, start=1):
            writer = Writer((0,), snapshot)
            writer.u(theta, phi, 0.0, 0)
            writer.delay(WAIT_NS, 0)
            writer.u(*basis, 0)
            read = simulate.distribution(writer.measured(), noise, context)
            bloch[row, column] = read[0] - read[1]
    after = np.tensordot(bloch, _SIGMA, axes=(0, 0)) / 2.0  # (states, 2, 2)
    states = [0.5 * (_SIGMA[0] + sign * _SIGMA[axis]) for sign, axis in ((1, 3), (-1, 3), (1, 1), (1, 2))]
    inputs = np.stack([state.reshape(-1, order="F") for state in states], axis=1)
    outputs = np.stack([state.reshape(-1, order="F") for state in after], axis=1)
    return outputs @ np.linalg.inv(inputs)


def _twirled_x(snapshot: Snapshot, rng: np.random.Generator) -> float:
    """⟨X⟩ of a victim in |+⟩ after one twirled window beside a twirled neighbour in a random state."""
    victim, neighbour = Writer((0,), snapshot), Writer((1,), snapshot)
    neighbour.u(np.arccos(rng.uniform(-1.0, 1.0)), 0.0, 0.0, 1)
    victim.u(_HALF, 0.0, 0.0, 0)
    pauli = rng.integers(4, size=2)
    for writer, which, q in ((victim, pauli[0], 0), (neighbour, pauli[1], 1)):
        writer.u(*_PAULI_ANGLES[which], q)
        writer.delay(WAIT_NS, q)
        writer.u(*_PAULI_ANGLES[which], q)
    victim.u(*_BASES[0], 0)
    pair = Neighbourhood([victim.measured(), neighbour.measured()], snapshot, only_zz(1.0), without_errors)
    read = pair.together(0)
    return float(read[0] - read[1])
