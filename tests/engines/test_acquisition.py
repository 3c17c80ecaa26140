"""Measurement level 1 in the engines: points of the readers, and the bits a discriminator makes of them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from qpu_backend.engines.acquisition import acquire, measured_qubits
from qpu_backend.engines.protocol import RegionTask, SliceSpec, decode_report, join_tasks
from qpu_backend.engines.worker import run_tasks
from qpu_backend.physics.circuit import ClassicalRegister, Conditional, IsaCircuit, Op, operations
from qpu_backend.physics.context import NO_CONTEXT, Context
from qpu_backend.physics.errors import NotCalibrated
from qpu_backend.physics.readout import discriminators_of
from qpu_backend.physics.snapshot import GateProperties, QubitProperties, RegionNoise
from qpu_sdk.wire.codec import pack, unpack

ERRORS = {4: (0.02, 0.06), 7: (0.1, 0.003)}
"""P(1|0) and P(0|1) of two physical qubits."""
NO_ANGLES = np.zeros((1, 0))


def gate(op, q0, clbit=-1):
    return (int(op), q0, -1, clbit, -1, 0.0, -1)


def circuit_of(*rows, num_clbits=2, **fields):
    register = ClassicalRegister("c", tuple(range(num_clbits)))
    return IsaCircuit((4, 7), num_clbits, (register,), operations(list(rows)), **fields)


MEASURED = (gate(Op.MEASURE, 0, 0), gate(Op.MEASURE, 1, 1))


@pytest.fixture
def noise():
    qubits = {q: QubitProperties(1e12, 1e12, None, None, *errors, 1000.0) for q, errors in ERRORS.items()}
    gates = {(op, (q,)): GateProperties(0.0, 60.0) for op in (Op.SX, Op.X) for q in qubits}
    return RegionNoise(qubits, gates, discriminators=discriminators_of("eagle127", range(127), ERRORS))


def within(measured, expected, number):
    return abs(measured - expected) < 5 * math.sqrt(expected * (1 - expected) / number)


def columns(bits, num_clbits=2):
    return np.unpackbits(bits, axis=1, count=num_clbits, bitorder="little")


def test_bits_are_misread_by_the_overlap_of_the_clouds_alone(noise):
    shots = 200_000
    for word in range(4):
        true_bits = np.full((shots, 1), word, dtype=np.uint8)
        bits, points = acquire(true_bits, circuit_of(*MEASURED), noise, NO_CONTEXT, seed=11)
        assert (points.dtype, points.shape) == (np.complex64, (shots, 2))
        for clbit, physical in enumerate((4, 7)):
            excited = word >> clbit & 1
            assert within(np.mean(columns(bits)[:, clbit] != excited), ERRORS[physical][excited], shots)


def test_bits_are_what_the_published_discriminators_read(noise):
    true_bits = np.arange(4, dtype=np.uint8).repeat(500)[:, None]
    bits, points = acquire(true_bits, circuit_of(*MEASURED), noise, NO_CONTEXT, seed=1)
    read = [noise.discriminators[q].discriminate(points[:, clbit]) for clbit, q in enumerate((4, 7))]
    assert np.array_equal(columns(bits), np.stack(read, axis=1))


def test_a_neighbour_that_is_read_too_blurs_the_points(noise):
    shots = 200_000
    context = Context(readout=np.array([[0.0, 0.0], [0.05, 0.0]]))
    bits, _ = acquire(np.zeros((shots, 1), dtype=np.uint8), circuit_of(*MEASURED), noise, context, seed=5)
    assert within(columns(bits)[:, 0].mean(), 0.02, shots)
    assert within(columns(bits)[:, 1].mean(), 0.15, shots)


def test_the_same_seed_gives_the_same_points_and_another_seed_others(noise):
    true_bits = np.zeros((100, 1), dtype=np.uint8)
    first, second, other = (
        acquire(true_bits, circuit_of(*MEASURED), noise, NO_CONTEXT, seed)[1] for seed in (1, 1, 2**63 - 1)
    )
    assert np.array_equal(first, second)
    assert not np.any(first == other)


def test_the_last_measurement_into_a_bit_counts_and_an_empty_bit_is_zero(noise):
    circuit = circuit_of(gate(Op.MEASURE, 0, 2), gate(Op.MEASURE, 1, 2), gate(Op.MEASURE, 0, 0), num_clbits=10)
    assert measured_qubits(circuit) == {0: 0, 2: 1}
    true_bits = np.zeros((50, 2), dtype=np.uint8)
    bits, points = acquire(true_bits, circuit, noise, NO_CONTEXT, seed=3)
    assert bits.shape == (50, 2)
    assert np.flatnonzero(points.any(axis=0)).tolist() == [0, 2]
    assert not columns(bits, 10)[:, [1, *range(3, 10)]].any()
    line = noise.discriminators[7]
    assert np.all(np.abs(points[:, 2] - line.boundary) < 10 * line.sigma)


def test_without_a_discriminator_or_with_branches_there_are_no_points(noise):
    true_bits = np.zeros((5, 1), dtype=np.uint8)
    with pytest.raises(NotCalibrated):
        acquire(true_bits, circuit_of(*MEASURED), replace(noise, discriminators={}), NO_CONTEXT, seed=1)
    branch = Conditional((0,), 1, operations([gate(Op.X, 1)]), operations([]))
    with pytest.raises(ValueError, match="branches"):
        acquire(true_bits, circuit_of(*MEASURED, conditionals=(branch,)), noise, NO_CONTEXT, seed=1)


def test_discriminators_travel_with_the_region(noise):
    again = RegionNoise.from_document(unpack(pack(noise.to_document())))
    assert again.discriminators == noise.discriminators
    assert RegionNoise.from_document(unpack(pack(replace(noise, discriminators={}).to_document()))).discriminators == {}


def outcomes(noise, circuit, *slices):
    task = RegionTask((circuit,), (NO_ANGLES,), noise, slices)
    (outcome,) = decode_report(run_tasks(join_tasks([task.to_bytes()]))).tasks
    assert outcome.failure is None, outcome.failure
    return outcome.slices


@pytest.mark.parametrize("measured_on_the_way", [False, True])
def test_an_engine_gives_bits_of_one_law_at_both_levels(noise, measured_on_the_way):
    shots = 20_000
    rows = [gate(Op.X, 0), *MEASURED]
    if measured_on_the_way:  # then every shot is a run of its own
        rows.insert(0, gate(Op.MEASURE, 1, 1))
    bits, points = outcomes(noise, circuit_of(*rows), SliceSpec(0, 0, shots, 5), SliceSpec(0, 0, shots, 5, level=1))
    assert bits.points is None
    assert points.points is not None
    assert points.points.shape == (shots, 2)
    for outcome in (bits, points):
        read = columns(outcome.bits)
        assert within(np.mean(read[:, 0] == 0), ERRORS[4][1], shots)
        assert within(np.mean(read[:, 1] == 1), ERRORS[7][0], shots)
