"""Replays over HTTP: in both forms, bounded in time and number, and nothing where there is no result."""

from __future__ import annotations

import hashlib

import pytest

from qpu_sdk.wire.models import RESULT_MEDIA_TYPE
from qpu_sdk.wire.results import decode_result


@pytest.fixture(scope="module")
def own(server):
    return server.new_client()


@pytest.fixture(scope="module")
def done(own, orders):
    job_id = orders.submit(own)
    assert orders.finished(own, job_id)["state"] == "done"
    return job_id


def test_a_replay_is_the_result_again_and_says_so(own, done):
    result = own.get(f"/v1/jobs/{done}/result")
    for body, alone in (({}, False), ({"alone": False}, False), ({"alone": True}, True)):
        response = own.post(f"/v1/jobs/{done}/replay", json=body)
        assert response.status_code == 200, response.text
        assert response.headers["Content-Type"] == RESULT_MEDIA_TYPE
        assert response.headers["ETag"] == f'"{hashlib.sha256(response.content).hexdigest()}"'
        again = decode_result(response.content)
        assert again.metadata["replay"] == {"alone": alone, "exact": True}
        assert [pub.bits.tolist() for pub in again.pubs] == [
            pub.bits.tolist() for pub in decode_result(result.content).pubs
        ]
    assert decode_result(own.post(f"/v1/jobs/{done}/replay").content).metadata["replay"]["alone"] is False


def test_a_replay_as_json_has_hex_counts(own, done):
    document = own.post(f"/v1/jobs/{done}/replay", json={"alone": True}, headers={"Accept": "application/json"}).json()
    expected = own.get(f"/v1/jobs/{done}/result", headers={"Accept": "application/json"}).json()
    assert document["pubs"] == expected["pubs"]
    assert document["metadata"]["replay"] == {"alone": True, "exact": True}


@pytest.mark.parametrize("body", [{"alone": "perhaps"}, {"along": True}, [], "alone"])
def test_another_question_than_alone_is_refused(own, done, refused, body):
    refused(own.post(f"/v1/jobs/{done}/replay", json=body), "invalid_request")


def test_a_job_without_a_result_answers_as_its_result_does(own_server, orders, refused):
    server = own_server()
    server.service.administration.set_operational("eagle127", operational=False, status_msg="closed for this test")
    client = server.new_client()
    job_id = orders.submit(client)
    answer = client.post(f"/v1/jobs/{job_id}/replay")
    assert refused(answer, "job_not_done")["retry_after_s"] == 1
    assert answer.headers["Retry-After"] == "1"
    client.post(f"/v1/jobs/{job_id}/cancel")
    refused(client.post(f"/v1/jobs/{job_id}/replay"), "job_cancelled")


def test_a_long_replay_goes_on_while_it_is_asked_for_again_and_others_wait_their_turn(own_server, orders, refused):
    server = own_server()
    client, stranger = server.new_client(), server.new_client()
    slow, quick = orders.submit(client, orders.slow()), orders.submit(stranger)
    for one, job_id in ((client, slow), (stranger, quick)):
        assert orders.finished(one, job_id)["state"] == "done"
    path = f"/v1/jobs/{slow}/replay"
    assert refused(client.post(path, params={"wait": 0}), "replay_not_done")["retry_after_s"] == 1
    busy = stranger.post(f"/v1/jobs/{quick}/replay", params={"wait": 0})
    assert refused(busy, "unavailable")["retry_after_s"] == 1
    answer = client.post(path, params={"wait": 60})
    assert answer.status_code == 200
    assert client.post(path, params={"wait": 0}).content == answer.content
    assert client.get("/v1/usage").json()["jobs"] == 1
    assert stranger.post(f"/v1/jobs/{quick}/replay").status_code == 200
