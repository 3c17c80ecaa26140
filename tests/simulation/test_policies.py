"""Every policy obeys the chip and the clock; each does what its paper describes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qpu_backend.domain.rounds import batch_us, merged, profile_of
from qpu_backend.physics.fidelity import LogErrors
from qpu_backend.physics.topology import mask_of
from qpu_backend.simulation.clock import simulate
from qpu_backend.simulation.kinds import Chip
from qpu_backend.simulation.laboratory import POLICIES
from qpu_backend.simulation.measures import measure
from qpu_backend.simulation.slots import SLOTS, FixedSlots, slots_of

from .conftest import Bench


@pytest.fixture(params=POLICIES)
def run(request, bench):
    return simulate(bench.workload, bench.kinds, bench.policy(request.param), buffer=bench.view.buffer)


def test_every_job_runs_once_and_not_before_it_has_arrived(run):
    started = [seat.job_id for ran in run.ran for seat in ran.batch.seats]
    assert sorted(started) == sorted(job.id for job in run.workload.jobs)
    arrival = {job.id: job.arrival_us for job in run.workload.jobs}
    assert all(arrival[seat.job_id] <= ran.starts_us for ran in run.ran for seat in ran.batch.seats)


def test_batches_follow_each_other_and_the_chip_never_idles_while_somebody_waits(run):
    arrival = {job.id: job.arrival_us for job in run.workload.jobs}
    free_us = 0
    for ran in run.ran:
        assert ran.starts_us >= free_us
        earliest = min(arrival[seat.job_id] for seat in ran.batch.seats)
        assert ran.starts_us == max(free_us, earliest) or ran.starts_us == free_us
        free_us = ran.starts_us + ran.batch.device_us
    assert run.ends_us == free_us


def test_regions_of_a_batch_are_disjoint_and_hold_the_circuits(run):
    for ran in run.ran:
        seen = 0
        for seat in ran.batch.seats:
            region = mask_of(seat.region)
            assert not seen & region
            assert not mask_of(seat.circuit.qubits) & ~region
            seen |= region


def test_a_batch_lasts_as_long_as_its_longest_job(run, bench):
    for ran in run.ran:
        together = ()
        for seat in ran.batch.seats:
            together = merged(together, profile_of(seat.track))
            assert seat.own_us == batch_us(bench.chip.overhead_us, profile_of(seat.track))
        assert ran.batch.device_us == batch_us(bench.chip.overhead_us, together)
        assert ran.batch.device_us >= max(seat.own_us for seat in ran.batch.seats)


def test_circuits_use_calibrated_gates_only(run, bench):
    measure(run, bench.chip, 30.0)  # looks every gate up


def test_the_same_workload_gives_the_same_run(run, bench):
    again = simulate(bench.workload, bench.kinds, bench.policy(run.policy), buffer=bench.view.buffer)
    places = [[(seat.job_id, seat.region) for seat in ran.batch.seats] for ran in run.ran]
    assert places == [[(seat.job_id, seat.region) for seat in ran.batch.seats] for ran in again.ran]


def test_one_at_a_time_is_on_the_best_place_and_two_at_a_time_are_two(bench):
    alone, two = (
        simulate(bench.workload, bench.kinds, bench.policy(name), buffer=bench.view.buffer)
        for name in ("fifo", "pairs")
    )
    assert {len(ran.batch.seats) for ran in alone.ran} == {1}
    kind_of = {job.id: bench.kinds[job.kind] for job in bench.workload.jobs}
    for ran in alone.ran:
        (seat,) = ran.batch.seats
        table = kind_of[seat.job_id].shape.table
        scores = table.score(kind_of[seat.job_id].footprint)
        chosen = [tuple(row) for row in table.regions.tolist()].index(seat.region)
        assert scores[chosen] == pytest.approx(scores.min())
    assert max(len(ran.batch.seats) for ran in two.ran) == 2
    order = [seat.job_id for ran in two.ran for seat in ran.batch.seats]
    assert order == [job.id for job in bench.workload.jobs]


@pytest.mark.parametrize(
    ("device", "count"), [("eagle127", SLOTS), ("heron156", SLOTS), ("falcon27", 2), ("grid20", 2)]
)
def test_slots_of_seven_connected_qubits_lie_apart_nine_where_there_is_room(device, count):
    chip = Chip.named(device)
    slots = slots_of(chip)
    assert len(slots) == count
    for slot in slots:
        assert len(set(slot)) == 7
        others = mask_of(q for other in slots if other != slot for q in other)
        assert not chip.model.topology.neighbour_mask(mask_of(slot)) & others
        reached = mask_of(slot[:1])
        for _ in slot:
            reached |= chip.model.topology.neighbour_mask(reached) & mask_of(slot)
        assert reached == mask_of(slot)


def test_slots_do_not_look_at_errors(eagle):
    worse = {
        key: replace(gate, error=min(0.9, 20 * gate.error))
        for key, gate in eagle.snapshot.gates.items()
        if key[1][0] < 60
    }
    snapshot = replace(eagle.snapshot, gates={**eagle.snapshot.gates, **worse})
    other = Chip(eagle.model, snapshot, LogErrors.of(snapshot), {})
    assert FixedSlots(eagle).slots == slots_of(other)


def test_a_larger_job_joins_slots_and_the_qubits_between_them(eagle):
    document = {
        "kinds": {"ising_n10": {"qubits": 10}, "bell_n4": {"qubits": 4}},
        "queue": ["ising_n10"] * 2 + ["bell_n4"] * 9,
    }
    bench = Bench(eagle, document)
    run = simulate(bench.workload, bench.kinds, bench.policy("fixed-slots"), buffer=1)
    first = run.ran[0].batch.seats
    assert [len(seat.region) >= 14 for seat in first] == [True] * 2 + [False] * 5
    for seat in first:
        mask, reached = mask_of(seat.region), mask_of(seat.region[:1])
        for _ in seat.region:
            reached |= eagle.model.topology.neighbour_mask(reached) & mask
        assert reached == mask


def test_a_job_larger_than_the_slots_together_runs_alone(falcon):
    bench = Bench(
        falcon, {"kinds": {"qft_n16": {"qubits": 16}, "bell_n2": {"qubits": 2}}, "queue": ["qft_n16", "bell_n2"]}
    )
    run = simulate(bench.workload, bench.kinds, bench.policy("fixed-slots"), buffer=1)
    assert [len(ran.batch.seats) for ran in run.ran] == [1, 1]


def test_a_cut_calibration_is_the_devices_own(eagle):
    region = slots_of(eagle)[0]
    part = eagle.snapshot.part(region)
    assert part.num_qubits == 7
    for (op, qubits), gate in part.gates.items():
        assert eagle.snapshot.gates[op, tuple(region[q] for q in qubits)] == gate
    assert [part.qubit(q) for q in range(7)] == [eagle.snapshot.qubit(q) for q in region]


def test_the_greedy_packer_gives_nobody_a_place_far_worse_than_its_best_but_the_head(eagle):
    bench = Bench(eagle, {"kinds": {"cat_state_n5": {"qubits": 5}}, "queue": ["cat_state_n5"] * 20})
    run = simulate(bench.workload, bench.kinds, bench.policy("greedy-efs"), buffer=1)
    (kind,) = bench.kinds.values()
    rows = [tuple(row) for row in kind.shape.table.regions.tolist()]
    scores = kind.shape.table.score(kind.footprint)
    for ran in run.ran:
        for seat in ran.batch.seats[1:]:
            assert scores[rows.index(seat.region)] <= scores.min() + 0.1
