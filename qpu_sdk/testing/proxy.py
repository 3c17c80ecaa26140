"""A small HTTP/1.1 proxy on loopback, of the standard library alone, that can refuse, lose and delay what it passes on.

What is to happen to which request is decided by a :class:`Course`; the proxy only does it.
"""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from socketserver import BaseServer

_UPSTREAM_S: Final = 120.0
_CHUNK: Final = 65_536
_OF_THIS_CONNECTION: Final = frozenset({"connection", "keep-alive", "transfer-encoding"})
_LOOK_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that the service never gave."""

    status: int
    code: str
    retry_after_s: float | None


class Course(Protocol):
    """What happens to requests; called from many threads. Either may raise ``ConnectionAbortedError``: it is lost."""

    def arrived(self, line: str) -> Refusal | None:
        """A request came in, e.g. ``POST /v1/jobs``; how it is to be refused, if it is."""
        ...

    def answered(self, line: str) -> None:
        """The service has answered it; returns when the answer may go on."""
        ...


class Proxy:
    """Passes on what comes to :attr:`url`.

    Attributes:
        url: where it listens.
    """

    def __init__(self, service_url: str, course: Course) -> None:
        """It listens from now on.

        Args:
            service_url: ``unix:/…`` or ``http://…`` on this machine.
            course: what happens to requests.
        """
        self._service_url = service_url
        self.course = course
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._server = _Server(self)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(_LOOK_S,), name="faults", daemon=True).start()

    def cut(self) -> None:
        """Break every connection that is open now."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with suppress(OSError):  # the other side was faster
                connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Stop listening and break every connection."""
        self._server.shutdown()
        self._server.server_close()
        self.cut()

    def to_service(self) -> HTTPConnection:
        """A new connection to the service."""
        if self._service_url.startswith("unix:"):
            return _OverSocket(self._service_url.removeprefix("unix:"))
        return HTTPConnection(urlsplit(self._service_url).netloc, timeout=_UPSTREAM_S)

    def opened(self, connection: socket.socket) -> None:
        """Remember what :meth:`cut` breaks."""
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget it."""
        with self._lock:
            self._open.discard(connection)


class _OverSocket(HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_UPSTREAM_S)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket's path."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_UPSTREAM_S)
        self.sock.connect(self._path)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Connections break here on purpose: nothing to tell."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, request: socket.socket, client_address: object, server: BaseServer) -> None:
        if not isinstance(server, _Server):
            raise TypeError(f"{server} is no proxy")
        self._proxy = server.proxy
        super().__init__(request, client_address, server)

    def setup(self) -> None:
        super().setup()
        self._proxy.opened(self.connection)

    def finish(self) -> None:
        self._proxy.closed(self.connection)
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the method it overrides
        """Say nothing: the output is the tests'."""

    def do_GET(self) -> None:
        self._pass_on()

    def do_POST(self) -> None:
        self._pass_on()

    def do_PUT(self) -> None:
        self._pass_on()

    def do_PATCH(self) -> None:
        self._pass_on()

    def do_DELETE(self) -> None:
        self._pass_on()

    def do_HEAD(self) -> None:
        self._pass_on()

    def _pass_on(self) -> None:
        course = self._proxy.course
        line = f"{self.command} {unquote(self.path.partition('?')[0])}"
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        upstream = self._proxy.to_service()
        held: socket.socket | None = None
        try:
            refusal = course.arrived(line)
            if refusal is not None:
                self._refuse(refusal)
                return
            upstream.connect()
            if (held := upstream.sock) is not None:
                self._proxy.opened(held)
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            course.answered(line)
            self._answer(answer)
        except (HTTPException, OSError):
            self.close_connection = True
        finally:
            if held is not None:
                self._proxy.closed(held)
            upstream.close()

    def _answer(self, answer: HTTPResponse) -> None:
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _OF_THIS_CONNECTION:
                self.send_header(name, value)
        chunked = answer.length is None and answer.status not in {204, 304} and self.command != "HEAD"
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while chunk := answer.read1(_CHUNK):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _refuse(self, refusal: Refusal) -> None:
        body = json.dumps(
            {
                "type": f"urn:qpu-sdk:problem:{refusal.code}",
                "title": "Refused for a test",
                "status": refusal.status,
                "detail": f"a test lets this submission be refused ({refusal.code})",
                "code": refusal.code,
                "request_id": "req_of_a_test",
                "retry_after_s": refusal.retry_after_s,
            }
        ).encode()
        self.send_response_only(refusal.status)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Request-Id", "req_of_a_test")
        if refusal.retry_after_s is not None:
            self.send_header("Retry-After", str(refusal.retry_after_s))
        self.end_headers()
        self.wfile.write(body)
