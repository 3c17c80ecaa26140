"""The region engine: circuits with ZZ inside and beside ghosts, exactly, at 4ⁿ·2ᵐ where ghosts as qubits cost 4ⁿ⁺ᵐ.

The state is simulated here (:mod:`qpu_backend.engines.pauli`). Shots are drawn by Aer from its probabilities, with the
random numbers that Aer's own density matrix would have drawn them with: a job gets the same shots alone and beside
neighbours that do nothing, and mostly the same ones beside neighbours that do little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpu_backend.engines.aer import AerPiece, draw
from qpu_backend.engines.pauli import PauliState
from qpu_backend.engines.prepared import Piece, Prepared, run_slices
from qpu_backend.engines.score import Note, play, score_of
from qpu_backend.physics.circuit import Op
from qpu_backend.physics.errors import TooLarge
from qpu_backend.physics.method import MAX_DENSITY_MATRIX_QUBITS, Method, max_exact_ghosts
from qpu_backend.physics.phases import Jump, Phase
from qpu_backend.physics.program import Happening, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from qpu_backend.engines.protocol import RegionTask, SliceOutcome, SliceSpec


class ChoosingEngine:
    """What workers run: each circuit in each context by the engine that its method asks for."""

    def run(self, task: RegionTask) -> tuple[SliceOutcome, ...]:
        """One outcome per slice; see :class:`qpu_backend.engines.protocol.Engine`.

        Raises:
            SimulationFailed: Aer gave up.
            Exception: see :func:`qpu_backend.engines.prepared.run_slices`.
        """
        return run_slices(task, _piece_of)


class RegionEngine:
    """Runs every circuit that is measured once, at its end."""

    def run(self, task: RegionTask) -> tuple[SliceOutcome, ...]:
        """One outcome per slice; see :class:`qpu_backend.engines.protocol.Engine`.

        Raises:
            SimulationFailed: Aer gave up.
            Exception: see :func:`qpu_backend.engines.prepared.run_slices`.
        """
        return run_slices(task, RegionPiece)


def _piece_of(prepared: Prepared) -> Piece:
    return RegionPiece(prepared) if prepared.method is Method.REGION else AerPiece(prepared)


class RegionPiece:
    """A circuit in a context, ready for its bindings."""

    __slots__ = ("_known", "_notes", "_prepared", "_readings")

    method = Method.REGION

    def __init__(self, prepared: Prepared) -> None:
        """Write its program out.

        Raises:
            TooLarge: past the bound, by its qubits or its ghosts, or something follows a measurement.
        """
        n = prepared.circuit.num_qubits
        if prepared.method is Method.TRAJECTORIES or len(prepared.ghosts) > max_exact_ghosts(Method.REGION, n):
            raise TooLarge(n, MAX_DENSITY_MATRIX_QUBITS, str(Method.REGION))
        self._prepared = prepared
        self._notes: list[Note] = [note for notes in score_of(prepared, with_a_say(prepared.program)) for note in notes]
        self._readings = {level: prepared.readings(errors=level == 2) for level in (1, 2)}
        self._known: dict[int, NDArray[np.float64]] = {}

    def __call__(self, angles: list[float], wanted: SliceSpec) -> NDArray[np.uint8]:
        """See :class:`qpu_backend.engines.prepared.Piece`.

        Raises:
            SimulationFailed: Aer gave up.
        """
        if wanted.binding not in self._known:
            self._known[wanted.binding] = self.probabilities(angles)
        readings, num_clbits = self._readings[wanted.level], self._prepared.circuit.num_clbits
        return draw(self._known[wanted.binding], readings, num_clbits, wanted.shots, wanted.seed)

    def probabilities(self, angles: list[float]) -> NDArray[np.float64]:
        """Of every outcome of all qubits under one binding, without readout error; rounding may leave −1e-17.

        What no measurement depends on has not happened.

        Args:
            angles: the bound slots.

        Returns:
            float64, ``(2ⁿ,)``, qubit 0 least significant.
        """
        state = PauliState(self._prepared.circuit.num_qubits, [start for _, start in self._prepared.starts()])
        play(self._notes, state, angles)
        return state.probabilities()


def with_a_say(program: Sequence[Happening]) -> list[Happening]:
    """What a measurement depends on, in order.

    Aer leaves the rest out and then draws over the outcomes of all qubits that are left: so do we, for the same shots.
    """
    cone = {q for news in program if isinstance(news, Step) and news.op is Op.MEASURE for q in news.qubits}
    kept: list[Happening] = []
    for news in reversed(program):
        qubits = () if isinstance(news, Jump) else news.qubits if isinstance(news, Step | Phase) else (news.qubit,)
        if isinstance(news, Jump) or not cone.isdisjoint(qubits):
            cone.update(qubits)
            kept.append(news)
    return kept[::-1]
