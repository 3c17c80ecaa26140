"""Ramsey beside a neighbour, all the way: profile, context, engine. Fringes move by ζ; echoes stop that."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qpu_backend.engines.catalogue import read_device
from qpu_backend.engines.prepared import Prepared
from qpu_backend.engines.profiling import profile_of
from qpu_backend.engines.protocol import ProfileTask, RegionTask, SliceSpec
from qpu_backend.engines.region import RegionPiece
from qpu_backend.physics.circuit import IsaCircuit, Op, operations
from qpu_backend.physics.context import NO_CONTEXT
from qpu_backend.physics.device import NO_CROSSTALK, Crosstalk, StaticZZ
from qpu_backend.physics.neighbours import PlacedCircuit, context_of, wanted
from qpu_backend.physics.snapshot import RegionNoise

WAIT_NS = 1600.0
ONLY_ZZ = Crosstalk(NO_CROSSTALK.conditional, StaticZZ(), NO_CROSSTALK.drive, NO_CROSSTALK.readout, NO_CROSSTALK.reset)
VICTIM, NEIGHBOUR = 62, 63


@pytest.fixture(scope="module")
def eagle():
    return read_device("eagle127")


def one_qubit(qubit, rows):
    body = [(int(op), 0, -1, -1, -1, float(value), -1) for op, value in rows]
    body.append((int(Op.MEASURE), 0, -1, 0, -1, 0.0, -1))
    return IsaCircuit((qubit,), 1, (), operations(body))


def ramsey(quadrature, *, decoupled=False):
    waiting = [(Op.DELAY, WAIT_NS)]
    if decoupled:
        waiting = [(Op.DELAY, WAIT_NS / 2), (Op.X, 0), (Op.DELAY, WAIT_NS / 2), (Op.X, 0)]
    return one_qubit(VICTIM, [(Op.SX, 0), *waiting, (Op.RZ, quadrature), (Op.SX, 0)])


def excitation(eagle, circuit, neighbour):
    model, snapshot = eagle
    own = PlacedCircuit.of(circuit, snapshot)
    context = NO_CONTEXT
    if neighbour is not None:
        beside = PlacedCircuit.of(neighbour, snapshot)
        qubits = wanted(ONLY_ZZ, model.topology, snapshot, beside, [own])
        assert qubits == (0,)
        noise = RegionNoise.of(snapshot, neighbour.qubits, zz=ONLY_ZZ.zz)
        profile = profile_of(ProfileTask(neighbour, np.zeros((1, 0)), noise, np.zeros(0), qubits))
        context = context_of(ONLY_ZZ, model.topology, snapshot, own, [(beside, profile)], np.zeros(0))
    noise = RegionNoise.of(snapshot, circuit.qubits, zz=ONLY_ZZ.zz)
    task = RegionTask((circuit,), (np.zeros((1, 0)),), noise, (SliceSpec(0, 0, 1, 1),), (context,))
    return RegionPiece(Prepared(task, task.slices[0])).probabilities([])[1]


def fringe(eagle, neighbour, **options):
    """The phase at which the victim's superposition stands before its last gate, in rad."""
    in_phase, quadrature = (
        excitation(eagle, ramsey(angle, **options), neighbour) - 0.5 for angle in (0.0, math.pi / 2)
    )
    return math.atan2(-quadrature, in_phase)


EXCITED = one_qubit(NEIGHBOUR, [(Op.X, 0), (Op.DELAY, 4000.0)])
RESTING = one_qubit(NEIGHBOUR, [(Op.DELAY, 4000.0)])


def test_fringes_beside_an_excited_neighbour_move_by_the_zeta_of_the_edge(eagle):
    zeta_hz = eagle[1].zz_hz[VICTIM, NEIGHBOUR]
    moved = math.remainder(fringe(eagle, EXCITED) - fringe(eagle, None), 2 * math.pi)
    expected = 2e-9 * math.pi * zeta_hz * (WAIT_NS + eagle[1].gate(Op.SX, (VICTIM,)).duration_ns)
    assert abs(expected) > 0.4
    assert moved == pytest.approx(expected, rel=0.03)  # the neighbour relaxes by some percent meanwhile


def test_a_neighbour_at_rest_moves_nothing(eagle):
    assert fringe(eagle, RESTING) == pytest.approx(fringe(eagle, None), abs=1e-12)


def test_an_echoed_victim_moves_much_less(eagle):
    plain = abs(math.remainder(fringe(eagle, EXCITED) - fringe(eagle, None), 2 * math.pi))
    echoed = abs(
        math.remainder(fringe(eagle, EXCITED, decoupled=True) - fringe(eagle, None, decoupled=True), 2 * math.pi)
    )
    assert echoed < 0.1 * plain
