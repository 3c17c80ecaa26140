"""Twirling: random Paulis about two-qubit gates that cancel each other, and random flips before readout.

::

    ─[P]─┐     ┌─[P']─        P' ⊗ Q' = G (P ⊗ Q) G†, up to a sign        ─[X]─[measure]   and the bit is flipped back
         ├─[G]─┤
    ─[Q]─┘     └─[Q']─

Averaged over P and Q, the error of G is one that flips Paulis at random and builds up nothing coherent; averaged over
flips, 0 and 1 are misread alike. A Pauli is merged with the one-qubit gates beside it, so a circuit hardly becomes
longer. An rzz is left as it is: it is no Clifford gate, and Paulis would turn its angle round.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np

from qpu_backend.domain.synthesis import PAULIS, synthesised, unitary
from qpu_backend.physics.circuit import OP_OF_CODE, OPERATION, IsaCircuit, Op

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from qpu_backend.physics.timing import Row

TWIRLED_GATES: Final = frozenset({Op.ECR, Op.CX, Op.CZ})
_FLIP: Final = 2
"""X, by the numbers of :data:`PAULIS`."""
_MERGED: Final = frozenset({Op.RZ, Op.SX, Op.X})
_WAITING: Final = frozenset({Op.BARRIER, Op.DELAY})

# By the two numbers of Paulis before the gate, ``2·x + z`` each: those after it.
_XX: Final = {Op.CZ: (0b10_01, 0b01_10), Op.CX: (0b10_10, 0b00_10), Op.ECR: (0b11_10, 0b00_10)}
_ZZ: Final = {Op.CZ: (0b01_00, 0b00_01), Op.CX: (0b01_00, 0b01_01), Op.ECR: (0b01_00, 0b01_11)}
"""What X, and Z, on the first and on the second qubit become."""


@cache
def after(op: Op, first: int, second: int) -> tuple[int, int]:
    """The Paulis after a gate that undo those before it, up to a sign."""
    total = 0
    for bit, image in (
        (first >> 1, _XX[op][0]),
        (first & 1, _ZZ[op][0]),
        (second >> 1, _XX[op][1]),
        (second & 1, _ZZ[op][1]),
    ):
        total ^= image if bit & 1 else 0
    return total >> 2, total & 0b11


def twirled(
    circuit: IsaCircuit, rng: np.random.Generator, *, gates: bool, flips: NDArray[np.bool_] | None
) -> tuple[IsaCircuit, NDArray[np.uint8]]:
    """One randomisation of a circuit.

    Args:
        circuit: bodies of ``if_else`` stay as they are.
        rng: of the Paulis.
        gates: whether gates are twirled.
        flips: for each measurement of the circuit, in its order, whether it is flipped; ``None`` for no flips.

    Returns:
        The circuit, equal up to a global phase and up to flipped bits, and which classical bits those are: uint8
        ``(ceil(num_clbits / 8),)``, bit ``i % 8`` of byte ``i // 8``.
    """
    writer = _Writer(circuit.num_qubits)
    flipped = np.zeros(circuit.num_clbits, dtype=np.uint8)
    rows: list[Row] = circuit.operations.tolist()
    last_use = _last_uses(circuit, rows)
    measurements = 0
    for index, row in enumerate(rows):
        code, q0, q1, clbit, slot, *_ = row
        op = OP_OF_CODE[code]
        if op in _MERGED and slot < 0:
            writer.gate(row)
        elif gates and op in TWIRLED_GATES:
            first, second = divmod(int(rng.integers(16)), 4)
            writer.pauli(q0, first)
            writer.pauli(q1, second)
            writer.other(row, (q0, q1))
            for qubit, pauli in zip((q0, q1), after(op, first, second), strict=True):
                writer.pauli(qubit, pauli)
        elif op is Op.MEASURE and flips is not None:
            flip = bool(flips[measurements])
            measurements += 1
            flipped[clbit] = flip
            writer.pauli(q0, _FLIP * flip)
            writer.other(row, (q0,))
            if index < last_use[q0]:
                writer.pauli(q0, _FLIP * flip)
        else:
            writer.other(row, _touched(circuit, row))
    rewritten = replace(circuit, operations=np.array(writer.finished(), dtype=OPERATION))
    return rewritten, np.packbits(flipped, bitorder="little")


def _touched(circuit: IsaCircuit, row: Row) -> tuple[int, ...]:
    code, q0, q1, _, _, _, aux = row
    if code == Op.BARRIER:
        return circuit.groups[aux]
    if code == Op.IF:
        return tuple(range(circuit.num_qubits))
    return (q0,) if q1 < 0 else (q0, q1)


def _last_uses(circuit: IsaCircuit, rows: list[Row]) -> dict[int, int]:
    """For each local qubit the last operation on it that does something."""
    return {
        qubit: index
        for index, row in enumerate(rows)
        if OP_OF_CODE[row[0]] not in _WAITING
        for qubit in _touched(circuit, row)
    }


class _Writer:
    """Rows in order, with the one-qubit gates of each qubit held back until something else happens to it."""

    def __init__(self, num_qubits: int) -> None:
        self._rows: list[Row] = []
        self._held: list[list[Row]] = [[] for _ in range(num_qubits)]
        self._changed: list[NDArray[np.complex128] | None] = [None] * num_qubits

    def gate(self, row: Row) -> None:
        """A one-qubit gate of the circuit."""
        qubit = row[1]
        self._held[qubit].append(row)
        changed = self._changed[qubit]
        if changed is not None:
            self._changed[qubit] = unitary(OP_OF_CODE[row[0]], row[5]) @ changed

    def pauli(self, qubit: int, number: int) -> None:
        """A Pauli that the circuit does not have."""
        if number == 0:
            return
        matrix = self._changed[qubit]
        if matrix is None:
            matrix = PAULIS[0]
            for row in self._held[qubit]:
                matrix = unitary(OP_OF_CODE[row[0]], row[5]) @ matrix
        self._changed[qubit] = PAULIS[number] @ matrix

    def other(self, row: Row, qubits: tuple[int, ...]) -> None:
        """Anything else, on these qubits."""
        for qubit in qubits:
            self._rows += self._released(qubit)
        self._rows.append(row)

    def finished(self) -> list[Row]:
        """Everything."""
        for qubit in range(len(self._held)):
            self._rows += self._released(qubit)
        return self._rows

    def _released(self, qubit: int) -> Iterator[Row]:
        changed, held = self._changed[qubit], self._held[qubit]
        self._changed[qubit], self._held[qubit] = None, []
        if changed is None:
            yield from held
        else:
            for op, angle in synthesised(changed):
                yield (int(op), qubit, -1, -1, -1, angle, -1)
