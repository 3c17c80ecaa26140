"""V2, V4 and V6: regions simulated alone in the context of their neighbours, against the whole."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import joint_mps
import numpy as np
import simulate
from crosstalk_pairs import NEIGHBOUR, VICTIM, line, region_noise, suite, without_errors
from distributions import marginal, sampled, shot_noise, tvd
from layer_fidelity import read_published
from neighbourhood import Neighbourhood, only_zz

from qpu_backend.engines.catalogue import read_device
from qpu_backend.physics.device import NO_CROSSTALK
from qpu_backend.physics.fidelity import added_loss
from qpu_backend.physics.ghosts import windows_of
from qpu_backend.physics.snapshot import RegionNoise

if TYPE_CHECKING:
    from qpu_backend.physics.context import Context
    from qpu_backend.physics.neighbours import PlacedCircuit
    from qpu_backend.physics.snapshot import Snapshot

V4_QUBITS: Final = 60
V4_LAYERS: Final = 10
V4_SHOTS: Final = 32_768
V4_BOUND: Final = 0.02
V6_ROUNDS: Final = 12
SEED: Final = 4

_ROUNDING: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Distances:
    """How far predictions of the same distributions are from what is exact: with the context, and without."""

    with_context: np.ndarray
    ignored: np.ndarray

    @property
    def ratio(self) -> float:
        """How many times worse it is to ignore crosstalk, in the mean."""
        return float(self.ignored.mean() / self.with_context.mean())


def pairs_against_density_matrix(zz_hz: float, echo: float = 1.0) -> Distances:
    """V2: the victim of each pair in the context of its neighbour, against the density matrix of all six qubits.

    First the density matrices are themselves compared, without errors, with state vectors that the service had no part
    in (:mod:`joint_mps`).

    Raises:
        ArithmeticError: they differ.
    """
    snapshot = line(6, zz_hz)
    union, victim = (region_noise(snapshot, region, echo) for region in ((*VICTIM, *NEIGHBOUR), VICTIM))
    with_context, ignored = [], []
    for number, pair in enumerate(suite(snapshot)):
        if number % 18 == 0:
            joint = joint_mps.joint_circuit((pair.victim, pair.neighbour), union)
            found = simulate.distribution(pair.together(), without_errors(union))
            if tvd(found, joint_mps.exact(joint)) > _ROUNDING:
                raise ArithmeticError(f"{pair.name}: ZZ inside a region is not what the definition says")
        exact = marginal(simulate.distribution(pair.together(), union), VICTIM)
        tenants = Neighbourhood((pair.victim, pair.neighbour), snapshot, only_zz(echo))
        with_context.append(tvd(tenants.together(0), exact))
        ignored.append(tvd(simulate.distribution(pair.victim, victim), exact))
    return Distances(np.array(with_context), np.array(ignored))


def tenants_against_matrix_product() -> tuple[Distances, float]:
    """V4: a path of :data:`V4_QUBITS` qubits of ``eagle127`` full of tenants, against a sampled matrix product.

    Every three bits that lie side by side in a tenant are one marginal. Errors are off on both sides.

    Returns:
        Distances of all marginals, and what shots alone would cause on average.
    """
    model, snapshot = read_device("eagle127")
    path = longest_chain(V4_QUBITS)
    circuits = joint_mps.tenants(path, snapshot, SEED, V4_LAYERS)
    whole = RegionNoise.of(snapshot, path, zz=model.crosstalk.zz)
    samples = joint_mps.sample(joint_mps.joint_circuit(circuits, whole, path), V4_SHOTS, SEED)
    crosstalk = replace(NO_CROSSTALK, zz=model.crosstalk.zz)
    tenants = Neighbourhood(circuits, snapshot, crosstalk, without_errors)
    with_context, ignored, noise = [], [], []
    first = 0
    for index, circuit in enumerate(circuits):
        together, alone = tenants.together(index), tenants.alone(index)
        for bit in range(circuit.num_qubits - 2):
            bits = (bit, bit + 1, bit + 2)
            seen = sampled(samples, [first + b for b in bits])
            with_context.append(tvd(marginal(together, bits), seen))
            ignored.append(tvd(marginal(alone, bits), seen))
            noise.append(shot_noise(marginal(together, bits), V4_SHOTS))
        first += circuit.num_qubits
    return Distances(np.array(with_context), np.array(ignored)), float(np.mean(noise))


def co_tenants_never_help() -> bool:
    """V6: with the stochastic mechanisms, one co-tenant more never lowers a tenant's predicted error.

    Rounds of random tenants on a path of ``eagle127``; co-tenants join one by one in random order.
    """
    model, snapshot = read_device("eagle127")
    crosstalk = replace(
        NO_CROSSTALK,
        conditional=replace(model.crosstalk.conditional, enabled=True),
        zz=replace(model.crosstalk.zz, enabled=True),
        readout=replace(model.crosstalk.readout, enabled=True),
    )
    rng = np.random.default_rng(SEED)
    rises = 0
    for number in range(V6_ROUNDS):
        path = longest_chain(30)
        circuits = joint_mps.tenants(path, snapshot, number, V4_LAYERS)
        tenants = Neighbourhood(circuits, snapshot, crosstalk)
        for index in range(len(circuits)):
            others = rng.permutation([other for other in range(len(circuits)) if other != index]).tolist()
            errors = [
                predicted_error(
                    tenants.placed[index], snapshot, tenants.context(index, others[:count]), crosstalk.zz.echo
                )
                for count in range(len(others) + 1)
            ]
            if np.diff(errors).min() < -1e-12:
                return False
            rises += int(errors[-1] > errors[0])
    print(f"  {rises} tenants lose something in company")
    return rises > 0


def predicted_error(own: PlacedCircuit, snapshot: Snapshot, context: Context, echo: float) -> float:
    """−ln F that a context adds: C1, twirled C2 (``p_Z = ½ sin²(φ/2)`` in each window of each ghost) and C4."""
    loss = added_loss(own.circuit, snapshot, context.factors) if len(context.factors) else 0.0
    for ghost in context.ghosts:
        angles, _ = windows_of(ghost, echo)
        loss -= float(np.log1p(-0.5 * np.sin(angles / 2.0) ** 2).sum())
    return loss + float(context.readout.sum()) / 2.0


def longest_chain(num_qubits: int) -> tuple[int, ...]:
    """A path of qubits on ``eagle127``: the one on which that device's layer fidelity was measured."""
    return next(c.qubits for c in read_published("brisbane").chains if len(c.qubits) == num_qubits)
