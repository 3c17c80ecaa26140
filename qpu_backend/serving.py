"""Running the HTTP application: in the foreground for ``qpu serve``, in a daemon thread for the embedded service."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, Any, Self

import uvicorn
from typing_extensions import override

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator
    from pathlib import Path
    from types import FrameType, TracebackType

    from qpu_backend.service import Service

_START_WITHIN_S = 30.0
_GRACE_S = 5
_ENDING = (signal.SIGINT, signal.SIGTERM)


class HttpServer(uvicorn.Server):
    """uvicorn over a service; open event streams end as soon as it is told to stop.

    In the main thread SIGTERM and SIGINT end :meth:`run`, which then returns: the caller still has a service to drain.
    A second signal no longer waits for open connections, nor the service for its batches.
    """

    def __init__(
        self,
        service: Service,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        uds: Path | None = None,
        announce: Callable[[Any], None] | None = None,
    ) -> None:
        self._announce = announce
        self._service = service
        self._notices = service.door.notices
        super().__init__(
            uvicorn.Config(
                service.app,
                host=host,
                port=port,
                uds=None if uds is None else str(uds),
                log_level="warning",
                access_log=False,
                lifespan="off",
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )

    @contextlib.contextmanager
    @override
    def capture_signals(self) -> Generator[None]:
        """As uvicorn's, but a signal that ended the server is not raised again: it would end the process undrained."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in _ENDING}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal ends, the next one hurries."""
        if self.should_exit:
            self.force_exit = True
            _hurry(self._service)
        super().handle_exit(sig, frame)

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say where: with port 0 nobody knows before."""
        await super().startup(sockets)
        if self.started and self._announce is not None:
            self._announce(self.servers[0].sockets[0].getsockname())

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End event streams, then close connections."""
        self._notices.close()
        await super().shutdown(sockets)


class Told:
    """SIGTERM and SIGINT while the block lasts: the first says that the process is to end, the next one that soon.

    For the main thread. What the block ends with is draining the service.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._told = threading.Event()

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._handle) for number in _ENDING}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def wait(self) -> None:
        """Until the first signal."""
        self._told.wait()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._told.is_set() or self._service.stopping:
            _hurry(self._service)
        self._told.set()


def _hurry(service: Service) -> None:
    threading.Thread(target=service.hurry, name="hurry", daemon=True).start()  # here the main thread may hold locks


class ServerThread:
    """An HTTP server in a daemon thread."""

    def __init__(self, server: HttpServer) -> None:
        self._server = server
        self._thread = threading.Thread(target=server.run, name="http", daemon=True)

    def start(self) -> None:
        """Start, and return when connections are accepted.

        Raises:
            RuntimeError: the server did not come up.
        """
        self._thread.start()
        deadline = time.monotonic() + _START_WITHIN_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("the HTTP server did not start; see its log")
            time.sleep(0.002)

    @property
    def port(self) -> int:
        """The TCP port, when it listens on one."""
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    def stop(self) -> None:
        """Stop and wait for the thread."""
        self._server.should_exit = True
        self._thread.join()
