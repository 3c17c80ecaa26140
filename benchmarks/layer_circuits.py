"""V5b: layer fidelities run through the simulation, to be compared with those that were measured on the same device.

A layer of a chain is a round of tenants: each pair with a gate, and each qubit without a partner, is a region of its
own, and all run at once. Every region repeats ``random one-qubit Cliffords, ECR``, all in step::

    a  ─[C]─┐ecr┌─ … ─[C]─┐ecr┌─[to Z]─[measure]      C: one pulse, or a wait as long as one;
    b  ─[C]─┘   └─ … ─[C]─┘   └─[to Z]─[measure]      ECR: padded to the layer's longest

A stabiliser of |00⟩ is followed through the Cliffords and measured at the end; its expectation decays as p^m, and
F = (1 + (d² − 1) p)/d² is the process fidelity of the layer on the region. This is direct randomised benchmarking
without the inverse (binary RB, arXiv 2309.05147). Readout is perfect: an experiment divides it out. The layer fidelity
is the product over both layers and all regions, lone qubits too (arXiv 2311.05933).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import numpy as np
from crosstalk_pairs import Writer
from neighbourhood import Neighbourhood

from qpu_backend.physics.circuit import Op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from layer_fidelity import Chain
    from numpy.typing import NDArray

    from qpu_backend.physics.circuit import IsaCircuit
    from qpu_backend.physics.device import Crosstalk
    from qpu_backend.physics.snapshot import RegionNoise, Snapshot

Region = tuple[int, ...]
"""One or two physical qubits; two in the direction of their ECR."""

Clifford = tuple[str, tuple[float, float]]
"""A pulse, and the angles of ``rz`` before and after it."""

LENGTHS: Final = (2, 6, 16)
REPEATS: Final = (3, 1, 1)
"""The shortest length, which everything refers to, is repeated more often."""
SEQUENCES: Final = 200
"""Times qubits: a longer chain has more regions to average over, and needs fewer sequences."""
FADED: Final = 0.25
"""A length at which no more than this is left is not used."""
SEED: Final = 55

_HALF: Final = np.pi / 2
_CLIFFORDS: Final = tuple(
    [(gate, (0.0, _HALF * k)) for gate in ("", "x") for k in range(4)]
    + [("sx", (_HALF * j, _HALF * k)) for j in range(4) for k in range(4)]
)
"""All 24, with the fewest pulses, as in the LayerFidelity of qiskit-experiments: at most one, between two ``rz``."""
_TO_Z: Final = {"I": ("", (0.0, 0.0)), "X": ("sx", (_HALF, 0.0)), "Y": ("sx", (0.0, 0.0)), "Z": ("", (0.0, 0.0))}
"""What turns a Pauli operator into Z."""
_PAULIS: Final = {
    "I": np.eye(2, dtype=complex),
    "X": np.array([[0, 1], [1, 0]], dtype=complex),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1.0, -1.0]).astype(complex),
}
_PULSES: Final = {"": _PAULIS["I"], "x": _PAULIS["X"], "sx": np.array([[1 + 1j, 1 - 1j], [1 - 1j, 1 + 1j]]) / 2}
_ECR: Final = np.array([[0, 1, 0, 1j], [1, 0, -1j, 0], [0, 1j, 0, 1], [-1j, 0, 1, 0]]) / np.sqrt(2)


def layers_of(chain: Chain, snapshot: Snapshot) -> tuple[tuple[Region, ...], tuple[Region, ...]]:
    """The two layers of a chain: pairs, and qubits without a partner."""
    layers: list[tuple[Region, ...]] = []
    for first in range(2):
        pairs = chain.edges[first::2]
        directed = [pair if (Op.ECR, pair) in snapshot.gates else pair[::-1] for pair in pairs]
        lone = set(chain.qubits).difference(*pairs)
        layers.append((*directed, *((q,) for q in sorted(lone))))
    return layers[0], layers[1]


def simulated(chain: Chain, snapshot: Snapshot, crosstalk: Crosstalk, seed: int = SEED) -> float:
    """−ln(LF) of a chain as the service simulates it."""
    rng = np.random.default_rng([seed, len(chain.qubits)])
    crosstalk = replace(crosstalk, readout=replace(crosstalk.readout, enabled=False))
    sequences = SEQUENCES // len(chain.qubits)
    return sum(_layer_loss(regions, snapshot, crosstalk, sequences, rng) for regions in layers_of(chain, snapshot))


def ratios(crosstalk: Crosstalk, snapshot: Snapshot, chains: Sequence[Chain]) -> NDArray[np.float64]:
    """Simulated over measured −ln(LF) of each chain, ``(chains,)``."""
    return np.array([simulated(chain, snapshot, crosstalk) / -np.log(chain.fidelity) for chain in chains])


def _layer_loss(
    regions: Sequence[Region], snapshot: Snapshot, crosstalk: Crosstalk, sequences: int, rng: np.random.Generator
) -> float:
    """Sum over regions of −ln of the process fidelity."""
    longest_ns = max(snapshot.gate(Op.ECR, region).duration_ns for region in regions if len(region) == 2)
    kept = np.zeros((len(LENGTHS), len(regions)))
    for row, (length, repeats) in enumerate(zip(LENGTHS, REPEATS, strict=True)):
        for _ in range(repeats * sequences):
            written = [sequence(region, length, longest_ns, snapshot, rng) for region in regions]
            tenants = Neighbourhood([circuit for circuit, _ in written], snapshot, crosstalk, with_perfect_readout)
            for column, (_, weights) in enumerate(written):
                kept[row, column] += float(weights @ tenants.together(column)) / (repeats * sequences)
    dim2 = np.array([4.0 ** len(region) for region in regions])
    return float(-np.log((1.0 + (dim2 - 1.0) * decays(kept)) / dim2).sum())


def decays(kept: NDArray[np.float64]) -> NDArray[np.float64]:
    """What is kept per layer, p.

    From the shortest of :data:`LENGTHS` to the longest that has not faded, because neighbours that start in |0⟩ do less
    in the first layers; where all others have faded, from the shortest alone.

    Args:
        kept: float64, ``(lengths, regions)``: mean expectations.

    Returns:
        float64, ``(regions,)``.
    """
    first = np.maximum(kept[0], 1.0 / 16.0)
    last = np.cumprod(kept > FADED, axis=0).sum(axis=0) - 1
    longest = np.take_along_axis(kept, np.maximum(last, 0)[None], axis=0)[0]
    lengths = np.array(LENGTHS)
    base = np.where(last > 0, longest / first, first)
    return base ** (1.0 / np.where(last > 0, lengths[last] - lengths[0], lengths[0]))


def with_perfect_readout(noise: RegionNoise) -> RegionNoise:
    """The same region without readout errors."""
    qubits = {q: replace(one, prob_meas1_prep0=0.0, prob_meas0_prep1=0.0) for q, one in noise.qubits.items()}
    return replace(noise, qubits=qubits)


def sequence(
    region: Region, length: int, longest_ns: float, snapshot: Snapshot, rng: np.random.Generator
) -> tuple[IsaCircuit, NDArray[np.float64]]:
    """A random sequence, and the weight (±1) of each outcome in the expectation of its final Pauli operator.

    The operator at the start is drawn so that all that are not the identity are equally likely from then on.
    """
    writer = Writer(region, snapshot)
    spare_ns = longest_ns - (snapshot.gate(Op.ECR, region).duration_ns if len(region) == 2 else 0.0)
    start = rng.choice(["ZI", "IZ", "ZZ"], p=[0.2, 0.2, 0.6]) if len(region) == 2 else "Z"
    operator = _matrix(start)
    for _ in range(length):
        column = np.eye(1)
        for q in region:
            clifford = _CLIFFORDS[rng.integers(len(_CLIFFORDS))]
            _write(writer, clifford, q, snapshot)
            column = np.kron(_unitary(clifford), column)
        operator = column @ operator @ column.conj().T
        if len(region) == 2:
            writer.ecr(*region)
            operator = _ECR @ operator @ _ECR.conj().T
        if spare_ns > 0:
            for q in region:
                writer.delay(spare_ns, q)
    letters, sign = _pauli(operator)
    for q, letter in zip(region, letters, strict=True):
        _write(writer, _TO_Z[letter], q, snapshot)
    parity = np.zeros(2 ** len(region), dtype=np.int64)
    for bit, letter in enumerate(letters):
        parity += (letter != "I") * (np.arange(len(parity)) >> bit & 1)
    return writer.measured(), sign * (1.0 - 2.0 * (parity % 2))


def _matrix(letters: str) -> NDArray[np.complex128]:
    """A Pauli operator; the first letter acts on the least significant qubit."""
    matrix = np.eye(1, dtype=complex)
    for letter in letters:
        matrix = np.kron(_PAULIS[letter], matrix)
    return matrix


def _write(writer: Writer, clifford: Clifford, q: int, snapshot: Snapshot) -> None:
    """One place of a column: all last as long as a pulse."""
    pulse, (before, after) = clifford
    writer.rz(before, q)
    if pulse:
        getattr(writer, pulse)(q)
    else:
        writer.delay(snapshot.gate(Op.SX, (q,)).duration_ns, q)
    writer.rz(after, q)


def _unitary(clifford: Clifford) -> NDArray[np.complex128]:
    pulse, angles = clifford
    before, after = (np.diag([np.exp(-0.5j * angle), np.exp(0.5j * angle)]) for angle in angles)
    return after @ _PULSES[pulse] @ before


def _pauli(operator: NDArray[np.complex128]) -> tuple[str, float]:
    """Which Pauli operator a matrix is, and its sign."""
    names = [*"IXYZ"] if len(operator) == 2 else [a + b for a in "IXYZ" for b in "IXYZ"]
    overlaps = np.array([np.trace(_matrix(name) @ operator).real for name in names]) / len(operator)
    best = int(np.argmax(np.abs(overlaps)))
    return names[best], float(np.sign(overlaps[best]))
