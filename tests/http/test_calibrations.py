"""What the contract tells of calibrations: how old the newest is, and what was published when."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

DEVICE = "eagle127"
LINE = "eagle127:line-5"


@pytest.fixture
def calibrate(own_server):
    """A service, a client of it, and a way to calibrate its device for certain."""
    server = own_server()

    def until_it_works() -> str:
        attempts = (server.service.calibration.calibrate(DEVICE).row.snapshot_id for _ in range(10))
        return next(snapshot_id for snapshot_id in attempts if snapshot_id is not None)

    return server.service.calibration, server.new_client(), until_it_works


def test_the_age_of_a_calibration_grows_with_device_time_and_begins_anew(calibrate):
    bench, client, until_it_works = calibrate

    def statuses():
        summaries = {one["name"]: one for one in client.get("/v1/backends").json()["backends"]}
        for name in (DEVICE, LINE):
            yield client.get(f"/v1/backends/{name}/status").json(), summaries[name]

    for status, summary in statuses():
        assert status["calibration_age_s"] == summary["calibration_age_s"] == 0
        assert datetime.fromisoformat(status["calibrated_at"]) <= datetime.now(UTC)
    bench.pass_time(DEVICE, 7_200_500_000)
    old = client.get(f"/v1/backends/{DEVICE}/status").json()
    for status, summary in statuses():
        assert status["calibration_age_s"] == summary["calibration_age_s"] == 7_200.5
        assert status["device_time_us"] == 7_200_500_000
    new = until_it_works()
    for status, summary in statuses():
        assert status["calibration_id"] == summary["calibration_id"] == new != old["calibration_id"]
        assert status["calibration_age_s"] == summary["calibration_age_s"] == 0
        assert status["calibrated_at"] > old["calibrated_at"]


@pytest.mark.parametrize("name", [DEVICE, LINE])
def test_a_new_calibration_is_a_new_document_and_the_old_one_stays(calibrate, name):
    bench, client, until_it_works = calibrate
    path = f"/v1/backends/{name}"
    before = client.get(path)
    etag = before.headers["ETag"]
    bench.pass_time(DEVICE, 10**11)
    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304  # age alone changes no document
    new = until_it_works()
    after = client.get(path, headers={"If-None-Match": etag})
    assert after.status_code == 200
    assert after.json()["calibration_id"] == new
    assert after.json()["device_time_us"] > 10**11
    assert after.json()["qubits"] != before.json()["qubits"]
    listed = client.get(f"{path}/calibrations").json()["calibrations"]
    assert [one["id"] for one in listed] == [new, before.json()["calibration_id"]]
    assert [one["number"] for one in listed] == [2, 1]
    for document in (before.json(), after.json()):
        assert client.get(f"{path}/calibrations/{document['calibration_id']}").json() == document


def test_a_pinned_job_names_its_own_calibration_and_its_metering_the_one_it_ran_with(calibrate, orders):
    _, client, until_it_works = calibrate
    old = client.get(f"/v1/backends/{DEVICE}").json()["calibration_id"]
    new = until_it_works()
    for policy, reported in (("pin", old), ("warn", new)):
        job_id = orders.submit(client, orders.of(calibration_id=old, drift_policy=policy))
        assert orders.finished(client, job_id)["state"] == "done"
        assert client.get(f"/v1/jobs/{job_id}").json()["calibration_id"] == reported
        assert client.get(f"/v1/jobs/{job_id}/metering").json()["calibration_id"] == new


def test_what_cannot_be_pinned_is_refused_with_the_reason(calibrate, orders, refused):
    _, client, _ = calibrate
    document = orders.of(calibration_id="cal_of_somewhere_else", drift_policy="pin")
    problem = refused(client.post("/v1/jobs", json=document), "calibration_drifted")
    assert problem["field"] == "calibration_id"
    assert "not known" in problem["detail"]
