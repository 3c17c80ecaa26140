"""Readout mitigation: the errors of readout inverted over the bit strings that were observed, and over no others.

The chance of reading ``r`` where ``c`` is true is a product over qubits, ``A[r, c] = Π aₖ[rₖ, cₖ]``. Restricted to
observed strings, with columns scaled to sum to one, it is inverted: Nation et al., PRX Quantum 2, 040326 (2021).
Few strings are solved with their matrix; for many the matrix is never there: a product of 2×2 matrices is applied to a
vector of 2ⁿ numbers in n steps, and the rest is GMRES with the diagonal as preconditioner.

A quasi-probability may be negative. What is told of a mean is its standard error by first-order propagation, with what
is uncertain in the errors themselves; and the overhead ``‖A⁻¹‖₁²``, which bounds how much the variance of any mean of
values within ±1 can grow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

LARGEST_MATRIX: Final = 256
"""Observed strings up to which the matrix is formed."""
LARGEST_ERROR: Final = 0.45
"""An error of readout is taken for at most so much: at ½ a reading says nothing, and nothing can be inverted."""
_TOLERANCE: Final = 1e-9
_STEPS: Final = 60
_NORM_STEPS: Final = 5


@dataclass(frozen=True, slots=True, eq=False)
class ReadoutErrors:
    """How often bits are misread.

    Attributes:
        errors: float64, ``(n, 2)``: P(1|0) and P(0|1) of each bit.
        variances: of the same, float64 ``(n, 2)``; 0 where they are taken as given.
        symmetric: whether readout is twirled: both errors then are their mean.
    """

    errors: Floats
    variances: Floats
    symmetric: bool = False

    @property
    def matrices(self) -> Floats:
        """``(n, 2, 2)``: ``[k, r, c]``, the chance that bit ``k`` is read as ``r`` where it is ``c``."""
        errors = np.clip(self.errors, 0.0, LARGEST_ERROR)
        if self.symmetric:
            errors = np.broadcast_to(errors.mean(axis=1, keepdims=True), errors.shape)
        e0, e1 = errors[:, 0], errors[:, 1]
        return np.stack([np.stack([1 - e0, e1], axis=1), np.stack([e0, 1 - e1], axis=1)], axis=1)

    @property
    def derivatives(self) -> list[tuple[Floats, Floats]]:
        """What the matrices depend on: the change ``(2, 2)`` with one unit of it, and its variance for each bit."""
        first, second = np.array([[-1.0, 0.0], [1.0, 0.0]]), np.array([[0.0, 1.0], [0.0, -1.0]])
        if self.symmetric:
            return [(first + second, 0.25 * self.variances.sum(axis=1))]
        return [(first, self.variances[:, 0]), (second, self.variances[:, 1])]

    def of(self, bits: list[int]) -> ReadoutErrors:
        """Those of some bits."""
        return ReadoutErrors(self.errors[bits], self.variances[bits], self.symmetric)


@dataclass(frozen=True, slots=True, eq=False)
class Slopes:
    """How mitigated means change with the errors of readout, as far as all means over the same shots have it in common.

    Attributes:
        bits: int64 ``(s,)``, each bit once for each of its errors that is uncertain.
        variances: of that error, ``(s,)``.
        of_spread: by what a mean's strings count as, on all strings, ``(s, 2ⁿ)``.
        of_values: by its values on the observed ones, ``(s, m)``.
    """

    bits: NDArray[np.int64]
    variances: Floats
    of_spread: Floats
    of_values: Floats


class Inverse:
    """The assignment matrix of some bits on the strings that were observed, ready to be inverted."""

    def __init__(self, outcomes: NDArray[np.uint8], readout: ReadoutErrors) -> None:
        """Nothing is inverted yet, unless there are few strings.

        Args:
            outcomes: observed strings, each once, ``(m, n)``: one bit a column.
            readout: the errors of these bits.
        """
        self._readout = readout
        self._n = outcomes.shape[1]
        self._blocks = readout.matrices
        self._place = outcomes.astype(np.int64) @ (1 << np.arange(self._n, dtype=np.int64))
        self._matrix: Floats | None = None
        if len(outcomes) <= LARGEST_MATRIX:
            matrix = np.ones((len(outcomes), len(outcomes)))
            for k, block in enumerate(self._blocks):
                matrix *= block[outcomes[:, k][:, None], outcomes[:, k][None, :]]
            self._columns: Floats = matrix.sum(axis=0)
            self._matrix = np.linalg.inv(matrix).astype(np.float64)
        else:
            self._columns = self._apply(np.ones(len(outcomes)), transposed=True)
            self._diagonal = np.ones(len(outcomes))
            for k, block in enumerate(self._blocks):
                self._diagonal *= np.diagonal(block)[outcomes[:, k]]

    def quasi(self, frequencies: Floats) -> Floats:
        """Quasi-probabilities of the observed strings from how often each was, both with sum 1."""
        return self._columns * self._solved(frequencies, transposed=False)

    def pulled_back(self, values: Floats) -> Floats:
        """What each observed string has to count as, so that the mean over shots is the mitigated mean of values."""
        return self._solved(self._columns * values, transposed=True)

    def overhead(self) -> float:
        """``‖A⁻¹‖₁²``; of many strings an estimate from below, by Hager's method."""
        if self._matrix is not None:
            return float(np.abs(self._columns[:, None] * self._matrix).sum(axis=0).max()) ** 2
        m = len(self._columns)
        x, norm = np.full(m, 1.0 / m), 0.0
        for _ in range(_NORM_STEPS):
            y = self.quasi(x)
            norm = max(norm, float(np.abs(y).sum()))
            z = self.pulled_back(np.sign(y))
            best = int(np.argmax(np.abs(z)))
            if abs(z[best]) <= float(z @ x) + _TOLERANCE:
                break
            x = np.zeros(m)
            x[best] = 1.0
        return norm**2

    def slopes(self, frequencies: Floats) -> Slopes:
        """Of all means over shots of which each string was so often.

        By ``d A⁻¹ = −A⁻¹ dA A⁻¹``, with ``dA = A · (aₖ⁻¹ daₖ)``: what a bit adds takes 2ⁿ steps.
        """
        uncertain = [
            (k, change, variances)
            for change, variances in self._readout.derivatives
            for k in np.flatnonzero(variances).tolist()
        ]
        of_spread, of_values = np.zeros((len(uncertain), 1 << self._n)), np.zeros((len(uncertain), len(frequencies)))
        if uncertain:
            solved = self._solved(frequencies, transposed=False)
            right, ones = self._embedded(solved), self._spread(np.ones(len(solved)), transposed=True)
            inverted: Floats = np.linalg.inv(self._blocks).astype(np.float64)
            for place, (k, change, _) in enumerate(uncertain):
                turn = inverted[k] @ change
                of_spread[place] = _on(right, k, turn)
                of_values[place] = _on(ones, k, turn.T)[self._place] * solved
        bits = np.array([k for k, _, _ in uncertain], dtype=np.int64)
        return Slopes(bits, np.array([variances[k] for k, _, variances in uncertain]), of_spread, of_values)

    def variance_of_errors(self, slopes: Slopes, values: Floats, counted: Floats) -> Floats:
        """What the uncertainty of each bit's errors adds to the variance of a mitigated mean, ``(n,)``.

        Args:
            slopes: of the shots that it is over.
            values: whose mean it is.
            counted: :meth:`pulled_back` of them.
        """
        added = np.zeros(self._n)
        if len(slopes.bits):
            slope = slopes.of_spread @ self._spread(counted, transposed=True) - slopes.of_values @ values
            np.add.at(added, slopes.bits, slopes.variances * slope**2)
        return added

    def _solved(self, wanted: Floats, *, transposed: bool) -> Floats:
        if self._matrix is not None:
            return wanted @ self._matrix if transposed else self._matrix @ wanted
        return gmres(lambda x: self._apply(x, transposed=transposed), wanted, self._diagonal)

    def _apply(self, vector: Floats, *, transposed: bool) -> Floats:
        """The matrix on observed strings, times a vector."""
        return self._spread(vector, transposed=transposed)[self._place]

    def _spread(self, vector: Floats, *, transposed: bool) -> Floats:
        """The same before it is restricted to observed strings, ``(2ⁿ,)``."""
        full = self._embedded(vector)
        for k, block in enumerate(self._blocks):
            full = _on(full, k, block.T if transposed else block)
        return full

    def _embedded(self, vector: Floats) -> Floats:
        full = np.zeros(1 << self._n)
        full[self._place] = vector
        return full


def _on(full: Floats, bit: int, block: Floats) -> Floats:
    """A 2×2 matrix on one bit of a vector of all strings, bit 0 least significant."""
    cube = full.reshape(-1, 2, 1 << bit)
    return np.stack(
        [block[0, 0] * cube[:, 0] + block[0, 1] * cube[:, 1], block[1, 0] * cube[:, 0] + block[1, 1] * cube[:, 1]],
        axis=1,
    ).reshape(-1)


def gmres(apply: Callable[[Floats], Floats], wanted: Floats, diagonal: Floats) -> Floats:
    """Solve ``apply(x) = wanted`` by GMRES with a diagonal preconditioner on the right, without restarts."""
    size = float(np.linalg.norm(wanted))
    if size == 0.0:
        return np.zeros_like(wanted)
    basis = [wanted / size]
    coefficients = np.zeros((_STEPS + 1, _STEPS))
    target = np.zeros(_STEPS + 1)
    target[0] = size
    solution = np.zeros(0)
    for step in range(_STEPS):
        new = apply(basis[step] / diagonal)
        for row, vector in enumerate(basis):
            coefficients[row, step] = vector @ new
            new -= coefficients[row, step] * vector
        coefficients[step + 1, step] = np.linalg.norm(new)
        part = coefficients[: step + 2, : step + 1]
        solution = np.linalg.lstsq(part, target[: step + 2])[0]
        if np.linalg.norm(part @ solution - target[: step + 2]) <= _TOLERANCE * size:
            break
        basis.append(new / coefficients[step + 1, step])
    return sum((c * vector for c, vector in zip(solution, basis, strict=False)), np.zeros_like(wanted)) / diagonal
