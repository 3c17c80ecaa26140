"""A region's mixed state as real numbers: Pauli expectation values of the qubits, with ghosts as classical bits.

One axis of 4 per qubit and one of 2 per ghost::

    tensor[g…, q…] = P(ghosts = g) · ⟨P_q …⟩ given g

Axes stand in the order in which they were last touched. Three things keep the numpy calls few and the tensor small:

* A qubit joins the tensor with its first two-qubit operation, a ghost when its first phase is due on something that
  does not commute with it; a ghost whose last phase is over is summed out.
* One-qubit operations wait, as one matrix and one pair ``(coherence, stay)`` a qubit, for the next two-qubit one.
* Phases and jumps of a ghost wait together, as a *walk*: until something on the qubit does not commute with them they
  are 2×2 matrices on the bit, one for the qubit's populations and one, complex, for its coherence ⟨X⟩ + i⟨Y⟩ = 2ρ₁₀.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.physics.transfer import Transfer, diagonal_transfer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_GROUND: Final[Transfer] = np.array([[1.0], [0.0], [0.0], [1.0]])
"""⟨I⟩, ⟨X⟩, ⟨Y⟩, ⟨Z⟩ of |0⟩: the operation that makes a qubit out of nothing."""
_IDLE: Final[tuple[complex, float]] = (1.0 + 0.0j, 1.0)
_WORTH_A_BUFFER: Final = 8_192
"""From so many numbers on fresh memory costs more than what is done with it."""


@dataclass(slots=True)
class _Walk:
    """What a ghost has done since the tensor knows: rows are the bit now, columns the bit then.

    Before it joins the tensor there is one column, its distribution; after its last phase there is one row, the sum.
    """

    populations: list[list[float]]
    coherences: list[list[complex]] = field(default_factory=list[list[complex]])
    qubit: int = -1
    """The one qubit that its phases are on; −1 while there were none."""


class PauliState:
    """All qubits in |0⟩ at first. Qubits and ghosts are numbered from 0."""

    def __init__(self, num_qubits: int, ghosts: Sequence[float] = ()) -> None:
        """``ghosts``: the probability that each is 1."""
        self._num_qubits = num_qubits
        self._tensor: Transfer = np.ones(())
        self._axes: list[int] = []  # qubit q is q, ghost g is num_qubits + g
        self._waiting: list[Transfer | None] = [_GROUND] * num_qubits
        self._diagonal = [_IDLE] * num_qubits
        self._walks = [_Walk([[1.0 - p], [p]]) for p in ghosts]
        self._walkers: list[list[int]] = [[] for _ in range(num_qubits)]  # ghosts whose walk waits, by qubit
        self._buffers: list[Transfer] = [np.zeros(0), np.zeros(0)]

    # --- operations -------------------------------------------------------------------------------------------

    def relax(self, qubit: int, coherence: complex, stay: float) -> None:
        """Turn about Z, dephase and relax: ``2ρ₁₀ → coherence·2ρ₁₀``, ``P(1) → stay·P(1)``."""
        turned, stayed = self._diagonal[qubit]
        self._diagonal[qubit] = (turned * coherence, stayed * stay)

    def one(self, qubit: int, transfer: Transfer) -> None:
        """Any channel of one qubit, ``(4, 4)``."""
        if self._walkers[qubit]:
            self._settle(qubit)
        before = self._before(qubit)
        self._waiting[qubit] = transfer if before is None else transfer @ before

    def two(self, first: int, second: int, transfer: Transfer, diagonal: bool) -> None:
        """Any channel of two qubits, ``(16, 16)``; the first one is the less significant.

        ``diagonal``: it is a diagonal unitary with depolarisation and relaxation, and so commutes with ghosts.
        """
        if not diagonal:
            for qubit in (first, second):
                if self._walkers[qubit]:
                    self._settle(qubit)
        columns: list[int] = []
        matrix, width = transfer, 4
        before = self._before(first)
        if before is not None:
            matrix, width = matrix.reshape(64, 4) @ before, before.shape[1]
        if width == 4:
            columns.append(first)
        before = self._before(second)
        if before is not None:
            matrix = before.T @ matrix.reshape(16, 4, width)
        if before is None or before.shape[1] == 4:
            columns.insert(0, second)
        self._waiting[first] = self._waiting[second] = None
        self._apply(matrix.reshape(4, 4, -1), [second, first], columns)

    def phase(self, qubit: int, ghost: int, turn: complex, last: bool) -> None:
        """Where the ghost is 1, ``2ρ₁₀ → turn·2ρ₁₀``. ``last``: no phase of the ghost follows."""
        walk = self._walks[ghost]
        if walk.qubit != qubit:
            if walk.qubit >= 0:
                self._settle_walk(walk.qubit, ghost)
            walk.qubit = qubit
            walk.coherences = [[complex(p) for p in row] for row in walk.populations]
            self._walkers[qubit].append(ghost)
        walk.coherences[1] = [c * turn for c in walk.coherences[1]]
        if last:
            walk.populations = [[a + b for a, b in zip(*walk.populations, strict=True)]]
            walk.coherences = [[a + b for a, b in zip(*walk.coherences, strict=True)]]
            if len(walk.populations[0]) == 1:  # it never joined: what is left is a channel of the qubit
                self._walkers[qubit].remove(ghost)
                self.relax(qubit, walk.coherences[0][0], 1.0)

    def jump(self, ghost: int, stays: float, rises: float) -> None:
        """The ghost changes: P(1 | 1) = ``stays``, P(1 | 0) = ``rises``. Not after its last phase."""
        walk = self._walks[ghost]
        down, up = walk.populations
        walk.populations = [
            [(1.0 - rises) * a + (1.0 - stays) * b for a, b in zip(down, up, strict=True)],
            [rises * a + stays * b for a, b in zip(down, up, strict=True)],
        ]
        if walk.qubit >= 0:
            low, high = walk.coherences
            walk.coherences = [
                [(1.0 - rises) * a + (1.0 - stays) * b for a, b in zip(low, high, strict=True)],
                [rises * a + stays * b for a, b in zip(low, high, strict=True)],
            ]

    # --- answers ----------------------------------------------------------------------------------------------

    def reduced(self, qubits: tuple[int, ...]) -> Transfer:
        """Expectation values on one or two qubits, the others traced out; ``(4,)``, or ``(4, 4)`` by first and second.

        Only without ghosts.
        """
        inside = [q for q in self._axes if q in qubits]
        kept: Transfer = self._tensor[tuple(slice(None) if q in qubits else 0 for q in self._axes)]
        if len(inside) == 2 and inside[0] != qubits[0]:
            kept = kept.T
        kept = kept.reshape([4 if q in inside else 1 for q in qubits])
        before = [self._before(q, keep=True) for q in qubits]
        if before[0] is not None:
            kept = before[0] @ kept
        if len(qubits) == 2 and before[1] is not None:
            kept = kept @ before[1].T
        return kept.copy()

    def probabilities(self) -> NDArray[np.float64]:
        """Of every outcome of all qubits, ``(2ⁿ,)``, qubit 0 least significant. Ends the state."""
        n = self._num_qubits
        for qubit in range(n):
            if self._walkers[qubit]:
                self._settle(qubit)
            before = self._before(qubit)
            if before is not None:
                self._apply(before[::3], [qubit], [qubit] if before.shape[1] == 4 else [])
        # what is left of a qubit that nothing waits for still has ⟨X⟩ and ⟨Y⟩
        values = self._tensor[tuple(slice(None, None, 3 if size == 4 else 1) for size in self._tensor.shape)]
        values = values.transpose([self._axes.index(qubit) for qubit in reversed(range(n))])
        for qubit in range(n):
            values = values.reshape(2**qubit, 2, -1)
            values = np.concatenate([values[:, :1] + values[:, 1:], values[:, :1] - values[:, 1:]], axis=1)
        return values.reshape(-1) / 2**n

    # --- inside -----------------------------------------------------------------------------------------------

    def _before(self, qubit: int, *, keep: bool = False) -> Transfer | None:
        """Take what waits on a qubit: a matrix of 4 columns, of 1 where it is not in the tensor yet, or nothing."""
        before = self._waiting[qubit]
        diagonal = self._diagonal[qubit]
        if diagonal is not _IDLE:
            turned = diagonal_transfer(*diagonal)
            before = turned if before is None else turned @ before
        if not keep:
            self._diagonal[qubit] = _IDLE
        return before

    def _settle(self, qubit: int) -> None:
        """Bring everything that ghosts have done to a qubit into the tensor."""
        for ghost in tuple(self._walkers[qubit]):
            self._settle_walk(qubit, ghost)

    def _settle_walk(self, qubit: int, ghost: int) -> None:
        walk = self._walks[ghost]
        axis = self._num_qubits + ghost
        populations: Transfer = np.array(walk.populations)
        coherences: NDArray[np.complex128] = np.array(walk.coherences)
        rows, columns = populations.shape
        matrix = np.zeros((rows, 4, columns, 4))
        matrix[:, 0, :, 0] = matrix[:, 3, :, 3] = populations
        matrix[:, 1, :, 1] = matrix[:, 2, :, 2] = coherences.real
        matrix[:, 2, :, 1] = coherences.imag
        matrix[:, 1, :, 2] = -coherences.imag
        before = self._before(qubit)
        width = 4 if before is None else before.shape[1]
        if before is not None:
            matrix = matrix @ before
            self._waiting[qubit] = None
        self._apply(
            matrix.reshape((2, 4, -1) if rows == 2 else (4, -1)),
            [axis, qubit] if rows == 2 else [qubit],
            [*([axis] if columns == 2 else []), *([qubit] if width == 4 else [])],
        )
        self._walkers[qubit].remove(ghost)
        walk.qubit = -1
        walk.populations = [[1.0, 0.0], [0.0, 1.0]]

    def _apply(self, matrix: Transfer, rows: list[int], columns: list[int]) -> None:
        """Multiply: the axes ``columns`` of the tensor become ``rows``, which then come first.

        ``matrix``: one axis for each of ``rows``, then one for all ``columns``, the first of them most significant.
        """
        axes, tensor = self._axes, self._tensor
        rest = [axis for axis in axes if axis not in columns]
        view = tensor.transpose([axes.index(axis) for axis in (*columns, *rest)])
        shape = (*matrix.shape[:-1], *view.shape[len(columns) :])
        matrix = matrix.reshape(-1, matrix.shape[-1])
        self._axes = [*rows, *rest]
        if tensor.size < _WORTH_A_BUFFER:
            self._tensor = (matrix @ view.reshape(matrix.shape[1], -1)).reshape(shape)
            return
        copied = self._buffer(0, tensor.size)
        np.copyto(copied.reshape(view.shape), view)
        copied = copied.reshape(matrix.shape[1], -1)
        answer = self._buffer(1, len(matrix) * copied.shape[1]).reshape(len(matrix), -1)
        np.dot(matrix, copied, out=answer)
        self._tensor = answer.reshape(shape)

    def _buffer(self, which: int, size: int) -> Transfer:
        if len(self._buffers[which]) < size:
            self._buffers[which] = np.empty(size)
        return self._buffers[which][:size]
