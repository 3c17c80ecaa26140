"""Measurement level 1: what the readers answer before anybody makes bits of it.

An engine draws what the qubits truly are, without readout error; every reader then answers with a point in the IQ plane
(:mod:`qpu_backend.physics.readout`), and the published discriminator makes the bit of it. The readout error comes from
the overlap of the clouds, and from nowhere else.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from qpu_backend.physics.circuit import IsaCircuit, Op
from qpu_backend.physics.errors import NotCalibrated
from qpu_backend.physics.readout import clouds_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qpu_backend.physics.context import Context
    from qpu_backend.physics.snapshot import RegionNoise


def acquire(
    true_bits: NDArray[np.uint8], circuit: IsaCircuit, noise: RegionNoise, context: Context, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.complex64]]:
    """The answers of the readers to what the qubits were.

    Args:
        true_bits: drawn without readout error: uint8, ``(shots, ceil(num_clbits / 8))``, little-endian bits.
        circuit: relocated, without branches: in those, bits with their errors decide what happens next.
        noise: the truth about its qubits, and their published discriminators.
        context: what neighbours add to the assignment errors.
        seed: of the slice.

    Returns:
        The bits that the discriminators read, like ``true_bits``, and the points they read them from: complex64,
        ``(shots, num_clbits)``; 0 where nothing is measured into a classical bit.

    Raises:
        NotCalibrated: a measured qubit has no discriminator.
        ValueError: the circuit has branches.
    """
    if circuit.conditionals:
        raise ValueError("IQ points of a circuit with branches: bits are needed while it runs")
    excited = np.unpackbits(true_bits, axis=1, count=circuit.num_clbits, bitorder="little").astype(np.bool_)
    points = np.zeros(excited.shape, dtype=np.complex64)
    read = np.zeros_like(excited)
    rng = np.random.Generator(np.random.Philox(key=_key(seed)))
    for clbit, local in sorted(measured_qubits(circuit).items()):
        physical = circuit.qubits[local]
        discriminator = noise.discriminators.get(physical)
        if discriminator is None:
            raise NotCalibrated("measure", (physical,))
        qubit, extra = noise.qubit(physical), context.extra_readout(local)
        clouds = clouds_of(discriminator, qubit.prob_meas1_prep0 + extra[0], qubit.prob_meas0_prep1 + extra[1])
        points[:, clbit] = clouds.points(rng, excited[:, clbit])
        read[:, clbit] = discriminator.discriminate(points[:, clbit])
    return np.packbits(read, axis=1, bitorder="little"), points


def measured_qubits(circuit: IsaCircuit) -> dict[int, int]:
    """Classical bit → local qubit whose measurement it holds in the end: the last one into it."""
    measured = circuit.operations[circuit.operations["code"] == Op.MEASURE]
    return dict(zip(measured["clbit"].tolist(), measured["q0"].tolist(), strict=True))


def _key(seed: int) -> int:
    """A stream of its own: not the one that the simulator draws the same slice's outcomes from."""
    return int.from_bytes(hashlib.sha256(b"iq-1" + seed.to_bytes(8, "little")).digest()[:16], "little")
