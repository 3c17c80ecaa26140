"""Quarantine: nothing new uses it; what waits for it is told so, stands in nobody's way, and runs in the end."""

from __future__ import annotations

from dataclasses import replace

import pytest
from holding import closed, opened, row_of

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.errors import InvalidRequest
from qpu_backend.domain.isa import NotIsa
from qpu_backend.domain.jobs import JobState
from qpu_backend.domain.policies import Policy
from qpu_backend.domain.quarantine import IN_SERVICE, Quarantine
from qpu_backend.domain.sessions import SessionState
from qpu_backend.pipeline.outlook import outlook
from qpu_backend.stores import policies
from qpu_backend.stores.errors import MissingRow

DEVICE = "eagle127"
QUBIT = Quarantine.of([1], [])
COUPLER = Quarantine.of([], [(5, 4)])


@pytest.fixture
def office(lab):
    """Its quarantines; what a test leaves in one is released."""
    yield lab.service.door.quarantining
    lab.service.door.quarantining.release(DEVICE)
    lab.dispatcher.wake()
    lab.settle()


def offered(lab):
    with lab.database.read() as connection:
        return lab.service.door.fleet.backend(connection, DEVICE).calibrated


def told(lab, scope, job_id):
    with lab.database.read() as connection:
        waits = outlook(connection, scope, lab.rows(job_id)[0])
    return waits.message


def on(make, *qubits, **options):
    return make.sample(make.pinned(*qubits), backend=DEVICE, shots=20, **options)


def released(lab, office, what=None):
    office.release(DEVICE, what)
    lab.dispatcher.wake()


def test_it_vanishes_from_the_target_and_comes_back_with_its_numbers(lab, office):
    before, epoch_us = offered(lab), lab.device().device_time_us
    assert office.quarantine(DEVICE, QUBIT | COUPLER) == QUBIT | COUPLER == office.now(DEVICE)
    without = offered(lab)
    assert without.row.id != before.row.id
    assert without.snapshot.number == before.snapshot.number + 1
    assert set(before.snapshot.usable_qubits) - set(without.snapshot.usable_qubits) == {1}
    assert not any(1 in qubits or set(qubits) == {4, 5} for _, qubits in without.snapshot.gates)
    assert office.quarantine(DEVICE, QUBIT) == QUBIT | COUPLER
    assert offered(lab) is without  # nothing changed, nothing is published
    assert office.release(DEVICE) == IN_SERVICE
    after = offered(lab)
    assert replace(after.snapshot, number=0) == replace(before.snapshot, number=0)
    assert lab.device().device_time_us == epoch_us


def test_nothing_new_uses_it_and_shapes_are_placed_elsewhere(lab, office, make):
    ada = lab.tenant()
    (freely,) = lab.batches(lab.ended(lab.submit(ada))[0].id)
    office.quarantine(DEVICE, Quarantine.of(freely.placements[0].region[:1], []))
    (moved,) = lab.batches(lab.ended(lab.submit(ada))[0].id)
    assert freely.placements[0].region[0] not in moved.placements[0].region
    office.quarantine(DEVICE, QUBIT | COUPLER)
    with pytest.raises(NotIsa, match="qubit 1 is in quarantine"):
        lab.submit(ada, on(make, 0, 1))
    with pytest.raises(NotIsa, match=r"the coupler of qubits \d and \d is in quarantine"):
        lab.submit(ada, on(make, 4, 5))
    lab.ended(lab.submit(ada, on(make, 4)))


@pytest.mark.parametrize(("what", "qubits", "name"), [(QUBIT, (0, 1), "qubit 1"), (COUPLER, (4, 5), "the coupler of")])
def test_a_job_that_waits_for_it_is_told_so_keeps_its_place_and_runs_in_the_end(lab, office, make, what, qubits, name):
    ada, bob = lab.tenant(), lab.tenant()
    with lab.queueing():
        held = lab.submit(ada, on(make, *qubits))
        office.quarantine(DEVICE, what)
        others = [lab.submit(bob), lab.submit(ada)]
    assert {row.state for row in lab.ended(*others)} == {JobState.DONE}
    lab.idle()
    assert [row.state for row in lab.rows(held)] == [JobState.QUEUED]
    assert f"waiting: {name}" in told(lab, ada, held)
    assert "is in quarantine" in told(lab, ada, held)
    released(lab, office, what)
    assert lab.ended(held)[0].state is JobState.DONE


def test_many_that_wait_for_it_keep_nobody_from_running(lab, office, make):
    ada, bob, eve = lab.tenant(), lab.tenant(), lab.tenant()
    order = on(make, 1)
    with lab.queueing():
        held = [lab.submit(scope, order) for scope in (ada, bob) for _ in range(45)]
        office.quarantine(DEVICE, QUBIT)
        last = [lab.submit(eve), lab.submit(ada)]
    assert {row.state for row in lab.ended(*last)} == {JobState.DONE}
    lab.idle()
    assert {row.state for row in lab.rows(*held)} == {JobState.QUEUED}
    released(lab, office)
    assert {row.state for row in lab.ended(*held)} == {JobState.DONE}


def test_what_waits_for_it_uses_up_no_limit_of_what_may_run(lab, office, make):
    ada = lab.tenant()
    with lab.database.write() as connection:
        policies.write_policy(connection, SYSTEM, ada.tenant_id, Policy(max_running_jobs=1), "")
    with lab.queueing():
        held = [lab.submit(ada, on(make, 1)) for _ in range(3)]
        office.quarantine(DEVICE, QUBIT)
        other = lab.submit(ada)
    assert lab.ended(other)[0].state is JobState.DONE
    assert {row.state for row in lab.rows(*held)} == {JobState.QUEUED}


def held_session(lab, scope, make, *region):
    """A session that has run on these qubits, and holds them."""
    session_id = opened(lab, scope, DEVICE)
    lab.ended(lab.submit(scope, on(make, *region, session=session_id)))
    assert [hold.region for hold in holds(lab)] == [region]
    return session_id


def holds(lab):
    return lab.dispatcher._lookout.look().device.holds


def test_a_session_of_which_a_job_waits_for_it_holds_nothing_and_pays_for_nothing(lab, office, make):
    ada, bob = lab.tenant(), lab.tenant()
    session_id = held_session(lab, ada, make, 20, 21, 22)
    with lab.queueing():
        held = lab.submit(ada, on(make, 1, session=session_id))
        office.quarantine(DEVICE, QUBIT)
        others = lab.submit(bob, on(make, 21))
    assert lab.ended(others)[0].state is JobState.DONE
    assert lab.rows(held)[0].state is JobState.QUEUED
    assert holds(lab) == ()
    assert row_of(lab, ada, session_id).held_cost == 0
    lab.service.door.cancellation.cancel(ada, held)
    assert closed(lab, ada, session_id).term.state is SessionState.CLOSED


def test_a_session_whose_region_lost_a_coupler_to_it_holds_nothing(lab, office, make):
    ada = lab.tenant()
    session_id = held_session(lab, ada, make, 3, 4, 5)
    office.quarantine(DEVICE, COUPLER)
    assert holds(lab) == ()
    office.release(DEVICE)
    assert len(holds(lab)) == 1
    closed(lab, ada, session_id)


def test_a_job_that_waits_for_it_can_be_cancelled(lab, office, make):
    ada = lab.tenant()
    with lab.queueing():
        held = lab.submit(ada, on(make, 1))
        office.quarantine(DEVICE, QUBIT)
    lab.service.door.cancellation.cancel(ada, held)
    assert lab.ended(held)[0].state is JobState.CANCELLED


def test_a_calibration_leaves_it_out_of_service_and_measures_it_for_when_it_is_back(lab, office):
    office.quarantine(DEVICE, QUBIT)
    attempt = lab.service.door.calibration.calibrate(DEVICE)
    assert attempt.after is not None
    calibrated = offered(lab)
    assert 1 not in calibrated.snapshot.usable_qubits
    assert calibrated.snapshot.gates == attempt.after.gates
    office.release(DEVICE)
    assert 1 in offered(lab).snapshot.usable_qubits
    assert offered(lab).snapshot.measured_at_us == calibrated.snapshot.measured_at_us


def test_a_quarantine_that_cannot_be_is_refused_and_changes_nothing(lab, office):
    before = offered(lab)
    for what in (IN_SERVICE, Quarantine.of([127], []), Quarantine.of([], [(0, 9)]), Quarantine.of(range(127), [])):
        with pytest.raises(InvalidRequest):
            office.quarantine(DEVICE, what)
    with pytest.raises(MissingRow):
        office.quarantine("nothing", QUBIT)
    with pytest.raises(MissingRow):
        office.now("nothing")
    assert offered(lab) is before
