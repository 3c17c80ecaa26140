"""Batches through the physics: fidelities, and the two losses apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qpu_backend.physics.device import NO_CROSSTALK
from qpu_backend.simulation.clock import simulate
from qpu_backend.simulation.company import Profiles
from qpu_backend.simulation.execution import execute, hellinger
from qpu_backend.simulation.kinds import Chip

from .conftest import Bench

JOBS = {
    "shots": 1000,
    "kinds": {"cat_state_n3": {"qubits": 3}, "toffoli_n3": {"qubits": 3}, "bell_n2": {"qubits": 2, "shots": 300}},
    "queue": ["cat_state_n3", "toffoli_n3", "bell_n2", "cat_state_n3"],
}


def outcomes(chip):
    bench = Bench(chip, JOBS)
    run = simulate(bench.workload, bench.kinds, bench.policy("greedy-efs"), buffer=0)
    assert max(len(ran.batch.seats) for ran in run.ran) > 1
    told = []
    found = execute(run, chip, Profiles(chip), lambda done, total: told.append((done, total)))
    assert told == [(number + 1, len(run.ran)) for number in range(len(run.ran))]
    return found


def test_fidelities_are_those_of_small_circuits_and_repeat():
    chip = Chip.named("grid20")
    found = outcomes(chip)
    assert len(found) == 4
    for one in found:
        assert 0.5 < one.together <= 1
        assert 0.5 < one.alone <= 1
        assert 0.5 < one.isolated <= 1
    assert found == outcomes(chip)


def test_without_crosstalk_neighbours_cost_nothing_shot_by_shot():
    chip = Chip.named("grid20")
    quiet = Chip(replace(chip.model, crosstalk=NO_CROSSTALK), chip.snapshot, chip.errors, {})
    assert all(one.together == one.alone for one in outcomes(quiet))


def test_strong_crosstalk_costs_fidelity_that_places_do_not():
    chip = Chip.named("grid20")
    crosstalk = chip.model.crosstalk
    loud = replace(crosstalk, readout=replace(crosstalk.readout, scale=60.0))
    noisy = Chip(replace(chip.model, crosstalk=loud), chip.snapshot, chip.errors, {})
    lost = np.mean([one.alone - one.together for one in outcomes(noisy)])
    usual = np.mean([one.alone - one.together for one in outcomes(chip)])
    assert lost > usual + 0.02
    assert [one.isolated for one in outcomes(noisy)] == [one.isolated for one in outcomes(chip)]


def test_hellinger_is_one_for_equals_and_zero_for_strangers():
    flat = np.full(4, 0.25)
    assert hellinger(flat, flat) == pytest.approx(1)
    assert hellinger(np.array([1.0, 0, 0, 0]), np.array([0, 1.0, 0, 0])) == 0
    assert hellinger(np.array([1.0, 0, 0, 0]), flat) == pytest.approx(0.25)


def test_circuits_whose_outcome_is_not_known_are_left_out(tmp_path):
    head = 'OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; creg c[2];'
    text = f"{head} h q[0]; measure q[0] -> c[0]; x q[0]; measure q[1] -> c[1];"
    (tmp_path / "odd_n2.qasm").write_text(text)
    chip = Chip.named("line5")
    bench = Bench(chip, {"kinds": {"odd_n2": {"qubits": 2}}, "queue": ["odd_n2"]}, tmp_path)
    run = simulate(bench.workload, bench.kinds, bench.policy("fifo"), buffer=0)
    assert execute(run, chip, Profiles(chip)) == []
