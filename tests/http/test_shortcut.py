"""A submission past the routes is answered as one that takes them."""

from __future__ import annotations

import asyncio
import json
import threading
from contextvars import ContextVar
from types import SimpleNamespace

import httpx
import pytest
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from qpu_backend.domain.tenancy import Permission, Role
from qpu_backend.http.app import PREFIX
from qpu_backend.http.shortcut import LONGEST_KEY, Shortcut

KEY = (b"authorization", b"Bearer qpu_key")
ORDINARY = (
    [KEY],
    [KEY, (b"idempotency-key", b"one")],
    [KEY, (b"idempotency-key", b"x" * LONGEST_KEY)],
    [(b"authorization", b"bearer qpu_key")],
    [(b"content-type", b"application/json"), KEY],
)
UNUSUAL = (
    [],
    [(b"authorization", b"Basic cXB1OnFwdQ==")],
    [(b"authorization", b"Bearer ")],
    [(b"authorization", b"Bearer")],
    [(b"authorization", b"Bearer \xa0")],
    [KEY, KEY],
    [KEY, (b"idempotency-key", b"")],
    [KEY, (b"idempotency-key", b"x" * (LONGEST_KEY + 1))],
    [KEY, (b"idempotency-key", b"one"), (b"idempotency-key", b"two")],
)


class Caller:
    """Knows everybody, and grants everything."""

    async def scope(self, credentials):
        return credentials

    def granted(self, scope, permission):
        return scope, permission


def shortcut(endpoint):
    async def routes(scope, receive, send):
        await Response("routes")(scope, receive, send)

    return Shortcut(
        routes,
        path="/v1/jobs",
        permission=Permission.SUBMIT_JOBS,
        endpoint=endpoint,
        door=SimpleNamespace(authenticator=Caller()),
        handlers={},
    )


async def ask(app, headers, *, method="POST", path="/v1/jobs"):
    """The body of the answer."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b"circuits"}

    async def send(message):
        sent.append(message)

    await app({"type": "http", "method": method, "path": path, "headers": headers}, receive, send)
    return sent[-1]["body"]


@pytest.mark.parametrize("headers", ORDINARY)
def test_an_ordinary_submission_goes_straight_to_its_endpoint(headers):
    asked = []
    app = shortcut(lambda *given: asked.append(given[2:]) or Response("short"))
    assert asyncio.run(ask(app, headers)) == b"short"
    key = dict(headers).get(b"idempotency-key")
    assert asked == [(("qpu_key", Permission.SUBMIT_JOBS), b"circuits", None if key is None else key.decode())]


@pytest.mark.parametrize("headers", UNUSUAL)
def test_what_is_not_quite_ordinary_takes_the_routes(headers):
    assert asyncio.run(ask(shortcut(lambda *_: Response("short")), headers)) == b"routes"


@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/jobs"), ("POST", "/v1/quotes"), ("POST", "/v1/jobs/")])
def test_everything_else_takes_the_routes(method, path):
    assert asyncio.run(ask(shortcut(lambda *_: Response("short")), [KEY], method=method, path=path)) == b"routes"


def test_submissions_that_wait_leave_the_threads_of_other_requests_alone():
    gate = threading.Event()

    def wait(*_):
        assert gate.wait(60)
        return Response("short")

    async def crowd():
        app = shortcut(wait)
        waiting = [asyncio.create_task(ask(app, [KEY])) for _ in range(200)]
        await asyncio.sleep(0)
        assert await asyncio.wait_for(run_in_threadpool(lambda: "served"), 30) == "served"
        gate.set()
        return await asyncio.gather(*waiting)

    assert asyncio.run(crowd()) == [b"short"] * 200


def body_of(document):
    return json.dumps(document).encode()


def test_an_endpoint_sees_the_context_of_its_request():
    around = ContextVar("around", default="nothing")

    async def within():
        around.set("a span")
        return await ask(shortcut(lambda *_: Response(around.get())), [KEY])

    assert asyncio.run(within()) == b"a span"


def both_ways(client, body, **headers):
    """The same request past the routes and, with its key said twice, through them."""
    once = [("Authorization", client.headers["Authorization"])]
    rest = [("Content-Type", "application/json"), *headers.items()]
    target = client.base_url.join(f"{PREFIX}/jobs")
    # Not ``client.post``: it would send its own key beside.
    return [client.send(httpx.Request("POST", target, content=body, headers=[*way, *rest])) for way in (once, once * 2)]


def essence(response):
    """What does not differ from request to request."""
    document = response.json()
    document.pop("request_id", None)
    return response.status_code, response.headers["Content-Type"], sorted(response.headers), document


@pytest.mark.parametrize("body", [b"{", b"{}", b'{"backend": 7}', b"[]", b"", b"\xff"])
def test_a_body_that_is_none_is_refused_alike(client, body):
    short, long = both_ways(client, body)
    assert essence(short) == essence(long)
    assert short.status_code == 422


def test_who_may_not_submit_is_refused_alike(server, orders):
    body = body_of(orders.of())
    for name in ("qpu_nobody", "Bearer", server.key(server.tenant(), Role.AUDITOR)):
        short, long = both_ways(server.client(name), body)
        assert essence(short) == essence(long)
        assert short.status_code in {401, 403}


def test_a_job_and_its_repeat_and_its_conflict_are_answered_alike(client, orders):
    made, found = both_ways(client, body_of(orders.of(shots=10)), **{"Idempotency-Key": "same"})
    assert (made.status_code, found.status_code) == (202, 202)
    assert made.json()["id"] == found.json()["id"]
    assert made.headers["Location"] == found.headers["Location"]
    short, long = both_ways(client, body_of(orders.of(shots=11)), **{"Idempotency-Key": "same"})
    assert essence(short) == essence(long)
    assert short.json()["code"] == "idempotency_conflict"


def test_a_refusal_of_the_service_is_told_alike(client, orders):
    document = orders.of() | {"backend": "no-such-device"}
    short, long = both_ways(client, body_of(document))
    assert essence(short) == essence(long)
    assert short.status_code == 404
