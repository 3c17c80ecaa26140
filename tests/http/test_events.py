"""Events over HTTP: streams of one job and of a tenant, resuming without gaps, heartbeats, and the long poll."""

from __future__ import annotations

import itertools
import json
import threading
import time
from typing import TYPE_CHECKING

import pytest

from qpu_sdk.wire.sse import ServerSentEvent, parse_events

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

SSE = {"Accept": "text/event-stream"}
LIFE = ["admitted", "running", "done"]


def stream(client: httpx.Client, path: str, last: object = None) -> Iterator[ServerSentEvent]:
    """Events as they come, until the server ends the stream."""
    headers = SSE | ({} if last is None else {"Last-Event-ID": str(last)})
    with client.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Cache-Control"] == "no-store"
        yield from parse_events(response.iter_bytes())


def until_final(events: Iterator[ServerSentEvent], jobs: int) -> list[ServerSentEvent]:
    """Up to the last of so many final events."""
    seen: list[ServerSentEvent] = []
    for event in events:
        seen.append(event)
        jobs -= event.name in {"done", "failed", "cancelled"}
        if jobs == 0:
            return seen
    raise AssertionError(f"the stream ended after {seen}")


def test_the_stream_of_a_job_ends_at_its_final_event(client, orders):
    job_id = orders.submit(client)
    events = list(stream(client, f"/v1/jobs/{job_id}/events"))
    assert [event.name for event in events] == LIFE
    assert [event.id for event in events] == ["1", "2", "3"]
    documents = [json.loads(event.data) for event in events]
    assert [document["seq"] for document in documents] == [1, 2, 3]
    assert [document["state"] for document in documents] == ["queued", "running", "done"]
    assert documents[2]["device_time_us"] > documents[1]["device_time_us"]
    assert all(document["at"].endswith("Z") for document in documents)


@pytest.mark.parametrize("last", [0, 1, 2])
def test_the_stream_of_a_job_resumes_after_the_last_event_seen(client, orders, last):
    job_id = orders.submit(client)
    orders.finished(client, job_id)
    assert [event.name for event in stream(client, f"/v1/jobs/{job_id}/events", last)] == LIFE[last:]


def test_a_stream_that_has_nothing_more_to_say_ends_at_once(client, orders):
    job_id = orders.submit(client)
    orders.finished(client, job_id)
    started = time.monotonic()
    assert list(stream(client, f"/v1/jobs/{job_id}/events", 3)) == []
    assert time.monotonic() - started < 1  # before the first heartbeat


def test_the_stream_of_a_tenant_has_every_event_once_without_gaps(client, orders):
    events = stream(client, "/v1/events")
    hello = next(events)
    assert (hello.name, hello.id) == ("hello", "0")
    job_ids = [orders.submit(client) for _ in range(6)]
    seen = until_final(events, 6)
    events.close()
    assert [int(event.id or "") for event in seen] == list(range(1, 19))
    documents = [json.loads(event.data) for event in seen]
    for job_id in job_ids:
        assert [one["name"] for one in documents if one["job_id"] == job_id] == LIFE
    assert [one["cursor"] for one in documents] == list(range(1, 19))


def test_the_stream_of_a_tenant_resumes_at_every_place_without_a_gap(client, orders):
    for _ in range(3):
        orders.finished(client, orders.submit(client))
    for last in range(9):
        events = stream(client, "/v1/events", last)
        assert json.loads(next(events).data) == {"cursor": last}
        assert [int(event.id or "") for event in itertools.islice(events, 9 - last)] == list(range(last + 1, 10))
        events.close()


def test_a_cursor_of_another_database_does_not_make_a_stream_deaf(client, orders):
    events = stream(client, "/v1/events", 10**9)
    assert next(events).id == "0"
    orders.submit(client)
    assert until_final(events, 1)[0].name == "admitted"
    events.close()


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "9" * 32, "٣".encode(), "0x10"])
@pytest.mark.parametrize("path", ["/v1/events", "/v1/jobs/{}/events"])
def test_a_last_event_id_that_is_no_number_of_ours_is_refused(client, orders, refused, path, last):
    path = path.format(orders.submit(client))
    problem = refused(client.get(path, headers=SSE | {"Last-Event-ID": last}), "invalid_request")
    assert problem["field"] == "last-event-id"


def test_a_silent_stream_says_that_it_is_alive(client):
    with client.stream("GET", "/v1/events", headers=SSE) as response:
        text = ""
        for piece in response.iter_text():
            text += piece
            if text.count(": alive\n\n") == 2:
                break
    assert text == 'event: hello\nid: 0\ndata: {"cursor": 0}\n\n' + 2 * ": alive\n\n"


def test_a_long_poll_answers_with_what_there_is_and_waits_for_what_comes(client, orders):
    job_id = orders.submit(client)
    path, seen, final = f"/v1/jobs/{job_id}/events", 0, False
    names: list[str] = []
    while not final:
        page = client.get(path, params={"after": seen, "wait": 20}).json()
        names += [event["name"] for event in page["events"]]
        seen, final = page["events"][-1]["seq"], page["final"]
    assert names == LIFE
    after = client.get(path, params={"after": 3, "wait": 20}).json()
    assert after == {"events": [], "final": True}


def test_a_long_poll_gives_up_when_its_time_is_over(own_server, orders):
    server = own_server()
    server.service.administration.set_operational("eagle127", operational=False, status_msg="closed")
    client = server.new_client()
    path = f"/v1/jobs/{orders.submit(client)}/events"
    assert client.get(path, params={"after": 1, "wait": 0.1}).json() == {"events": [], "final": False}


@pytest.mark.parametrize("params", [{"wait": 61}, {"wait": -1}, {"wait": "nan"}, {"after": -1}, {"after": 2**63}])
def test_a_long_poll_has_bounds(client, orders, refused, params):
    path = f"/v1/jobs/{orders.submit(client)}/events"
    assert refused(client.get(path, params=params), "invalid_request")["field"] == next(iter(params))


def test_a_waiting_stream_is_woken_and_not_polled(own_server, orders):
    """With a device that is opened late, the wake-up comes through the notice board and the events arrive in order."""
    server = own_server()
    administration = server.service.administration
    administration.set_operational("eagle127", operational=False, status_msg="closed")
    client = server.new_client()
    job_id = orders.submit(client)
    heard: list[str] = []
    waiter = threading.Thread(
        target=lambda: heard.extend(event.name for event in stream(client, f"/v1/jobs/{job_id}/events"))
    )
    waiter.start()
    administration.set_operational("eagle127", operational=True, status_msg="active")
    server.service.dispatchers["eagle127"].wake()
    waiter.join(20)
    assert heard == LIFE


def test_streams_end_when_the_service_stops(tmp_path, running_in):
    with running_in(tmp_path) as server:
        events = stream(server.new_client(), "/v1/events")
        assert next(events).name == "hello"
        rest: list[ServerSentEvent] = []
        reader = threading.Thread(target=lambda: rest.extend(events))
        reader.start()
        server.service.door.notices.close()
        reader.join(20)
        assert not reader.is_alive()
        assert rest == []
