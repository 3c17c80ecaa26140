"""Generated circuits that compute something; see :mod:`qpu_backend.simulation.circuits`."""

from __future__ import annotations

import math
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qpu_backend.simulation.sketch import Sketch


def adder(sketch: Sketch) -> None:
    """Ripple-carry adder (quant-ph/0410184): carry in, pairs of a and b, carry out."""
    bits = (sketch.num_qubits - 2) // 2
    out = 2 * bits + 1
    sketch.x(*range(1, out, 2), 2)  # every b, and the first a: the carry runs through
    triples = [(2 * k, 2 * k + 1, 2 * k + 2) for k in range(bits)]
    for carry, b, a in triples:
        sketch.cx(a, b)
        sketch.cx(a, carry)
        sketch.ccx(carry, b, a)
    sketch.cx(triples[-1][2], out)
    for carry, b, a in reversed(triples):
        sketch.ccx(carry, b, a)
        sketch.cx(a, carry)
        sketch.cx(carry, b)


def deutsch(sketch: Sketch) -> None:
    """Deutsch–Jozsa with a balanced function: the parity of all inputs."""
    *inputs, answer = range(sketch.num_qubits)
    sketch.x(answer)
    sketch.h(*inputs, answer)
    for qubit in inputs:
        sketch.cx(qubit, answer)
    sketch.h(*inputs)


def lpn(sketch: Sketch) -> None:
    """Learning a parity: every second bit of the secret is 1."""
    *inputs, answer = range(sketch.num_qubits)
    sketch.h(*inputs)
    for qubit in inputs[::2]:
        sketch.cx(qubit, answer)
    sketch.h(*inputs, answer)


def simon(sketch: Sketch) -> None:
    """Simon's problem with the secret 1…1: inputs are copied, then the secret is taken out along the first of them."""
    half = sketch.num_qubits // 2
    sketch.h(*range(half))
    for qubit in range(half):
        sketch.cx(qubit, half + qubit)
    for qubit in range(half):
        sketch.cx(0, half + qubit)
    sketch.h(*range(half))


def hidden_shift(sketch: Sketch) -> None:
    """Hidden shift of a bent function: inner product of pairs of bits, shifted by every second one."""
    qubits = range(sketch.num_qubits)
    pairs = [(a, a + 1) for a in range(0, sketch.num_qubits - 1, 2)]
    sketch.h(*qubits)
    sketch.x(*qubits[::2])
    for a, b in pairs:
        sketch.cz(a, b)
    sketch.x(*qubits[::2])
    sketch.h(*qubits)
    for a, b in pairs:
        sketch.cz(a, b)
    sketch.h(*qubits)


def grover(sketch: Sketch) -> None:
    """Search for 1…1 among 2ᵏ with k − 2 further qubits to compute with; at most three iterations."""
    k = sketch.num_qubits if sketch.num_qubits <= 3 else (sketch.num_qubits + 2) // 2
    search, spare = list(range(k)), list(range(k, 2 * k - 2))
    sketch.h(*search)
    for _ in range(min(3, max(1, math.floor(math.pi / 4 * 2 ** (k / 2))))):
        _flip_phase(sketch, search, spare)
        sketch.h(*search)
        sketch.x(*search)
        _flip_phase(sketch, search, spare)
        sketch.x(*search)
        sketch.h(*search)


def _flip_phase(sketch: Sketch, qubits: Sequence[int], spare: Sequence[int]) -> None:
    """−1 on |1…1⟩: the controls are collected in ``spare``."""
    *controls, target = qubits
    if len(qubits) == 2:
        sketch.cz(controls[0], target)
        return
    if len(controls) == 2:
        sketch.h(target)
        sketch.ccx(controls[0], controls[1], target)
        sketch.h(target)
        return
    collected = [(controls[0], controls[1], spare[0])]
    collected += [(spare[k], controls[k + 2], spare[k + 1]) for k in range(len(controls) - 2)]
    for step in collected:
        sketch.ccx(*step)
    sketch.cz(collected[-1][2], target)
    for step in reversed(collected):
        sketch.ccx(*step)


def qft(sketch: Sketch) -> None:
    """Fourier transform of a computational state."""
    sketch.x(*range(0, sketch.num_qubits, 2))
    sketch.qft(range(sketch.num_qubits))


def quantum_walk(sketch: Sketch) -> None:
    """Three steps of a walk on a circle: a coin, and a position that it moves on by one."""
    coin, position = 0, list(range(1, sketch.num_qubits))
    for _ in range(3):
        sketch.h(coin)
        if len(position) == 1:
            sketch.cx(coin, position[0])
            continue
        sketch.qft(position)
        for place, qubit in enumerate(position):
            sketch.cp(2 * math.pi / 2 ** (len(position) - place), coin, qubit)
        sketch.qft(position, inverse=True)
    sketch.h(coin)


def linear_solver(sketch: Sketch) -> None:
    """Linear equations (0811.3171) with a 2 × 2 matrix: an ancilla, the right-hand side, and qubits of phase."""
    ancilla, right = 0, 1
    clock = list(range(2, sketch.num_qubits))
    sketch.ry(0.7, right)
    sketch.h(*clock)
    for place, qubit in enumerate(clock):
        sketch.cry(math.pi / 3 * 2**place, qubit, right)
    sketch.qft(clock[::-1], inverse=True)
    for place, qubit in enumerate(clock):
        sketch.cry(math.pi / 2 ** (place + 1), qubit, ancilla)


def ising(sketch: Sketch) -> None:
    """Five Trotter steps of a chain in a transverse field."""
    sketch.h(*range(sketch.num_qubits))
    for _ in range(5):
        for a in range(sketch.num_qubits - 1):
            sketch.rzz(0.35, a, a + 1)
        for qubit in range(sketch.num_qubits):
            sketch.rx(0.5, qubit)


def qaoa(sketch: Sketch) -> None:
    """MaxCut: one round on a ring of up to five vertices, three on a graph of degree three otherwise."""
    n = sketch.num_qubits
    ring = [(k, (k + 1) % n) for k in range(n)] if n > 2 else [(0, 1)]
    edges = ring if n < 6 else [*ring, *((k, k + n // 2) for k in range(n // 2))]
    sketch.h(*range(n))
    for turn in range(1 if n < 6 else 3):
        for a, b in edges:
            sketch.rzz(0.4 + 0.15 * turn, a, b)
        for qubit in range(n):
            sketch.rx(1.2 - 0.3 * turn, qubit)


def variational(sketch: Sketch) -> None:
    """Ansatz that keeps the number of particles: Givens rotations of odd, even and odd pairs of neighbours."""
    n = sketch.num_qubits
    sketch.x(*range((n + 1) // 2))
    for first, angle in ((1 if n > 2 else 0, 0.8), (0, -0.4), (1 if n > 2 else 0, 0.3)):
        for a in range(first, n - 1, 2):
            sketch.givens(angle, a, a + 1)
            sketch.rz(angle / 2, a + 1)


def dnn(sketch: Sketch) -> None:
    """A quantum neural network: three layers in which even, then odd pairs of a ring interact along X, Y and Z."""
    n = sketch.num_qubits
    ring = [(a, (a + 1) % n) for a in range(n)] if n > 2 else [(0, 1)] * 2
    for layer in range(3):
        for qubit in range(n):
            sketch.gate("u3", qubit, angles=(1.1 + 0.1 * layer, 0.4 * qubit, 0.3))
        for a, b in [*ring[::2], *ring[1::2]]:
            _interact(sketch, 0.5 + 0.1 * layer, a, b)


def _interact(sketch: Sketch, angle: float, a: int, b: int) -> None:
    """ZZ, YY and XX by the same angle, in six CX."""
    sketch.rzz(angle, a, b)
    for axis in (math.pi / 2, -math.pi / 2):
        for qubit in (a, b):
            sketch.rx(axis, qubit) if axis > 0 else sketch.ry(axis, qubit)
        sketch.rzz(angle, a, b)
        for qubit in (a, b):
            sketch.rx(-axis, qubit) if axis > 0 else sketch.ry(-axis, qubit)


def vqe(sketch: Sketch) -> None:
    """Hardware-efficient ansatz: three layers of rotations and a chain of CX."""
    n = sketch.num_qubits
    rng = np.random.default_rng(7)
    for layer in rng.uniform(-math.pi, math.pi, (3, n, 2)).tolist():
        for qubit, (y, z) in enumerate(layer):
            sketch.ry(y, qubit)
            sketch.rz(z, qubit)
        for qubit in range(n - 1):
            sketch.cx(qubit, qubit + 1)
    for qubit, angle in enumerate(rng.uniform(-math.pi, math.pi, n).tolist()):
        sketch.ry(angle, qubit)


def basis_change(sketch: Sketch) -> None:
    """Change of the orbital basis: Givens rotations of neighbours until every orbital has met every other."""
    sketch.x(*range(0, sketch.num_qubits, 2))
    _orbitals(sketch, 0.3)


def basis_trotter(sketch: Sketch) -> None:
    """Time evolution of a molecule, twelve steps: into the plane-wave basis, all pairs interact, and back."""
    sketch.x(*range(0, sketch.num_qubits, 2))
    for step in range(12):
        _orbitals(sketch, 0.2 + 0.01 * step)
        for a, b in combinations(range(sketch.num_qubits), 2):
            sketch.rzz(0.11 * (1 + a + b), a, b)
        for qubit in range(sketch.num_qubits):
            sketch.rz(0.3 * (1 + qubit), qubit)
        _orbitals(sketch, -0.2 - 0.01 * step)


def _orbitals(sketch: Sketch, angle: float) -> None:
    n = sketch.num_qubits
    for layer in range(n):
        for a in range(layer % 2, n - 1, 2):
            sketch.givens(angle * (1 + a), a, a + 1)


def brickwork(sketch: Sketch, seed: int) -> None:
    """As many layers as qubits: random rotations, then CX on every other pair of neighbours."""
    n = sketch.num_qubits
    rng = np.random.default_rng(seed)
    for layer in range(n):
        for qubit, angles in enumerate(rng.uniform(-math.pi, math.pi, (n, 3)).tolist()):
            sketch.gate("u3", qubit, angles=angles)
        for a in range(layer % 2, n - 1, 2):
            sketch.cx(a, a + 1)
