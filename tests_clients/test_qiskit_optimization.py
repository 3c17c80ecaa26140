"""A knapsack as a quadratic program, solved by its MinimumEigenOptimizer with QAOA on the sampler.

Negative control: the same samples read as another program.
"""

from __future__ import annotations

import itertools

import pytest
from bounds import of_share
from qiskit_optimization import QuadraticProgram
from qiskit_optimization.algorithms import MinimumEigenOptimizer
from qiskit_optimization.minimum_eigensolvers import QAOA
from qiskit_optimization.optimizers import COBYLA

from qpu_sdk import SamplerV2

CLIENT = "qiskit-optimization"
VALUES = (3, 1, 2, 4)
PAIRS = {(0, 1): -2, (1, 2): 3, (2, 3): -4, (0, 3): -5}


def program(signs=1):
    """What is best to take of four things, of which some pairs get on badly."""
    whole = QuadraticProgram()
    for name in "abcd":
        whole.binary_var(name)
    names = "abcd"
    whole.maximize(
        linear={names[number]: signs * value for number, value in enumerate(VALUES)},
        quadratic={(names[first], names[second]): signs * value for (first, second), value in PAIRS.items()},
    )
    return whole


def values(whole):
    """Of each choice, as bits of a, b, c, d."""
    return {choice: whole.objective.evaluate(list(choice)) for choice in itertools.product((0, 1), repeat=4)}


@pytest.fixture(scope="module")
def solved(line, compiler):
    sampler = SamplerV2(line, options={"seed_simulator": 11, "default_shots": 2000})
    qaoa = QAOA(sampler, COBYLA(maxiter=25), reps=1, initial_point=[0.4, -0.4], pass_manager=compiler)
    return MinimumEigenOptimizer(qaoa).solve(program())


def test_the_best_choice_is_found(solved):
    of_choice = values(program())
    assert solved.fval == max(of_choice.values())
    assert of_choice[tuple(int(bit) for bit in solved.x)] == solved.fval
    assert values(program(-1))[tuple(int(bit) for bit in solved.x)] != max(values(program(-1)).values())


def test_samples_are_better_than_by_chance(solved):
    of_choice = values(program())
    at_random = sum(of_choice.values()) / 16
    span = max(of_choice.values()) - min(of_choice.values())
    bound = span * of_share(2000)
    found = sum(of_choice[tuple(int(bit) for bit in sample.x)] * sample.probability for sample in solved.raw_samples)
    assert found > at_random + bound
    turned = sum(-of_choice[tuple(int(bit) for bit in sample.x)] * sample.probability for sample in solved.raw_samples)
    assert not turned > -at_random + bound
