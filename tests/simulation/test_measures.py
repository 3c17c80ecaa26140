"""Figures are what their definitions say."""

from __future__ import annotations

import pytest

from qpu_backend.simulation.clock import simulate
from qpu_backend.simulation.company import Profiles, crosstalk_losses
from qpu_backend.simulation.laboratory import POLICIES
from qpu_backend.simulation.measures import jain, jain_in_windows, measure
from qpu_backend.simulation.synthetic import backlog

from .conftest import Bench


def ran(bench, name):
    return simulate(bench.workload, bench.kinds, bench.policy(name), buffer=bench.view.buffer)


def test_jains_index_is_one_for_equals_and_one_over_n_for_a_winner():
    assert jain([3.0, 3.0, 3.0]) == pytest.approx(1)
    assert jain([5.0, 0.0, 0.0, 0.0]) == pytest.approx(0.25)
    assert jain([1.0, 3.0]) == pytest.approx(0.8)
    assert jain([0.0, 0.0]) == 1.0


def test_one_at_a_time_is_the_unit_of_speed(bench):
    assert measure(ran(bench, "fifo"), bench.chip, 30.0).speedup == pytest.approx(1)


def test_speed_and_use_follow_from_times_and_qubits(bench):
    run = ran(bench, "fair")
    figures = measure(run, bench.chip, 30.0)
    kind_of = {job.id: bench.kinds[job.kind] for job in bench.workload.jobs}
    seats = [seat for each in run.ran for seat in each.batch.seats]
    busy = sum(each.batch.device_us for each in run.ran)
    assert figures.speedup == pytest.approx(sum(kind_of[job.id].own_us for job in bench.workload.jobs) / busy)
    used = sum(len(seat.circuit.qubits) * seat.own_us for seat in seats)
    assert figures.utilisation == pytest.approx(used / (27 * busy))
    assert figures.device_s == pytest.approx(busy / 1e6)
    assert figures.jobs_per_batch == pytest.approx(24 / len(run.ran))
    assert figures.esp < figures.esp_isolated


def test_waits_are_from_arrival_to_start(falcon):
    bench = Bench(falcon, {"kinds": {"bell_n4": {"qubits": 4}}, "queue": ["bell_n4"] * 2, "arrival_s": [0, 1]})
    run = ran(bench, "fifo")
    own_s = run.ran[0].batch.device_us / 1e6
    figures = measure(run, falcon, 30.0)
    assert figures.p50_wait_s == pytest.approx((own_s - 1) / 2)


def test_nobody_waits_on_an_idle_chip(falcon):
    bench = Bench(falcon, {"kinds": {"bell_n4": {"qubits": 4}}, "queue": ["bell_n4"] * 3, "arrival_s": [0, 50, 100]})
    for name in POLICIES:
        assert measure(ran(bench, name), falcon, 30.0).p95_wait_s == 0


@pytest.fixture(scope="module")
def crowd(falcon):
    return Bench(falcon, backlog(6, 12, seed=0))


def test_backlogged_tenants_are_served_by_their_weights(crowd):
    figures = measure(ran(crowd, "fair"), crowd.chip, 30.0)
    assert figures.jain_windows >= 2
    assert figures.jain >= 0.95


def test_order_of_arrival_is_not_fair_to_weights(crowd):
    assert measure(ran(crowd, "fifo"), crowd.chip, 30.0).jain < 0.9


def test_windows_count_only_while_everybody_has_work(crowd, falcon):
    run = ran(crowd, "fair")
    whole = int(run.ends_us / 1e6 // 30)
    assert 0 < len(jain_in_windows(run, 30.0)) <= whole
    late = Bench(falcon, {**backlog(2, 4, seed=0), "arrival_s": [0.0] * 11 + [1000.0]})
    assert len(jain_in_windows(ran(late, "fair"), 500.0)) == 0


def test_raising_a_weight_never_lowers_a_share(falcon):
    document = backlog(4, 20, seed=1)
    before = Bench(falcon, document)
    after = Bench(falcon, {**document, "weights": {**document["weights"], "tenant-00": 3.0}})

    def share(bench):
        seats = [seat for each in ran(bench, "fair").ran[:15] for seat in each.batch.seats]
        mine = {job.id for job in bench.workload.jobs if job.tenant == "tenant-00"}
        return sum(seat.cost for seat in seats if seat.job_id in mine) / sum(seat.cost for seat in seats)

    assert share(after) > share(before)


def test_an_interactive_lane_is_served_before_a_batch_lane_of_the_same_tenant(falcon):
    lanes = ["batch", "interactive"] * 20
    bench = Bench(falcon, {"kinds": {"bell_n4": {"qubits": 4}}, "queue": ["bell_n4"] * 40, "lanes": lanes})
    started = {seat.job_id: each.starts_us for each in ran(bench, "fair").ran for seat in each.batch.seats}
    by_lane = {lane: [started[job.id] for job in bench.workload.jobs if job.lane == lane] for lane in set(lanes)}
    assert sum(by_lane["interactive"]) < 0.8 * sum(by_lane["batch"])


def test_the_only_job_of_a_batch_loses_nothing_to_neighbours(bench):
    profiles = Profiles(bench.chip)
    assert crosstalk_losses(ran(bench, "fifo"), bench.chip, profiles) == [0.0] * 24
    crowded = crosstalk_losses(ran(bench, "greedy-efs"), bench.chip, profiles)
    assert len(crowded) == 24
    assert min(crowded) >= 0
    assert max(crowded) > 0
