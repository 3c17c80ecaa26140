"""The transport against a real HTTP server on loopback that answers what a test asks of it."""

from __future__ import annotations

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from qpu_sdk.credentials import Credentials
from qpu_sdk.errors import (
    CredentialsError,
    NotFoundError,
    ProtocolError,
    QueueFullError,
    QuotaExceededError,
    RateLimitedError,
    ServiceError,
    ServiceUnavailableError,
    ServiceUnreachableError,
)
from qpu_sdk.transport import Patience, Transport
from qpu_sdk.wire.models import IDEMPOTENCY_HEADER
from qpu_sdk.wire.paths import quoted
from qpu_sdk.wire.sse import parse_events
from qpu_sdk.wire.status import BackendStatus

STATUS = {
    "name": "b",
    "operational": True,
    "status_msg": "",
    "pending_jobs": 0,
    "calibration_id": "c",
    "device_time_us": 0,
    "a_later_field": 1,
}
IMPATIENT = Patience(connect_s=2, read_s=2, attempts=4, first_delay_s=0.005, longest_delay_s=1, silence_s=1)


class _Script(ThreadingHTTPServer):
    """Answers from a list, one per request, the last again and again; keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers: list[tuple[int, dict[str, str], bytes] | str] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def then(self, status: int, document: object = None, **headers: str) -> _Script:
        body = b"" if document is None else document if isinstance(document, bytes) else json.dumps(document).encode()
        self.answers.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, body))
        return self

    def then_hang_up(self) -> _Script:
        self.answers.append("hang up")
        return self


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Script

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests.append((self.command, self.path, dict(self.headers), body))
        answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        if isinstance(answer, str):
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        status, headers, content = answer
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _answer  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server():
    script = _Script()
    thread = threading.Thread(target=script.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield script
    script.shutdown()
    script.server_close()


@pytest.fixture
def transport(server):
    transport = Transport(Credentials(server.url, "qpu_secret"), IMPATIENT)
    yield transport
    transport.close()


def _problem(code: str, status: int, **more: object) -> dict[str, object]:
    return {"type": "about:blank", "title": code, "status": status, "detail": "because", "code": code, **more}


def _status(transport: Transport) -> BackendStatus:
    return transport.get("/backends/b/status", BackendStatus)


def test_a_document_is_read_and_later_fields_are_ignored(server, transport):
    server.then(200, STATUS)
    assert _status(transport).calibration_id == "c"
    (_, path, headers, _) = server.requests[0]
    assert path == "/v1/backends/b/status"
    assert headers["Authorization"] == "Bearer qpu_secret"


def test_a_lost_answer_is_asked_for_again_with_the_same_key_and_body(server, transport):
    server.then_hang_up().then_hang_up().then(202, STATUS)
    transport.post("/jobs", BackendStatus, b'{"a": 1}', idempotency_key="mine")
    assert [request[2][IDEMPOTENCY_HEADER] for request in server.requests] == ["mine"] * 3
    assert {request[3] for request in server.requests} == {b'{"a": 1}'}


def test_a_full_queue_is_tried_again_after_the_pause_it_asks_for(server, transport):
    server.then(503, _problem("queue_full", 503), Retry_After="0.05").then(200, STATUS)
    assert _status(transport).name == "b"
    assert len(server.requests) == 2


def test_giving_up_raises_the_last_error_with_its_key(server, transport):
    server.then(503, _problem("queue_full", 503))
    with pytest.raises(QueueFullError) as caught:
        transport.post("/jobs", BackendStatus, b"{}", idempotency_key="mine")
    assert len(server.requests) == IMPATIENT.attempts
    assert caught.value.idempotency_key == "mine"
    assert caught.value.status_code == 503
    assert caught.value.retryable


def test_a_pause_longer_than_our_patience_is_raised_at_once(server, transport):
    server.then(429, b"slow down", Retry_After="3600")  # a proxy's; the service itself has quotas only
    with pytest.raises(RateLimitedError) as caught:
        _status(transport)
    assert len(server.requests) == 1
    assert caught.value.retry_after_s == 3600


def test_a_refusal_that_waiting_does_not_help_is_not_repeated(server, transport):
    server.then(429, _problem("quota_exceeded", 429), Retry_After="0")
    with pytest.raises(QuotaExceededError):
        _status(transport)
    assert len(server.requests) == 1


def test_the_retry_budget_ends_before_the_attempts(server):
    server.then(503, _problem("unavailable", 503))
    transport = Transport(Credentials(server.url, "t"), Patience(attempts=50, first_delay_s=0.001, retry_budget=3))
    with pytest.raises(ServiceUnavailableError):
        _status(transport)
    assert len(server.requests) == 4
    with pytest.raises(ServiceUnavailableError):
        _status(transport)
    assert len(server.requests) == 5


def test_a_redirect_is_refused(server, transport):
    server.then(307, None, Location="http://127.0.0.1:1/steal")
    with pytest.raises(ServiceError, match="redirect"):
        _status(transport)
    assert len(server.requests) == 1


def test_a_page_of_a_proxy_is_an_error_of_its_status(server, transport):
    server.then(404, b"<html>nothing here</html>")
    with pytest.raises(NotFoundError, match=f"is there a qpu service at {server.url}"):
        _status(transport)
    server.answers.clear()
    server.then(502, b"<html>bad gateway</html>").then(200, STATUS)
    assert _status(transport).name == "b"


def test_an_answer_of_another_kind_is_a_protocol_error(server, transport):
    server.then(200, {"something": "else"})
    with pytest.raises(ProtocolError, match="BackendStatus"):
        _status(transport)


def test_an_unchanged_document_is_not_sent_again(server, transport):
    server.then(200, STATUS, ETag='"abc"').then(304)
    document, etag = transport.get_if_changed("/x", BackendStatus, None)
    assert document is not None
    assert transport.get_if_changed("/x", BackendStatus, etag) == (None, '"abc"')
    assert server.requests[1][2]["If-None-Match"] == '"abc"'


def test_a_name_with_a_colon_is_one_segment_of_the_path(server, transport):
    server.then(200, STATUS)
    transport.get(f"/backends/{quoted('eagle127:line-5/x')}", BackendStatus)
    assert server.requests[0][1] == "/v1/backends/eagle127%3Aline-5%2Fx"


def test_nobody_there_is_unreachable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ServiceUnreachableError, match=f"at http://127.0.0.1:{port}: ") as caught:
        _status(Transport(Credentials(f"http://127.0.0.1:{port}", "qpu_secret"), IMPATIENT))
    assert "qpu_secret" not in str(caught.value)
    assert "embedded" not in str(caught.value)


def test_an_embedded_service_that_is_gone_says_how_to_open_it_again(tmp_path):
    transport = Transport(Credentials(f"unix:{tmp_path / 'api.sock'}", "qpu_secret"), IMPATIENT)
    with pytest.raises(ServiceUnreachableError, match=r"api\.sock: .*QPUProvider\.embedded\(path\)"):
        _status(transport)


@pytest.mark.parametrize("suffix", ["/v1", "/v1/", "/"])
def test_an_address_with_the_api_prefix_is_the_same_service(server, suffix):
    server.then(200, STATUS)
    transport = Transport(Credentials(server.url + suffix, "t"), IMPATIENT)
    assert _status(transport).name == "b"
    assert transport.url == server.url
    assert server.requests[0][1] == "/v1/backends/b/status"


@pytest.mark.parametrize("url", ["http://service.example", "ftp://x", "service", "", "http://10.0.0.1:80"])
def test_an_address_unsafe_for_a_token_is_refused(url):
    with pytest.raises(CredentialsError):
        Transport(Credentials(url, "qpu_secret"))


@pytest.mark.parametrize(
    "url", ["https://service.example", "http://localhost:1", "http://[::1]:1", "unix:/run/qpu.sock"]
)
def test_a_safe_address_is_taken_and_the_token_shows_nowhere(url):
    assert "qpu_secret" not in repr(Transport(Credentials(url, "qpu_secret")))


def test_a_stream_resumes_and_skips_heartbeats(server, transport):
    server.then(200, b": hi\n\nid: 8\nevent: e\ndata: {}\n\n", Content_Type="text/event-stream; charset=utf-8")
    with transport.stream("/events", "7") as source:
        events = list(parse_events(source))
    assert [(event.name, event.id) for event in events] == [("e", "8")]
    assert server.requests[0][2]["Last-Event-ID"] == "7"


def test_a_stream_that_is_none_is_a_protocol_error(server, transport):
    server.then(200, {"not": "a stream"})
    with pytest.raises(ProtocolError), transport.stream("/events", None):
        pass


def test_a_closed_transport_says_so(server, transport):
    server.then(200, STATUS)
    transport.close()
    with pytest.raises(ProtocolError, match="closed"):
        _status(transport)
