"""Which qubits have their readout measured together, and which of these sets a circuit's bits are in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qpu_backend.physics.method import MAX_DENSITY_MATRIX_QUBITS

if TYPE_CHECKING:
    from collections.abc import Iterable


class ReadingSets:
    """Qubits that circuits read, without those sets that are part of another one."""

    def __init__(self, read: Iterable[frozenset[int]]) -> None:
        """Each set is cut into parts, so few at a time that a product of their states is simulated exactly.

        Args:
            read: backend qubits of each circuit.
        """
        self.parts: list[tuple[int, ...]] = []
        """Backend qubits, ascending."""
        self._sets: list[frozenset[int]] = []
        self._first: list[int] = []
        self._of_qubit: dict[int, list[int]] = {}
        for one in sorted(set(read), key=lambda s: (-len(s), sorted(s))):
            if one and self._around(one) is None:
                self._keep(one)

    def home(self, qubits: frozenset[int]) -> int:
        """The number of the first part of the set that all of these qubits are in; −1 if there is none."""
        if not qubits:
            return 0 if self.parts else -1
        number = self._around(qubits)
        return -1 if number is None else self._first[number]

    def _around(self, qubits: frozenset[int]) -> int | None:
        """The first set that they are part of: only those with the rarest of them are looked through."""
        candidates = min((self._of_qubit.get(qubit, []) for qubit in qubits), key=len)
        return next((number for number in candidates if qubits <= self._sets[number]), None)

    def _keep(self, one: frozenset[int]) -> None:
        for qubit in one:
            self._of_qubit.setdefault(qubit, []).append(len(self._sets))
        self._sets.append(one)
        self._first.append(len(self.parts))
        qubits = tuple(sorted(one))
        self.parts += [
            qubits[k : k + MAX_DENSITY_MATRIX_QUBITS] for k in range(0, len(qubits), MAX_DENSITY_MATRIX_QUBITS)
        ]
