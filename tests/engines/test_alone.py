"""A record without its neighbours: what is left is what the job would have been alone."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from qpu_backend.engines.alone import alone, executions_of
from qpu_backend.engines.protocol import RegionTask, SliceSpec
from qpu_backend.physics.circuit import IsaCircuit, operations
from qpu_backend.physics.context import NO_CONTEXT, Context, Ghost, Kick
from qpu_backend.physics.snapshot import RegionNoise

EMPTY = IsaCircuit((0,), 1, (), operations([]))
NOBODY = RegionNoise({}, {})
GHOST = Ghost(np.array([1000.0]), 0.5, np.ones(1), np.zeros(1), np.zeros(1, bool), ((0, 60e3),))


def beside(start=()):
    """A context in which everything acts."""
    return Context(np.array([1.5]), (GHOST,), (Kick(0, 10.0, 0.1, 0.0),), np.full((1, 2), 0.01), np.array(start, float))


def task(slices, contexts, circuits=1, bindings=1):
    angles = tuple(np.zeros((bindings, 0)) for _ in range(circuits))
    return RegionTask((EMPTY,) * circuits, angles, NOBODY, tuple(slices), tuple(contexts))


def test_slices_of_one_execution_become_one_with_the_seed_of_the_first():
    met = task([SliceSpec(0, 0, 300, 7, 1, 1), SliceSpec(0, 0, 700, 8, 0, 1)], [NO_CONTEXT, beside()])
    (left,) = alone(met).slices
    assert astuple(left) == (0, 0, 1000, 7, 0, 1)
    assert alone(met).contexts == (NO_CONTEXT,)


def test_executions_stay_apart_by_circuit_and_by_binding():
    slices = [SliceSpec(0, 0, 10, 1), SliceSpec(0, 1, 10, 2), SliceSpec(1, 1, 10, 3, 1), SliceSpec(1, 1, 5, 4)]
    met = task(slices, [NO_CONTEXT, beside()], circuits=2, bindings=2)
    assert executions_of(met) == (0, 1, 2, 2)
    assert [(piece.circuit, piece.binding, piece.shots, piece.seed) for piece in alone(met).slices] == [
        (0, 0, 10, 1),
        (0, 1, 10, 2),
        (1, 1, 15, 3),
    ]


def test_what_its_own_last_shot_leaves_stays_and_nothing_of_the_neighbours_does():
    met = task(
        [SliceSpec(0, 0, 10, 1, 1), SliceSpec(1, 0, 10, 2, 2)], [NO_CONTEXT, beside([0.1]), beside()], circuits=2
    )
    left = alone(met)
    assert [left.contexts[piece.context].start.tolist() for piece in left.slices] == [[0.1], []]
    for context in left.contexts:
        assert not context.factors.size
        assert not context.ghosts
        assert not context.kicks
        assert not context.readout.any()


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(1, 50), st.integers(0, 2)), min_size=1))
def test_all_shots_stay_and_doing_it_twice_is_doing_it_once(pieces):
    slices = [
        SliceSpec(circuit, binding, shots, seed, seed) for seed, (circuit, binding, shots, _) in enumerate(pieces)
    ]
    slices = [
        SliceSpec(s.circuit, s.binding, s.shots, s.seed, piece[3]) for s, piece in zip(slices, pieces, strict=True)
    ]
    met = task(slices, [NO_CONTEXT, beside([0.2]), beside()], circuits=3, bindings=2)
    left = alone(met)
    assert sum(piece.shots for piece in left.slices) == sum(piece.shots for piece in slices)
    assert executions_of(left) == tuple(range(len(left.slices)))
    assert alone(left).to_bytes() == left.to_bytes()
