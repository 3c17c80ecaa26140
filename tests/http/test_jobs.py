"""The life of a job over HTTP: idempotency, paging, results and their tags, cancellation, quotas, a full queue."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from qpu_backend.domain.quota import Resource, Window
from qpu_backend.domain.tenancy import Role
from qpu_sdk.wire.models import RESULT_MEDIA_TYPE
from qpu_sdk.wire.results import decode_result

if TYPE_CHECKING:
    import httpx

KEY = "Idempotency-Key"


@pytest.fixture
def closed_device(own_server):
    """A service whose device starts no batch: what is submitted waits."""
    server = own_server()
    server.service.administration.set_operational("eagle127", operational=False, status_msg="closed for this test")
    return server


# --- idempotency --------------------------------------------------------------------------------------------------


def test_the_same_body_under_the_same_key_is_the_same_job(client, orders):
    body = json.dumps(orders.of())
    answers = [client.post("/v1/jobs", content=body, headers={KEY: "k"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [202] * 3
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert [answer.json()["replayed"] for answer in answers] == [False, True, True]
    assert all(answer.headers["Location"] == f"/v1/jobs/{answer.json()['id']}" for answer in answers)


def test_the_same_circuit_built_twice_is_the_same_job(client, orders):
    first, second = orders.of(orders.circuit(name="one")), orders.of(orders.circuit(name="two"))
    assert first["circuits"] != second["circuits"]
    assert orders.submit(client, first, "k") == orders.submit(client, second, "k")


@pytest.mark.parametrize("change", ["shots", "circuit", "seed", "backend", "program"])
def test_another_body_under_the_same_key_is_a_conflict(client, orders, refused, change):
    other = {
        "shots": orders.of(shots=101),
        "circuit": orders.of(orders.circuit(3)),
        "seed": orders.of(options={"seed": 7}),
        "backend": orders.of(backend="eagle127:line-7"),
        "program": orders.of(program="sampler"),
    }[change]
    job_id = orders.submit(client, key="k")
    response = client.post("/v1/jobs", json=other, headers={KEY: "k"})
    if response.status_code == 422:
        pytest.fail(f"the other body is not a good one: {response.text}")
    refused(response, "idempotency_conflict")
    assert [job["id"] for job in client.get("/v1/jobs").json()["jobs"]] == [job_id]


def test_a_refused_request_does_not_use_its_key_up(client, orders, refused):
    refused(client.post("/v1/jobs", json=orders.of(shots=0), headers={KEY: "k"}), "invalid_request")
    assert orders.submit(client, key="k")


def test_a_key_belongs_to_its_principal(server, orders):
    tenant = server.tenant()
    member, admin = (server.client(server.key(tenant, role)) for role in (Role.MEMBER, Role.TENANT_ADMIN))
    stranger = server.new_client()
    assert len({orders.submit(one, key="k") for one in (member, admin, stranger)}) == 3


def test_concurrent_twins_make_one_job(client, orders):
    bodies = [json.dumps(orders.of(orders.circuit(name=f"twin {index % 2}"))) for index in range(8)]

    def submit(body: str) -> httpx.Response:
        return client.post("/v1/jobs", content=body, headers={KEY: "twins"})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(submit, bodies))
    assert [answer.status_code for answer in answers] == [202] * 8
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum(not answer.json()["replayed"] for answer in answers) == 1
    assert client.get("/v1/usage").status_code == 200
    assert len(client.get("/v1/jobs").json()["jobs"]) == 1


# --- lists --------------------------------------------------------------------------------------------------------


def test_pages_hold_every_job_once_newest_first(client, orders):
    ids = [orders.submit(client, orders.of(tags=["even" if index % 2 == 0 else "odd"])) for index in range(7)]
    seen: list[str] = []
    params: dict[str, object] = {"limit": 3}
    while True:
        page = client.get("/v1/jobs", params=params).json()
        seen += [job["id"] for job in page["jobs"]]
        if page["next_cursor"] is None:
            break
        assert len(page["jobs"]) == 3
        params["cursor"] = page["next_cursor"]
    assert seen == ids[::-1]
    even = client.get("/v1/jobs", params={"tag": "even"}).json()["jobs"]
    assert [job["id"] for job in even] == ids[::-2]
    assert client.get("/v1/jobs", params={"backend": "eagle127"}).json()["jobs"] == []


@pytest.mark.parametrize("cursor", ["x", "AAAA", "ß", "MTIzL2pvYg==="[:11], "LTk5OTk5OTk5OTk5OTk5OTk5OTk5OS94"])
def test_a_cursor_of_somebody_else_is_refused_or_harmless(client, refused, cursor):
    response = client.get("/v1/jobs", params={"cursor": cursor})
    if response.status_code == 200:
        assert response.json()["jobs"] == []
    else:
        assert refused(response, "invalid_request")["field"] == "cursor"


@pytest.mark.parametrize(
    ("path", "params", "field"),
    [
        ("/v1/jobs", {"limit": 0}, "limit"),
        ("/v1/jobs", {"limit": 101}, "limit"),
        ("/v1/jobs", {"limit": "many"}, "limit"),
        ("/v1/jobs", {"state": "lost"}, "state.0"),
        ("/v1/jobs", {"tag": "a\0"}, "tag.0"),
        ("/v1/usage", {"since": "yesterday"}, "since"),
        ("/v1/usage", {"since": "2025-03-04T05:06:07"}, "since"),
        ("/v1/backends/eagle127/calibrations", {"before": 0}, "before"),
    ],
)
def test_a_bad_question_names_its_field_and_is_not_echoed(client, refused, path, params, field):
    problem = refused(client.get(path, params=params), "invalid_request")
    assert problem["field"] == field
    assert not any(isinstance(value, str) and value in problem["detail"] for value in params.values())


@pytest.mark.parametrize("name", ["%00", "job_%00", "a" * 5000, "..%2f..%2fetc", "%f0%9f%90%88"])
def test_a_name_that_nothing_has_is_not_found(client, refused, name):
    for path in (f"/v1/jobs/{name}", f"/v1/jobs/{name}/events", f"/v1/backends/eagle127/calibrations/{name}"):
        refused(client.get(path), "not_found")
    assert client.get(f"/v1/backends/{name}").status_code == 404


# --- results ------------------------------------------------------------------------------------------------------


@pytest.fixture
def done(client, orders) -> str:
    job_id = orders.submit(client, orders.of(shots=250))
    assert orders.finished(client, job_id)["state"] == "done"
    return job_id


def test_a_result_is_immutable_and_its_tag_is_its_sha256(client, done):
    answer = client.get(f"/v1/jobs/{done}/result")
    assert answer.headers["Content-Type"] == RESULT_MEDIA_TYPE
    tag = answer.headers["ETag"]
    assert tag == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert decode_result(answer.content).pubs[0].bits.shape == (1, 250, 1)
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = client.get(f"/v1/jobs/{done}/result", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", tag)
    assert client.get(f"/v1/jobs/{done}/result", headers={"If-None-Match": '"other"'}).content == answer.content


def test_a_result_as_json_has_the_same_shots_under_another_tag(client, done):
    binary = client.get(f"/v1/jobs/{done}/result")
    answer = client.get(f"/v1/jobs/{done}/result", headers={"Accept": "application/json"})
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["ETag"] != binary.headers["ETag"]
    (pub,) = answer.json()["pubs"]
    assert pub["registers"] == [{"name": "c", "clbits": [0, 1, 2, 3, 4]}]
    values = [int(shot[0]) for shot in decode_result(binary.content).pubs[0].bits[0]]
    assert pub["counts"] == [{hex(value): values.count(value) for value in sorted(set(values))}]
    known = {"Accept": "application/json", "If-None-Match": answer.headers["ETag"]}
    assert client.get(f"/v1/jobs/{done}/result", headers=known).status_code == 304


def test_mitigated_answers_come_as_json_too(client, orders):
    observable = {"terms": [{"paulis": "Z", "qubits": [0], "coefficient": 1.0}]}
    pub = {"circuit": 0, "shots": 100, "observables": [observable], "pairs": [[0, 0]]}
    careful = {"seed": 1, "mitigation": {"measure": {"source": "snapshot"}, "zne": {"noise_factors": [1, 3]}}}
    estimator = orders.of(program="estimator", options=careful) | {"pubs": [pub]}
    sampler = orders.of(program="sampler", options={"seed": 1, "mitigation": {"measure": {"source": "snapshot"}}})
    answers = []
    for document in (estimator, sampler):
        job_id = orders.submit(client, document)
        assert orders.finished(client, job_id)["state"] == "done"
        answers.append(client.get(f"/v1/jobs/{job_id}/result", headers={"Accept": "application/json"}).json())
    estimated, sampled = (answer["pubs"][0] for answer in answers)
    assert (len(estimated["evs_noise_factors"][0]), estimated["extrapolators"]) == (2, ["linear"])
    assert estimated["overheads"][0] > 1
    assert sum(sampled["quasi"][0]["values"].values()) == pytest.approx(1.0)
    assert sampled["quasi"][0]["values"].keys() == sampled["counts"][0].keys()
    assert answers[0]["metadata"]["mitigation"]["zne"]["noise_factors"] == [1, 3]


def test_expectation_values_come_as_json_too(client, orders):
    observable = {"terms": [{"paulis": "Z", "qubits": [4], "coefficient": 1.0}]}
    pub = {"circuit": 0, "observables": [observable], "pairs": [[0, 0]], "precision": 0.05}
    job_id = orders.submit(client, orders.of(program="estimator") | {"pubs": [pub]})
    assert orders.finished(client, job_id)["state"] == "done"
    answer = client.get(f"/v1/jobs/{job_id}/result", headers={"Accept": "application/json"}).json()
    assert answer["pubs"][0]["shots"] == 400
    assert abs(answer["pubs"][0]["evs"][0]) <= 1


def test_a_backend_is_sent_again_only_when_it_changed(client):
    for path in ("/v1/backends/eagle127", "/v1/backends/eagle127:line-5"):
        answer = client.get(path)
        again = client.get(path, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        calibration = answer.json()["calibration_id"]
        then = client.get(f"{path}/calibrations/{calibration}")
        assert then.json() == answer.json()
    assert client.get("/v1/backends/eagle127/calibrations").json()["calibrations"][0]["id"] == calibration


# --- cancellation -------------------------------------------------------------------------------------------------


def test_a_waiting_job_is_cancelled_at_once_and_free(closed_device, orders, refused):
    client = closed_device.new_client()
    job_id = orders.submit(client)
    waiting = client.get(f"/v1/jobs/{job_id}").json()
    assert (waiting["state"], waiting["waiting"]["jobs_ahead"]) == ("queued", 0)
    refused(client.get(f"/v1/jobs/{job_id}/result"), "job_not_done")
    for _ in range(2):  # cancelling twice is cancelling once
        assert client.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "cancelled"
    names = [event["name"] for event in client.get(f"/v1/jobs/{job_id}/events").json()["events"]]
    assert names == ["admitted", "cancelled"]
    assert client.get(f"/v1/jobs/{job_id}/metering").json()["price_micro"] == 0
    refused(client.get(f"/v1/jobs/{job_id}/result"), "job_cancelled")


def test_a_running_job_is_not_cut_but_discarded_and_billed(client, orders, refused):
    job_id = orders.submit(client, orders.slow())
    client.get(f"/v1/jobs/{job_id}/events", params={"after": 1, "wait": 20})
    assert client.post(f"/v1/jobs/{job_id}/cancel").json()["state"] == "running"
    assert orders.finished(client, job_id)["state"] == "cancelled"
    names = [event["name"] for event in client.get(f"/v1/jobs/{job_id}/events").json()["events"]]
    assert names == ["admitted", "running", "cancel_requested", "cancelled"]
    metering = client.get(f"/v1/jobs/{job_id}/metering").json()
    assert metering["shots"] == 30_000
    assert metering["price_micro"] > 0
    refused(client.get(f"/v1/jobs/{job_id}/result"), "job_cancelled")


def test_what_is_done_cannot_be_cancelled(client, done, refused):
    refused(client.post(f"/v1/jobs/{done}/cancel"), "illegal_transition")
    assert client.get(f"/v1/jobs/{done}").json()["state"] == "done"


# --- quotas and queues --------------------------------------------------------------------------------------------


def test_a_job_over_quota_is_told_how_much_is_left_and_when_to_come_back(server, orders, refused):
    client = server.client(server.key(server.tenant(limits={(Resource.SHOTS, Window.DAY): 250})))
    assert orders.finished(client, orders.submit(client))["state"] == "done"
    response = client.post("/v1/jobs", json=orders.of(shots=200))
    problem = refused(response, "quota_exceeded")
    assert "150 of 250" in problem["detail"]
    assert 0 < int(response.headers["Retry-After"]) <= 86_400
    assert problem["retry_after_s"] <= int(response.headers["Retry-After"])
    (line,) = client.get("/v1/usage").json()["quotas"]
    assert (line["limit"], line["spent"], line["reserved"], line["free"]) == (250, 100, 0, 150)
    never = client.post("/v1/jobs", json=orders.of(shots=251))
    assert refused(never, "quota_exceeded")["retry_after_s"] is None
    assert "Retry-After" not in never.headers


def test_what_waits_is_reserved_and_what_is_cancelled_is_given_back(closed_device, orders, refused):
    tenant = closed_device.tenant(limits={(Resource.SHOTS, Window.MONTH): 100})
    client = closed_device.client(closed_device.key(tenant))
    job_id = orders.submit(client)
    assert client.get("/v1/usage").json()["quotas"][0]["reserved"] == 100
    refused(client.post("/v1/jobs", json=orders.of(shots=1)), "quota_exceeded")
    client.post(f"/v1/jobs/{job_id}/cancel")
    assert client.get("/v1/usage").json()["quotas"][0]["free"] == 100


def test_a_full_queue_says_come_back(closed_device, orders, refused):
    client = closed_device.client(closed_device.key(closed_device.tenant(max_queued_jobs=2)))
    for _ in range(2):
        orders.submit(client)
    response = client.post("/v1/jobs", json=orders.of())
    refused(response, "queue_full")
    assert int(response.headers["Retry-After"]) >= 1
    assert orders.submit(closed_device.new_client())  # it is this tenant's queue that is full


def test_prices_add_up(client, orders):
    quoted = orders.of(max_cost_micro=10**9)
    job = orders.finished(client, orders.submit(client, quoted))
    metering = client.get(f"/v1/jobs/{job['id']}/metering").json()
    usage = client.get("/v1/usage").json()
    assert job["price_micro"] == metering["price_micro"] == usage["price_micro"] == -usage["balance_micro"] > 0
    assert metering["co_tenants"] in {"0", "1-3", "4+"}
    assert len(metering["placement"]) == 5
