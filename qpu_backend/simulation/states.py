"""Generated circuits that prepare, protect, move or measure states; see :mod:`qpu_backend.simulation.circuits`."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from qpu_backend.simulation.sketch import Sketch


def cat_state(sketch: Sketch) -> None:
    """(|0…0⟩ + |1…1⟩)/√2."""
    sketch.h(0)
    for qubit in range(1, sketch.num_qubits):
        sketch.cx(qubit - 1, qubit)


def wstate(sketch: Sketch) -> None:
    """One excitation shared by all qubits: it is passed on with the right probability at each step."""
    n = sketch.num_qubits
    sketch.x(0)
    for qubit in range(1, n):
        sketch.cry(2 * math.acos(math.sqrt(1 / (n - qubit + 1))), qubit - 1, qubit)
        sketch.cx(qubit, qubit - 1)


def qrng(sketch: Sketch) -> None:
    """Random bits: every qubit in |+⟩."""
    sketch.h(*range(sketch.num_qubits))


def bb84(sketch: Sketch) -> None:
    """Key distribution: random bits in random bases, each read in a random basis; no qubit meets another."""
    rng = np.random.default_rng(84)
    bits, sent, read = rng.integers(0, 2, (3, sketch.num_qubits)).tolist()
    for qubit in range(sketch.num_qubits):
        if bits[qubit]:
            sketch.x(qubit)
        if sent[qubit]:
            sketch.h(qubit)
    sketch.barrier()  # the channel
    sketch.h(*(qubit for qubit in range(sketch.num_qubits) if read[qubit]))


def bell(sketch: Sketch) -> None:
    """CHSH game, four qubits each: a shared pair, read along axes that two random bits choose."""
    for first in range(0, sketch.num_qubits - 1, 4):
        ours = [first + k for k in range(4) if first + k < sketch.num_qubits]
        if len(ours) < 4:
            sketch.h(ours[0])
            for a, b in pairwise(ours):
                sketch.cx(a, b)
            continue
        question_a, alice, bob, question_b = ours
        sketch.h(alice, question_a, question_b)
        sketch.cx(alice, bob)
        sketch.ry(-math.pi / 4, bob)
        sketch.cry(-math.pi / 2, question_a, alice)
        sketch.cry(math.pi / 2, question_b, bob)


def iswap(sketch: Sketch) -> None:
    """An iSWAP of each pair of qubits, the first of them excited."""
    for a in range(0, sketch.num_qubits - 1, 2):
        sketch.x(a)
        sketch.h(a + 1)
        for qubit in (a, a + 1):
            sketch.gate("s", qubit)
        sketch.h(a)
        sketch.cx(a, a + 1)
        sketch.cx(a + 1, a)
        sketch.h(a + 1)


def teleportation(sketch: Sketch) -> None:
    """A state is handed on over pairs; corrections are controlled gates, so nothing is measured on the way."""
    sketch.ry(1.1, 0)
    sketch.rz(0.4, 0)
    for source in range(0, sketch.num_qubits - 2, 2):
        half, far = source + 1, source + 2
        sketch.h(half)
        sketch.cx(half, far)
        sketch.cx(source, half)
        sketch.h(source)
        sketch.cx(half, far)
        sketch.cz(source, far)


def fredkin(sketch: Sketch) -> None:
    """Controlled swaps along the register, with a control in |+⟩."""
    sketch.h(0)
    sketch.x(1)
    for a in range(1, sketch.num_qubits - 1):
        sketch.cx(a + 1, a)
        sketch.ccx(0, a, a + 1)
        sketch.cx(a + 1, a)


def toffoli(sketch: Sketch) -> None:
    """Toffoli gates along the register, both first controls in |1⟩."""
    sketch.x(0, 1)
    for a in range(sketch.num_qubits - 2):
        sketch.ccx(a, a + 1, a + 2)


def qec_en(sketch: Sketch) -> None:
    """Repetition code: a state is spread over the data qubits, flipped once, and its parities are read."""
    data = list(range((sketch.num_qubits + 1) // 2))
    ancillas = list(range(len(data), 2 * len(data) - 1))
    sketch.ry(0.8, 0)
    for a, b in pairwise(data):
        sketch.cx(a, b)
    sketch.x(data[-1])
    for ancilla, (a, b) in zip(ancillas, pairwise(data), strict=True):
        sketch.cx(a, ancilla)
        sketch.cx(b, ancilla)
    for a, b in reversed(list(pairwise(data))):
        sketch.cx(a, b)


def error_correction(sketch: Sketch) -> None:
    """Memory of the code whose logical zero is a ring graph state (five qubits: distance 3).

    As many rounds as qubits, each: prepare, one error, undo, so that the stabilisers end up in the qubits.
    """
    n = sketch.num_qubits
    for error in range(n):
        sketch.h(*range(n))
        for qubit in range(n):
            sketch.cz(qubit, (qubit + 1) % n)
        sketch.x(error)
        sketch.barrier()  # it stays there for a while
        for qubit in range(n):
            sketch.cz(qubit, (qubit + 1) % n)
        sketch.h(*range(n))
        sketch.barrier()
