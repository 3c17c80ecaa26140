"""Writing a circuit down as OpenQASM 2: what generated circuits and the files of a workload have in common."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Sketch:
    """A circuit that is being written, on qubits ``0 … n−1``."""

    def __init__(self, num_qubits: int) -> None:
        self.num_qubits = num_qubits
        self._lines: list[str] = []

    def gate(self, name: str, *qubits: int, angles: Sequence[float] = ()) -> None:
        """Any gate of ``qelib1.inc``, angles in rad."""
        brackets = f"({','.join(f'{angle:.12g}' for angle in angles)})" if angles else ""
        self._lines.append(f"{name}{brackets} {','.join(f'q[{qubit}]' for qubit in qubits)};")

    def h(self, *qubits: int) -> None:
        """H on each."""
        for qubit in qubits:
            self.gate("h", qubit)

    def x(self, *qubits: int) -> None:
        """X on each."""
        for qubit in qubits:
            self.gate("x", qubit)

    def rx(self, angle: float, qubit: int) -> None:
        self.gate("rx", qubit, angles=(angle,))

    def ry(self, angle: float, qubit: int) -> None:
        self.gate("ry", qubit, angles=(angle,))

    def rz(self, angle: float, qubit: int) -> None:
        self.gate("rz", qubit, angles=(angle,))

    def cx(self, control: int, target: int) -> None:
        self.gate("cx", control, target)

    def cz(self, a: int, b: int) -> None:
        self.gate("cz", a, b)

    def ccx(self, a: int, b: int, target: int) -> None:
        self.gate("ccx", a, b, target)

    def cp(self, angle: float, a: int, b: int) -> None:
        """Phase on |11⟩: two CX."""
        self.gate("cu1", a, b, angles=(angle,))

    def cry(self, angle: float, control: int, target: int) -> None:
        """Controlled Ry: two CX."""
        self.ry(angle / 2, target)
        self.cx(control, target)
        self.ry(-angle / 2, target)
        self.cx(control, target)

    def rzz(self, angle: float, a: int, b: int) -> None:
        """``exp(−iθ/2 ZZ)``: two CX."""
        self.cx(a, b)
        self.rz(angle, b)
        self.cx(a, b)

    def givens(self, angle: float, a: int, b: int) -> None:
        """Rotation of |01⟩ and |10⟩ into each other: what a change of the orbital basis is made of."""
        self.cx(b, a)
        self.cry(2 * angle, a, b)
        self.cx(b, a)

    def qft(self, qubits: Sequence[int], *, inverse: bool = False) -> None:
        """Fourier transform without the final swaps, most significant qubit first."""
        steps: list[tuple[float, int, int]] = []
        for i, target in enumerate(qubits):
            steps.append((0.0, target, target))
            steps += [(math.pi / 2 ** (j - i), control, target) for j, control in enumerate(qubits) if j > i]
        for angle, control, target in reversed(steps) if inverse else steps:
            if control == target:
                self.h(target)
            else:
                self.cp(-angle if inverse else angle, control, target)

    def barrier(self) -> None:
        """Nothing is simplified across it."""
        self._lines.append("barrier q;")

    def measure(self, qubits: Iterable[int] | None = None) -> None:
        """Measure qubits into the classical bits of the same number; all of them by default."""
        for qubit in range(self.num_qubits) if qubits is None else qubits:
            self._lines.append(f"measure q[{qubit}] -> c[{qubit}];")

    def text(self) -> str:
        """The program."""
        n = self.num_qubits
        head = ["OPENQASM 2.0;", 'include "qelib1.inc";', f"qreg q[{n}];", f"creg c[{n}];"]
        return "\n".join([*head, *self._lines, ""])
