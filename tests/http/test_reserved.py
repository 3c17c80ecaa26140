"""Slices, booked windows and closed devices, as tenants meet them: their own in full, others' without a name."""

from __future__ import annotations

import json
from contextlib import suppress
from types import SimpleNamespace

import pytest

from qpu_backend.pipeline.bookings import BookingRefused

DEVICE = "eagle127"
QUBITS = list(range(19))
S = 1_000_000
ROUTES = ["", "/status", "/calibrations", "/calibrations/{calibration}"]


@pytest.fixture(scope="module")
def house(running_in, tmp_path_factory):
    """A service with a slice, its tenant's client and two strangers'."""
    slices = {"lab": {"tenant": "acme", "qubits": QUBITS}}
    with running_in(tmp_path_factory.mktemp("qpu"), devices={DEVICE: {"slices": slices}}) as server:
        names = ("acme", "bob", "carol")
        clients = {}
        for name in names:
            server.service.administration.create_tenant(name)
            clients[name] = server.client(server.key(name))
        yield SimpleNamespace(server=server, bookings=server.service.bookings, **clients)


@pytest.fixture
def windows(house):
    """Books windows, from now in device seconds, and gives them back in the end."""
    rows = []

    def book(in_s, for_s, tenant=None):
        rows.append(house.bookings.book(DEVICE, in_us=in_s * S, for_us=for_s * S, tenant_name=tenant, note="secret"))
        return rows[-1]

    yield book
    for row in rows:
        with suppress(BookingRefused):  # it is over, or cancelled
            house.bookings.cancel(row.id)


def names(client):
    return {backend["name"] for backend in client.get("/v1/backends").json()["backends"]}


def told(client, name=DEVICE):
    return client.get(f"/v1/backends/{name}/status").json()


# --- slices -----------------------------------------------------------------------------------------------------------


def test_a_slice_is_in_its_tenants_list_only(house):
    mine, others = names(house.acme), names(house.bob)
    assert {"eagle127/lab", "eagle127/lab:line-5", "eagle127/lab:tee-1-1-1"} <= mine
    assert mine - others == {name for name in mine if "/" in name}
    assert "eagle127/lab:grid-2-2" not in mine, "no shape that fits nowhere"


@pytest.mark.parametrize(
    "written", ["eagle127/lab", "eagle127%2Flab", "eagle127/lab:line-5", "eagle127%2Flab%3Aline-5"]
)
def test_every_route_takes_the_name_of_a_slice(house, written):
    name = written.replace("%2F", "/").replace("%3A", ":")
    document = house.acme.get(f"/v1/backends/{written}").json()
    assert (document["name"], document["device"]) == (name, DEVICE)
    for route in ROUTES[1:]:
        answer = house.acme.get(f"/v1/backends/{written}" + route.format(calibration=document["calibration_id"]))
        assert answer.status_code == 200, answer.text
    assert told(house.acme, written)["name"] == name


@pytest.mark.parametrize("name", ["eagle127/lab", "eagle127/lab:line-5"])
def test_a_foreign_slice_is_on_every_route_as_one_that_never_was(house, orders, refused, name):
    calibration = house.bob.get(f"/v1/backends/{DEVICE}").json()["calibration_id"]
    missing = name.replace("lab", "bal")

    def answers(asked):
        paths = [f"/v1/backends/{asked}" + route.format(calibration=calibration) for route in ROUTES]
        yield from (house.bob.get(path) for path in paths)
        circuits = orders.of()["circuits"]
        yield house.bob.post(f"/v1/backends/{asked}/predict", json={"circuits": circuits})
        yield house.bob.post("/v1/jobs", json=orders.of(backend=asked))

    for foreign, nobodys in zip(answers(name), answers(missing), strict=True):
        alike = []
        for answer, part in ((foreign, "/lab"), (nobodys, "/bal")):
            problem = json.dumps(refused(answer, "unknown_backend") | {"request_id": ""})
            assert part in problem
            alike.append(problem.replace(part, ""))
        assert alike[0] == alike[1]
        assert "acme" not in alike[0]


def test_a_slices_document_has_its_own_qubits_and_the_devices_has_the_others(house):
    sliced = house.acme.get("/v1/backends/eagle127/lab").json()
    for client in (house.acme, house.bob):
        device = client.get(f"/v1/backends/{DEVICE}").json()
        assert [qubit is None for qubit in device["qubits"]][:19] == [True] * 19
        assert not any(set(gate["qubits"]) & set(QUBITS) for gate in device["gates"])
    assert all(set(gate["qubits"]) <= set(QUBITS) for gate in sliced["gates"])
    assert [q for q, qubit in enumerate(sliced["qubits"]) if qubit is not None] == QUBITS
    assert sliced["num_qubits"] == 127
    assert "only your jobs use" in sliced["description"]


def test_the_etag_of_a_device_changes_with_its_slices(running_in, tmp_path):
    answers = []
    for qubits in (QUBITS, QUBITS[:5]):
        with running_in(tmp_path, devices={DEVICE: {"slices": {"lab": {"tenant": "x", "qubits": qubits}}}}) as server:
            client = server.new_client() if not answers else server.client(server.key("tenant-1"))
            answers.append(client.get(f"/v1/backends/{DEVICE}"))
            headers = {"If-None-Match": answers[-1].headers["ETag"]}
            assert client.get(f"/v1/backends/{DEVICE}", headers=headers).status_code == 304
    cut, less = answers
    assert cut.json()["calibration_id"] == less.json()["calibration_id"]
    assert cut.headers["ETag"] != less.headers["ETag"]


def test_a_prediction_in_a_slice_is_for_a_place_in_it(house, orders):
    answer = house.acme.post("/v1/backends/eagle127/lab:line-5/predict", json={"circuits": orders.of()["circuits"]})
    (prediction,) = answer.json()["predictions"]
    assert set(prediction["region"]) <= set(QUBITS)


@pytest.mark.parametrize("path", ["eagle127/lab/more", "eagle127//status", "eagle127/..%2Feagle127"])
def test_paths_that_are_no_backends_are_not_found(house, path):
    assert house.acme.get(f"/v1/backends/{path}").status_code == 404


# --- booked windows ---------------------------------------------------------------------------------------------------


def test_a_tenant_is_told_its_own_windows_and_when_others_have_the_device(house, windows):
    mine, theirs, kept = windows(10, 5, "acme"), windows(20, 5, "bob"), windows(30, 5)
    now_us = told(house.acme)["device_time_us"]
    spans = [(now_us + start * S, now_us + (start + 5) * S) for start in (10, 20, 30)]
    for client, kinds, own in (
        (house.acme, ["yours", "booked", "maintenance"], mine),
        (house.bob, ["booked", "yours", "maintenance"], theirs),
        (house.carol, ["booked", "booked", "maintenance"], None),
    ):
        found = told(client)["windows"]
        assert [window["kind"] for window in found] == kinds
        assert [(window["starts_device_us"], window["ends_device_us"]) for window in found] == spans
        assert {window["id"] for window in found} == {None, *([own.id] if own else [])}
        assert kept.id not in str(found)
    assert told(house.acme, "eagle127:line-5")["windows"] == told(house.acme)["windows"]


def test_whose_a_booking_is_and_how_many_follow_each_other_is_not_told(house, windows):
    two = [windows(10, 5, "acme"), windows(15, 5, "acme")]
    first = told(house.carol)
    for row in two:
        house.bookings.cancel(row.id)
    windows(10, 10, "bob")
    assert told(house.carol) == first
    assert len(first["windows"]) == 1
    for secret in ("acme", "bob", "secret", "bkg_", "ten_"):
        assert secret not in json.dumps(first)


def test_a_device_under_maintenance_says_so_and_takes_jobs(house, windows, orders):
    windows(0, 500)
    status = told(house.bob)
    assert status["status_msg"] == "under maintenance; jobs may be submitted, and wait"
    job = orders.submit(house.bob)
    assert orders.finished(house.bob, job)["state"] == "done"
    assert told(house.bob)["status_msg"] == "active"
    assert told(house.bob)["windows"] == []


def test_a_closed_device_says_so_and_takes_jobs(house, orders):
    administration = house.server.service.administration
    administration.set_operational(DEVICE, operational=False, status_msg="a new fridge")
    try:
        status = told(house.bob)
        assert (status["operational"], status["status_msg"]) == (False, "a new fridge; jobs may be submitted, and wait")
        job = orders.submit(house.bob)
        assert house.bob.get(f"/v1/jobs/{job}").json()["state"] == "queued"
    finally:
        administration.set_operational(DEVICE, operational=True, status_msg="active")
    assert orders.finished(house.bob, job)["state"] == "done"
