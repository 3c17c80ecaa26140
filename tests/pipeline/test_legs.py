"""Large jobs in legs: others run in between, every shot is measured once, the job is billed once, and told so."""

from __future__ import annotations

import time

import numpy as np
import pytest
from legs import CUT, LARGE, LIMITS, QUIET, large, legs_of, stop_between_legs, until

from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.legs import Legs
from qpu_backend.http.documents import job_document
from qpu_backend.pipeline.outlook import outlook
from qpu_backend.pipeline.replays import Replays
from qpu_sdk.wire.models import Observable, PauliTerm, Pub
from qpu_sdk.wire.results import decode_result, encode_result


def replayed(lab, scope, job_id, *, alone=False):
    replays = lab.service.door.replays
    found = replays.find(scope, job_id, without_neighbours=alone)
    future = replays.start(found)
    future.exception(timeout=60)
    return decode_result(Replays.package(found, future))


def same_pubs(one, other):
    return encode_result(type(one)("", one.program, one.pubs)) == encode_result(type(one)("", one.program, other.pubs))


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def either_database(request, tmp_path_factory, laboratories):
    url = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = server.url(server.new_database(tables=True))
    with laboratories(tmp_path_factory.mktemp("lab"), database=url, device=CUT) as lab:
        yield lab


@pytest.fixture(scope="module")
def cutting(tmp_path_factory, laboratories):
    with laboratories(tmp_path_factory.mktemp("cutting"), device=CUT) as lab:
        yield lab


def test_small_jobs_of_others_run_between_the_legs_of_a_large_one(new_lab, make):
    lab = new_lab(device=CUT, max_inflight=1)
    scope, other = lab.tenant(), lab.tenant()
    with lab.queueing():
        big = lab.submit(scope, large(make, isolation="exclusive"))
        small = [lab.submit(other, make.sample(make.ghz(), seed=n)) for n in range(3)]
    lab.ended(big, *small)
    in_order = [sorted(ran.job_ids) for ran in lab.batches(big, *small)]
    assert in_order == [[big], sorted(small), [big], [big]]
    assert [one.placement.leg for one in legs_of(lab, scope, big)] == [0, 1, 2]
    assert lab.events(scope, big) == ["admitted", "running", "leg_done", "running", "leg_done", "running", "done"]
    overhead_us = Legs.from_document(dict(lab.rows(big)[0].legs)).overhead_us
    assert max(ran.batch.device_us for ran in lab.batches(big)) <= overhead_us + 1_000_000
    lab.check_books()


def test_the_next_leg_does_not_wait_until_somebody_reads_the_queue_again(cutting, make):
    """Which happens once a second; a leg takes a tenth of that to simulate."""
    job_id = cutting.submit(cutting.tenant(), large(make, shots=15 * 3_900))
    started = time.monotonic()
    (row,) = cutting.ended(job_id)
    assert row.num_legs == 15
    assert time.monotonic() - started < 10


def test_the_tenants_own_later_jobs_do_not_wait_for_all_legs(cutting, make):
    lab = cutting
    scope = lab.tenant()
    with lab.queueing():
        big = lab.submit(scope, large(make, isolation="exclusive"))
        later = lab.submit(scope)
    lab.ended(big, later)
    assert [ran.job_ids for ran in lab.batches(big, later)] == [[big], [later], [big], [big]]


def test_a_leg_is_charged_for_what_it_occupies(cutting, make):
    lab = cutting
    scope = lab.tenant()
    job_id = lab.submit(scope, large(make))
    (row,) = lab.ended(job_id)
    legs = Legs.from_document(dict(row.legs))
    charged = [one.placement.fairness_cost for one in legs_of(lab, scope, job_id)]
    assert charged == [legs.cost(index) for index in range(3)]
    assert row.fairness_cost == legs.cost(2)  # the tag is that of the last leg
    assert sum(ran.batch.device_us for ran in lab.batches(job_id)) > row.device_us  # an overhead for each


def test_every_shot_is_there_once_and_the_job_is_billed_once(either_database, make):
    lab = either_database
    scope = lab.tenant(limits=LIMITS)
    job_id = lab.submit(scope, large(make))
    result = lab.result(job_id)
    (row,) = lab.rows(job_id)
    assert row.num_legs == len(lab.batches(job_id)) == 3
    assert [pub.bits.shape for pub in result.pubs] == [(1, LARGE, 1)]
    first, second = result.metadata["legs"][:2]
    legs = np.split(result.pubs[0].bits[0], [first["shots"], first["shots"] + second["shots"]])
    assert not np.array_equal(legs[0], legs[1])  # drawn anew, not copied
    usage = lab.usage(scope, job_id)
    assert (usage.shots, usage.device_us, usage.price_micro) == (LARGE, row.device_us, row.price_micro)
    assert lab.windows(scope) == [("shots", 0, LARGE), ("spend_micro", 0, row.price_micro)]
    told = result.metadata["legs"]
    assert sum(leg["shots"] for leg in told) == LARGE
    assert [leg["placement"] for leg in told] == [[0, 1, 2, 3, 4]] * 3
    assert [leg["device_time_us"] for leg in told] == [ran.batch.device_start_us for ran in lab.batches(job_id)]
    assert {leg["calibration_id"] for leg in told} == {result.metadata["calibration_id"]}
    lab.check_books()


def test_the_price_is_that_of_the_job_in_one_piece(cutting, new_lab, make):
    whole = new_lab("whole", device=QUIET)
    (one,) = whole.rows(whole.submit(whole.tenant(), large(make)))
    (other,) = cutting.rows(cutting.submit(cutting.tenant(), large(make)))
    assert (one.num_legs, other.num_legs) == (1, 3)
    assert (one.price_micro, one.device_us) == (other.price_micro, other.device_us)
    cutting.settle()


def test_company_changes_no_shot_of_a_job_in_legs(cutting, make):
    """P13: the cuts and the seeds follow from the job alone."""
    lab = cutting
    alone = lab.shots(lab.submit(lab.tenant(), large(make)))
    with lab.queueing():
        beside = lab.submit(lab.tenant(), large(make))
        others = [
            lab.submit(lab.tenant(), make.sample(make.ghz(3), shots=shots, backend="eagle127:line-3"))
            for shots in (10, 2_000, 5_000)
        ]
    assert np.array_equal(alone[0], lab.shots(beside)[0])
    lab.ended(*others)
    assert any(len(ran.job_ids) > 1 for ran in lab.batches(beside))


@pytest.mark.parametrize("kind", ["sampler", "estimator", "iq", "iq mean"])
def test_a_job_cut_between_its_executions_measures_what_it_measures_in_one_piece(cutting, new_lab, make, kind):
    observables = [
        Observable(terms=[PauliTerm(paulis=letters, qubits=[0, 1], coefficient=1.0)]) for letters in ("ZZ", "XX", "YY")
    ]
    unmeasured = make.pinned(0, 1)
    unmeasured.remove_final_measurements()
    circuits = [make.pinned(0, 1), make.pinned(1, 2), make.pinned(2, 3)]
    order = {
        "sampler": lambda: make.sample(*circuits, backend="eagle127", shots=3_000, seed=5),
        "estimator": lambda: make.sample(
            unmeasured,
            backend="eagle127",
            program="estimator",
            seed=5,
            pubs=[Pub(circuit=0, shots=3_000, observables=observables, pairs=[(0, 0), (0, 1), (0, 2)])],
        ),
        "iq": lambda: iq(make, circuits, "single"),
        "iq mean": lambda: iq(make, circuits, "avg"),
    }[kind]()
    job_id = cutting.submit(cutting.tenant(), order)
    whole = new_lab("whole", device=QUIET)
    other = whole.submit(whole.tenant(), order)
    assert same_pubs(cutting.result(job_id), whole.result(other))
    assert (cutting.rows(job_id)[0].num_legs, whole.rows(other)[0].num_legs) == (3, 1)


def iq(make, circuits, returned):
    return make.sample(
        *circuits, backend="eagle127", program="circuits", shots=3_000, seed=5, meas_level=1, meas_return=returned
    )


def test_each_leg_of_a_virtual_qpu_finds_its_own_place_and_the_result_names_them(cutting, make):
    lab = cutting
    scope = lab.tenant()
    lab.workers.gate.clear()
    job_id = lab.submit(scope, make.sample(make.ghz(), shots=LARGE, seed=3))
    lab.until("running", job_id)
    lab.pause()
    first = lab.batches(job_id)[0].placements[0].region
    # a job that is pinned to that place and ahead of the next leg
    squatter = lab.submit(lab.tenant(), make.sample(make.pinned(*first), backend="eagle127", shots=3_900, seed=4))
    lab.workers.gate.set()
    until(lambda: lab.rows(job_id)[0].state is JobState.QUEUED, lab)
    lab.resume()
    told = lab.result(job_id).metadata["legs"]
    lab.ended(squatter)
    ran = [one.placement.region for one in legs_of(lab, scope, job_id)]
    assert [leg["placement"] for leg in told] == ran
    assert ran[0] == first != ran[1]
    assert same_pubs(replayed(lab, scope, job_id), lab.result(job_id))


@pytest.mark.parametrize("alone", [False, True])
def test_a_replay_runs_all_legs_from_their_records(new_lab, make, alone):
    lab = new_lab(device={"buffer": 0, "drift": False, "quantum_s": 1})
    scope = lab.tenant()
    with lab.queueing():
        circuits = make.pinned(0, 1, 2, 3, 4), make.pinned(0, 1, 2)
        order = make.sample(*circuits, backend="eagle127", shots=(5_000, 4_000), seed=1)
        job_id = lab.submit(scope, order)
        lab.submit(lab.tenant(), make.sample(make.pinned(14, 18), backend="eagle127", shots=6_000, seed=4))
    recorded = lab.result(job_id)
    again = replayed(lab, scope, job_id, alone=alone)
    assert again.metadata["replay"] == {"alone": alone, "exact": True}
    if not alone:
        assert same_pubs(again, recorded)
        assert again.metadata == recorded.metadata | {"replay": {"alone": False, "exact": True}}
        return
    hermit = lab.result(lab.submit(lab.tenant(), order))
    assert same_pubs(again, hermit)
    assert not same_pubs(again, recorded)
    assert {leg["co_tenants"] for leg in again.metadata["legs"]} == {"0"}
    assert recorded.metadata["co_tenants"] == recorded.metadata["legs"][0]["co_tenants"] == "1-3"
    assert recorded.metadata["legs"][2]["co_tenants"] == "0"  # the neighbour had two legs


def test_a_job_cancelled_between_legs_pays_for_the_shots_that_ran(either_database, make):
    lab = either_database
    scope = lab.tenant(limits=LIMITS)
    job_id = stop_between_legs(lab, scope, large(make))
    cancelled = lab.service.door.cancellation.cancel(scope, job_id)
    lab.resume()
    assert cancelled.state is JobState.CANCELLED
    ran = Legs.from_document(dict(cancelled.legs)).leg(0).shots
    usage = lab.usage(scope, job_id)
    assert 0 < usage.shots == ran < LARGE
    assert 0 < usage.price_micro < cancelled.price_micro
    assert usage.simulator_cpu_us > 0
    assert lab.windows(scope) == [("shots", 0, ran), ("spend_micro", 0, usage.price_micro)]
    assert lab.events(scope, job_id) == ["admitted", "running", "leg_done", "cancelled"]
    lab.check_books()


def test_a_waiting_job_is_told_how_many_of_its_legs_are_done(cutting, make):
    lab = cutting
    scope = lab.tenant()
    job_id = stop_between_legs(lab, scope, large(make))
    (waiting,) = lab.rows(job_id)
    with lab.database.read() as connection:
        told = outlook(connection, scope, waiting)
    lab.resume()
    assert told.message.startswith("1 of 3 legs are done; waiting: the device starts nothing now (paused)")
    (done,) = lab.ended(job_id)
    counted = [(document.legs, document.legs_done) for document in (job_document(waiting), job_document(done))]
    assert counted == [(3, 1), (3, 3)]


def test_a_job_cancelled_while_a_leg_runs_pays_for_that_leg_too(cutting, make):
    lab = cutting
    scope = lab.tenant(limits=LIMITS)
    job_id = stop_between_legs(lab, scope, large(make))
    lab.workers.gate.clear()
    lab.resume()
    lab.until("running", job_id)
    lab.service.door.cancellation.cancel(scope, job_id)
    lab.workers.gate.set()
    (row,) = lab.ended(job_id)
    legs = Legs.from_document(dict(row.legs))
    usage = lab.usage(scope, job_id)
    assert (row.state, usage.shots, usage.device_us) == (JobState.CANCELLED, *legs.used(2))
    assert len(lab.batches(job_id)) == 2
    lab.check_books()
