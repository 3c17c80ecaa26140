"""Jobs of an older calibration: warned, refused, or pinned to it for as long as the device still has their gates."""

from __future__ import annotations

import dataclasses

import pytest
from qiskit import QuantumCircuit

from qpu_backend.bootstrap import SYSTEM
from qpu_backend.domain.errors import CalibrationDrifted
from qpu_backend.http.documents import job_document
from qpu_backend.stores import blobs, events, snapshots
from qpu_sdk.wire.codec import pack

DEVICE = "eagle127"
TAKEN = (0, 1)
"""The coupler that the second calibration takes."""


def current_id(lab) -> str:
    with lab.database.read() as connection:
        return lab.service.door.fleet.backend(connection, DEVICE).calibrated.row.id


@pytest.fixture(scope="module")
def drifted(lab):
    """The laboratory, after a calibration that took a coupler; the id of the one before."""
    first = current_id(lab)
    with lab.database.read() as connection:
        snapshot = lab.service.door.fleet.backend(connection, DEVICE).calibrated.snapshot
    gates = {key: gate for key, gate in snapshot.gates.items() if set(key[1]) != set(TAKEN)}
    assert len(gates) == len(snapshot.gates) - 1
    number = snapshot.number + 1
    less = dataclasses.replace(snapshot, number=number, gates=gates)
    with lab.database.write() as connection:
        (sha,) = blobs.put_blobs(connection, [pack(less.to_document())])
        snapshots.publish_snapshot(
            connection,
            SYSTEM,
            device_id=DEVICE,
            number=number,
            published_at_us=2_000_000_000_000_000,
            device_time_us=lab.device().device_time_us,
            blob_sha=sha,
        )
    assert current_id(lab) != first
    return lab, first


def order(make, circuit, policy: str, calibration_id: str, **facts):
    changes = {"drift_policy": policy, "calibration_id": calibration_id}
    return make.sample(circuit, shots=50, **facts).model_copy(update=changes)


def reported(lab, job_id: str) -> tuple[str | None, str]:
    """The calibration a job is reported against, and the one it ran with."""
    (row,) = lab.ended(job_id)
    (ran,) = lab.batches(job_id)
    return job_document(row, snapshot_id=ran.batch.snapshot_id).calibration_id, ran.batch.snapshot_id


def test_a_pinned_job_is_reported_against_its_own_calibration_and_runs_on_the_device_of_now(drifted, make):
    lab, first = drifted
    scope = lab.tenant()
    for circuit, backend in ((make.ghz(), f"{DEVICE}:line-5"), (make.pinned(40, 41, 42), DEVICE)):
        job_id = lab.submit(scope, order(make, circuit, "pin", first, backend=backend))
        assert reported(lab, job_id) == (first, current_id(lab))
        warned = lab.submit(scope, order(make, circuit, "warn", first, backend=backend))
        assert reported(lab, warned) == (current_id(lab),) * 2
    lab.check_books()


def test_a_pinned_job_whose_gate_is_gone_is_refused_and_told_which(drifted, make):
    lab, first = drifted
    with pytest.raises(CalibrationDrifted, match=r"ecr on \(.*no ecr there") as refusal:
        lab.submit(lab.tenant(), order(make, make.pinned(*TAKEN), "pin", first, backend=DEVICE))
    assert (refusal.value.transpiled, refusal.value.current) == (first, current_id(lab))
    assert refusal.value.field == "calibration_id"


def test_a_pinned_job_must_have_been_right_for_its_own_calibration(drifted, make):
    lab, first = drifted
    wrong_way = QuantumCircuit(127, 2)
    a, b = make.directed(40, 41)
    wrong_way.ecr(b, a)
    wrong_way.measure([a, b], [0, 1])
    with pytest.raises(Exception, match="other direction") as refusal:
        lab.submit(lab.tenant(), order(make, wrong_way, "pin", first, backend=DEVICE))
    assert not isinstance(refusal.value, CalibrationDrifted)


@pytest.mark.parametrize("unknown", ["cal_unknown", "job_1"])
def test_a_calibration_that_is_not_known_cannot_be_pinned(drifted, make, unknown):
    lab, _ = drifted
    with pytest.raises(CalibrationDrifted, match="not known"):
        lab.submit(lab.tenant(), order(make, make.ghz(), "pin", unknown))


def test_refuse_minds_every_calibration_and_nobody_minds_the_newest(drifted, make):
    lab, first = drifted
    scope = lab.tenant()
    with pytest.raises(CalibrationDrifted) as refusal:
        lab.submit(scope, order(make, make.ghz(), "refuse", first))
    assert refusal.value.reason is None
    for policy in ("refuse", "pin", "warn"):
        job_id = lab.submit(scope, order(make, make.ghz(), policy, current_id(lab)))
        assert reported(lab, job_id) == (current_id(lab),) * 2


def test_the_first_event_says_against_what_a_job_was_checked(drifted, make):
    lab, first = drifted
    scope = lab.tenant()
    notes = {}
    for policy in ("warn", "pin"):
        job_id = lab.submit(scope, order(make, make.ghz(), policy, first))
        with lab.database.read() as connection:
            notes[policy] = events.read_job_events(connection, scope, job_id)[0].message or ""
    assert first in notes["warn"]
    assert current_id(lab) in notes["warn"]
    assert notes["pin"].startswith(notes["warn"])
    assert notes["pin"].endswith("as asked")


def test_an_older_backend_is_built_once(drifted):
    lab, first = drifted
    fleet = lab.service.door.fleet
    with lab.database.read() as connection:
        name = fleet.backend(connection, f"{DEVICE}:line-5").name
        row = snapshots.read_snapshot(connection, first)
        assert row is not None
        assert fleet.past_backend(connection, name, row) is fleet.past_backend(connection, name, row)
        assert fleet.past_backend(connection, name, row).calibrated.row.id == first
