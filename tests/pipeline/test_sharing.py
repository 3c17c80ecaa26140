"""Who runs beside whom: one chip, many tenants, on both databases."""

from __future__ import annotations

import itertools

import pytest
from qiskit import QuantumCircuit

from qpu_backend.domain.errors import UnknownBackend
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.shapes import parse_shape
from qpu_backend.domain.virtual import shape_of
from qpu_backend.pipeline import fleet


def neighbours_of(region, lab):
    topology = lab.service.door.fleet.calibrated("eagle127").model.topology
    return {other for qubit in region for other in topology.neighbours(qubit)}


def test_identical_circuits_of_two_tenants_share_one_batch_in_disjoint_regions(either_lab, make):
    lab = either_lab
    with lab.queueing():
        ids = [lab.submit(lab.tenant(), make.sample(make.ghz(), shots=200)) for _ in range(2)]
    assert [row.state for row in lab.ended(*ids)] == [JobState.DONE] * 2
    (ran,) = lab.batches(*ids)
    assert sorted(ran.job_ids) == sorted(ids)
    mine, theirs = (set(placement.region) for placement in ran.placements)
    assert len(mine) == len(theirs) == 5
    assert not mine & theirs
    assert not neighbours_of(mine, lab) & theirs
    assert [placement.co_tenants for placement in ran.placements] == ["1-3", "1-3"]
    lab.check_books()


def test_pinned_jobs_on_the_same_qubits_take_turns(either_lab, make):
    lab = either_lab
    with lab.queueing():
        ids = [lab.submit(lab.tenant(), make.sample(make.pinned(0, 1, 2), backend="eagle127")) for _ in range(2)]
    lab.ended(*ids)
    first, second = lab.batches(*ids)
    assert [first.job_ids, second.job_ids] == [[ids[0]], [ids[1]]]
    assert first.placements[0].region == second.placements[0].region == [0, 1, 2]
    assert second.batch.device_start_us >= first.batch.device_start_us + first.batch.device_us


def test_pinned_jobs_that_touch_do_not_share_either(either_lab, make):
    lab = either_lab
    with lab.queueing():
        ids = [
            lab.submit(lab.tenant(), make.sample(make.pinned(*qubits), backend="eagle127"))
            for qubits in ((0, 1), (2, 3), (5, 6))
        ]
    lab.ended(*ids)
    first, second = lab.batches(*ids)
    assert [set(first.job_ids), set(second.job_ids)] == [{ids[0], ids[2]}, {ids[1]}]


def test_an_exclusive_job_has_the_chip_for_itself(either_lab, make):
    lab = either_lab
    alone = make.sample(make.ghz(), isolation="exclusive")
    scopes = [lab.tenant() for _ in range(3)]
    with lab.queueing():
        ids = [lab.submit(scope, order) for scope, order in zip(scopes, (None, alone, None), strict=True)]
    lab.ended(*ids)
    assert sorted(sorted(ran.job_ids) for ran in lab.batches(*ids)) == sorted([sorted([ids[0], ids[2]]), [ids[1]]])
    shared, exclusive = lab.usage(scopes[0], ids[0]), lab.usage(scopes[1], ids[1])
    assert exclusive.footprint_qubits > 100
    assert exclusive.price_micro > 5 * shared.price_micro


def test_device_time_only_moves_forward_and_is_the_sum_of_the_batches(either_lab, make):
    lab = either_lab
    ids = [lab.submit(lab.tenant(), make.sample(make.ghz(), shots=shots)) for shots in (10, 500, 40)]
    lab.ended(*ids)
    time_us = 0
    for ran in lab.batches():
        assert ran.batch.device_start_us == time_us
        assert ran.batch.device_us > 0
        time_us += ran.batch.device_us
    assert lab.device().device_time_us == time_us


def test_a_tenant_with_three_times_the_weight_gets_three_times_the_service(lab, make):
    """Backlogged with jobs that cannot share (the same qubits), served strictly by tag."""
    light, heavy = lab.tenant(weight=100), lab.tenant(weight=300)
    order = make.sample(make.pinned(0, 1), backend="eagle127", shots=10)
    with lab.queueing():
        ids = {lab.submit(scope, order): scope for _ in range(24) for scope in (light, heavy)}
    lab.ended(*ids)
    owners = [ids[ran.job_ids[0]] for ran in lab.batches(*ids)]
    assert len(owners) == 48
    for served in (8, 16, 32):  # as long as both are backlogged; one job of either is the bound
        share = owners[:served].count(heavy)
        assert abs(share - 0.75 * served) <= 1, (served, share)


def test_jobs_of_one_tenant_run_in_the_order_they_came(lab, make):
    scope = lab.tenant()
    order = make.sample(make.pinned(4, 5), backend="eagle127", shots=10)
    with lab.queueing():
        ids = [lab.submit(scope, order) for _ in range(8)]
    lab.ended(*ids)
    assert [ran.job_ids for ran in lab.batches(*ids)] == [[job_id] for job_id in ids]


def test_a_newcomer_does_not_wait_for_a_backlog(lab, make):
    order = make.sample(make.pinned(4, 5), backend="eagle127", shots=10)
    first, second = lab.tenant(), lab.tenant()
    with lab.queueing():
        backlog = [lab.submit(first, order) for _ in range(10)]
        late = lab.submit(second, order)
    lab.ended(*backlog, late)
    turn = [late in ran.job_ids for ran in lab.batches(*backlog, late)].index(True)
    assert turn <= 1


def test_many_jobs_of_many_tenants_never_overlap(lab, make):
    scopes = [lab.tenant() for _ in range(4)]
    with lab.queueing():
        ids = [lab.submit(scope, make.sample(make.ghz(), shots=20)) for scope in scopes for _ in range(8)]
    lab.ended(*ids)
    ran = lab.batches(*ids)
    assert len(ran) < 6
    for one in ran:
        for a, b in itertools.combinations(one.placements, 2):
            assert not set(a.region) & set(b.region)
            assert not neighbours_of(a.region, lab) & set(b.region)
    lab.check_books()


def tee(arms=(2, 2, 1)):
    """Entangles a tee of these arms with the chip's own gates, from its centre outwards, and measures it."""
    shape = parse_shape("-".join(("tee", *map(str, arms))))
    circuit = QuantumCircuit(shape.num_qubits, shape.num_qubits)
    circuit.sx(range(shape.num_qubits))
    for a, b in shape.pairs:
        circuit.ecr(a, b)
        circuit.rz(0.3, b)
        circuit.sx(b)
    circuit.measure(range(shape.num_qubits), range(shape.num_qubits))
    return circuit


def test_tees_and_lines_of_several_tenants_share_a_batch_each_on_a_region_of_its_shape(either_lab, make):
    lab = either_lab
    order = make.sample(tee(), backend="eagle127:tee-2-2-1", shots=50)
    with lab.queueing():
        tees = [lab.submit(lab.tenant(), order) for _ in range(3)]
        lines = [lab.submit(lab.tenant(), make.sample(make.ghz(), shots=50)) for _ in range(3)]
    assert [row.state for row in lab.ended(*tees, *lines)] == [JobState.DONE] * 6
    (ran,) = lab.batches(*tees, *lines)
    regions = {placement.job_id: placement.region for placement in ran.placements}
    edges = lab.service.door.fleet.calibrated("eagle127").snapshot.usable_edges
    for job_ids, shape in ((tees, parse_shape("tee-2-2-1")), (lines, parse_shape("line-5"))):
        for region in (regions[job_id] for job_id in job_ids):
            assert len(set(region)) == len(region) == shape.num_qubits
            assert all(tuple(sorted((region[a], region[b]))) in edges for a, b in shape.pairs)
    for a, b in itertools.combinations(regions.values(), 2):
        assert not set(a) & set(b)
        assert not neighbours_of(a, lab) & set(b)
    assert {bits.shape for job_id in tees for bits in lab.shots(job_id)} == {(1, 50, 1)}
    lab.check_books()


def test_a_job_that_fits_no_region_is_refused_at_submission_with_what_fits(lab, make):
    order = make.sample(make.ghz(2), backend="eagle127:grid-2-2")
    with pytest.raises(UnknownBackend, match="grid-2-2 fits nowhere on eagle127: there is no grid on it") as refusal:
        lab.submit(lab.tenant(), order)
    assert refusal.value.field == "backend"


def test_where_a_shape_fits_is_found_out_once_a_calibration_and_so_is_that_it_does_not(new_lab, monkeypatch):
    lab = new_lab()
    looked_for: list[str] = []

    def counted(name, *calibrated, **where):
        looked_for.append(name)
        return shape_of(name, *calibrated, **where)

    monkeypatch.setattr(fleet, "shape_of", counted)
    for _ in range(2):
        for _ in range(3):
            with lab.database.read() as connection:
                found = lab.service.door.fleet.backend(connection, "eagle127:tee-2-2-1")
                assert found is lab.service.door.fleet.backend(connection, "eagle127:tee-2-2-1")
                with pytest.raises(UnknownBackend, match="there is no eye with a bridge of 0 on it"):
                    lab.service.door.fleet.backend(connection, "eagle127:eye-1-1-0-1-1")
        while lab.service.calibration.calibrate("eagle127").after is None:
            pass
    assert looked_for == ["tee-2-2-1", "eye-1-1-0-1-1"] * 2


def test_shapes_that_nobody_asks_for_any_more_are_forgotten(new_lab, monkeypatch):
    """Thousands can be named, and the places of one take up to 25 MB."""
    monkeypatch.setattr(fleet, "_REMEMBERED_BYTES", 1_000_000)
    lab = new_lab()
    lookup = lab.service.door.fleet
    with lab.database.read() as connection:
        kept = lookup.backend(connection, "eagle127:line-2")
        for arm in range(1, 9):
            lookup.backend(connection, f"eagle127:tee-{arm}-1-1")
            assert lookup.backend(connection, "eagle127:line-2") is kept
        remembered = lookup._backends["eagle127"]._sized
        assert 500_000 < remembered.currsize <= 1_000_000
        assert ("eagle127:tee-1-1-1", kept.calibrated.row.id) not in remembered
        assert lookup.backend(connection, "eagle127:tee-1-1-1").shape.regions == 35
