"""Planning on the 127-qubit lattice: the stories a newcomer wants to see, and fairness over many batches."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qpu_backend.domain.fairshare import tag
from qpu_backend.domain.footprint import Footprint
from qpu_backend.domain.planning import Plan, Wait, plan
from qpu_backend.domain.rounds import MAX_ROUNDS, Need
from qpu_backend.domain.views import DeviceView, QueuedJob, View

Chip = Callable[..., DeviceView]


def ghz(length: int = 5, *needs: Need, measured: bool = True) -> Footprint:
    return Footprint(
        shape=f"line-{length}",
        qubits=tuple(range(length)),
        edge_counts=tuple(((q, q + 1), 1) for q in range(length - 1)),
        sx_counts=(2,) * length,
        measured=tuple(range(length)) if measured else (),
        idle_ns=(600,) * length,
        needs=needs or (Need(1, 1024, 4000),),
    )


def pinned(*qubits: int) -> Footprint:
    return Footprint(None, qubits, (), (1,) * len(qubits), qubits, (0,) * len(qubits), (Need(1, 1024, 4000),))


def queue(*footprints: Footprint, tenants: str = "ab", **job: object) -> View:
    return View(
        tuple(
            QueuedJob(f"job{i}", tenants[i % len(tenants)], i, i + 1, 1, footprint, **job)  # pyright: ignore[reportArgumentType]
            for i, footprint in enumerate(footprints)
        ),
        0,
    )


def planned(view: View, device: DeviceView) -> Plan:
    decision = plan(view, device, 0)
    assert isinstance(decision, Plan)
    return decision


def test_the_lattice_has_342_lines_of_five(chip: Chip):
    assert len(chip().embeddings["line-5"].regions) == 2 * 342


def test_identical_circuits_of_two_tenants_share_one_batch_on_disjoint_regions(chip: Chip):
    decision = planned(queue(ghz(), ghz()), chip())
    first, second = decision.placements
    assert {first.tenant, second.tenant} == {"a", "b"}
    assert not set(first.region) & set(second.region)
    assert len(decision.rounds) == 1


def test_several_jobs_of_one_tenant_share_a_batch_too(chip: Chip):
    assert len(planned(queue(*[ghz()] * 6, tenants="a"), chip()).placements) == 6


def test_at_least_twelve_lines_of_five_fit_with_a_buffer_and_more_without(chip: Chip):
    with_buffer = len(planned(queue(*[ghz()] * 40), chip()).placements)
    without = len(planned(queue(*[ghz()] * 40), chip(buffer=0)).placements)
    assert 12 <= with_buffer < without


def test_the_head_gets_the_best_region_of_the_chip(chip: Chip):
    device = chip(packing=0.0)
    scores = device.embeddings["line-5"].score(ghz())
    placement = planned(queue(ghz(), ghz()), device).placements[0]
    assert placement.loss == scores.min()
    assert placement.region == tuple(device.embeddings["line-5"].regions[scores.argmin()])


def test_a_circuit_without_readout_is_placed_by_its_gates(chip: Chip):
    table = chip().embeddings["line-5"]
    assert not np.array_equal(table.score(ghz()), table.score(ghz(measured=False)))
    assert np.allclose(
        table.score(replace(ghz(measured=False), edge_counts=(), sx_counts=(0,) * 5, idle_ns=(0,) * 5)), 0
    )


def test_both_directions_of_a_line_are_weighed(chip: Chip):
    lopsided = replace(ghz(), edge_counts=(((0, 1), 50),))
    device = chip()
    row = planned(queue(lopsided), device).placements[0].region
    table = device.embeddings["line-5"]
    forward = table.score(lopsided)[table.regions.tolist().index(list(row))]
    assert forward < table.score(lopsided)[table.regions.tolist().index(list(row[::-1]))]


def test_pinned_jobs_get_their_own_qubits_and_wait_for_each_other(chip: Chip):
    decision = planned(queue(pinned(3, 4), pinned(4, 5), pinned(60, 62)), chip())
    assert [placement.region for placement in decision.placements] == [(3, 4), (60, 62)]
    assert [placement.scavenged for placement in decision.placements] == [False, True]
    assert decision.virtual_time == 0


def test_a_shape_makes_room_for_a_pinned_job_ahead_of_it(chip: Chip):
    device = chip()
    best = planned(queue(ghz()), device).placements[0].region
    decision = planned(queue(pinned(*sorted(best)), ghz()), device)
    assert len(decision.placements) == 2
    assert not set(decision.placements[1].region) & set(best)


def test_a_job_that_fits_nowhere_is_named_and_keeps_nobody_waiting(chip: Chip):
    device = chip(broken=(7,))
    decision = planned(queue(pinned(6, 7), ghz()), device)
    assert decision.unplaceable == ("job0",)
    assert decision.virtual_time == 1
    lone = plan(queue(pinned(7)), device, 0)
    assert isinstance(lone, Wait)
    assert (lone.reason, lone.unplaceable) == ("no waiting job can run now", ("job0",))
    assert plan(View((), 0), device, 0) == Wait("the queue is empty")


def test_a_shape_nobody_offers_or_a_coupling_it_lacks_cannot_jam_the_queue(chip: Chip):
    unknown = replace(ghz(), shape="tee-2-2-1")
    foreign_pair = replace(ghz(), edge_counts=(((0, 4), 1),))
    assert planned(queue(unknown, foreign_pair, ghz()), chip()).unplaceable == ("job0", "job1")


def test_tables_older_than_the_last_broken_qubit_give_out_no_broken_qubit(chip: Chip):
    device = chip()
    best = planned(queue(ghz()), device).placements[0].region
    worn = replace(device, usable_mask=device.usable_mask & ~(1 << best[2]))
    assert best[2] not in planned(queue(ghz()), worn).placements[0].region
    assert isinstance(plan(queue(ghz()), replace(device, usable_mask=0), 0), Wait)


def test_a_job_that_would_keep_the_head_too_long_waits(chip: Chip):
    long = ghz(5, Need(1, 40_000, 4000))
    assert len(planned(queue(ghz(), long), chip(stretch=0.5)).placements) == 1
    assert len(planned(queue(ghz(), long), chip(stretch=5.0)).placements) == 2
    assert len(planned(queue(long, ghz()), chip(stretch=0.0)).placements) == 2


def test_the_stretch_is_exact_to_the_microsecond(chip: Chip):
    head, device = ghz(5, Need(1, 1000, 4000)), chip(overhead_us=0, stretch=0.5)
    just, over = (ghz(5, Need(1, 1000, 4000), Need(1, 500, t_ns)) for t_ns in (4000, 4002))
    assert len(planned(queue(head, just), device).placements) == 2
    assert len(planned(queue(head, over), device).placements) == 1


def test_who_sets_the_length_of_the_batch_pays_for_the_waiting(chip: Chip):
    decision = planned(queue(ghz(), ghz(5, Need(1, 2048, 4000))), chip())
    short, long = decision.placements
    qubits = [len(p.region) + p.buffer_mask.bit_count() for p in decision.placements]
    assert short.fairness_cost == qubits[0] * short.own_us
    waited = qubits[0] * (decision.device_us - short.own_us)
    assert long.fairness_cost == qubits[1] * decision.device_us + waited


def test_shots_that_do_not_line_up_wait_for_another_batch(chip: Chip):
    many = MAX_ROUNDS
    decision = planned(queue(ghz(5, Need(many, 1000, 4000)), ghz(5, Need(many, 999, 4000)), ghz()), chip(stretch=9.0))
    assert [placement.job_id for placement in decision.placements] == ["job0", "job2"]
    assert any("line up" in line for line in decision.explanation)
    assert len(decision.rounds) <= MAX_ROUNDS


def test_a_custom_repetition_delay_is_kept(chip: Chip):
    slow = replace(ghz(), rep_delay_ns=500_000)
    assert planned(queue(slow), chip()).device_us == 2_000_000 + 1024 * 504


# --- many batches -----------------------------------------------------------------------------------------------------


@dataclass
class Service:
    """A device that plans batch after batch, with the bookkeeping admission and dispatch do in the database."""

    device: DeviceView
    footprint: Footprint
    weights: dict[str, int]
    cost: int = 9_000_000
    virtual_time: int = 0
    batches: int = 0
    waiting: list[QueuedJob] = field(default_factory=list)
    finish: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    service: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    admitted: int = 0

    def submit(self, tenant: str) -> str:
        start, end = tag(self.virtual_time, self.finish[tenant], self.cost, self.weights[tenant])
        self.finish[tenant] = end
        self.admitted += 1
        job = QueuedJob(f"job{self.admitted:06}", tenant, start, end, self.cost, self.footprint)
        self.waiting.append(job)
        self.waiting.sort(key=lambda one: (one.start_tag, one.id))
        return job.id

    def keep_backlogged(self, tenant: str, depth: int = 20) -> None:
        for _ in range(depth - sum(job.tenant == tenant for job in self.waiting)):
            self.submit(tenant)

    def run(self) -> set[str]:
        decision = planned(View(tuple(self.waiting[:60]), self.virtual_time), self.device)
        gone = {placement.job_id for placement in decision.placements}
        for placement in decision.placements:
            self.service[placement.tenant] += self.cost
        self.waiting = [job for job in self.waiting if job.id not in gone]
        self.virtual_time = decision.virtual_time
        self.batches += 1
        return gone


WEIGHTS = st.lists(st.sampled_from([25, 50, 100, 200, 400]), min_size=2, max_size=4)


@settings(max_examples=12)
@given(WEIGHTS, st.integers(1, 6))
def test_no_backlogged_tenant_is_ever_more_than_one_job_behind_another(chip: Chip, weights: list[int], max_jobs: int):
    """P4: |W_f/w_f − W_g/w_g| ≤ c_f/w_f + c_g/w_g, after every batch."""
    service = Service(chip(small=True, max_jobs=max_jobs), ghz(2), {f"t{i}": w for i, w in enumerate(weights)})
    for _ in range(30):
        for tenant in service.weights:
            service.keep_backlogged(tenant)
        service.run()
        got = {tenant: service.service[tenant] / weight for tenant, weight in service.weights.items()}
        for f, f_weight in service.weights.items():
            for g, g_weight in service.weights.items():
                assert abs(got[f] - got[g]) <= service.cost / f_weight + service.cost / g_weight + 1e-6


@pytest.mark.parametrize("weights", [[100, 100], [100, 200, 400], [100, 300], [100, 101, 102, 103]])
def test_shares_are_within_five_per_cent_of_weights_after_fifty_batches(chip: Chip, weights: list[int]):
    """P5."""
    service = Service(chip(), ghz(), {f"t{i}": w for i, w in enumerate(weights)})
    for _ in range(50):
        for tenant in service.weights:
            service.keep_backlogged(tenant)
        service.run()
    total = sum(service.service.values())
    for tenant, weight in service.weights.items():
        assert service.service[tenant] / total == pytest.approx(weight / sum(weights), rel=0.05)


@settings(max_examples=10, deadline=None)
@given(WEIGHTS, st.sampled_from([110, 150, 200, 400]), st.integers(1, 5))
def test_more_weight_never_means_a_smaller_share(chip: Chip, weights: list[int], percent: int, max_jobs: int):
    """P8: over 50 batches, within one job's cost."""
    shares: list[int] = []
    device = chip(small=True, max_jobs=max_jobs)
    for first in (weights[0], weights[0] * percent // 100):
        service = Service(device, ghz(2), {"mine": first, **{f"t{i}": w for i, w in enumerate(weights[1:])}})
        for _ in range(50):
            for tenant in service.weights:
                service.keep_backlogged(tenant)
            service.run()
        shares.append(service.service["mine"])
    assert shares[1] >= shares[0] - service.cost


def test_a_tenant_that_was_away_neither_hoards_nor_loses(chip: Chip):
    service = Service(chip(small=True, max_jobs=1), ghz(2), {"busy": 100, "away": 100})
    for _ in range(40):
        service.keep_backlogged("busy")
        service.run()
    before = dict(service.service)
    for _ in range(40):
        service.keep_backlogged("busy")
        service.keep_backlogged("away")
        service.run()
    assert service.service["away"] == pytest.approx(service.service["busy"] - before["busy"], abs=2 * service.cost)


@settings(max_examples=20)
@given(st.integers(0, 30), st.integers(1, 4))
def test_a_job_starts_although_others_never_stop_submitting(chip: Chip, ahead: int, rivals: int):
    """P3 with arrivals: beside the jobs ahead, each rival gets in front at most once more."""
    weights = {"mine": 100, **{f"rival{i}": 100 for i in range(rivals)}}
    service = Service(chip(small=True, max_jobs=1), ghz(2), weights)
    for k in range(ahead):
        service.submit(f"rival{k % rivals}")
    mine, start = service.submit("mine"), service.batches
    sequence = deque(f"rival{i}" for i in range(rivals))
    while True:
        for rival in sequence:
            service.keep_backlogged(rival, depth=3)
        if mine in service.run():
            break
        assert service.batches - start <= ahead + rivals
